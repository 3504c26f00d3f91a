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
from scipy.signal import lfilter

from hafm.arrange.plan import Feel
from recipes.builtin.rendering import mixbus
from recipes.builtin.rendering.arrange import STEMS, Arrangement, arrange
from recipes.builtin.rendering.clock import drift_clock, swing_clock
from recipes.builtin.rendering.formant import formant_voice
from recipes.builtin.rendering.phrasing import SungNote, draw_habits, perform
from recipes.builtin.rendering.plan import draw_feel
from recipes.builtin.rendering.scores import SPLITS, Score
from recipes.builtin.rendering.sing import sing
from recipes.builtin.rendering.singer import draw_style
from recipes.builtin.rendering.stems import SAMPLE_RATE, PartRenderer, Waveform, render_stems
from recipes.builtin.rendering.vocoder import synthesise
from recipes.builtin.rendering.voices import RESERVED_VOICES, SINGERS, Voice
from recipes.builtin.rendering.window import ScoreSource, draw_window

RECIPE_VERSION = 3
"""Of what comes out: raise it with every change of what a (seed, split, index) gives."""
PARAMETRIC_SHARE = 0.35
DRIFTING_SHARE = 0.5
DRIFT = (0.01, 0.05)
SUB_MIX_SHARE = 0.15
SUB_MIXES = (
    ("drums",),
    ("bass", "harmony", "melody"),
    ("bass", "harmony"),
    ("harmony",),
    ("bass",),
    ("drums", "bass"),
    ("drums", "harmony", "melody"),
    ("drums", "bass", "harmony"),
)
ROOM_TONE_DBFS = (-80.0, -44.0)
RESERVED_SHARE = 0.5
FORMANT_SEEDS = {"train": (0, 100_000), "valid": (0, 100_000), "test": (100_000, 110_000)}

_STREAMS = ("window", "band", "voice", "singing", "bus", "tempo", "sub-mix", "tone", "solo")


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


def make_pair(
    sources: Sources, *, seed: int, split: str, index: int, seconds: float = 20.0, solos: float = 0.0
) -> Pair:
    """Render pair number `index` of a split.

    Args:
        sources: scores, voices and the SoundFont.
        seed: one for the whole corpus.
        split: "train", "valid" or "test"; chooses songs, and in test also reserved voices and instruments.
        index: 0 or more.
        seconds: length of the pair.
        solos: share of the pairs in which one stem plays alone; the others are as they are without.

    Returns:
        Waveforms of round(seconds * 24000) samples.

    Raises:
        ValueError: the split has no songs, or none of its songs has a window that qualifies.
    """
    rngs = _streams(seed, split, index)
    test = split == "test"
    window, score = draw_window(sources.scores, split, seconds, rngs["window"])
    kept = _draw_stems(rngs["sub-mix"])
    feel = draw_feel(score, rngs["band"], drums=not kept & {"harmony", "melody"} and "drums" in kept)
    score, drift, entry_seconds = _bend(score, feel, window.entry_seconds, seconds, rngs["tempo"])
    arrangement = arrange(
        score,
        feel,
        seconds=seconds,
        rng=rngs["band"],
        entry_seconds=entry_seconds,
        count_in=window.opening == "count-in",
        stems=kept,
        test=test,
    )
    stems = mixbus.level_stems(render_stems(sources.renderer, arrangement.parts, seconds=seconds))
    if rngs["solo"].random() < solos:
        kept = frozenset({str(rngs["solo"].choice([name for name in STEMS if stems[name].any()]))})
        stems = {name: stem if name in kept else np.zeros_like(stem) for name, stem in stems.items()}
    bus = mixbus.draw_settings(rngs["bus"])

    voice = _draw_voice(sources.voices, split, rngs["voice"])
    style, habits = draw_style(voice, rngs["voice"]), draw_habits(rngs["voice"])
    notes = perform(score.melody, seconds=seconds, voice=voice, habits=habits, rng=rngs["singing"])
    controls = sing(notes, seconds=seconds, voice=voice, style=style, rng=rngs["singing"])
    vocal = synthesise(controls, seconds=seconds, style=style, rng=rngs["singing"])
    room_tone_dbfs = float(rngs["tone"].uniform(*ROOM_TONE_DBFS))
    vocal = vocal + _room_tone(len(vocal), room_tone_dbfs, rngs["tone"])
    instrumental = mixbus.apply(mixbus.mix(stems), bus)
    for name, waveform in (("vocal", vocal), ("instrumental", instrumental)):
        if not np.isfinite(waveform).all():
            raise ValueError(f"{split} pair {index} (song {window.song_id}): the {name} is not finite")
    truth = {
        "recipe": RECIPE_VERSION,
        "index": index,
        "split": split,
        "seed": seed,
        "seconds": seconds,
        "sample_rate": SAMPLE_RATE,
        "song_id": window.song_id,
        "semitones": window.semitones,
        "stretch": window.stretch,
        "window_start_seconds": window.start_seconds,
        "opening": window.opening,
        "drift": drift,
        **_musical_truth(score, seconds),
        "arrangement": _arrangement_truth(arrangement, kept),
        "full": len(kept) == len(STEMS),
        "stems": [stem for stem in STEMS if stem in kept],
        "band": _band_truth(arrangement),
        "bus": bus.to_dict(),
        "voice": voice.name,
        "singing": style.to_dict(),
        "habits": asdict(habits),
        "room_tone_dbfs": room_tone_dbfs,
        "notes": _notes_truth(notes, seconds),
    }
    return Pair(vocal=vocal, instrumental=instrumental, stems=stems, truth=truth)


def _streams(seed: int, split: str, index: int) -> dict[str, np.random.Generator]:
    identity = (seed, SPLITS.index(split), index)
    return {name: np.random.default_rng((*identity, number)) for number, name in enumerate(_STREAMS)}


def _draw_stems(rng: np.random.Generator) -> frozenset[str]:
    """What the instrumental keeps: all stems, or those of a sub-mix."""
    is_sub_mix = rng.random() < SUB_MIX_SHARE
    number = int(rng.integers(len(SUB_MIXES)))
    return frozenset(SUB_MIXES[number] if is_sub_mix else STEMS)


def _bend(
    score: Score, feel: Feel, entry_seconds: float, seconds: float, rng: np.random.Generator
) -> tuple[Score, float, float]:
    """Swing a score and let its tempo drift. Returns it, the depth of the drift, the entry's new time."""
    if feel.swing != 0.5:
        clock = swing_clock(score.beat_seconds, ratio=feel.swing, pair_beats=feel.swing_pair_beats)
        score, entry_seconds = score.warped(clock), float(clock(entry_seconds))
    drifts, depth = rng.random() < DRIFTING_SHARE, float(rng.uniform(*DRIFT))
    if not drifts:
        return score, 0.0, entry_seconds
    clock = drift_clock(
        start_seconds=-4.0,
        end_seconds=seconds + 4.0,
        bar_seconds=score.beats_per_bar * 60.0 / score.tempo_bpm,
        depth=depth,
        rng=rng,
    )
    return score.warped(clock), depth, float(clock(entry_seconds))


def _room_tone(num_samples: int, level_dbfs: float, rng: np.random.Generator) -> Waveform:
    """What a microphone hears when nobody sings: brownish noise. Shape [num_samples]."""
    tone = lfilter([1.0], [1.0, -rng.uniform(0.3, 0.97)], rng.standard_normal(num_samples))
    return np.asarray(10 ** (level_dbfs / 20) / np.sqrt(np.mean(tone**2)) * tone, np.float32)


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
                    "bass": chord.bass if chord else None,
                    "pitch_classes": list(chord.pitch_classes) if chord else [],
                }
            )
    key = max(
        score.keys,
        key=lambda span: min(span.end_seconds, seconds) - max(span.start_seconds, 0.0),
    ).value
    beats = inside(score.beat_seconds)
    return {
        "key": {"label": key.label, "tonic": key.tonic, "mode": key.mode},
        "tempo_bpm": float(60.0 / np.median(np.diff(beats))) if len(beats) > 1 else score.tempo_bpm,
        "beats_per_bar": score.beats_per_bar,
        "beats_seconds": beats,
        "downbeats_seconds": inside(score.beat_seconds[score.downbeats]),
        "chords": chords,
    }


def _arrangement_truth(arrangement: Arrangement, kept: frozenset[str]) -> list[dict[str, object]]:
    return [
        {
            "start_seconds": round(bar.start_seconds, 4),
            "end_seconds": round(bar.end_seconds, 4),
            **{stem: stem in bar.stems and stem in kept for stem in STEMS},
        }
        for bar in arrangement.bars
    ]


def _band_truth(arrangement: Arrangement) -> dict[str, object]:
    return {
        "style": arrangement.feel.style,
        "rate": arrangement.feel.rate,
        "swing": arrangement.feel.swing,
        "swing_pair_beats": arrangement.feel.swing_pair_beats,
        "humanise_seconds": arrangement.humanise_seconds,
        "programs": {part.role: part.program for part in arrangement.parts},
        "levels_db": {part.role: part.level_db for part in arrangement.parts},
    }


def _notes_truth(notes: Sequence[SungNote], seconds: float) -> list[dict[str, object]]:
    return [
        {
            **asdict(note),
            "syllable": list(note.syllable),
            "score_seconds": None if note.score_seconds is None else round(note.score_seconds, 4),
            "start_seconds": round(note.start_seconds, 4),
            "end_seconds": round(note.end_seconds, 4),
        }
        for note in notes
        if note.end_seconds > 0.0 and note.start_seconds < seconds
    ]
