"""How loud a sound is to the ear, in LUFS.

In: a waveform `[C, T]`. Out: its integrated loudness (ITU-R BS.1770-4: K-weighting, blocks of 0.4 s, gates at
-70 LUFS and at 10 LU under the mean of what is left), through pyloudnorm.

Two cases are outside the standard and are settled here. A sound shorter than one block has no loudness: its
level takes the place (the same formula without weighting and gates). A sound of which no block reaches -70
LUFS counts as silent: None, never minus infinity, so that no gain can become infinite.
"""

import math

import pyloudnorm
from jaxtyping import Float
from torch import Tensor

__all__ = ["integrated_lufs", "level_db", "normalise_loudness"]

_BLOCK_SECONDS = 0.4
_ABSOLUTE_GATE_LUFS = -70.0


def integrated_lufs(waveform: Float[Tensor, "C T"], sample_rate: int) -> float | None:
    """Integrated loudness.

    Args:
        waveform: finite samples, one or two channels.
        sample_rate: samples a second.

    Returns:
        LUFS; None for a sound that counts as silent. For a sound under 0.4 s, `level_db` on the same scale.

    Raises:
        ValueError: the waveform is not finite.

    Source: ITU-R BS.1770-4, annex 1.

    >>> import torch
    >>> sine = torch.sin(2 * torch.pi * 997 * torch.arange(48_000) / 48_000)[None]
    >>> abs(integrated_lufs(sine, 48_000) - -3.01) < 0.1  # a full-scale sine: the standard's own example
    True
    >>> integrated_lufs(torch.zeros(1, 48_000), 48_000) is None
    True
    """
    if not waveform.isfinite().all():
        raise ValueError("waveform holds NaN or infinity")
    if waveform.shape[1] < math.ceil(_BLOCK_SECONDS * sample_rate):
        loudness = level_db(waveform) - 0.691 if waveform.any() else -math.inf
    else:
        meter = pyloudnorm.Meter(sample_rate, block_size=_BLOCK_SECONDS)
        loudness = float(meter.integrated_loudness(waveform.detach().cpu().double().T.numpy()))
    return loudness if loudness > _ABSOLUTE_GATE_LUFS else None


def level_db(waveform: Float[Tensor, "C T"]) -> float:
    """Power of all channels together, in dB against full scale: `10 log10(sum over C of mean(x^2))`.

    Args:
        waveform: finite samples, not all of them zero.

    Raises:
        ValueError: the waveform is all zero, which has no level.

    >>> import torch
    >>> round(level_db(torch.full((1, 100), 0.1)), 3)
    -20.0
    """
    power = float(waveform.double().square().mean(dim=-1).sum())
    if power == 0:
        raise ValueError("a waveform of zeros has no level")
    return 10 * math.log10(power)


def normalise_loudness(
    waveform: Float[Tensor, "C T"], sample_rate: int, target_lufs: float
) -> tuple[Float[Tensor, "C T"], float]:
    """Bring a sound to a loudness by one constant gain. Peaks are not looked at.

    Args:
        waveform: finite samples, one or two channels.
        sample_rate: samples a second.
        target_lufs: the loudness wanted.

    Returns:
        The waveform and the gain in dB. A sound that counts as silent comes back as it is, with a gain of 0
        dB.

    >>> import torch
    >>> quiet = 0.01 * torch.sin(2 * torch.pi * 997 * torch.arange(48_000) / 48_000)[None]
    >>> louder, gain_db = normalise_loudness(quiet, 48_000, -23.0)
    >>> 19.9 < gain_db < 20.2, round(integrated_lufs(louder, 48_000), 3)
    (True, -23.0)
    """
    loudness = integrated_lufs(waveform, sample_rate)
    if loudness is None:
        return waveform, 0.0
    gain_db = target_lufs - loudness
    return waveform * 10 ** (gain_db / 20), gain_db
