"""Power spectra of windows centred on frames, and the filters that sum them into mel bands.

In:  waveforms `[B, T]` at `sample_rate`. Out: band powers `[B, F, N]`, `F = ceil(T / hop)`.

Frame f covers samples `f*hop .. (f+1)*hop - 1`; every window, short or long, is centred on the middle of that
span:

    samples   |----hop----|----hop----|----hop----|----hop----|
    frame           0           1           2           3
    short                 [     o     ]
    long      [                 o                 ]         both describe frame 1

Outside the sound there are zeros. The window is a Hann window scaled so that a sine of amplitude 1 has power
1 in its bin, whatever the window's length: levels from windows of different lengths compare.

Memory: frames go through the FFT in blocks, and only what the filters keep is stored, so ten minutes of sound
need no more than a few megabytes above the result.
"""

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["band_powers", "mel_filters", "window_samples"]

BLOCK_FRAMES = 256


def band_powers(
    waveform: Float[Tensor, "B T"], filters: Float[Tensor, "bins N"], *, hop: int
) -> Float[Tensor, "B F N"]:
    """Power in each of N bands, a frame of `hop` samples at a time.

    Args:
        waveform: one sound per row, at least one sample.
        filters: weights of the lowest `bins` FFT bins per band; the window has `2 * (rows - 1)` samples where
            all bins are given (`mel_filters` and `semitone_filters` make them).
        hop: samples per frame.

    Shape: `[B, T] -> [B, ceil(T / hop), N]`

    >>> tone = torch.sin(2 * math.pi * 1500 / 24_000 * torch.arange(24_000))[None]
    >>> one_bin = torch.zeros(513, 1).index_fill(0, torch.tensor(64), 1.0)     # 1500 Hz = bin 64 of 1024
    >>> band_powers(tone, one_bin, hop=480)[0, 25].round(decimals=3)
    tensor([1.])
    """
    num_rows, num_samples = waveform.shape
    num_bins, num_bands = filters.shape
    size = 2 * (num_bins - 1)
    num_frames = math.ceil(num_samples / hop)
    # The first window starts (size - hop) / 2 before sample 0, the last one ends as far after the last frame.
    before = (size - hop) // 2
    padded = pad(waveform, (before, (num_frames - 1) * hop + size - before - num_samples))
    window = torch.hann_window(size, device=waveform.device)
    window = window * (2 / window.sum())
    # Bins above the highest band that has any weight never reach the result.
    used = filters.any(dim=1).nonzero()
    kept = int(used.max()) + 1 if len(used) else 1
    kernel = filters[:kept].contiguous()
    powers = waveform.new_empty(num_rows, num_frames, num_bands)
    windows = padded.unfold(1, size, hop)
    for start in range(0, num_frames, BLOCK_FRAMES):
        stop = min(start + BLOCK_FRAMES, num_frames)
        for row in range(num_rows):
            spectrum = torch.fft.rfft(windows[row, start:stop] * window)[:, :kept]
            powers[row, start:stop] = (spectrum.real.square() + spectrum.imag.square()) @ kernel
    return powers


def mel_filters(
    *, size: int, sample_rate: int, num_bands: int, low_hz: float, high_hz: float
) -> Float[Tensor, "bins N"]:
    """Triangles that overlap by half, evenly spaced on the mel scale `2595 log10(1 + f / 700)`.

    Args:
        size: samples in the window.
        sample_rate: in hertz.
        num_bands: N.
        low_hz: lower end of the lowest band.
        high_hz: upper end of the highest band, at most half the sample rate.

    Returns:
        `[size / 2 + 1, N]`, peak weight 1. A band narrower than a bin gets the bin nearest to its centre.

    Source: O'Shaughnessy's mel formula.

    >>> mel_filters(size=1024, sample_rate=24_000, num_bands=20, low_hz=60.0, high_hz=11e3).shape
    torch.Size([513, 20])
    """
    return _mel_filters(size, sample_rate, num_bands, low_hz, high_hz).clone()


@functools.lru_cache(maxsize=16)
def _mel_filters(
    size: int, sample_rate: int, num_bands: int, low_hz: float, high_hz: float
) -> Float[Tensor, "bins N"]:
    def mel(hz: Tensor) -> Tensor:
        return 2595 * torch.log10(1 + hz / 700)

    ends = mel(torch.tensor([low_hz, high_hz], dtype=torch.float64))
    edges = torch.linspace(float(ends[0]), float(ends[1]), num_bands + 2, dtype=torch.float64)
    bins = mel(torch.arange(size // 2 + 1, dtype=torch.float64) * sample_rate / size)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp_min(0)
    empty = (filters.sum(dim=0) == 0).nonzero().flatten()
    filters[(bins - edges[1:-1]).abs().argmin(dim=0)[empty], empty] = 1.0
    return filters.float()


def window_samples(seconds: float, sample_rate: int) -> int:
    """Samples of a window of about that many seconds, at any rate: the power of two nearest in octaves.

    >>> window_samples(8192 / 24_000, 24_000), window_samples(8192 / 24_000, 44_100)
    (8192, 16384)
    """
    return int(2 ** round(math.log2(seconds * sample_rate)))
