"""The sounds that the codec is trained on: a list of files, and parts of them at one level.

In:  a folder of `*.instrumental.wav` (mono, 24 kHz, 16 bit), as `recipes.builtin.render` writes them.
Out: samples, float32, scaled so that the file's RMS is -20 dBFS. `augment` makes crops of them.

Conventions: the list of files is made once and kept (name, samples, RMS), so that pairs rendered later
change nothing in a run that is resumed. Files are memory-mapped: only what is used is read.
"""

import json
import math
import struct
import wave
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hafm.errors import AudioContentError, AudioReadError, UsageError
from hafm.files import write_whole

__all__ = ["SoundFile", "list_sounds", "load_list", "read_part", "read_sound", "save_list"]

TARGET_RMS_DBFS = -20.0
PATTERN = "*.instrumental.wav"
FULL_SCALE = 32_768
SILENT_DBFS = -60.0


@dataclass(frozen=True, kw_only=True)
class SoundFile:
    """One file of the list."""

    path: str
    samples: int
    rms_dbfs: float
    data_offset_bytes: int

    @property
    def gain(self) -> float:
        """The factor that brings the file to -20 dBFS RMS and integers to full scale 1.0."""
        return float(10 ** ((TARGET_RMS_DBFS - self.rms_dbfs) / 20)) / FULL_SCALE


def list_sounds(folder: Path, *, sample_rate: int, limit: int | None = None) -> list[SoundFile]:
    """Every instrumental of a folder, by name; silent ones are left out.

    Raises:
        UsageError: there is no file.
        AudioReadError, AudioContentError: a file is not what it should be.
    """
    paths = sorted(folder.glob(PATTERN))[:limit]
    sounds = [_describe(path, sample_rate) for path in paths]
    heard = [sound for sound in sounds if sound.rms_dbfs > SILENT_DBFS]
    if not heard:
        raise UsageError(
            f"no {PATTERN} with sound in '{folder}': render pairs first (python -m recipes.builtin.render)"
        )
    return heard


def save_list(sounds: Sequence[SoundFile], path: Path) -> None:
    """Write a list, whole or not at all."""
    write_whole(path, json.dumps([asdict(sound) for sound in sounds], indent=1))


def load_list(path: Path) -> list[SoundFile]:
    """The list that `save_list` wrote."""
    return [SoundFile(**values) for values in json.loads(path.read_text(encoding="utf-8"))]


def read_part(sound: SoundFile, start: int, samples: int) -> NDArray[np.float32]:
    """Some samples of a file at -20 dBFS, zeros after its end."""
    part = np.zeros(samples, dtype=np.float32)
    read = _map(sound)[start : start + samples]
    part[: len(read)] = read * np.float32(sound.gain)
    return part


def read_sound(sound: SoundFile, *, max_samples: int | None = None) -> Float[Tensor, " T"]:
    """The first samples of a file (all by default), at -20 dBFS RMS."""
    return torch.from_numpy(_map(sound)[:max_samples] * np.float32(sound.gain))


def _map(sound: SoundFile) -> "np.memmap[tuple[int], np.dtype[np.int16]]":
    return np.memmap(
        sound.path, dtype="<i2", mode="r", offset=sound.data_offset_bytes, shape=(sound.samples,)
    )


def _describe(path: Path, sample_rate: int) -> SoundFile:
    try:
        with wave.open(str(path), "rb") as file:
            kind = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            samples = file.getnframes()
        offset = _data_offset(path)
    except (OSError, EOFError, wave.Error, ValueError) as error:
        raise AudioReadError(f"cannot read '{path}': {error}; render it again") from error
    if kind != (1, 2, sample_rate) or samples == 0 or path.stat().st_size < offset + 2 * samples:
        raise AudioContentError(
            f"'{path}' has {kind[0]} channels of {8 * kind[1]} bits at {kind[2]} Hz and {samples} samples: "
            f"training takes whole files of 1 channel, 16 bits, {sample_rate} Hz"
        )
    content = np.memmap(path, dtype="<i2", mode="r", offset=offset, shape=(samples,))
    mean_square = float(np.mean(np.square(content, dtype=np.float64))) / FULL_SCALE**2
    rms_dbfs = 10 * math.log10(mean_square) if mean_square > 0 else -math.inf
    return SoundFile(path=str(path), samples=samples, rms_dbfs=rms_dbfs, data_offset_bytes=offset)


def _data_offset(path: Path) -> int:
    """Where the samples begin: the chunks of a RIFF file are walked to the one called "data"."""
    with path.open("rb") as file:
        file.seek(12)
        while len(header := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", header)
            if name == b"data":
                return file.tell()
            file.seek(size + size % 2, 1)
    raise ValueError("it has no data chunk")
