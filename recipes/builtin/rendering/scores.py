"""POP909 songs as scores on one clock.

In: the packed data set (`pop909.npz.xz`, one LZMA-compressed npz). Out: `Score`, whose notes, beats, chords
and keys all share the clock of the notes, in seconds. `Score.moved` re-times and transposes a score so that
second 0 is the start of a chosen window; everything downstream (arrangement, singing, ground truth) reads
that one object, which is why the two halves of a pair cannot drift apart. `Score.warped` bends its time.

Source: POP909, Wang et al., ISMIR 2020 (909 pop songs: melody, bridge, piano). Only its ``*_midi``
annotations share the clock of the notes; keys were annotated on the audio, so the pack carries them already
shifted.

Splits are by song (`split_of`): nobody trains on a song that tests.
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from recipes.builtin.rendering.chords import Chord, Key, parse_chord, parse_key

Notes = npt.NDArray[np.float64]
"""Shape [N, 4]: start_seconds, end_seconds, MIDI pitch, velocity 1..127; sorted by start."""

T = TypeVar("T")

SPLITS = ("train", "valid", "test")

_TRACKS = ("melody", "bridge", "piano")


@dataclass(frozen=True, kw_only=True)
class Span(Generic[T]):
    """A value that holds from `start_seconds` to `end_seconds`."""

    start_seconds: float
    end_seconds: float
    value: T

    def moved(self, value: T, *, stretch: float, offset_seconds: float) -> Span[T]:
        return Span(
            start_seconds=self.start_seconds * stretch - offset_seconds,
            end_seconds=self.end_seconds * stretch - offset_seconds,
            value=value,
        )


@dataclass(frozen=True, kw_only=True)
class Score:
    """One song, times in seconds.

    Attributes:
        song_id: number of the song in POP909.
        melody: what is sung. Shape [N, 4], see `Notes`; not always monophonic.
        bridge: the second voice, lead instruments. Shape [N, 4].
        piano: the accompaniment as played. Shape [N, 4].
        beat_seconds: beat times. Shape [M].
        downbeats: indices into `beat_seconds` of the first beat of each bar. Shape [P].
        beats_per_bar: 4, or 6 in 29 songs.
        chords: chord spans, None where no chord sounds.
        keys: key spans; at least one.
    """

    song_id: int
    melody: Notes
    bridge: Notes
    piano: Notes
    beat_seconds: npt.NDArray[np.float64]
    downbeats: npt.NDArray[np.int64]
    beats_per_bar: int
    chords: tuple[Span[Chord | None], ...]
    keys: tuple[Span[Key], ...]

    @property
    def tempo_bpm(self) -> float:
        """Beats a minute, from the median distance of two beats."""
        return float(60.0 / np.median(np.diff(self.beat_seconds)))

    def moved(self, *, semitones: int = 0, stretch: float = 1.0, offset_seconds: float = 0.0) -> Score:
        """The score transposed by `semitones`, slowed by `stretch`, then shifted so that the (stretched) time
        `offset_seconds` becomes 0. Nothing is cut: earlier events get negative times."""

        def notes(notes: Notes) -> Notes:
            moved = notes.copy()
            moved[:, :2] = moved[:, :2] * stretch - offset_seconds
            moved[:, 2] += semitones
            return moved

        clock = {"stretch": stretch, "offset_seconds": offset_seconds}
        return Score(
            song_id=self.song_id,
            melody=notes(self.melody),
            bridge=notes(self.bridge),
            piano=notes(self.piano),
            beat_seconds=self.beat_seconds * stretch - offset_seconds,
            downbeats=self.downbeats,
            beats_per_bar=self.beats_per_bar,
            chords=tuple(
                span.moved(span.value and span.value.transposed(semitones), **clock) for span in self.chords
            ),
            keys=tuple(span.moved(span.value.transposed(semitones), **clock) for span in self.keys),
        )

    def warped(self, clock: Callable[[npt.ArrayLike], npt.NDArray[np.float64]]) -> Score:
        """The score on another clock, such as one of `clock`; everything moves alike."""

        def notes(notes: Notes) -> Notes:
            return np.concatenate([clock(notes[:, :2]), notes[:, 2:]], axis=1)

        def span(span: Span[T]) -> Span[T]:
            start, end = clock([span.start_seconds, span.end_seconds])
            return Span(start_seconds=float(start), end_seconds=float(end), value=span.value)

        return replace(
            self,
            melody=notes(self.melody),
            bridge=notes(self.bridge),
            piano=notes(self.piano),
            beat_seconds=clock(self.beat_seconds),
            chords=tuple(span(chord) for chord in self.chords),
            keys=tuple(span(key) for key in self.keys),
        )


def split_of(song_id: int) -> str:
    """The split a song belongs to: test 91 songs, valid 46, train 772 of POP909.

    >>> split_of(19), split_of(8), split_of(28), split_of(1)
    ('test', 'valid', 'valid', 'train')
    """
    if song_id % 10 == 9:
        return "test"
    return "valid" if song_id % 20 == 8 else "train"


class PackedPop909:
    """The packed data set.

    The pack stores all songs end to end, times in integer milliseconds and starts as differences; `*_ptr`
    arrays say where each song begins (three runs of notes per song: melody, bridge, piano).

    Args:
        path: `pop909.npz.xz`.

    Raises:
        FileNotFoundError: nothing at `path`.
        ValueError: the file is not a POP909 pack.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"no POP909 pack at {path}; pass the file pop909.npz.xz with --pop909")
        try:
            with lzma.open(path) as stream, np.load(io.BytesIO(stream.read()), allow_pickle=False) as archive:
                self._arrays = {name: archive[name] for name in archive.files}
            self._rows = {int(song): row for row, song in enumerate(self._arrays["song"])}
        except (lzma.LZMAError, KeyError, ValueError, OSError) as error:
            raise ValueError(f"{path} is not a POP909 pack ({error}); expected pop909.npz.xz") from error

    @property
    def song_ids(self) -> tuple[int, ...]:
        """Numbers of all songs, ascending."""
        return tuple(sorted(self._rows))

    def score(self, song_id: int) -> Score:
        """Read one song.

        Raises:
            KeyError: no such song.
        """
        row = self._rows[song_id]
        tracks = {name: self._notes(3 * row + track) for track, name in enumerate(_TRACKS)}
        begin, end = self._run("beat_ptr", row)
        beat_seconds = np.cumsum(self._arrays["beat_delta"][begin:end].astype(np.int64)) / 1000.0
        flags = self._arrays["beat_flag"][begin:end]
        return Score(
            song_id=song_id,
            **tracks,
            beat_seconds=beat_seconds,
            downbeats=np.flatnonzero(flags & 2),
            beats_per_bar=int(self._arrays["bar_len"][row]),
            chords=tuple(
                Span(start_seconds=start, end_seconds=stop, value=parse_chord(label))
                for start, stop, label in self._labels("chord", row)
            ),
            keys=tuple(
                Span(start_seconds=start, end_seconds=stop, value=parse_key(label))
                for start, stop, label in self._labels("key", row)
            ),
        )

    def beats_per_bar(self, song_id: int) -> int:
        """Of a song, without reading the rest of it."""
        return int(self._arrays["bar_len"][self._rows[song_id]])

    def _run(self, pointer: str, row: int) -> tuple[int, int]:
        begin, end = self._arrays[pointer][row : row + 2]
        return int(begin), int(end)

    def _notes(self, run: int) -> Notes:
        begin, end = self._run("note_ptr", run)
        start = np.cumsum(self._arrays["note_on_delta"][begin:end].astype(np.int64))
        stop = start + self._arrays["note_dur"][begin:end]
        pitch, velocity = self._arrays["note_pitch"][begin:end], self._arrays["note_vel"][begin:end]
        return np.stack([start / 1000.0, stop / 1000.0, pitch, velocity], axis=1)

    def _labels(self, kind: str, row: int) -> Iterable[tuple[float, float, str]]:
        begin, end = self._run(f"{kind}_ptr", row)
        vocabulary = self._arrays[f"{kind}_vocab"]
        for item in range(begin, end):
            start, stop, label = (
                self._arrays[f"{kind}_{field}"][item] for field in ("start", "end", "label")
            )
            yield float(start) / 1000.0, float(stop) / 1000.0, str(vocabulary[label])


def covered_fraction(notes: Notes, start_seconds: float, end_seconds: float) -> float:
    """Share of a window in which at least one note sounds.

    >>> covered_fraction(np.array([[0.0, 1.0, 60, 90], [0.5, 2.0, 64, 90]]), 1.0, 5.0)
    0.25
    """
    covered, reached = 0.0, start_seconds
    for start, stop in notes[:, :2]:
        start, stop = max(start, reached), min(stop, end_seconds)
        if stop > start:
            covered, reached = covered + stop - start, stop
    return float(covered / (end_seconds - start_seconds))
