"""Frames of the codec: a centred short-time Fourier transform at the frame rate, and its overlap-add.

In:  waveform [B, F*hop]. Out: spectrum [B, F, bins], complex; and back.

Conventions: frame t covers samples `t*hop .. (t+1)*hop` and its window is centred on them, reaching `margin`
samples further on each side. Outside the waveform there are zeros, so that any length has frames and
nothing is mirrored:

            |<- margin ->|<- hop ->|<- margin ->|
    frame 0  0 0 0 0 0 0  x x x x x x x x x x x x
    frame 1               |        x x x x x x x x x x x x |

Spectra are scaled so that a sine of amplitude 1 on a bin's centre has magnitude 1 there. The window is a
periodic Hann window for analysis and for synthesis; overlap-add divides by the sum of squared windows
(weighted least squares).

Source: Griffin & Lim, "Signal estimation from modified short-time Fourier transform", 1984, eq. 6.
"""

from functools import lru_cache

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn import functional as F

from hafm.tokens.codec.config import CodecConfig, Grid

__all__ = ["analyse", "analyse_padded", "overlap_add"]


def analyse(waveform: Float[Tensor, "B T"], config: CodecConfig | Grid) -> Complex[Tensor, "B F bins"]:
    """The spectrum of every frame of a waveform.

    Args:
        waveform: [B, T]; T need not be whole frames, the rest of the last one is zeros.
        config: gives hop and window.

    Shape:
        [B, T] -> [B, ceil(T / hop), bins]

    >>> analyse(torch.zeros(1, 321), CodecConfig()).shape
    torch.Size([1, 2, 641])
    """
    samples = waveform.shape[-1]
    missing = -samples % config.hop_samples
    return analyse_padded(F.pad(waveform, (config.margin_samples, config.margin_samples + missing)), config)


def analyse_padded(waveform: Float[Tensor, "B T"], config: CodecConfig | Grid) -> Complex[Tensor, "B F bins"]:
    """Like `analyse`, for a waveform that brings `margin_samples` of true sound (or zeros) on each side.

    Shape:
        [B, F*hop + 2*margin] -> [B, F, bins]

    >>> analyse_padded(torch.zeros(2, 10 * 320 + 960), CodecConfig()).shape
    torch.Size([2, 10, 641])
    """
    window = _window(config, waveform)
    frames = waveform.unfold(-1, config.window_samples, config.hop_samples)
    # A sine of amplitude 1 has half its energy at negative frequencies: its peak is sum(window) / 2.
    spectrum: Tensor = torch.fft.rfft(frames * (window * (2 / window.sum())))
    return spectrum


def overlap_add(spectrum: Complex[Tensor, "B F bins"], config: CodecConfig | Grid) -> Float[Tensor, "B T"]:
    """The waveform whose spectrum is nearest (in squares) to the one given.

    Shape:
        [B, F, bins] -> [B, F*hop]

    >>> sound = torch.rand(1, 960)
    >>> torch.allclose(overlap_add(analyse(sound, CodecConfig()), CodecConfig()), sound, atol=1e-5)
    True
    """
    num_frames = spectrum.shape[1]
    window = _window(config, spectrum.real)
    frames = torch.fft.irfft(spectrum, n=config.window_samples).mul_(window * (window.sum() / 2))
    total = _add_frames(frames, config)
    kept = slice(config.margin_samples, config.margin_samples + num_frames * config.hop_samples)
    # Inside its own hop a window is at its widest, so the weight there is never near zero.
    return total[:, kept].div_(_weight(config, num_frames, window.dtype, window.device)[:, kept])


@lru_cache(maxsize=2)
def _weight(
    config: CodecConfig | Grid, num_frames: int, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "1 T"]:
    """The sum of the squared windows of that many frames, which is the same in every iteration."""
    with torch.inference_mode(mode=False):  # made while generating, it serves in training, too
        window = torch.hann_window(config.window_samples, dtype=dtype, device=device)
        return _add_frames(window.square().expand(1, num_frames, -1), config)


def _add_frames(frames: Float[Tensor, "B F window"], config: CodecConfig | Grid) -> Float[Tensor, "B T"]:
    """Frames laid `hop` apart and added: R = window / hop shifted copies, each cut into whole hops."""
    batch, num_frames, _ = frames.shape
    hops = config.window_samples // config.hop_samples
    pieces = frames.reshape(batch, num_frames, hops, config.hop_samples)
    total = frames.new_zeros(batch, num_frames + hops - 1, config.hop_samples)
    for shift in range(hops):
        total[:, shift : shift + num_frames] += pieces[:, :, shift]
    return total.flatten(1)


def _window(config: CodecConfig | Grid, like: Tensor) -> Float[Tensor, " N"]:
    return torch.hann_window(config.window_samples, dtype=like.dtype, device=like.device)
