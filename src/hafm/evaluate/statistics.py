"""How sure a figure is: an interval by bootstrap, a p-value by sign flips, an effect size.

In: one value per song, `[N]`. Out: an interval, a p-value, an effect size.

The draws are scipy's (`scipy.stats.bootstrap`, `scipy.stats.permutation_test`); here are our rules for them:
values are finite; draws come from a seed and are made in blocks, so memory stays bounded; where there are
fewer ways to flip the signs than draws, all of them are tried and p is exact. The observed signs are one of
the draws, so p is never 0:

    p = (1 + number of draws at least as far out as what was observed) / (1 + number of draws)

Clips of one song are not independent: average them per song first.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3; Phipson and Smyth,
"Permutation P-values should never be zero" (2010); Cohen, "Statistical Power Analysis" (1988), section 2.3.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hafm.errors import UsageError

__all__ = ["Interval", "bootstrap_interval", "paired_d", "paired_permutation_p"]

Floats = NDArray[np.float64]

_BLOCK_VALUES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure and its bounds.

    >>> str(Interval(value=0.5, low=0.4, high=0.625, confidence=0.95))
    '0.5 [0.4, 0.625]'
    """

    value: float
    low: float
    high: float
    confidence: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def bootstrap_interval(
    values: Sequence[float] | Floats, *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile interval of the mean; a single value is its own interval.

    Args:
        values: one per song.
        resamples: draws of the values, with replacement.
        confidence: between 0 and 1.

    Raises:
        UsageError: no values, values that are not finite, or settings out of range.

    >>> interval = bootstrap_interval([1.0, 2.0, 3.0, 4.0])
    >>> interval.value, interval.low < 2.0 < 3.0 < interval.high
    (2.5, True)
    """
    observed = _values(values, at_least=1)
    if not 0 < confidence < 1:
        raise UsageError(f"confidence lies between 0 and 1, not at {confidence}")
    _require_draws(resamples)
    low = high = value = float(observed.mean())
    if len(observed) > 1:
        low, high = stats.bootstrap(
            (observed,),
            np.mean,
            method="percentile",
            n_resamples=resamples,
            confidence_level=confidence,
            batch=_rows(len(observed)),
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return Interval(value=value, low=float(low), high=float(high), confidence=confidence)


def paired_permutation_p(
    a: Sequence[float] | Floats, b: Sequence[float] | Floats, *, permutations: int = 9999, seed: int = 0
) -> float:
    """Two-sided p of the mean of `a - b` if either value of a pair, one per song, could as well come from the
    other arm (sign flips).

    Raises:
        UsageError: lengths differ, or as for `bootstrap_interval`.

    >>> paired_permutation_p([2.0] * 20, [1.0] * 20, permutations=999)
    0.001
    >>> paired_permutation_p([1.0, 2.0], [1.0, 2.0])
    1.0
    """
    differences = _differences(a, b, at_least=1)
    _require_draws(permutations)

    def distance(first: Floats, second: Floats, axis: int) -> Any:
        return np.abs((first - second).mean(axis=axis))

    if len(differences) == 1:
        differences = np.append(differences, 0.0)  # scipy asks for two; a pair that is equal changes no order
    # Swapping d and 0 changes the sign of their difference.
    test = stats.permutation_test(
        (differences, np.zeros_like(differences)),
        distance,
        permutation_type="samples",
        vectorized=True,
        alternative="greater",
        n_resamples=permutations,
        batch=_rows(len(differences)),
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def paired_d(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> float | None:
    """Mean of the differences in their standard deviations (d_z); None where the differences do not vary.

    Raises:
        UsageError: lengths differ, fewer than two pairs, or values that are not finite.

    >>> paired_d([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    2.0
    """
    differences = _differences(a, b, at_least=2)
    deviation = float(differences.std(ddof=1))
    return None if deviation == 0 else float(differences.mean()) / deviation


def _values(values: Sequence[float] | Floats, *, at_least: int) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < at_least:
        raise UsageError(
            f"a statistic needs a list of {at_least} or more values, got an array of shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise UsageError(
            "a statistic needs finite values, got NaN or infinity: leave those songs out of both arms"
        )
    return array


def _differences(a: Sequence[float] | Floats, b: Sequence[float] | Floats, *, at_least: int) -> Floats:
    first, second = _values(a, at_least=at_least), _values(b, at_least=at_least)
    if len(first) != len(second):
        raise UsageError(f"pairs need as many values on either side, got {len(first)} and {len(second)}")
    return first - second


def _require_draws(draws: int) -> None:
    if draws < 1:
        raise UsageError(f"draws: 1 or more are needed, got {draws}")


def _rows(columns: int) -> int:
    """How many draws of `columns` values fit in a block."""
    return max(1, _BLOCK_VALUES // columns)
