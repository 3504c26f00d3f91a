"""Sounds of any length, in blocks: the gateway for whoever need not hold a whole sound.

In: a path. Out: first a `Survey`, from decoding the file once and keeping nothing; then its samples, block by
block, from decoding it again. What `hafm.audio.io` refuses is refused by the survey, before any work is done
on the sound. The limits of duration differ: nothing is too short, and 24 hours are the most.

Conventions: blocks are float32 `[C, n]`, C of 1 or 2, finite; more channels are folded, and a file on another
scale is scaled, as the table in `hafm.audio.sound` says.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.opening import open_sound
from hafm.audio.sound import fold_channels, fold_note, refuse_silence, scale_of, too_long
from hafm.audio.spool import Spool
from hafm.audio.stream import DecodedStream
from hafm.errors import AudioContentError, AudioReadError
from hafm.words import clock

__all__ = ["MAX_SECONDS", "Survey", "read_blocks", "survey"]

MAX_SECONDS = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a file holds.

    Args:
        path: of the file.
        sha256: hex digest of its bytes.
        sample_rate: samples a second.
        num_channels: 1 or 2, after folding.
        scale: what samples are multiplied with; 1.0 unless they reach far beyond full scale.
        notes: what a user should know, one line each.
    """

    path: Path
    sha256: str
    sample_rate: int
    num_channels: int
    num_samples: int
    scale: float
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.num_samples / self.sample_rate


def survey(path: str | os.PathLike[str]) -> Survey:
    """Decode a file from end to end, and check what it holds.

    Raises:
        AudioReadError: the file cannot be opened, is no audio, or cannot be decoded.
        AudioContentError: it decodes, but holds no sample, is silent, not finite, too long, or outside the
            limits of rate and channels.

    >>> survey("song.flac").seconds                                                 # doctest: +SKIP
    215.3
    """
    path = Path(path)
    with open_sound(path, seconds=MAX_SECONDS + 1) as sound:
        file, stream, name = sound.file, sound.stream, sound.name
        extent = _Extent()
        for block in _folded(stream):
            extent.add(block, name=name, sample_rate=stream.sample_rate)
        notes = fold_note(stream.num_channels) + sound.notes + stream.damage()
        if not extent.samples:
            why = "".join(f" ({note})" for note in notes)
            raise AudioContentError(f"{name} holds no sound that can be decoded{why}; export it again")
        refuse_silence(extent.loudest, name)
        scale, scaled = scale_of(extent.peak)
        file.seek(0)
        return Survey(
            path=path,
            sha256=hashlib.file_digest(file, "sha256").hexdigest(),  # type: ignore[arg-type]
            sample_rate=stream.sample_rate,
            num_channels=extent.num_channels,
            num_samples=extent.samples,
            scale=scale,
            notes=notes + scaled,
        )


def read_blocks(surveyed: Survey, *, spool_folder: Path | None = None) -> Iterator[Float[Tensor, "C _"]]:
    """The samples of a file that `survey` has seen.

    Whoever takes the blocks may be slow. The ffmpeg program is ended when it takes too long, and the decoder
    of MP3 keeps standard error closed while it works. So what these two decode goes to a temporary file
    first, in one go: 4 bytes a sample and channel.

    Args:
        surveyed: what it saw.
        spool_folder: where that file may lie; None for the system's place.

    Yields:
        Blocks `[C, n]`, `num_samples` samples in all.

    Raises:
        AudioReadError: the file is gone, or was changed since.
        OutputError: there is no room for a temporary file.
    """
    with contextlib.ExitStack() as spooling, contextlib.ExitStack() as decoding:
        sound = decoding.enter_context(open_sound(surveyed.path, seconds=MAX_SECONDS + 1))
        stream, name = sound.stream, sound.name
        blocks = _folded(stream)
        if stream.is_impatient:
            spool = spooling.enter_context(Spool(surveyed.num_channels, folder=spool_folder))
            for block in blocks:
                spool.write(block)
            decoding.close()
            blocks = spool.blocks()
        samples = 0
        for block in blocks:
            samples += block.shape[1]
            if block.shape[0] != surveyed.num_channels or samples > surveyed.num_samples:
                break
            yield block if surveyed.scale == 1.0 else block * surveyed.scale
        if samples != surveyed.num_samples or stream.sample_rate != surveyed.sample_rate:
            raise AudioReadError(f"{name} was changed while it was read; start again")


def _folded(stream: DecodedStream) -> Iterator[Tensor]:
    return (fold_channels(torch.from_numpy(block.T)) for block in stream.blocks)


class _Extent:
    """How long and how loud a sound is, from its blocks."""

    def __init__(self) -> None:
        self.samples = self.num_channels = 0
        self._sum = self._lowest = self._highest = torch.zeros(0)

    def add(self, block: Tensor, *, name: str, sample_rate: int) -> None:
        finite = block.isfinite().all(dim=0)
        if not finite.all():
            first = self.samples + int((~finite).nonzero()[0])
            raise AudioContentError(
                f"{name} holds samples that are not numbers (NaN or infinity), the first at "
                f"{clock(first / sample_rate)}; export it again as 24-bit PCM"
            )
        if not block.shape[1]:
            return
        low, high, total = block.amin(dim=1), block.amax(dim=1), block.double().sum(dim=1)
        if self.samples:
            low, high = torch.minimum(low, self._lowest), torch.maximum(high, self._highest)
            total = total + self._sum
        self._lowest, self._highest, self._sum = low, high, total
        self.num_channels = block.shape[0]
        self.samples += block.shape[1]
        if self.samples > MAX_SECONDS * sample_rate:
            raise too_long(name, self.samples / sample_rate, MAX_SECONDS)

    @property
    def peak(self) -> float:
        """The largest sample, whatever its sign."""
        return float(torch.maximum(self._highest, -self._lowest).max())

    @property
    def loudest(self) -> float:
        """The same, apart from a constant offset."""
        offset = (self._sum / self.samples).float()
        return float(torch.maximum(self._highest - offset, offset - self._lowest).max())
