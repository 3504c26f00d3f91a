"""Beat time: a sound sampled in step with a tempo, and what is heard there brought back to the clock.

In:  features `[F, D]` at 50 Hz, a tempo. Out: samples `[S, D]`, 24 per beat; later, of what the network says
of the ticks (12 per beat), the chance of a beat at each of them, and values at any rate.

A tick's word about the beat is a distribution over how many ticks ago it began. Moved by as many ticks as lie
between, the words of all ticks are about one thing, the phase of the beat:

    tick            0    1    2    3    4
    says: ago       2    3    4    5    6     all say the same: tick 10 begins a beat
    phase           2    2    2    2    2

so `beginnings` takes the mean of their log-probabilities over some beats around each tick, which lets the
tempo drift, sharpens it (neighbours say nearly the same, but not quite), and reads off the chance of phase 0.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from hafm.guide.network import SAMPLES_PER_TICK, TICKS_PER_BEAT
from hafm.rates import SEMANTIC_RATE

__all__ = ["at_rate", "beginnings", "log_softmax", "sample_ticks", "smoothed", "tick_seconds"]

Floats = NDArray[np.floating]

_RATE = float(SEMANTIC_RATE)
_REACH_BEATS, _REACH_BARS = 4, 2
_SHARPNESS = 2.0
_NUMBERS_AT_ONCE = 1 << 14  # of float64: what they are added up in stays in a processor's cache


def tick_seconds(bpm: float, duration_seconds: float) -> Float[np.ndarray, " N"]:
    """When the ticks of a tempo are, the first at 0; whole beats, so that the last may lie past the end.

    >>> tick_seconds(120.0, 0.9).round(3)[[0, 1, -1]].tolist()
    [0.0, 0.042, 0.958]
    """
    beats = max(1, int(np.ceil(duration_seconds * bpm / 60)))
    return np.arange(beats * TICKS_PER_BEAT) * (60 / bpm / TICKS_PER_BEAT)


def sample_ticks(
    features: Float[np.ndarray, "F D"], seconds: Float[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, "S D"], Bool[np.ndarray, " S"]]:
    """Features at the ticks and half-way to the next, and which of these lie inside the sound.

    Args:
        features: at 50 Hz; frame f is centred on (f + 1/2) / 50 s.
        seconds: of the ticks, rising, two or more.
    """
    halves = np.append(np.diff(seconds), seconds[-1] - seconds[-2]) / SAMPLES_PER_TICK
    times = np.stack([seconds, seconds + halves], axis=1).ravel()
    last = len(features) - 1
    inside = (times >= 0) & (times < len(features) / _RATE)
    frames = (times * _RATE - 0.5).clip(0, last)
    before = np.minimum(frames.astype(int), max(0, last - 1))
    after = np.minimum(before + 1, last)
    part = (frames - before)[:, None].astype(np.float32)
    values = features[before] * (1 - part) + features[after] * part
    return values.astype(np.float32), inside


def beginnings(logits: Float[np.ndarray, "N P"]) -> Float[np.ndarray, " N"]:
    """The chance that a beat, or a bar, begins at each tick.

    Args:
        logits: how many ticks ago it began; P is how many it lasts.
    """
    phases = log_softmax(_SHARPNESS * _pooled(logits))
    ticks = np.arange(len(logits))
    return np.asarray(np.exp(phases[ticks, -ticks % logits.shape[1]]))


def at_rate(values: Floats, seconds: Float[np.ndarray, " N"], *, size: int, rate: float) -> Floats:
    """Values of ticks at the centres of frames, by interpolation. Shape: [N, ...] -> [size, ...].

    Args:
        size, rate: of the frames: how many, and how many per second.
    """
    places = np.interp((np.arange(size) + 0.5) / rate, seconds, np.arange(len(seconds)))
    before = places.astype(int)
    after = np.minimum(before + 1, len(seconds) - 1)
    part = (places - before).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(values[before] * (1 - part) + values[after] * part)


def _pooled(logits: Float[np.ndarray, "N P"]) -> Float[np.ndarray, "N P"]:
    """Mean log-probability of each phase, of tick 0 as it were, over the beats around each tick."""
    num_ticks, period = logits.shape
    ticks = np.arange(num_ticks)[:, None]
    aligned = log_softmax(logits.astype(np.float64))[ticks, (np.arange(period) + ticks) % period]
    reach = max(_REACH_BEATS * TICKS_PER_BEAT, _REACH_BARS * period * (period > TICKS_PER_BEAT))
    window = np.hanning(2 * reach + 1)[1:-1]
    weight = smoothed(np.ones((num_ticks, 1)), window)
    return np.asarray(smoothed(aligned, window) / weight)


def smoothed(values: Float[np.ndarray, "N P"], window: Float[np.ndarray, " W"]) -> Float[np.ndarray, "N P"]:
    """Each column weighted by a symmetric window around each row, with zeros beyond the ends.

    It is `scipy.ndimage.convolve1d(values, window, axis=0, mode="constant")`, bit by bit where that was
    compiled without fused products. Its import takes as long as all else that the analyser does with 10 s.

    Args:
        window: odd in length, and the same from both ends.

    >>> smoothed(np.array([[1.0], [0.0], [0.0], [4.0]]), np.array([0.5, 1.0, 0.5])).ravel().tolist()
    [1.0, 0.5, 2.0, 4.0]
    """
    (num_rows, columns), reach = values.shape, len(window) // 2
    padded = np.pad(values.astype(np.float64), ((reach, reach), (0, 0)))
    out = np.empty((num_rows, columns))
    rows_at_once = max(1, _NUMBERS_AT_ONCE // columns)
    for first in range(0, num_rows, rows_at_once):
        total = out[first : first + rows_at_once]
        centre = first + reach
        np.multiply(padded[centre : centre + len(total)], window[reach], out=total)
        both = np.empty_like(total)
        for away in range(reach, 0, -1):
            before, after = centre - away, centre + away
            np.add(padded[before : before + len(total)], padded[after : after + len(total)], out=both)
            both *= window[reach - away]
            total += both
    return out


def log_softmax(logits: Floats) -> Floats:
    """Logits as logs of chances, along the last axis."""
    shifted: Floats = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
