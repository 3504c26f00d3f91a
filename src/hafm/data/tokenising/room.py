"""A room: the reverberation that a recording, or a mix, has.

In: a waveform `[T]` at 24 kHz. Out: the same with the room's answer, same length.

Source: noise that decays exponentially, by 60 dB in the room's reverberation time (Moorer, 1979).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

__all__ = ["SAMPLE_RATE", "reverberate", "room_response"]

SAMPLE_RATE = 24_000

_DECAY_60_DB = np.log(1000.0)


def room_response(reverb_seconds: float, seed: int) -> NDArray[np.float32]:
    """Impulse response of a room: exponentially decaying noise of unit energy.

    Args:
        reverb_seconds: in which the room decays by 60 dB, above 0.
        seed: which room.

    Returns:
        Shape [reverb_seconds * 24000], at least one sample.

    >>> response = room_response(0.5, seed=1)
    >>> response.shape, round(float((response**2).sum()), 4)
    ((12000,), 1.0)
    """
    num_samples = max(1, round(reverb_seconds * SAMPLE_RATE))
    noise = np.random.default_rng(seed).standard_normal(num_samples)
    response = noise * np.exp(-_DECAY_60_DB * np.arange(num_samples) / num_samples)
    return np.asarray(response / np.sqrt(np.sum(response**2)), dtype=np.float32)


def reverberate(waveform: NDArray[np.float32], response: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convolve, keeping the length.

    Shape: `[T], [R] -> [T]`

    >>> reverberate(np.ones(4, np.float32), np.array([1.0, 0.5], np.float32)).round(3)
    array([1. , 1.5, 1.5, 1.5], dtype=float32)
    """
    return np.asarray(oaconvolve(waveform, response)[: len(waveform)], dtype=np.float32)
