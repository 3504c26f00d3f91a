"""The level of singing or playing, whatever the pauses around it: active RMS, and setting it.

In:  waveforms `[B, T]` at any level. Out: their active RMS, or the same waveforms brought to one.

Convention: a frame of 20 ms is *active* when its mean square is within 30 dB of the loudest frame's. The
level is the root of the mean square over active frames. So it does not move when silence is added or cut, it
scales exactly with the gain (`active_rms(g * x) = g * active_rms(x)`), and what is derived from the levelled
sound does not depend on the recording's level.

Source: the gating idea of ITU-R BS.1770-4, without its weighting filter: only consistency matters here, and
the measure has to work on half a second of sound and on any device.
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["active_rms", "set_active_rms"]

FRAME_SECONDS_INVERSE = 50
GATE_POWER = 1e-3  # -30 dB
SILENCE_RMS = 1e-5  # -100 dBFS: dither, not music; it is not amplified any further.


def active_rms(waveform: Float[Tensor, "B T"], *, sample_rate: int) -> Float[Tensor, " B"]:
    """Root mean square over the frames that are within 30 dB of the loudest one.

    Args:
        waveform: one sound per row, at least one sample.
        sample_rate: in hertz.

    Shape: `[B, T] -> [B]`

    Returns:
        The level, full scale = 1; 0 for digital silence.

    >>> import torch
    >>> sound = torch.full((1, 24_000), 0.5)
    >>> active_rms(torch.cat([sound, torch.zeros(1, 48_000)], dim=1), sample_rate=24_000)
    tensor([0.5000])
    """
    num_rows, num_samples = waveform.shape
    frame = max(1, sample_rate // FRAME_SECONDS_INVERSE)
    whole = pad(waveform, (0, -num_samples % frame))
    power = whole.view(num_rows, -1, frame).square().mean(dim=2)
    active = power >= GATE_POWER * power.amax(dim=1, keepdim=True)
    return ((power * active).sum(dim=1) / active.sum(dim=1)).sqrt()


def set_active_rms(waveform: Float[Tensor, "B T"], rms: float, *, sample_rate: int) -> Float[Tensor, "B T"]:
    """The waveforms with their active RMS set to `rms`.

    Args:
        waveform: one sound per row.
        rms: the level wanted, full scale = 1, above 0.
        sample_rate: in hertz.

    Shape: `[B, T] -> [B, T]`

    Returns:
        A scaled copy; digital silence stays silence, and below -100 dBFS nothing is raised to `rms`.

    >>> import torch
    >>> set_active_rms(torch.full((1, 960), 0.5), 0.125, sample_rate=24_000)[0, :2]
    tensor([0.1250, 0.1250])
    """
    if rms <= 0:
        raise ValueError(f"rms must be above 0, got {rms}")
    level = active_rms(waveform, sample_rate=sample_rate).clamp_min(SILENCE_RMS)
    return waveform * (rms / level)[:, None]
