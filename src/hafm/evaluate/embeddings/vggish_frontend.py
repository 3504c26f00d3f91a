"""The front end of VGGish: log-mel patches, exact to the published parameters.

In:  a mono waveform `[T]` at 16 kHz, full scale 1.0. Out: patches `[P, 96, 64]`, float32.

    frames     25 ms (400 samples) every 10 ms (160), from sample 0, none padded: 1 + floor((T - 400) / 160)
    window     periodic Hann, 0.5 - 0.5 cos(2 pi n / 400)
    spectrum   magnitude (not power) of a 512-point FFT, 257 bins
    mel        m(f) = 1127 ln(1 + f / 700); 64 triangles, straight on the mel axis, half overlapping, from
               125 to 7500 Hz, peak 1; the bin of 0 Hz counts nothing
    log        ln(mel + 0.01)
    patches    96 frames, one after the other without overlap (0.96 s); frames left over are dropped

So P patches need `(96 P - 1) 160 + 400` samples: 10 s give 10 patches. All of it is computed in float64, as
the published code does, and rounded to float32 at the end.

Not the mel filters of `hafm.tokens.spectrum`: those have a window centred on frames and sum powers, and they
give a band without a bin the nearest one.

Source: Hershey et al., "CNN architectures for large-scale audio classification" (2017), 3.1; the parameters
of the AudioSet release (`vggish_params.py` in tensorflow/models).
"""

import functools
import math

import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from hafm.evaluate.embeddings.base import require_sound

__all__ = [
    "NUM_BANDS",
    "PARAMETERS",
    "PATCH_FRAMES",
    "SAMPLE_RATE",
    "log_mel_patches",
    "num_patches",
    "vggish_mel_filters",
]

SAMPLE_RATE = 16_000
WINDOW_SAMPLES = 400
HOP_SAMPLES = 160
FFT_SIZE = 512
NUM_BANDS = 64
LOW_HZ, HIGH_HZ = 125.0, 7500.0
LOG_OFFSET = 0.01
PATCH_FRAMES = 96

PARAMETERS = {
    "sample_rate": SAMPLE_RATE,
    "window_samples": WINDOW_SAMPLES,
    "hop_samples": HOP_SAMPLES,
    "fft_size": FFT_SIZE,
    "num_bands": NUM_BANDS,
    "low_hz": LOW_HZ,
    "high_hz": HIGH_HZ,
    "log_offset": LOG_OFFSET,
    "patch_frames": PATCH_FRAMES,
}
"""What decides the patches, for fingerprints and manifests."""

_BLOCK_PATCHES = 16  # that many go through the FFT at a time, so a long sound needs no more memory


def num_patches(num_samples: int) -> int:
    """Patches of a sound.

    >>> num_patches(160_000), num_patches(15_600), num_patches(15_599)
    (10, 1, 0)
    """
    num_frames = max(0, 1 + (num_samples - WINDOW_SAMPLES) // HOP_SAMPLES)
    return num_frames // PATCH_FRAMES


def log_mel_patches(waveform: Float[Tensor, " T"]) -> Float32[Tensor, "P 96 64"]:
    """Log-mel patches of a sound at 16 kHz, of 15 600 samples (0.975 s) or more.

    Shape: `[T] -> [P, 96, 64]`, P = `num_patches(T)`

    >>> patches = log_mel_patches(torch.zeros(160_000))
    >>> patches.shape, round(float(patches.max()), 4)  # silence is ln 0.01
    (torch.Size([10, 96, 64]), -4.6052)
    """
    shortest = (PATCH_FRAMES - 1) * HOP_SAMPLES + WINDOW_SAMPLES
    require_sound(waveform, num_samples=shortest, sample_rate=SAMPLE_RATE, name="VGGish")
    count = num_patches(len(waveform))
    frames = waveform.unfold(0, WINDOW_SAMPLES, HOP_SAMPLES)[: count * PATCH_FRAMES]
    window = torch.hann_window(WINDOW_SAMPLES, periodic=True, dtype=torch.float64, device=waveform.device)
    filters = vggish_mel_filters().to(waveform.device)
    patches = torch.empty(count, PATCH_FRAMES, NUM_BANDS, device=waveform.device)
    for start in range(0, count, _BLOCK_PATCHES):
        stop = min(start + _BLOCK_PATCHES, count)
        block = frames[start * PATCH_FRAMES : stop * PATCH_FRAMES].double() * window
        mel = torch.fft.rfft(block, n=FFT_SIZE).abs() @ filters
        patches[start:stop] = (mel + LOG_OFFSET).log().float().view(-1, PATCH_FRAMES, NUM_BANDS)
    return patches


@functools.cache
def vggish_mel_filters() -> Float64[Tensor, "257 64"]:
    """Weights of the 257 bins in each of the 64 bands. Do not write into it: it is made once.

    >>> filters = vggish_mel_filters()
    >>> filters.shape, float(filters[0].abs().max())
    (torch.Size([257, 64]), 0.0)
    """
    bins = _mel(torch.linspace(0.0, SAMPLE_RATE / 2, FFT_SIZE // 2 + 1, dtype=torch.float64))[:, None]
    low, high = (1127.0 * math.log1p(hz / 700.0) for hz in (LOW_HZ, HIGH_HZ))
    edges = torch.linspace(low, high, NUM_BANDS + 2, dtype=torch.float64)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp_min(0.0)
    filters[0] = 0.0
    return filters


def _mel(hz: Float64[Tensor, " N"]) -> Float64[Tensor, " N"]:
    return 1127.0 * torch.log1p(hz / 700.0)
