"""One training pair: a vocal, the instrumental that belongs to it, and the truth about both.

A pair is a pure function of (sources, seed, split, index, seconds). Each concern draws from a stream of its
own, so that a change to one (say, the mix) leaves what the others drew as it was.

The truth is what a critic of the pair may want to know, in seconds within the window: beats, downbeats,
chords, key, the notes sung, and how the sound was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from recipes.builtin.rendering import mixbus
from recipes.builtin.rendering.arrange import Arrangement, arrange
from recipes.builtin.rendering.formant import formant_voice
from recipes.builtin.rendering.phrasing import SungNote, monophonic, perform
from recipes.builtin.rendering.scores import SPLITS, Score, covered_fraction, split_of
from recipes.builtin.rendering.sing import draw_style, sing
from recipes.builtin.rendering.soundfont import SAMPLE_RATE, PartRenderer, Waveform, render_stems
from recipes.builtin.rendering.vocoder import synthesise
from recipes.builtin.rendering.voices import RESERVED_VOICES, SINGERS, Voice

SEMITONES = range(-5, 7)
STRETCH = (0.88, 1.12)
LEAST_SUNG = 0.5
LEAST_ACCOMPANIED = 0.9
WINDOW_DRAWS = 64
PARAMETRIC_SHARE = 0.35
RESERVED_SHARE = 0.5
FORMANT_SEEDS = {"train": (0, 100_000), "valid": (0, 100_000), "test": (100_000, 110_000)}

_STREAMS = ("window", "band", "voice", "singing", "bus")


class ScoreSource(Protocol):
    """Where scores come from, such as `scores.PackedPop909`."""

    @property
    def song_ids(self) -> Sequence[int]: ...

    def score(self, song_id: int) -> Score: ...


class VoiceSource(Protocol):
    """Where recorded voices come from, such as `voices.VoiceBank`."""

    def voice(self, name: str) -> Voice: ...


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What pairs are made of."""

    scores: ScoreSource
    voices: VoiceSource
    renderer: PartRenderer


@dataclass(frozen=True, kw_only=True)
class Window:
    """Where a pair is cut from its song, and how it is moved: semitones up, stretched by a factor of time."""

    song_id: int
    semitones: int
    stretch: float
    start_seconds: float  # on the stretched clock


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A rendered pair.

    Attributes:
        vocal: Shape [T].
        instrumental: `mixbus.apply(mixbus.mix(stems), bus settings)`. Shape [T].
        stems: dry, one for each of `styles.STEMS`. Shape [T] each.
        truth: JSON-ready; see the README.
    """

    vocal: Waveform
    instrumental: Waveform
    stems: Mapping[str, Waveform]
    truth: dict[str, object]


def make_pair(sources: Sources, *, seed: int, split: str, index: int, seconds: float = 20.0) -> Pair:
    """Render pair number `index` of a split.

    Args:
        sources: scores, voices and the SoundFont.
        seed: one for the whole corpus.
        split: "train", "valid" or "test"; chooses songs, and in test also reserved voices and instruments.
        index: 0 or more.
        seconds: length of the pair.

    Returns:
        Waveforms of round(seconds * 24000) samples.

    Raises:
        ValueError: the split has no songs, or none of its songs has a window that qualifies.
    """
    rngs = _streams(seed, split, index)
    test = split == "test"
    window, score = _draw_window(sources.scores, split, seconds, rngs["window"])
    arrangement = arrange(score, seconds=seconds, rng=rngs["band"], test=test)
    stems = mixbus.level_stems(render_stems(sources.renderer, arrangement.parts, seconds=seconds))
    bus = mixbus.draw_settings(rngs["bus"])

    voice = _draw_voice(sources.voices, split, rngs["voice"])
    style = draw_style(voice, rngs["voice"])
    notes = perform(
        score.melody,
        seconds=seconds,
        voice=voice,
        timing_seconds=style.timing_seconds,
        melisma_chance=style.melisma_chance,
        rng=rngs["singing"],
    )
    controls = sing(notes, seconds=seconds, voice=voice, style=style, rng=rngs["singing"])
    vocal = synthesise(controls, seconds=seconds, style=style, rng=rngs["singing"])
    instrumental = mixbus.apply(mixbus.mix(stems), bus)
    for name, waveform in (("vocal", vocal), ("instrumental", instrumental)):
        if not np.isfinite(waveform).all():
            raise ValueError(f"{split} pair {index} (song {window.song_id}): the {name} is not finite")
    truth = {
        "index": index,
        "split": split,
        "seed": seed,
        "seconds": seconds,
        "sample_rate": SAMPLE_RATE,
        "song_id": window.song_id,
        "semitones": window.semitones,
        "stretch": window.stretch,
        "window_start_seconds": window.start_seconds,
        **_musical_truth(score, seconds),
        "band": _band_truth(arrangement),
        "bus": bus.to_dict(),
        "voice": voice.name,
        "singing": style.to_dict(),
        "notes": _notes_truth(notes, seconds),
    }
    return Pair(vocal=vocal, instrumental=instrumental, stems=stems, truth=truth)


def _streams(seed: int, split: str, index: int) -> dict[str, np.random.Generator]:
    identity = (seed, SPLITS.index(split), index)
    return {name: np.random.default_rng((*identity, number)) for number, name in enumerate(_STREAMS)}


def _draw_window(
    source: ScoreSource, split: str, seconds: float, rng: np.random.Generator
) -> tuple[Window, Score]:
    """Draw a song and a window in it that is sung for at least half, and accompanied nearly throughout.

    Windows begin up to 3 s before a random melody note: songs open with 20 s without singing, so that a start
    drawn evenly over the song would mostly miss the melody.
    """
    songs = [song for song in source.song_ids if split_of(song) == split]
    if not songs:
        raise ValueError(f"no song belongs to the split {split!r}; check the scores given with --pop909")
    for _ in range(WINDOW_DRAWS):
        song_id = int(rng.choice(songs))
        semitones = int(rng.choice(SEMITONES))
        stretch = float(rng.uniform(*STRETCH))
        original = source.score(song_id)
        note = float(rng.choice(original.melody[:, 0])) * stretch if len(original.melody) else 0.0
        start_seconds = max(0.0, note - float(rng.uniform(0.0, 3.0)))
        score = original.moved(semitones=semitones, stretch=stretch, offset_seconds=start_seconds)
        sung = covered_fraction(monophonic(score.melody), 0.0, seconds)
        accompanied = covered_fraction(score.piano, 0.0, seconds)
        if sung >= LEAST_SUNG and accompanied >= LEAST_ACCOMPANIED:
            return Window(
                song_id=song_id, semitones=semitones, stretch=stretch, start_seconds=start_seconds
            ), score
    raise ValueError(
        f"none of {WINDOW_DRAWS} windows of {seconds:g} s in the {split!r} songs is sung for "
        f"{LEAST_SUNG:.0%} and accompanied for {LEAST_ACCOMPANIED:.0%}; use shorter windows or other scores"
    )


def _draw_voice(source: VoiceSource, split: str, rng: np.random.Generator) -> Voice:
    """A parametric singer or one of the bank; in the test split half of the latter are the reserved ones."""
    parametric = rng.random() < PARAMETRIC_SHARE
    reserved = split == "test" and rng.random() < RESERVED_SHARE
    if parametric:
        number = int(rng.integers(*FORMANT_SEEDS[split]))
        high = bool(rng.random() < 0.5)
        name = f"formant-{'high' if high else 'low'}-{number}"
        return formant_voice(np.random.default_rng(number), high=high, name=name)
    names = [name for name in SINGERS if (name in RESERVED_VOICES) == reserved]
    return source.voice(str(rng.choice(names)))


def _musical_truth(score: Score, seconds: float) -> dict[str, object]:
    """Tempo, beats, chords and key within the window."""

    def inside(times: np.ndarray) -> list[float]:
        return [round(float(time), 4) for time in times if 0.0 <= time < seconds]

    chords = []
    for span in score.chords:
        start, end = max(span.start_seconds, 0.0), min(span.end_seconds, seconds)
        if end > start:
            chord = span.value
            chords.append(
                {
                    "start_seconds": round(start, 4),
                    "end_seconds": round(end, 4),
                    "label": chord.label if chord else "N",
                    "root": chord.root if chord else None,
                    "pitch_classes": list(chord.pitch_classes) if chord else [],
                }
            )
    key = max(
        score.keys,
        key=lambda span: min(span.end_seconds, seconds) - max(span.start_seconds, 0.0),
    ).value
    return {
        "key": {"label": key.label, "tonic": key.tonic, "mode": key.mode},
        "tempo_bpm": score.tempo_bpm,
        "beats_per_bar": score.beats_per_bar,
        "beats_seconds": inside(score.beat_seconds),
        "downbeats_seconds": inside(score.beat_seconds[score.downbeats]),
        "chords": chords,
    }


def _band_truth(arrangement: Arrangement) -> dict[str, object]:
    return {
        "style": arrangement.style,
        "double_time": arrangement.double_time,
        "humanise_seconds": arrangement.humanise_seconds,
        "programs": {part.role: part.program for part in arrangement.parts},
        "levels_db": {part.role: part.level_db for part in arrangement.parts},
    }


def _notes_truth(notes: Sequence[SungNote], seconds: float) -> list[dict[str, object]]:
    return [
        {
            **asdict(note),
            "syllable": list(note.syllable),
            "start_seconds": round(note.start_seconds, 4),
            "end_seconds": round(note.end_seconds, 4),
        }
        for note in notes
        if note.end_seconds > 0.0 and note.start_seconds < seconds
    ]
