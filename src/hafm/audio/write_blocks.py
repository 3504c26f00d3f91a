"""Sound files of any length, written block by block: whole, or not at all.

In: blocks [C, n]. Out: a WAV of 24-bit PCM or of 32-bit floats, or a FLAC of 24 bits.

24-bit PCM holds samples of -1 to 1 and clips what is beyond. Floats hold anything, so they are what a sound
that exceeds full scale is written as. WAV is written here and not by libsndfile, which puts the time of day
into every WAV of floats: the same samples give the same bytes.

A WAV, all numbers little-endian:

    "RIFF" size "WAVE"  "fmt " 16 tag channels rate bytes/s bytes/frame bits  ["fact" 4 frames]  "data" size

with tag 1 for PCM and 3 for floats, which want the `fact` chunk. Sizes have 32 bits. A longer file is an
RF64, whose sizes are all ones there, and stand in a `ds64` chunk (riff size, data size, frames, 0) with 64.

Source: EBU Tech 3306 (RF64).
"""

import os
import struct
from collections.abc import Callable, Iterable
from typing import IO, BinaryIO, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile
from jaxtyping import Float
from torch import Tensor

from hafm.files import atomic_file

__all__ = ["Encoding", "write_blocks"]

Encoding: TypeAlias = Literal["wav", "wav-float", "flac"]
"""24-bit PCM, 32-bit floats, 24-bit FLAC."""

_FULL_SCALE = 1 << 23
_LARGEST_RIFF = _ALL_ONES = (1 << 32) - 1


def write_blocks(
    path: str | os.PathLike[str],
    blocks: Iterable[Float[Tensor, "C _"]],
    sample_rate: int,
    *,
    num_channels: int,
    num_samples: int,
    encoding: Encoding,
) -> None:
    """Write a sound.

    Args:
        path: where to; taken as it is, whatever its ending. An existing file is replaced.
        blocks: finite; within full scale unless the encoding holds floats.
        sample_rate: samples a second.
        num_channels: C.
        num_samples: in all blocks together, 1 or more.
        encoding: see the module.

    Raises:
        ValueError: the blocks are not what was announced, not finite, or exceed full scale.
        OutputError: the disk is full or the place not writable. Nothing half-written is left.
    """
    with atomic_file(path) as file:
        writer = _Flac if encoding == "flac" else _WavFloat if encoding == "wav-float" else _Wav
        sink = writer(file, sample_rate, num_channels, num_samples)
        written = 0
        for block in blocks:
            if block.shape[0] != num_channels or not block.isfinite().all():
                raise ValueError(f"blocks must be finite and [{num_channels}, n], got {list(block.shape)}")
            sink.write(block.T.contiguous().numpy())
            written += block.shape[1]
        sink.close()
        if written != num_samples:
            raise ValueError(f"{num_samples} samples were announced, and {written} came")


class _Wav:
    """24-bit PCM."""

    TAG, BYTES = 1, 3

    def __init__(self, file: BinaryIO, sample_rate: int, num_channels: int, num_samples: int) -> None:
        self._file = file
        frame_bytes = self.BYTES * num_channels
        data_bytes = frame_bytes * num_samples
        self._pad = data_bytes % 2  # chunks begin at even places
        fact = b"" if self.TAG == 1 else struct.pack("<4sII", b"fact", 4, min(num_samples, _ALL_ONES))
        head = b"WAVE" + struct.pack(
            "<4sIHHIIHH",
            *(b"fmt ", 16, self.TAG, num_channels, sample_rate, frame_bytes * sample_rate, frame_bytes),
            8 * self.BYTES,
        )
        riff_bytes = len(head) + len(fact) + 8 + data_bytes + self._pad
        if riff_bytes <= _LARGEST_RIFF:
            file.write(struct.pack("<4sI", b"RIFF", riff_bytes) + head + fact)
            file.write(struct.pack("<4sI", b"data", data_bytes))
            return
        sizes = struct.pack("<4sIQQQI", b"ds64", 28, riff_bytes + 36, data_bytes, num_samples, 0)
        file.write(struct.pack("<4sI", b"RF64", _ALL_ONES) + head[:4] + sizes + head[4:] + fact)
        file.write(struct.pack("<4sI", b"data", _ALL_ONES))

    def write(self, frames: npt.NDArray[np.float32]) -> None:
        # The low three of four little-endian bytes.
        whole = _quantised(frames).astype("<i4")
        self._file.write(whole.reshape(-1, 1).view(np.uint8)[:, :3].tobytes())

    def close(self) -> None:
        self._file.write(bytes(self._pad))


class _WavFloat(_Wav):
    """32-bit floats."""

    TAG, BYTES = 3, 4

    def write(self, frames: npt.NDArray[np.float32]) -> None:
        self._file.write(frames.astype("<f4").tobytes())


class _Flac:
    """24-bit FLAC, by libsndfile."""

    def __init__(self, file: BinaryIO, sample_rate: int, num_channels: int, num_samples: int) -> None:
        self._target = _Remembering(file)
        self._encoder = soundfile.SoundFile(
            self._target, "w", sample_rate, num_channels, format="FLAC", subtype="PCM_24"
        )

    def write(self, frames: npt.NDArray[np.float32]) -> None:
        whole = _quantised(frames) << 8  # libsndfile takes the upper 24 of 32 bits
        self._checked(lambda: self._encoder.write(whole))

    def close(self) -> None:
        self._checked(self._encoder.close)

    def _checked(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (soundfile.LibsndfileError, AssertionError) as error:  # soundfile asserts that all was written
            raise self._target.error or error from error
        if self._target.error is not None:
            raise self._target.error


class _Remembering:
    """A file for libsndfile, whose callbacks swallow exceptions: the first one is kept."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            return 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            self.error = self.error or error
            return 0

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        raise OSError("a file that is written is not read")


def _quantised(frames: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """Whole numbers of 24 bits, the nearest ones. What came from 16 or 24 bits comes back bit by bit."""
    if frames.size and max(frames.max(), -frames.min()) > 1.0:
        raise ValueError("the sound exceeds full scale and would be clipped; write floats")
    whole: npt.NDArray[np.int32] = np.rint(frames * np.float32(_FULL_SCALE)).astype(np.int32)
    return np.minimum(whole, _FULL_SCALE - 1)
