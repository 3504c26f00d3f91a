"""Another sample rate for a sound of any length, in blocks.

In: blocks [C, T_i]. Out: blocks whose concatenation is what `resample` makes of theirs, bit for bit, wherever
they were cut. Memory: a block and the reach of the filter.
"""

from collections.abc import Iterable, Iterator

import soxr
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.rates import frames_for

__all__ = ["resample_blocks"]


def resample_blocks(
    blocks: Iterable[Float[Tensor, "C _"]], from_hz: int, to_hz: int, *, num_channels: int
) -> Iterator[Float[Tensor, "C _"]]:
    """Bring a sound to another sample rate, block by block.

    Args:
        blocks: finite float32 samples on the CPU.
        from_hz: their rate, above 0.
        to_hz: the rate wanted, above 0.
        num_channels: C.

    Yields:
        `ceil(T * to_hz / from_hz)` samples in all. At equal rates the blocks themselves.

    >>> blocks = torch.zeros(2, 24_000).split(1000, dim=1)
    >>> sum(block.shape[1] for block in resample_blocks(blocks, 24_000, 44_100, num_channels=2))
    44100
    """
    if from_hz == to_hz:
        yield from blocks
        return
    stream = soxr.ResampleStream(from_hz, to_hz, num_channels, dtype="float32", quality="VHQ")
    received = made = 0
    for block in blocks:
        received += block.shape[1]
        resampled = stream.resample_chunk(block.T.contiguous().numpy(), last=False)
        made += len(resampled)
        if len(resampled):
            yield torch.from_numpy(resampled).T
    rest = torch.from_numpy(stream.resample_chunk(torch.zeros(0, num_channels).numpy(), last=True)).T
    # soxr rounds the length to the nearest sample, and we up.
    missing = frames_for(received, sample_rate=from_hz, frame_rate=to_hz) - made
    yield torch.cat([rest, torch.zeros(num_channels, max(0, missing - rest.shape[1]))], dim=1)[:, :missing]
