"""What the analysers learn from: features of rendered sounds, with what is true of every frame.

In: rendered pairs. Out: `Example`s, features and truth of a whole sound; and `draw_batch`, crops of them with
labels, moved and disfigured at random.

A batch is a pure function of (examples, seed, step). Each crop is some beats long, in beat time, and is

    timed          by its beats, or by an even tempo through its middle; a little too fast or too slow
    mistaken       a third of them: in another tempo, most often half, twice, or three of two beats
    renamed        the tempo that it is said to have, by up to 12 % of an octave
    transposed     chroma, bass, chords and key rolled together: exact
    coloured       another microphone: the timbre bent by a smooth curve and scaled
    blurred        levels, onsets and everything else scaled and given noise
    bereft         one group of features or another is hidden; a stretch of time too

so that what is left to learn from is what real voices share with rendered ones.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly
from torch import Tensor

from hafm.data.collection.truth import lead_sheet_of_truth
from hafm.data.tokenising.augment import augment
from hafm.guide.analyser import BAND, VOCAL
from hafm.guide.beat_time import sample_ticks
from hafm.guide.chord import parse_note
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.network import TICKS_PER_BEAT
from hafm.stages.analysers import AnalyserName
from hafm.tokens.spectral import SpectralFeatures

__all__ = ["CONFIGS", "Batch", "Clock", "Example", "Scale", "crop", "draw_batch", "read_examples", "stack"]

Floats = NDArray[np.floating]

CONFIGS = {"vocal": VOCAL, "band": BAND}
SIDES: Mapping[AnalyserName, str] = {"vocal": "vocal", "band": "instrumental"}
"""Which half of a pair an analyser listens to."""

CROPS = ((32, 12), (32, 12), (16, 24), (8, 40))
"""Beats of a crop, and crops in a batch; one is drawn for each batch."""

RATE = 50
LEAST_BEATS = 6
QUARTER_TONE = 29  # thousandths
RIGHT_SHARE, COMMON_SHARE = 0.65, 0.7
COMMON_MISTAKES = (2.0, 1 / 2, 3.0, 1 / 3, 3 / 2, 2 / 3)
LEAST_MISTAKE_OCTAVES = 0.1
MISTAKEN_BPM = (40.0, 260.0)
RENAMED_OCTAVES = 0.12
EVEN_SHARE, TEMPO_ERROR = 0.5, 0.006
_BEYOND_BEATS = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """A sound.

    Attributes:
        features: Shape [F, D].
        sheet: what is true of it, on its clock.
    """

    features: NDArray[np.float16]
    sheet: LeadSheet


class Batch(NamedTuple):
    """Crops and their labels. `N` ticks, two samples each; see `hafm.guide.network`."""

    features: Tensor
    """Shape: [B, 2N, D]."""
    inside: Tensor
    """Which samples lie in the sound. Shape: [B, 2N]."""
    bpm: Tensor
    """The tempo that each crop is said to have. Shape: [B]."""
    is_right: Tensor
    """Whether that is the tempo of its beats. Shape: [B]."""
    beats: Tensor
    """Beats since a downbeat. Shape: [B, N]."""
    beats_per_bar: Tensor
    root: Tensor
    pitch_classes: Tensor
    key: Tensor


# ---- features of pairs


def read_examples(
    pairs: Path, *, name: AnalyserName, cache: Path, recorded: bool, seed: int
) -> list[Example]:
    """The examples of a folder of pairs; features are made once and kept in `cache`.

    Args:
        pairs: one split of `recipes.builtin.render`.
        name: who listens.
        cache: a file, `.npz`.
        recorded: whether vocals are given rooms, microphones and noise, bands noise and a bleeding voice, and
            both other tunings; in training only.
        seed: of these.

    Raises:
        ValueError: there are no pairs.
    """
    truths = sorted(pairs.glob("*.json"))
    if not truths:
        raise ValueError(f"there are no rendered pairs in '{pairs}'; render some (recipes.builtin.render)")
    if cache.is_file():
        with np.load(cache) as kept:
            stored = {key: kept[key] for key in kept.files}
    else:
        stored = {}
        extractor = SpectralFeatures(CONFIGS[name].features)
        for number, path in enumerate(truths):
            sound, speed = _sound(path, name, np.random.default_rng((seed, number)) if recorded else None)
            with torch.inference_mode():
                features = extractor.extract(torch.from_numpy(sound)[None])[0]
            stored[path.stem] = features.numpy().astype(np.float16)
            stored[f"{path.stem}.speed"] = np.float64(speed)
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez(cache, **stored)
    examples = []
    for path in truths:
        if path.stem in stored:
            sheet = lead_sheet_of_truth(json.loads(path.read_text(encoding="utf-8")))
            if len(sheet.beats) >= LEAST_BEATS:
                sheet = _slowed(sheet, float(stored[f"{path.stem}.speed"]))
                examples.append(Example(features=stored[path.stem], sheet=sheet))
    return examples


def _sound(
    truth: Path, name: AnalyserName, rng: np.random.Generator | None
) -> tuple[NDArray[np.float32], float]:
    """A half of a pair, and how much longer than its truth it has become."""

    def read(side: str) -> NDArray[np.float32]:
        return np.asarray(soundfile.read(truth.with_suffix(f".{side}.wav"), dtype="float32")[0])

    sound = read(SIDES[name])
    if rng is None:
        return sound, 1.0
    if name == "vocal":
        sound = augment(sound, read("instrumental"), rng)
    else:
        level = np.sqrt(np.mean(sound**2))
        sound = sound + level * 10 ** (-rng.uniform(20, 50) / 20) * rng.standard_normal(len(sound))
        if rng.random() < 0.4:
            sound = sound + 10 ** (-rng.uniform(6, 30) / 20) * read("vocal")
    thousandths = int(rng.integers(-QUARTER_TONE, QUARTER_TONE + 1))
    sound = resample_poly(sound, 1000 + thousandths, 1000).astype(np.float32)
    return sound, 1 + thousandths / 1000


def _slowed(sheet: LeadSheet, factor: float) -> LeadSheet:
    """The sheet of a sound that lasts `factor` times as long."""
    if factor == 1.0:
        return sheet

    def moved(items: Sequence[Any], *names: str) -> tuple[Any, ...]:
        return tuple(
            replace(item, **{name: getattr(item, name) * factor for name in names}) for item in items
        )

    return replace(
        sheet,
        duration_seconds=sheet.duration_seconds * factor,
        beats=moved(sheet.beats, "seconds"),
        meters=moved(sheet.meters, "start_seconds"),
        keys=moved(sheet.keys, "start_seconds"),
        chords=moved(sheet.chords, "start_seconds", "end_seconds"),
        arrangement=moved(sheet.arrangement, "start_seconds", "end_seconds"),
    )


# ---- crops


class Clock:
    """Beats of a sheet against seconds, both ways, continued beyond its ends; beat 0 is a downbeat."""

    def __init__(self, sheet: LeadSheet) -> None:
        times = np.array([beat.seconds for beat in sheet.beats])
        numbers = np.arange(len(times)) + sheet.beats[0].position - 1.0
        first, last = np.median(np.diff(times[:5])), np.median(np.diff(times[-5:]))
        self._seconds = np.concatenate(
            [[times[0] - _BEYOND_BEATS * first], times, [times[-1] + _BEYOND_BEATS * last]]
        )
        self._beats = np.concatenate([[numbers[0] - _BEYOND_BEATS], numbers, [numbers[-1] + _BEYOND_BEATS]])
        self.bpm = float(60 / np.median(np.diff(times)))

    def beats(self, seconds: Floats) -> Floats:
        """How many beats after the first downbeat these times are."""
        return np.interp(seconds, self._seconds, self._beats)

    def seconds(self, beats: Floats) -> Floats:
        """When these beats are."""
        return np.interp(beats, self._beats, self._seconds)


def draw_batch(
    examples: Sequence[Example], *, name: AnalyserName, scale: "Scale", rng: np.random.Generator
) -> Batch:
    """Crops of random examples, moved and disfigured.

    Args:
        examples: to draw from.
        name: who listens.
        scale: of the features.
        rng: source of every draw.
    """
    num_beats, size = CROPS[rng.integers(len(CROPS))]
    rows = []
    for _ in range(size):
        example = examples[rng.integers(len(examples))]
        mistake = _draw_mistake(Clock(example.sheet).bpm, rng)
        seconds = _draw_ticks(example, num_beats, mistake, rng)
        row = crop(
            example,
            name=name,
            seconds=seconds,
            mistake=mistake,
            renamed=2 ** rng.uniform(-RENAMED_OCTAVES, RENAMED_OCTAVES),
            semitones=int(rng.integers(12)),
        )
        rows.append([_disfigured(row[0], name, scale, rng), *row[1:]])
    return stack(rows)


def _draw_mistake(bpm: float, rng: np.random.Generator) -> float:
    """How many times too fast a tempo is taken to be; 1 as a rule."""
    if rng.random() < RIGHT_SHARE:
        return 1.0
    mistake = rng.choice(COMMON_MISTAKES) if rng.random() < COMMON_SHARE else 1.0
    slowest, fastest = MISTAKEN_BPM
    while not slowest < bpm * mistake < fastest or abs(np.log2(mistake)) < LEAST_MISTAKE_OCTAVES:
        mistake = 2 ** rng.uniform(-1, 1)
    return float(mistake)


def _draw_ticks(example: Example, num_beats: int, mistake: float, rng: np.random.Generator) -> Floats:
    """When the ticks of a crop are: anywhere in the sound, over its ends where it is shorter."""
    clock = Clock(example.sheet)
    span = num_beats / mistake  # in true beats
    first, last = clock.beats(np.array([0.0, len(example.features) / RATE])).tolist()
    start = rng.uniform(*sorted((first, last - span)))
    beats = np.arange(num_beats * TICKS_PER_BEAT) / (TICKS_PER_BEAT * mistake)
    error = rng.normal(0, TEMPO_ERROR)
    if rng.random() < EVEN_SHARE:
        begin, middle, end = clock.seconds(start + span * np.array([0, 0.5, 1]))
        return np.asarray(middle + (beats - span / 2) * (end - begin) / span * (1 + error))
    return np.asarray(clock.seconds(start + beats) + (beats - beats.mean()) * error * 60 / clock.bpm)


def crop(
    example: Example,
    *,
    name: AnalyserName,
    seconds: Floats,
    mistake: float = 1.0,
    renamed: float = 1.0,
    semitones: int = 0,
) -> list[Any]:
    """One crop: what `Batch` has of it.

    Args:
        example: what to cut.
        name: who listens.
        seconds: of the ticks.
        mistake: how many times too fast the ticks follow each other.
        renamed: how many times as fast as it is the tempo is said to be.
        semitones: how much higher its pitch classes become.
    """
    features, inside = sample_ticks(example.features.astype(np.float32), seconds)
    for first in range(0, 24 if name == "band" else 12, 12):  # chroma; the band's bass
        features[:, first : first + 12] = np.roll(features[:, first : first + 12], semitones, axis=1)
    sheet, clock = example.sheet, Clock(example.sheet)
    root = np.full(len(seconds), 12)
    pitch_classes = np.zeros((len(seconds), 12), np.float32)
    for span in sheet.chords:
        if span.chord.root is not None:
            held = slice(*np.searchsorted(seconds, (span.start_seconds, span.end_seconds)))
            root[held] = (span.chord.root + semitones) % 12
            pitch_classes[held] = 0
            pitch_classes[held, [(pc + semitones) % 12 for pc in span.chord.pitch_classes]] = 1
    key = sheet.keys[0]
    return [
        features,
        inside,
        np.float32(clock.bpm * mistake * renamed),
        mistake == 1.0,
        clock.beats(seconds).astype(np.float32),
        sheet.meters[0].beats_per_bar,
        root,
        pitch_classes,
        (parse_note(key.tonic) + semitones) % 12 + 12 * (key.mode == "min"),
    ]


def stack(rows: Sequence[Sequence[Any]]) -> Batch:
    """Crops of one length as a batch."""
    return Batch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))


# ---- disfiguring


class Scale(NamedTuple):
    """Mean and deviation of every feature. Shape [D] each."""

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    @classmethod
    def of(cls, examples: Sequence[Example]) -> "Scale":
        """The scale of some of the examples."""
        frames = np.concatenate([example.features[::5] for example in examples[::5]]).astype(np.float32)
        return cls(frames.mean(axis=0), frames.std(axis=0) + 1e-3)


def _groups(name: AnalyserName) -> dict[str, slice]:
    """Where each group of features is."""
    groups, start = {}, 0
    for group, size in CONFIGS[name].features.group_sizes.items():
        groups[group] = slice(start, start + size)
        start += size
    return groups


def _disfigured(
    features: NDArray[np.float32], name: AnalyserName, scale: Scale, rng: np.random.Generator
) -> NDArray[np.float32]:
    groups = _groups(name)
    num_frames = len(features)
    timbre, onset, level = (groups[group] for group in ("timbre", "onset", "level"))
    size = timbre.stop - timbre.start
    curve = np.cumsum(rng.normal(0.0, 0.35, size))
    bend = 0.6 * (curve - curve.mean()) + rng.normal(0.0, 0.3, size)
    features[:, timbre] = (features[:, timbre] + bend * scale.deviation[timbre]) * 2 ** rng.normal(0.0, 0.3)
    features[:, onset] *= 2 ** (rng.normal(0.0, 0.4) + rng.normal(0.0, 0.3, onset.stop - onset.start))
    features[:, level] *= 2 ** rng.normal(0.0, 0.2)
    features += rng.normal(0.0, 0.12, features.shape) * scale.deviation
    for group, chance in HIDDEN[name].items():
        if rng.random() < chance:
            features[:, groups[group]] = scale.mean[groups[group]]
    if rng.random() < 0.3:
        length = int(rng.integers(10, 100))
        start = int(rng.integers(num_frames - length))
        features[start : start + length] = scale.mean
    return features.astype(np.float32)


HIDDEN: Mapping[AnalyserName, Mapping[str, float]] = {
    "vocal": {"timbre": 0.35, "register": 0.3, "chroma": 0.1, "onset": 0.1},
    "band": {"timbre": 0.35, "level": 0.3, "bass": 0.2, "chroma": 0.1, "onset": 0.1},
}
"""How often a group of features is hidden."""
