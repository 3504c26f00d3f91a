"""Made-up collections: the layouts of published ones, and two thousand items of which some are bad.

`make_items` writes pairs (`NAME/vocals.wav`, `NAME/instrumental.wav`), 16 kHz, mono. What an item holds is a
function of its number alone, so the good items of a tree with bad ones and of a tree without are the same.
"""

import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.make_trees import make_fma, make_musdb18, make_musdb18hq
from hafm.data.collection.track import SoundPart, Track

__all__ = ["BAD_WAYS", "MadeItems", "make_fma", "make_items", "make_musdb18", "make_musdb18hq", "pair", "wav"]

RATE_HZ = 16_000

Samples = npt.NDArray[np.float64]


def wav(
    samples: npt.ArrayLike,
    *,
    rate_hz: int = RATE_HZ,
    channels: int = 1,
    floats: bool = False,
    claimed_bytes: int | None = None,
) -> bytes:
    """A WAV file. `claimed_bytes` is what its header says of the data; None for the truth."""
    values = np.asarray(samples)
    data = (
        values.astype("<f4") if floats else np.round(np.clip(values, -1, 1) * 32767).astype("<i2")
    ).tobytes()
    width = 4 if floats else 2
    size = len(data) if claimed_bytes is None else claimed_bytes
    layout = struct.pack(
        "<HHIIHH",
        3 if floats else 1,
        channels,
        rate_hz,
        rate_hz * channels * width,
        channels * width,
        8 * width,
    )
    header = struct.pack("<4sI8sI16s4sI", b"RIFF", 36 + size, b"WAVEfmt ", 16, layout, b"data", size)
    return header + data


@dataclass(frozen=True)
class Stem:
    """One stem of an item: what is written, where, and how it would sound."""

    path: Path
    samples: Samples
    other_good_item: Path

    def write(self, content: bytes) -> None:
        self.path.write_bytes(content)


def _missing(stem: Stem) -> None:
    stem.path.unlink()


def _nan(stem: Stem) -> None:
    samples = stem.samples.copy()
    samples[len(samples) // 2] = np.nan
    stem.write(wav(samples, floats=True))


def _truncated(stem: Stem) -> None:
    whole = wav(stem.samples)
    stem.write(whole[: len(whole) * 9 // 10])


def _duplicate(stem: Stem) -> None:
    for name in ("vocals.wav", "instrumental.wav"):
        shutil.copyfile(stem.other_good_item / name, stem.path.with_name(name))


BAD_WAYS: Mapping[str, tuple[Callable[[Stem], None], str]] = {
    "missing": (_missing, "does not exist"),
    "empty": (lambda stem: stem.write(b""), "is empty"),
    "truncated": (_truncated, "end of the file is missing"),
    "decodes to nothing": (lambda stem: stem.write(wav([])), "holds no sound"),
    "NaN": (_nan, "not numbers"),
    "silent": (lambda stem: stem.write(wav(0 * stem.samples)), "is silent"),
    "wrong duration": (lambda stem: stem.write(wav(np.tile(stem.samples, 2))), "training takes 0.05 s"),
    "duplicate": (_duplicate, "duplicate of "),
    "8 kHz": (lambda stem: stem.write(wav(stem.samples[::2], rate_hz=8_000)), "8000 Hz"),
    "192 kHz": (lambda stem: stem.write(wav(np.repeat(stem.samples, 12), rate_hz=192_000)), "192000 Hz"),
    "six channels": (lambda stem: stem.write(wav(np.repeat(stem.samples, 6), channels=6)), "6 channels"),
    "playlist": (lambda stem: stem.write(b"#EXTM3U\n../00000/vocals.wav\n"), "is a playlist"),
}
"""How an item can be bad: what spoils one of its stems, and a piece of the reason that the ledger then gives.

All are quarantined, but for the duplicates, which are dropped.
"""


@dataclass(frozen=True, kw_only=True)
class MadeItems:
    """What `make_items` made.

    Args:
        root: the collection, of kind "pairs".
        good: ids of the good items.
        bad: ids of the others, and the way in which each is bad: a key of `BAD_WAYS`.
    """

    root: Path
    good: tuple[str, ...]
    bad: Mapping[str, str]


def make_items(
    root: Path, *, good: int = 1700, bad: int = 300, seconds: float = 1.2, write_bad: bool = True
) -> MadeItems:
    """Pairs, some of them bad, mixed in one row: `00000`, `00001`, ...

    Args:
        root: a folder that is not there yet.
        good: items that can be used; the first item is one of them.
        bad: items that cannot; the ways of `BAD_WAYS` take turns.
        seconds: of each stem, 1 or more.
        write_bad: False leaves the bad ones out, and the rest as it would be.
    """
    numbers = np.random.default_rng(0).permutation(np.arange(1, good + bad))
    way_of = {int(number): list(BAD_WAYS)[k % len(BAD_WAYS)] for k, number in enumerate(numbers[:bad])}
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(1).standard_normal(len(time))
    voice = 0.15 * np.sin(2 * np.pi * (220 * time + 20 * time**2)) + 0.001 * noise
    band = 0.2 * np.sin(2 * np.pi * 110 * time) + 0.1 * np.sin(2 * np.pi * 277 * time) + 0.01 * noise
    root.mkdir(parents=True)
    for number in range(good + bad):
        way = way_of.get(number)
        if way is not None and not write_bad:
            continue
        folder = root / f"{number:05d}"
        folder.mkdir()
        stems = {"vocals": np.roll(voice, 7 * number), "instrumental": np.roll(band, 3 * number)}
        for name, samples in stems.items():
            (folder / f"{name}.wav").write_bytes(wav(samples))
        if way is not None:
            name = list(stems)[number % 2]
            BAD_WAYS[way][0](Stem(folder / f"{name}.wav", stems[name], root / "00000"))
    return MadeItems(
        root=root,
        good=tuple(f"{number:05d}" for number in range(good + bad) if number not in way_of),
        bad={f"{number:05d}": way for number, way in sorted(way_of.items())},
    )


def pair(folder: Path, vocal: bytes, instrumental: bytes, *, seconds: float | None = None) -> Track:
    """A track of two files with these bytes."""
    (folder / "vocals.wav").write_bytes(vocal)
    (folder / "instrumental.wav").write_bytes(instrumental)
    return Track(
        id="song",
        song_id="song",
        vocal=(SoundPart(path=str(folder / "vocals.wav")),),
        instrumental=(SoundPart(path=str(folder / "instrumental.wav")),),
        seconds=seconds,
    )
