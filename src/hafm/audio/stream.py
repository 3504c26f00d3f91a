"""`DecodedStream`: what the gateway sees of a decoder, whichever it is.

In: nothing. Out: the rate and channels that a file claims, which can be refused before a sample is decoded,
and then the samples in blocks, so that a running limit holds whatever the file claims.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["DecodedStream"]


@dataclass(frozen=True, kw_only=True)
class DecodedStream:
    """Sound that is being decoded.

    Args:
        sample_rate: samples a second, as the file claims.
        num_channels: channels, as the file claims.
        claimed_frames: samples a channel of the whole file, as it claims; None if it does not. Never to be
            trusted.
        blocks: the samples, float32 `[frames, C]` a block, to be taken once. Ends early where decoding fails.
        complaint: what the decoder had to say, once the blocks are used up; empty if nothing.
    """

    sample_rate: int
    num_channels: int
    claimed_frames: int | None
    blocks: Iterator[npt.NDArray[np.float32]]
    complaint: Callable[[], str]
