"""The pitch of one voice, every 32 ms.

In: a waveform `[T]`. Out: a `PitchCurve`: where somebody sings, how high.

    8 kHz, frames of 64 ms, every 32 ms
      |  normalised autocorrelation, behind its first zero: 1 for a periodic sound
    the first peak that is nearly as high as the highest: the period, and not two of them
      |  a parabola through its three points
    hertz, 0 where the frame has no clear period or is 40 dB below the loudest

Source: McLeod and Wyvill, "A smarter way to find pitch" (ICMC 2005): the normalisation, and the choice of a
peak by `_NEARLY` (their k).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.resample import resample

__all__ = ["PitchCurve", "level_of", "normalised_autocorrelation", "pitch_curve", "pitch_frames"]

PITCH_RATE_HZ = 8_000
_FRAME, _HOP = 512, 256
_LAGS = (8, 120)  # 1,000 to 67 Hz
_NEARLY = 0.9
_CLEAR = 0.6
_HEARD_BELOW_LOUD_DB = 40.0
_FRAMES_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class PitchCurve:
    """A voice's pitch over time.

    Args:
        start_seconds: the middle of the first frame.
        hertz: of each frame; 0 where there is no pitch.
    """

    hop_seconds: float
    start_seconds: float
    hertz: Float[Tensor, " F"]


def pitch_curve(mono: Float[Tensor, " T"], sample_rate: int) -> PitchCurve:
    """The pitch of one voice.

    Args:
        mono: its waveform, offset removed.
        sample_rate: in hertz.

    >>> time = torch.arange(48_000) / 24_000
    >>> pitch_curve(torch.sin(2 * torch.pi * 220 * time), 24_000).hertz.median().round()
    tensor(220.)
    """
    frames = pitch_frames(mono, sample_rate)
    hertz = torch.cat([_pitch(part) for part in frames.split(_FRAMES_AT_ONCE)])
    level = level_of(frames)
    if len(level):
        hertz = torch.where(level > level.max() - _HEARD_BELOW_LOUD_DB, hertz, 0.0)
    return PitchCurve(hop_seconds=_HOP / PITCH_RATE_HZ, start_seconds=_FRAME / 2 / PITCH_RATE_HZ, hertz=hertz)


def pitch_frames(mono: Float[Tensor, " T"], sample_rate: int) -> Float[Tensor, "F N"]:
    """Frames of 64 ms at 8 kHz, every 32 ms; none of a sound that is shorter than one."""
    low = resample(mono[None], sample_rate, PITCH_RATE_HZ)[0]
    return low.new_zeros(0, _FRAME) if len(low) < _FRAME else low.unfold(0, _FRAME, _HOP)


def level_of(frames: Float[Tensor, "F N"]) -> Float[Tensor, " F"]:
    """In dBFS."""
    return 10 * torch.log10(frames.square().mean(dim=1).clamp_min(1e-12))


def normalised_autocorrelation(frames: Float[Tensor, "F N"]) -> Float[Tensor, "F N"]:
    """By lag: at most 1; 0 before its first zero, and at lags of no voice."""
    N = frames.shape[1]
    if not len(frames):
        return frames
    spectrum = torch.fft.rfft(frames, n=2 * N)
    correlation = torch.fft.irfft(spectrum.abs().square(), n=2 * N)[:, :N]
    energy = frames.square().cumsum(dim=1)
    total = energy[:, -1:]
    # Of the two stretches that a lag compares: all but the last, and all but the first samples.
    kept = torch.cat([total, energy[:, :-1].flip(1)], dim=1) + torch.cat(
        [total, total - energy[:, :-1]], dim=1
    )
    normalised = 2 * correlation / kept.clamp_min(1e-9)
    behind_zero = (normalised < 0).cumsum(dim=1) > 0
    lag = torch.arange(N)
    usable = behind_zero & (lag >= _LAGS[0]) & (lag <= _LAGS[1])
    return torch.where(usable, normalised, 0.0)


def _pitch(frames: Float[Tensor, "F N"]) -> Float[Tensor, " F"]:
    heights = normalised_autocorrelation(frames)
    before, here, after = heights[:, :-2], heights[:, 1:-1], heights[:, 2:]
    best = heights.amax(dim=1, keepdim=True)
    is_peak = (here >= before) & (here > after) & (here >= _NEARLY * best) & (here > 0)
    first = is_peak.int().argmax(dim=1, keepdim=True)
    a, b, c = (part.gather(1, first)[:, 0] for part in (before, here, after))
    bend = a - 2 * b + c
    shift = torch.where(bend.abs() > 1e-6, 0.5 * (a - c) / bend, 0.0).clamp(-0.5, 0.5)
    lag = first[:, 0] + 1 + shift
    is_clear = is_peak.any(dim=1) & (b > _CLEAR)
    return torch.where(is_clear, PITCH_RATE_HZ / lag, 0.0)
