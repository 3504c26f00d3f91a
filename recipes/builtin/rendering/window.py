"""Where a pair is cut from a song.

In: the songs of a split. Out: a `Window` and the song's `Score` in window time, transposed and stretched.

Songs open with 20 s without singing, so that a start drawn evenly over the song would mostly miss the melody.
Three openings instead:

    any        up to 3 s before a random note of the melody
    intro      2 to 8 s before the voice enters after a rest
    count-in   just before a bar, one to three bars ahead of such an entry; the band begins after that bar
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recipes.builtin.rendering.phrasing import monophonic
from recipes.builtin.rendering.scores import Score, covered_fraction, split_of

SEMITONES = range(-5, 7)
STRETCH = (0.88, 1.12)
LEAST_SUNG = {"any": 0.5, "intro": 0.35, "count-in": 0.35}
LEAST_ACCOMPANIED = 0.9
OPENINGS = {"any": 0.7, "intro": 0.18, "count-in": 0.12}
SIX_BEAT_SHARE = 0.08
"""Of windows in songs with bars of 6 beats, which are 3 % of the songs."""
WINDOW_DRAWS = 64
_REST_BEFORE_ENTRY_SECONDS = 1.5


class ScoreSource(Protocol):
    """Where scores come from, such as `scores.PackedPop909`."""

    @property
    def song_ids(self) -> Sequence[int]: ...

    def score(self, song_id: int) -> Score: ...

    def beats_per_bar(self, song_id: int) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Window:
    """Where a pair is cut from its song, and how it is moved.

    Attributes:
        song_id: which song.
        semitones: upwards.
        stretch: factor of time.
        start_seconds: on the stretched clock.
        opening: a key of `OPENINGS`.
        entry_seconds: when the voice enters, in window time; before 0 if it sang before.
    """

    song_id: int
    semitones: int
    stretch: float
    start_seconds: float
    opening: str
    entry_seconds: float


def draw_window(
    source: ScoreSource, split: str, seconds: float, rng: np.random.Generator
) -> tuple[Window, Score]:
    """Draw a song and a window in it that is sung and accompanied well enough.

    Raises:
        ValueError: the split has no songs, or none of `WINDOW_DRAWS` windows qualifies.
    """
    songs = [song for song in source.song_ids if split_of(song) == split]
    if not songs:
        raise ValueError(f"no song belongs to the split {split!r}; check the scores given with --pop909")
    if rng.random() < SIX_BEAT_SHARE:
        songs = [song for song in songs if source.beats_per_bar(song) == 6] or songs
    opening = str(rng.choice(list(OPENINGS), p=list(OPENINGS.values())))
    for _ in range(WINDOW_DRAWS):
        song_id = int(rng.choice(songs))
        semitones = int(rng.choice(SEMITONES))
        stretch = float(rng.uniform(*STRETCH))
        song = source.score(song_id).moved(semitones=semitones, stretch=stretch)
        if not len(song.melody):
            continue
        start_seconds, entry_seconds = _OPENERS[opening](song, rng)
        score = song.moved(offset_seconds=start_seconds)
        sung = covered_fraction(monophonic(score.melody), 0.0, seconds)
        accompanied = covered_fraction(score.piano, 0.0, seconds)
        if sung >= LEAST_SUNG[opening] and accompanied >= LEAST_ACCOMPANIED:
            return Window(
                song_id=song_id,
                semitones=semitones,
                stretch=stretch,
                start_seconds=start_seconds,
                opening=opening,
                entry_seconds=entry_seconds - start_seconds,
            ), score
    raise ValueError(
        f"none of {WINDOW_DRAWS} windows of {seconds:g} s in the {split!r} songs is sung for "
        f"{LEAST_SUNG[opening]:.0%} and accompanied for {LEAST_ACCOMPANIED:.0%}; use shorter windows or "
        "other scores"
    )


def _open_anywhere(song: Score, rng: np.random.Generator) -> tuple[float, float]:
    """Start of the window and entry of the voice, on the song's clock."""
    note = float(rng.choice(song.melody[:, 0]))
    return max(0.0, note - float(rng.uniform(0.0, 3.0))), float(song.melody[0, 0])


def _open_with_intro(song: Score, rng: np.random.Generator) -> tuple[float, float]:
    entry = _draw_entry(song, rng)
    return max(0.0, entry - float(rng.uniform(2.0, 8.0))), entry


def _open_with_count_in(song: Score, rng: np.random.Generator) -> tuple[float, float]:
    entry = _draw_entry(song, rng)
    downbeats = song.beat_seconds[song.downbeats]
    bar = int(np.searchsorted(downbeats, entry, side="right")) - int(rng.integers(1, 4))
    start = float(downbeats[max(bar, 0)]) if len(downbeats) else entry
    return max(0.0, start - float(rng.uniform(0.03, 0.4))), entry


_OPENERS = {"any": _open_anywhere, "intro": _open_with_intro, "count-in": _open_with_count_in}


def _draw_entry(song: Score, rng: np.random.Generator) -> float:
    """A note that follows a rest, or the first of all."""
    line = monophonic(song.melody)
    rests = line[1:, 0] - line[:-1, 1] > _REST_BEFORE_ENTRY_SECONDS
    return float(rng.choice(line[np.append(True, rests), 0]))
