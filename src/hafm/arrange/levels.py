"""How loud a part plays.

In: a waveform. Out: the gain that brings it to a level. Presets differ in loudness by 20 dB and more, so
parts are levelled by what they sound like.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["gain_to"]


def gain_to(level_db: float, waveform: NDArray[np.float32], sample_rate: int) -> np.float32:
    """Gain that brings the sounding part of a waveform to a level: stretches of 50 ms within 40 dB of the
    loudest.

    Args:
        level_db: RMS, in dB full scale.
        waveform: Shape [T], or [C, T], whose power is the mean of its channels'.
        sample_rate: in hertz.

    >>> tone = np.sin(np.arange(24_000) / 10).astype(np.float32)
    >>> both = np.concatenate([tone, np.zeros(48_000, np.float32)])
    >>> bool(np.isclose(gain_to(-20.0, tone, 24_000), gain_to(-20.0, both, 24_000), rtol=1e-2))
    True
    """
    stretch = sample_rate // 20
    whole = np.atleast_2d(waveform)[:, : waveform.shape[-1] // stretch * stretch]
    stretches = whole.reshape(len(whole), -1, stretch)
    power = np.einsum("cnt,cnt->n", stretches, stretches).astype(np.float64) / (len(whole) * stretch)
    loudest = power.max(initial=0.0)
    if loudest < 1e-12:
        return np.float32(0.0)
    return np.float32(10 ** (level_db / 20) / np.sqrt(power[power > 1e-4 * loudest].mean()))
