"""Peaks between the samples: what a converter or a lossy encoder will make of a waveform.

In: a waveform `[C, T]`. Out: the same at four times the rate, or its highest peak in dBTP.

A waveform whose samples all lie under full scale can still go over it between them. BS.1770 (annex 2)
measures that at four times the rate. Phase p of sample t is the waveform at time t + p/4:

    time      t          t+1/4      t+1/2      t+3/4      t+1
    phase     0 (as is)  1          2          3          0 of t+1

The standard's short filter (12 samples a phase) falls off towards the Nyquist frequency. Here the waveform is
interpolated by FFT, block by block, which loses nothing up to there. A block sees 1024 samples more on each
side, faded out, so that its ends leave next to no trace in it. Outside the waveform there is silence.
"""

import functools
import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["OVERSAMPLING", "oversampled_blocks", "true_peak_dbtp"]

OVERSAMPLING = 4

_BLOCK_SAMPLES = (1 << 15) - 2048
_MARGIN_SAMPLES = 1024


def true_peak_dbtp(waveform: Float[Tensor, "C T"]) -> float | None:
    """The highest peak of the waveform at four times its rate.

    Args:
        waveform: finite samples.

    Returns:
        dBTP: 0 is full scale. None for a waveform that is zero throughout.

    >>> sine = torch.sin(torch.pi / 2 * torch.arange(2000) + torch.pi / 4)  # its samples miss its peaks
    >>> faded = torch.hann_window(2000) * sine[None]
    >>> round(float(faded.abs().max()), 3), round(true_peak_dbtp(faded), 2)
    (0.707, -0.0)
    """
    if not waveform.isfinite().all():
        raise ValueError("waveform holds NaN or infinity")
    peak = max((float(block.abs().max()) for _, block in oversampled_blocks(waveform)), default=0.0)
    return 20 * math.log10(peak) if peak > 0 else None


def oversampled_blocks(*waveforms: Float[Tensor, "_C T"]) -> Iterator[tuple[int, Float[Tensor, "C N P"]]]:
    """Waveforms at four times their rate, a block at a time, so that long ones need little memory.

    Args:
        waveforms: of one length; their channels follow each other.

    Yields:
        The first sample of the block, and `[C, N, 4]`: its N samples, four phases each. Phase 0 is the sample
        itself.

    >>> [(start, tuple(block.shape)) for start, block in oversampled_blocks(torch.zeros(2, 40_000))]
    [(0, (2, 30720, 4)), (30720, (2, 9280, 4))]
    """
    channels, samples = sum(len(each) for each in waveforms), waveforms[0].shape[1]
    padded = torch.zeros(channels, _BLOCK_SAMPLES + 2 * _MARGIN_SAMPLES)
    for start in range(0, samples, _BLOCK_SAMPLES):
        stop = min(start + _BLOCK_SAMPLES, samples)
        first, last = max(0, start - _MARGIN_SAMPLES), min(samples, stop + _MARGIN_SAMPLES)
        offset = first - (start - _MARGIN_SAMPLES)
        padded.zero_()
        padded[:, offset : offset + last - first] = torch.cat([each[:, first:last] for each in waveforms])
        # The fade only matters where the margin holds samples; it is silent elsewhere already.
        block = _interpolated(padded * _fade())[:, _MARGIN_SAMPLES : _MARGIN_SAMPLES + stop - start]
        block[:, :, 0] = torch.cat([each[:, start:stop] for each in waveforms])
        yield start, block


def _interpolated(block: Float[Tensor, "C L"]) -> Float[Tensor, "C L P"]:
    channels, length = block.shape
    spectrum = torch.fft.rfft(block)
    spectrum[:, -1] *= 0.5  # the Nyquist bin holds both its signs, which now part
    finer: Tensor = torch.fft.irfft(spectrum * OVERSAMPLING, n=length * OVERSAMPLING)
    return finer.view(channels, length, OVERSAMPLING)


@functools.cache
def _fade() -> Float[Tensor, " L"]:
    """1 over the block, and half a cosine down to 0 over each margin."""
    rise = 0.5 - 0.5 * torch.cos(torch.pi * (torch.arange(_MARGIN_SAMPLES) + 0.5) / _MARGIN_SAMPLES)
    return torch.cat([rise, torch.ones(_BLOCK_SAMPLES), rise.flip(0)])
