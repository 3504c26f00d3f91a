"""How loud a sound is to the ear, in LUFS.

In: a waveform `[C, T]`. Out: its integrated loudness (ITU-R BS.1770-4: K-weighting, blocks of 0.4 s, gates at
-70 LUFS and at 10 LU under the mean of what is left), that of pyloudnorm to a billionth of a dB (a test). It
is measured here because pyloudnorm loads all of scipy.signal, a second and 80 MB, and takes 340 MB for ten
minutes. Here memory does not grow with the sound:

    samples   [  |        piece 0         ]            weighted by FFT; a piece begins with what the filters
                            [  |         piece 1  ]    still ring of, which is left away again
    blocks    [ 0.4 s ]                                every 0.1 s, each the sum of what pieces give to it
                [ 0.4 s ]

Two cases are outside the standard and are settled here. A sound shorter than one block has no loudness: its
level takes the place (the same formula without weighting and gates). A sound of which no block reaches -70
LUFS counts as silent: None, never minus infinity, so that no gain can become infinite.
"""

import math
from bisect import bisect_left, bisect_right
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from torch import Tensor

__all__ = ["integrated_lufs", "level_db", "normalise_loudness"]

_BLOCK_SECONDS = 0.4
_HOP = 0.25  # of a block
_OFFSET_LU = 0.691
_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0
_RING_SECONDS = 0.15
"""The high-pass rings for longer, but 280 dB under its beginning."""

Powers: TypeAlias = npt.NDArray[np.float64]
"""Mean squares of blocks `[N]`."""


def integrated_lufs(waveform: Float[Tensor, "C T"], sample_rate: int) -> float | None:
    """Integrated loudness.

    Args:
        waveform: finite samples, one or two channels.
        sample_rate: samples a second.

    Returns:
        LUFS; None for a sound that counts as silent. For a sound under 0.4 s, `level_db` on the same scale.

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
        loudness = level_db(waveform) - _OFFSET_LU if waveform.any() else -math.inf
    else:
        loudness = _gated(_block_powers(waveform.detach().cpu(), sample_rate))
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


def _gated(powers: Powers) -> float:
    """The mean of the blocks that pass both gates, in LUFS; minus infinity where none does."""
    gate_lufs = _ABSOLUTE_GATE_LUFS
    for _ in range(2):
        powers = powers[powers > 10 ** ((gate_lufs + _OFFSET_LU) / 10)]
        if not len(powers):
            return -math.inf
        loudness = 10 * math.log10(float(powers.mean())) - _OFFSET_LU
        gate_lufs = loudness + _RELATIVE_GATE_LU
    return loudness


def _block_powers(waveform: Float[Tensor, "C T"], sample_rate: int) -> Powers:
    """Mean square of every block behind the K-weighting, all channels together."""
    C, T = waveform.shape
    # The roundings of pyloudnorm: other ones move a block by a sample now and then.
    num_blocks = round((T / sample_rate - _BLOCK_SECONDS) / (_BLOCK_SECONDS * _HOP)) + 1
    starts, stops = (
        [int(_BLOCK_SECONDS * (number * _HOP + end) * sample_rate) for number in range(num_blocks)]
        for end in (0, 1)
    )
    powers = np.zeros(num_blocks)
    ring = math.ceil(_RING_SECONDS * sample_rate)
    size = 1 << (4 * ring).bit_length()
    weighting = _k_weighting(size, sample_rate)
    piece = np.zeros((C, size))
    for first in range(0, T, size - ring):
        new = waveform[:, first : first + size - ring].numpy()
        last = first + new.shape[1]
        piece[:, :ring] = piece[:, -ring:]
        piece[:, ring : ring + new.shape[1]] = new
        piece[:, ring + new.shape[1] :] = 0
        weighted = np.fft.irfft(np.fft.rfft(piece) * weighting)[:, ring:]
        squares = np.square(weighted).sum(0)
        for number in range(bisect_right(stops, first), bisect_left(starts, last)):
            powers[number] += squares[max(starts[number] - first, 0) : min(stops[number], last) - first].sum()
    return powers / (_BLOCK_SECONDS * sample_rate)


def _k_weighting(size: int, sample_rate: int) -> npt.NDArray[np.complex128]:
    """What the two filters do to each frequency of a transform of that size.

    A shelf of 4 dB from 1.5 kHz on, for the head, and a high-pass at 38 Hz. The standard prints coefficients
    for 48 kHz only; these are for any rate, as pyloudnorm has them.

    Source: R. Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients".
    """

    def response(
        up: tuple[float, float, float], down: tuple[float, float, float]
    ) -> npt.NDArray[np.complex128]:
        above, below = ((c * delay + b) * delay + a for a, b, c in (up, down))
        return np.asarray(above / below)

    def angle(frequency_hz: float, quality: float) -> tuple[float, float]:
        radians = 2 * math.pi * frequency_hz / sample_rate
        return math.cos(radians), math.sin(radians) / (2 * quality)

    delay = np.exp(-2j * math.pi / size * np.arange(size // 2 + 1))  # of one sample
    gain = 10 ** (4.0 / 40)
    cosine, alpha = angle(1500.0, 1 / math.sqrt(2))
    more, less, slope = gain + 1, gain - 1, 2 * math.sqrt(gain) * alpha
    shelf = response(
        (
            gain * (more + less * cosine + slope),
            -2 * gain * (less + more * cosine),
            gain * (more + less * cosine - slope),
        ),
        (more - less * cosine + slope, 2 * (less - more * cosine), more - less * cosine - slope),
    )
    cosine, alpha = angle(38.0, 0.5)
    half = (1 + cosine) / 2
    return shelf * response((half, -2 * half, half), (1 + alpha, -2 * cosine, 1 - alpha))
