"""A look-ahead peak limiter: a gain that is down before the peak comes, and the length stays the same.

In: a waveform `[C, T]`. Out: a waveform `[C, T]` whose true peak is at most the ceiling. Channels share one
gain, so that the stereo image stays. What already lies under the ceiling comes back bit by bit.

The gain is made in decibels of reduction, in three steps, each over the whole signal at once:

    needed    |      #          |   what each sample asks for: 20 log10(peak / ceiling), or 0
    held      |   ####```---__  |   the most that is asked for within the look-ahead, before and after;
              |                 |   from there the reduction goes back at a steady rate
    smoothed  |  .:####```---__ |   a mean over a window that is no wider than the hold

Why it holds: around each peak, `held` is at least what the peak needs, over a stretch as wide as the
smoothing window. A mean of values that are all at least x is at least x, so the smoothed reduction at the
peak is enough, and there is no attack that comes late. The price is that half the window of sound before the
peak is turned down with it.

Source: the hold-and-smooth construction is common knowledge; the steady release as one running maximum is
ours: max over s <= t of (held[s] - rate * (t - s)) is a running maximum of held[s] + rate * s, less rate * t.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.true_peak import oversampled_blocks, true_peak_dbtp

__all__ = ["LOOKAHEAD_SECONDS", "RELEASE_DB_PER_SECOND", "limit_peaks", "smooth_reduction"]

LOOKAHEAD_SECONDS = 0.005
"""How long before a peak the gain begins to fall."""

RELEASE_DB_PER_SECOND = 40.0
"""How fast it comes back."""

_NEGLIGIBLE_DB = 1e-9  # what running sums leave behind where the reduction is zero
_NEAR_SAMPLES = 2  # a peak between samples belongs to both, and interpolation reaches a little further


def limit_peaks(
    waveform: Float[Tensor, "C T"], sample_rate: int, *, ceiling_dbtp: float = -1.0
) -> Float[Tensor, "C T"]:
    """Keep the true peak of a sound at or under a ceiling.

    Args:
        waveform: finite samples.
        sample_rate: samples a second.
        ceiling_dbtp: the ceiling, 0 or less.

    Shape:
        `[C, T] -> [C, T]`

    Returns:
        The limited sound; the same tensor if it lies under the ceiling already.

    Raises:
        ValueError: the waveform is not finite, or the ceiling is above 0.

    >>> loud = 2 * torch.sin(torch.arange(24_000) / 20)[None]
    >>> round(true_peak_dbtp(limit_peaks(loud, 24_000)), 2)
    -1.0
    >>> limit_peaks(0.1 * loud, 24_000).equal(0.1 * loud)
    True
    """
    if ceiling_dbtp > 0:
        raise ValueError(f"ceiling_dbtp must be 0 or less, got {ceiling_dbtp}")
    if not waveform.isfinite().all():
        raise ValueError("waveform holds NaN or infinity")
    ceiling = 10 ** (ceiling_dbtp / 20)
    needed_db = np.zeros(waveform.shape[1], dtype=np.float64)
    for start, block in oversampled_blocks(waveform):
        peaks = block.abs().amax(dim=(0, 2)).double().numpy()
        needed_db[start : start + len(peaks)] = 20 * np.log10(np.maximum(peaks / ceiling, 1.0))
    if not needed_db.any():
        return waveform
    gain = 10 ** (-smooth_reduction(needed_db, sample_rate) / 20)
    limited = waveform.detach().cpu() * torch.from_numpy(gain.astype(np.float32))
    return trim_to(limited, ceiling_dbtp)


def trim_to(waveform: Float[Tensor, "C T"], ceiling_dbtp: float) -> Float[Tensor, "C T"]:
    """Take off the last hundredths of a decibel: a gain that moves shifts the peaks between samples a little.

    >>> trim_to(torch.full((1, 9), 0.25), -1.0).max()
    tensor(0.2500)
    """
    peak = true_peak_dbtp(waveform)
    if peak is None or peak <= ceiling_dbtp:
        return waveform
    return waveform * 10 ** ((ceiling_dbtp - peak) / 20)


def smooth_reduction(needed_db: npt.NDArray[np.float64], sample_rate: int) -> npt.NDArray[np.float64]:
    """A smooth reduction that is at least what each sample needs.

    Args:
        needed_db: reduction that each sample needs, 0 or more.
        sample_rate: samples a second.

    Shape:
        `[T] -> [T]`

    Returns:
        Decibels of reduction, at least `needed_db`, at most its maximum, and exactly 0 where nothing is near.

    >>> needed = np.zeros(1000)
    >>> needed[500] = 6.0
    >>> reduction = smooth_reduction(needed, 8_000)
    >>> float(reduction[450]), round(float(reduction[500]), 6), round(float(reduction[600]), 1)
    (0.0, 6.0, 5.6)
    """
    from scipy.ndimage import maximum_filter1d, uniform_filter1d  # takes a third of a second

    # Two means over 2 * half + 1 samples, one after the other, reach 2 * half to each side. The hold reaches
    # as far, so the gain begins to fall 4 * half samples before a peak.
    half = max(1, math.ceil(LOOKAHEAD_SECONDS * sample_rate / 4))
    reach = 2 * half + _NEAR_SAMPLES
    held: npt.NDArray[np.float64] = maximum_filter1d(needed_db, 2 * reach + 1, mode="constant", cval=0.0)
    fall = RELEASE_DB_PER_SECOND / sample_rate * np.arange(len(held))
    held += fall  # in place from here on: ten minutes are many samples
    np.maximum.accumulate(held, out=held)
    held -= fall
    np.maximum(held, 0.0, out=held)
    for _ in range(2):
        held = uniform_filter1d(held, 2 * half + 1, mode="nearest")
    held[held < _NEGLIGIBLE_DB] = 0.0
    return np.maximum(held, needed_db)
