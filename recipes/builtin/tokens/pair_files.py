"""Rendered pairs on disk, as the later steps read them.

In:  the folder that `render` writes. Out: names, truths and waveforms of the pairs that are complete.

A pair is complete when its JSON exists; `render` writes that last. The 16-bit wav files are read with the
standard library, so that tokenising needs no audio package.
"""

from __future__ import annotations

import json
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PairFiles", "list_pairs", "read_wav"]


@dataclass(frozen=True, kw_only=True, order=True)
class PairFiles:
    """One complete pair.

    Attributes:
        id: `"train/000123"`, unique among all splits.
        folder: that holds its files.
    """

    id: str
    folder: Path

    @property
    def stem(self) -> str:
        """`"000123"`."""
        return self.id.rpartition("/")[2]

    def truth(self) -> dict[str, Any]:
        """What `render` knows of the pair: song, chords, notes, beats."""
        truth: dict[str, Any] = json.loads((self.folder / f"{self.stem}.json").read_text())
        return truth

    def waveform(self, part: str, *, sample_rate: int = 24_000) -> NDArray[np.float32]:
        """`"vocal"` or `"instrumental"`, full scale = 1. Shape [T]."""
        return read_wav(self.folder / f"{self.stem}.{part}.wav", sample_rate=sample_rate)


def list_pairs(pairs: Path, split: str) -> list[PairFiles]:
    """The complete pairs of a split, in order of their names.

    Args:
        pairs: parent of the split folders.
        split: `"train"`, `"valid"` or `"test"`.
    """
    folder = pairs / split
    stems = sorted(path.stem for path in folder.glob("*.json"))
    return [PairFiles(id=f"{split}/{stem}", folder=folder) for stem in stems]


def read_wav(path: Path, *, sample_rate: int) -> NDArray[np.float32]:
    """A 16-bit mono wav file, full scale = 1.

    Args:
        path: the file.
        sample_rate: what it must have, in hertz.

    Returns:
        Shape [T].

    Raises:
        ValueError: another format or rate, cut short, or empty.
    """
    try:
        with wave.open(str(path), "rb") as wav:
            found = (wav.getnchannels(), wav.getsampwidth(), wav.getframerate())
            samples = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
            num_samples = wav.getnframes()
    except (wave.Error, EOFError, OSError) as error:
        raise ValueError(f"cannot read '{path}': {error}") from error
    if found != (1, 2, sample_rate):
        raise ValueError(f"'{path}' has (channels, bytes, rate) = {found}, expected {(1, 2, sample_rate)}")
    if len(samples) == 0 or len(samples) != num_samples:
        raise ValueError(f"'{path}' holds {len(samples)} samples, its header promises {num_samples}")
    return samples.astype(np.float32) / 32768.0
