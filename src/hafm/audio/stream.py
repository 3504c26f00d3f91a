"""`DecodedStream`: what the gateway sees of a decoder, whichever it is.

In: what a decoder says of a file, and its blocks. Out: the rate and channels that the file claims, which can
be refused before a sample is decoded, then the samples in blocks, so that a running limit holds whatever the
file claims, and at their end what is missing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hafm.words import clock

__all__ = ["DecodedStream", "without_first"]

_SHORTFALL_SECONDS = 0.05  # lossy formats claim up to a few frames more than they hold


@dataclass(eq=False, kw_only=True)
class DecodedStream:
    """Sound that is being decoded.

    Args:
        sample_rate: samples per second, as the file claims.
        num_channels: channels, as the file claims.
        claimed_frames: samples per channel of the whole file, as it claims; None if it does not. Never to be
            trusted.
        start_frame: of the whole file's, the first that the blocks hold.
        blocks: the samples, float32 `[frames, C]` each, to be taken once. They end early where decoding
            fails.
        complaint: what the decoder had to say, once the blocks are used up; empty if nothing.
        missing: what else is known to be, once the blocks are used up.
        holes: first sample and end of what cannot be decoded and is silent in the blocks; grows with them.
        is_impatient: the blocks must be taken without delay: the decoder is ended when it takes too long, or
            keeps standard error closed while it works.
    """

    sample_rate: int
    num_channels: int
    claimed_frames: int | None = None
    start_frame: int
    blocks: Iterator[npt.NDArray[np.float32]]
    complaint: Callable[[], str]
    missing: Callable[[], tuple[str, ...]] = tuple
    holes: Sequence[tuple[int, int]] = ()
    is_impatient: bool = False

    def __post_init__(self) -> None:
        self._end, self._is_exhausted = self.start_frame, False
        self.blocks = self._counted(self.blocks)

    def _counted(self, blocks: Iterator[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
        for block in blocks:
            self._end += len(block)
            yield block
        self._is_exhausted = True

    def damage(self) -> tuple[str, ...]:
        """What a user should know about what is missing; of the end nothing while there are more blocks."""
        if not self._is_exhausted:
            return self._silent()
        end = clock(self._end / self.sample_rate)
        claimed = self.claimed_frames
        complaint = self.complaint()
        if claimed is not None and claimed - self._end > _SHORTFALL_SECONDS * self.sample_rate:
            claim = clock(claimed / self.sample_rate)
            short = f"the file is damaged or cut short: it claims {claim} and decodes up to {end}"
            return (*self._silent(), short)
        if complaint:
            return (*self._silent(), f"the file is damaged or cut short: it decodes up to {end}")
        return (*self._silent(), *self.missing())

    def _silent(self) -> tuple[str, ...]:
        """The holes in what was taken."""
        holes = [
            (max(begin, self.start_frame), min(end, self._end))
            for begin, end in self.holes
            if end > self.start_frame and begin < self._end
        ]
        if not holes:
            return ()
        seconds = sum(end - begin for begin, end in holes) / self.sample_rate
        places = "one place" if len(holes) == 1 else f"{len(holes)} places"
        return (
            f"the file is damaged inside: {seconds:.2f} s in {places}, the first at "
            f"{clock(holes[0][0] / self.sample_rate)}, cannot be decoded and are silent",
        )


def without_first(
    blocks: Iterator[npt.NDArray[np.float32]], num_frames: int
) -> Iterator[npt.NDArray[np.float32]]:
    """The blocks without the first samples.

    Decoding from the beginning and dropping is the one way that gives the same samples in every format: a
    lossy decoder that is started inside a file lacks what its next frame builds on.
    """
    for block in blocks:
        if num_frames < len(block):
            yield block[num_frames:]
        num_frames = max(0, num_frames - len(block))
