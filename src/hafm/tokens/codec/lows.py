"""The second version's synthesis: lows from long windows, texture for what has no steady phase.

In:  levels and directions of the short and of the long window. Out: waveform.

A 53 ms window cannot separate two bass notes: their partials share bins, beat, and need codes that change
with every frame. A 160 ms window sees them apart, with steady magnitudes and advances, so below about 550 Hz
the sound is made on that grid first, at a tenth of the sample rate. The short window then only adds what lies
above:

    long level, advance -> accumulate -> make consistent (2.4 kHz) -> low sound -> analyse ------+
    short level, direction -> accumulate, texture -> make consistent, the low bins held to it <--+-> waveform

*Texture.* A direction is trained as the mean of the unit vectors that it represents, so its length says how
sure the advance is: near 1 in a partial, about .6 in a cymbal (windows overlap, so that even the phase of
noise turns predictably). Where it is short, the running phase gives way to the spectrum of a fixed noise,
whose magnitudes scatter as those of real noise do; smooth magnitudes there would sound like a vocoder. The
noise repeats every `TEXTURE_FRAMES` frames and is laid by absolute frame, so decoding stays deterministic.

*Envelope.* Long windows smear attacks. The short window's levels say how loud the lows are in each frame, and
the low sound is moved towards that.

Source: "sines plus noise", Serra & Smith, "Spectral modeling synthesis", 1990.
"""

import math
from functools import cache

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from hafm.tokens.codec.config import CodecConfig, Grid
from hafm.tokens.codec.phase import TINY, iterate, with_magnitude
from hafm.tokens.codec.stft import analyse, analyse_padded, overlap_add

__all__ = ["centred_start", "join_lows", "low_sound", "textured"]

TEXTURE_FRAMES = 512
TYPICAL_NOISE = 0.86
"""Magnitude that training finds for noise of RMS 1: between the median (.83) and the mean (.89)."""
MOST_ENVELOPE_GAIN, LEAST_ENVELOPE_GAIN = 2.0, 0.125


def centred_start(num_bins: int, batch: int, device: torch.device) -> Float[Tensor, "B bins"]:
    """Phases before the first frame: of a pulse in the middle of its window, where neighbours differ by pi.

    >>> centred_start(3, 1, torch.device("cpu"))
    tensor([[0.0000, 3.1416, 0.0000]])
    """
    return (math.pi * (torch.arange(num_bins, device=device) % 2)).expand(batch, -1).float()


def low_sound(
    magnitude: Float[Tensor, "B F lows"], phase: Float[Tensor, "B F lows"], config: CodecConfig
) -> Float[Tensor, "B T"]:
    """Sound at the full rate from the long window's magnitudes and running phases."""
    assert config.lows is not None

    spectrum = iterate(
        torch.polar(magnitude, phase.to(magnitude.dtype)),
        config.decimated_grid,
        iterations=config.lows.phase_iterations,
        momentum=config.phase_momentum,
        keep=lambda aimed: with_magnitude(aimed, magnitude),
    )
    return overlap_add(spectrum, config.low_grid)


def textured(
    magnitude: Float[Tensor, "B F bins"],
    phase: Float[Tensor, "B F bins"],
    tonality: Float[Tensor, "B F bins"],
    first_frame: int,
    config: CodecConfig,
) -> Complex[Tensor, "B F bins"]:
    """Magnitudes with the running phase where that is sure, and those of noise where it is not.

    Args:
        magnitude, phase: of the short window.
        tonality: length of the predicted direction, 0 to 1 (more counts as 1).
        first_frame: number of the first frame in the whole sound.
        config: says how much of a bin is tone, by its tonality.
    """
    assert config.lows is not None
    noise_below, tone_above = config.lows.noise_tonality, config.lows.tone_tonality
    tone = ((tonality - noise_below) / (tone_above - noise_below)).clamp(0.0, 1.0)
    steady = torch.polar(magnitude, phase.to(magnitude.dtype))
    frames = (torch.arange(magnitude.shape[1]) + first_frame) % TEXTURE_FRAMES
    noise = _texture(config.hop_samples, config.window_samples)[frames].to(magnitude.device)
    return tone * steady + (1 - tone.square()).sqrt() * magnitude * noise


def join_lows(
    spectrum: Complex[Tensor, "B F bins"], low: Float[Tensor, "B T"], config: CodecConfig
) -> Float[Tensor, "B T"]:
    """The waveform of a short-window spectrum whose low bins are replaced by those of the low sound."""
    lows = config.lows
    assert lows is not None
    low_spectrum = analyse(low, config)
    below = slice(0, lows.crossover_low_bin)
    magnitude = spectrum.abs()
    wanted, found = (m[..., below].square().sum(-1, keepdim=True) for m in (magnitude, low_spectrum.abs()))
    gain = (wanted.clamp_min(TINY) / found.clamp_min(TINY)).pow(lows.envelope_share / 2)
    low_spectrum = low_spectrum * gain.clamp(LEAST_ENVELOPE_GAIN, MOST_ENVELOPE_GAIN)
    bins = torch.arange(config.num_bins, device=low.device)
    width = lows.crossover_high_bin - lows.crossover_low_bin
    share = ((lows.crossover_high_bin - bins) / width).clamp(0, 1)

    shared = slice(0, lows.crossover_high_bin)  # above, the share is 0

    def with_lows(aimed: Tensor) -> Tensor:
        kept = with_magnitude(aimed, magnitude)
        kept[..., shared] += share[shared] * (low_spectrum[..., shared] - kept[..., shared])
        return kept

    # The crossover starts from the low sound's phases.
    start = torch.where(share > 0, torch.polar(magnitude, low_spectrum.angle()), spectrum)
    result = iterate(
        start + share * (low_spectrum - start),
        config,
        iterations=config.phase_iterations,
        momentum=config.phase_momentum,
        keep=with_lows,
    )
    return overlap_add(result, config)


@cache
def _texture(hop_samples: int, window_samples: int) -> Complex[Tensor, "frames bins"]:
    """The spectrum of noise whose beginning follows its end, at a typical magnitude of 1."""
    grid = Grid(hop_samples=hop_samples, window_samples=window_samples)
    noise = torch.randn(TEXTURE_FRAMES * hop_samples, generator=torch.Generator().manual_seed(0))
    margin = grid.margin_samples
    spectrum = analyse_padded(torch.cat((noise[-margin:], noise, noise[:margin]))[None], grid)[0]
    rms = spectrum[:, 1:-1].abs().square().mean().sqrt()
    return spectrum / (rms * TYPICAL_NOISE)
