"""What the analysers learn from: features of rendered sounds, with what is true of every frame.

In: rendered pairs. Out: `Example`s, features and truth of a whole sound; and `draw_batch`, crops of them with
labels, moved and disfigured at random.

A batch is a pure function of (examples, seed, step). Each crop is

    stretched      by up to a quarter in time, features interpolated
    transposed     chroma, bass, chords and key rolled together: exact
    coloured       another microphone: the timbre bent by a smooth curve and scaled
    blurred        levels, onsets and everything else scaled and given noise
    bereft         for a vocal, one group of features or another is hidden; a stretch of time too

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
from hafm.guide.chord import parse_note
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.network import POOL
from hafm.stages.analysers import AnalyserName
from hafm.tokens.spectral import SpectralFeatures

__all__ = ["CONFIGS", "Batch", "Example", "Scale", "crop", "draw_batch", "read_examples", "stack"]

CONFIGS = {"vocal": VOCAL, "band": BAND}
SIDES: Mapping[AnalyserName, str] = {"vocal": "vocal", "band": "instrumental"}
"""Which half of a pair an analyser listens to."""

CROPS = ((948, 4), (948, 4), (500, 8), (248, 15))
"""Frames of a crop, and crops in a batch; one is drawn for each batch."""

RATE = 50
LEAST_BEATS = 4
QUARTER_TONE = 29  # thousandths
STRETCH_OCTAVES = 0.35


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
    """Crops and their labels: beats at 50 Hz, chords at 12.5 Hz, the key of each crop."""

    features: Tensor
    beat: Tensor
    downbeat: Tensor
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
    num_frames, size = CROPS[rng.integers(len(CROPS))]
    rows = []
    for _ in range(size):
        example = examples[rng.integers(len(examples))]
        stretch = 2 ** rng.uniform(-STRETCH_OCTAVES, STRETCH_OCTAVES)
        stretch = max(stretch, (num_frames + 2) / len(example.features))
        start = int(rng.integers(int(len(example.features) * stretch) - num_frames))
        semitones = int(rng.integers(12))
        row = crop(
            example, name=name, start=start, num_frames=num_frames, stretch=stretch, semitones=semitones
        )
        rows.append([_disfigured(row[0], name, scale, rng), *row[1:]])
    return stack(rows)


def crop(
    example: Example,
    *,
    name: AnalyserName,
    start: int,
    num_frames: int,
    stretch: float = 1.0,
    semitones: int = 0,
) -> list[Any]:
    """One crop: what `Batch` has of it.

    Args:
        example: what to cut.
        name: who listens.
        start, num_frames: of the stretched sound.
        stretch: how many times as long the sound becomes.
        semitones: how much higher its pitch classes become.
    """
    places = np.minimum((start + np.arange(num_frames)) / stretch, len(example.features) - 1.001)
    below = places.astype(int)
    part = (places - below)[:, None].astype(np.float32)
    source = example.features.astype(np.float32)
    features = source[below] * (1 - part) + source[below + 1] * part
    for first in range(0, 24 if name == "band" else 12, 12):  # chroma; the band's bass
        features[:, first : first + 12] = np.roll(features[:, first : first + 12], semitones, axis=1)

    sheet = example.sheet

    def frame_of(seconds: float) -> float:
        return seconds * stretch * RATE - start

    root = np.full(num_frames, 12)
    pitch_classes = np.zeros((num_frames, 12), np.float32)
    for span in sheet.chords:
        begin, end = (round(frame_of(seconds)) for seconds in (span.start_seconds, span.end_seconds))
        if end <= 0 or span.chord.root is None:
            continue
        root[max(begin, 0) : end] = (span.chord.root + semitones) % 12
        pitch_classes[max(begin, 0) : end] = 0
        pitch_classes[max(begin, 0) : end, [(pc + semitones) % 12 for pc in span.chord.pitch_classes]] = 1
    key = sheet.keys[0]
    return [
        features,
        _peaks([frame_of(beat.seconds) for beat in sheet.beats], num_frames),
        _peaks([frame_of(seconds) for seconds in sheet.downbeats], num_frames),
        root[1::POOL],
        pitch_classes[1::POOL],
        (parse_note(key.tonic) + semitones) % 12 + 12 * (key.mode == "min"),
    ]


def stack(rows: Sequence[Sequence[Any]]) -> Batch:
    """Crops of one length as a batch."""
    return Batch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))


def _peaks(frames: Sequence[float], num_frames: int) -> NDArray[np.float32]:
    """1 on the frames that hold these instants, a half on their neighbours."""
    peaks = np.zeros(num_frames + 2, np.float32)
    inside = [int(np.floor(frame)) + 1 for frame in frames if 0 <= frame < num_frames]
    for offset, height in ((-1, 0.5), (1, 0.5), (0, 1.0)):
        for frame in inside:
            peaks[frame + offset] = max(peaks[frame + offset], height)
    return peaks[1:-1]


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
    if name == "vocal":
        for group, chance in HIDDEN.items():
            if rng.random() < chance:
                features[:, groups[group]] = scale.mean[groups[group]]
    if rng.random() < 0.3:
        length = int(rng.integers(10, 100))
        start = int(rng.integers(num_frames - length))
        features[start : start + length] = scale.mean
    return features.astype(np.float32)


HIDDEN = {"timbre": 0.35, "register": 0.3, "chroma": 0.1, "onset": 0.1}
"""How often a group of a vocal's features is hidden."""
