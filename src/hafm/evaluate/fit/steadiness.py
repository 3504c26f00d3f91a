"""How clear a band's pulse is, and whether it runs away from its beats.

In: a waveform `[T]`, or times of beats. Out: numbers; None where they are not known.

*Pulse clarity* is the height of the best peak of the autocorrelation of the onset strength, at lags of 0.25
to 1.5 s: 1 where everything comes back, near 0.1 for noise. Any busy sound has some peak, so it is given
beside the same *in random order*: the onset strength is cut just before each of its hits, and the pieces are
shuffled. What is above that is owed to when the hits come, and not to how many there are.

*Drift* is the slope of (tracked beat - reference beat) over time, in milliseconds per minute: robust to
single beats (Theil and Sen), over the pairs that are within 70 ms.

Conventions: neither is better where it is higher or lower than real bands have it; a machine can be stiffer
than people. Both come from the sound alone, so they compare bands, and not whether a band fits its singer.

Source: pulse clarity after Lartillot et al., "Multi-feature modeling of pulse clarity", ISMIR 2008, its
maximum of the autocorrelation; the random order is ours.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.signal import find_peaks
from scipy.stats import theilslopes
from torch import Tensor

from hafm.evaluate.fit.beats import match_beats
from hafm.evaluate.fit.onsets import ONSET_FRAMES_PER_SECOND, onset_envelope

__all__ = ["drift_ms_per_minute", "pulse_clarity", "shuffled_pulse_clarity"]

Floats = NDArray[np.float64]

_SHORTEST_FRAMES = round(0.25 * ONSET_FRAMES_PER_SECOND)
_LONGEST_FRAMES = round(1.5 * ONSET_FRAMES_PER_SECOND)
_APART_FRAMES = round(0.1 * ONSET_FRAMES_PER_SECOND)  # between hits
_RISE_FRAMES = 2  # a hit begins before its strength is largest
_FEWEST_HITS = 4
_ORDERS = 20
_FEWEST_BEATS = 8


def pulse_clarity(waveform: Float[Tensor, " T"], sample_rate: int) -> float | None:
    """Height of the best peak; None where nothing begins, or under a second and a half.

    Args:
        waveform: finite samples.
        sample_rate: in hertz.

    >>> import torch
    >>> clicks = torch.zeros(24_000 * 8).index_fill(0, torch.arange(6_000, 190_000, 12_000), 1.0)
    >>> pulse_clarity(clicks, 24_000) > 0.9
    True
    """
    strength = _strength(waveform, sample_rate)
    return None if strength is None else _best_peak(strength)


def shuffled_pulse_clarity(waveform: Float[Tensor, " T"], sample_rate: int, *, seed: int = 0) -> float | None:
    """The same with the pieces between hits in random order, mean of 20 orders.

    Args:
        waveform, sample_rate: as for `pulse_clarity`.
        seed: of the orders.
    """
    strength = _strength(waveform, sample_rate)
    if strength is None:
        return None
    hits, _ = find_peaks(strength, height=strength.mean() + strength.std(), distance=_APART_FRAMES)
    if len(hits) < _FEWEST_HITS:
        return _best_peak(strength)
    pieces = np.split(strength, np.maximum(hits - _RISE_FRAMES, 1))
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(pieces)) for _ in range(_ORDERS)]
    return float(np.mean([_best_peak(np.concatenate([pieces[i] for i in order])) for order in orders]))


def drift_ms_per_minute(
    estimated_seconds: Sequence[float], reference_seconds: Sequence[float]
) -> float | None:
    """How fast the beats leave the reference, early or late; None with fewer than eight pairs within 70 ms.

    Args:
        estimated_seconds: rising.
        reference_seconds: rising.

    Raises:
        UsageError: mir_eval is not installed.

    >>> beats = [0.5 * number for number in range(20)]
    >>> round(drift_ms_per_minute([1.001 * beat for beat in beats], beats), 3)
    60.0
    """
    pairs = match_beats(estimated_seconds, reference_seconds)
    if len(pairs) < _FEWEST_BEATS:
        return None
    estimated, reference = np.asarray(pairs).T
    return 60_000 * abs(float(theilslopes(estimated - reference, reference).slope))


def _strength(waveform: Float[Tensor, " T"], sample_rate: int) -> Floats | None:
    strength: Floats = onset_envelope(waveform, sample_rate).double().numpy()
    return strength if len(strength) > _LONGEST_FRAMES and strength.any() else None


def _best_peak(strength: Floats) -> float:
    """The largest correlation of the strength with itself, at a lag where it is a peak."""
    lags = range(_SHORTEST_FRAMES - 1, min(_LONGEST_FRAMES, len(strength) // 2) + 2)
    heights = np.array([_correlation(strength[:-lag], strength[lag:]) for lag in lags])
    peaks, _ = find_peaks(heights)
    return float(heights[peaks].max()) if len(peaks) else 0.0


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0
