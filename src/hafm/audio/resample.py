"""Another sample rate, with an exact number of samples.

In: a waveform `[C, T]`, whole or in blocks `[C, T_i]`, and two rates. Out: a waveform `[C, T']`, in time with
the first: sample 0 is at the same moment. Blocks give what the whole gives, bit for bit, wherever they were
cut; their memory is a block and the reach of the filter.

soxr's very high quality: a linear-phase low-pass whose pass band ends at 91 % of the lower Nyquist frequency,
noise below 24-bit PCM. It rings before and after steps, so peaks may grow a little: limit after resampling,
not before.
"""

from collections.abc import Iterable, Iterator

import soxr
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.rates import frames_for

__all__ = ["resample", "resample_blocks"]


def resample(
    waveform: Float[Tensor, "C T"], from_hz: int, to_hz: int, num_samples: int | None = None
) -> Float[Tensor, "C T2"]:
    """Bring a waveform to another sample rate.

    Args:
        waveform: finite samples. No gradient flows through.
        from_hz: its rate, above 0.
        to_hz: the rate wanted, above 0.
        num_samples: the length wanted, to which the end is cut or padded with zeros; None for `ceil(T * to_hz
            / from_hz)`.

    Shape:
        `[C, T] -> [C, T']` with T' = `num_samples`, or `ceil(T * to_hz / from_hz)`.

    Returns:
        A float32 waveform on the CPU. At equal rates the samples are the same, bit by bit.

    Raises:
        ValueError: a rate is not positive, or the waveform is not `[C, T]` or not finite.

    >>> resample(torch.zeros(2, 24_000), 24_000, 44_100).shape
    torch.Size([2, 44100])
    >>> resample(torch.zeros(1, 100), 24_000, 16_000).shape  # 66.7 samples: rounded up
    torch.Size([1, 67])
    """
    channels, samples = waveform.shape
    wanted = num_samples
    if wanted is None:
        wanted = frames_for(samples, sample_rate=from_hz, frame_rate=to_hz)
    if not waveform.isfinite().all():
        raise ValueError("waveform holds NaN or infinity")
    source = waveform.detach().cpu().to(torch.float32)
    if from_hz != to_hz and samples:
        source = torch.from_numpy(
            soxr.resample(source.T.contiguous().numpy(), from_hz, to_hz, quality="VHQ")
        ).T
    result = torch.zeros(channels, wanted)
    kept = min(wanted, source.shape[1])
    result[:, :kept] = source[:, :kept]
    return result


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
