"""How sure a figure is: intervals by bootstrap, p-values by permutation, effect sizes.

In: one value a song (or clip), `[N]`. Out: an interval, a p-value, an effect size.

Conventions: values are finite float64; random draws come from a seed and are the same on every machine; draws
are made in blocks, so that memory stays bounded. A p-value counts the observed order as one of the draws, so
it is never 0:

    p = (1 + number of draws at least as far out as what was observed) / (1 + number of draws)

Clips of one song are not independent: average them per song first.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 13 and 15; Phipson and
Smyth, "Permutation P-values should never be zero" (2010); Cohen, "Statistical Power Analysis" (1988), chapter
2.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hafm.errors import UsageError

__all__ = [
    "Interval",
    "bootstrap_interval",
    "cohens_d",
    "paired_d",
    "paired_permutation_p",
    "two_sample_permutation_p",
]

Floats = NDArray[np.float64]

_BLOCK_VALUES = 1 << 20
_ALTERNATIVES = ("greater", "two-sided")
_ROUNDING = 1e-12  # sums of the same numbers in another order differ by less, relative to their size


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure and between what bounds it lies.

    >>> str(Interval(value=0.5, low=0.4, high=0.625, confidence=0.95))
    '0.5 [0.4, 0.625]'
    """

    value: float
    low: float
    high: float
    confidence: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def mean(values: Floats) -> Floats:
    """Mean over the last axis."""
    return np.asarray(values.mean(axis=-1))


def bootstrap_interval(
    values: Sequence[float] | Floats,
    *,
    statistic: Callable[[Floats], Floats] = mean,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a statistic under drawing the values again, with replacement.

    Args:
        values: one a song.
        statistic: maps `[R, N]` to `[R]` (a statistic over the last axis).
        resamples: draws.
        confidence: between 0 and 1.
        seed: of the draws.

    Raises:
        UsageError: no values, values that are not finite, or settings out of range.

    Source: Efron and Tibshirani (1993), section 13.3.

    >>> interval = bootstrap_interval([1.0, 2.0, 3.0, 4.0])
    >>> interval.value, interval.low < 2.0 < 3.0 < interval.high
    (2.5, True)
    """
    observed = _values(values, at_least=1)
    if not 0 < confidence < 1:
        raise UsageError(f"confidence lies between 0 and 1, not at {confidence}")
    _require_draws(resamples)
    rng = np.random.default_rng(seed)
    count = len(observed)
    draws = [
        statistic(observed[rng.integers(0, count, size=(rows, count))]) for rows in _blocks(resamples, count)
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(draws), [tail, 1 - tail])
    value = float(statistic(observed[None])[0])
    return Interval(value=value, low=float(low), high=float(high), confidence=confidence)


def paired_permutation_p(
    a: Sequence[float] | Floats,
    b: Sequence[float] | Floats,
    *,
    alternative: str = "two-sided",
    permutations: int = 9999,
    seed: int = 0,
) -> float:
    """p of the mean of `a - b` if each pair could as well stand the other way round (sign flips).

    Args:
        a: one value a song.
        b: the value of the same song in the other arm.
        alternative: `"greater"` (a above b) or `"two-sided"`.
        permutations: random draws of signs.
        seed: of the draws.

    Raises:
        UsageError: lengths differ, or as for `bootstrap_interval`.

    >>> paired_permutation_p([2.0] * 20, [1.0] * 20, permutations=999)
    0.001
    >>> paired_permutation_p([1.0, 2.0], [1.0, 2.0])
    1.0
    """
    differences = _differences(a, b)
    _require_draws(permutations)
    rng = np.random.default_rng(seed)
    count = len(differences)
    draws = np.concatenate(
        [
            (1.0 - 2.0 * rng.integers(0, 2, size=(rows, count))) @ differences
            for rows in _blocks(permutations, count)
        ]
    )
    return _p_value(draws, float(differences.sum()), float(np.abs(differences).sum()), alternative)


def two_sample_permutation_p(
    a: Sequence[float] | Floats,
    b: Sequence[float] | Floats,
    *,
    alternative: str = "two-sided",
    permutations: int = 9999,
    seed: int = 0,
) -> float:
    """p of the difference of means if any value could as well belong to the other sample.

    Args:
        a: values of one sample, `[N]`.
        b: values of the other, `[M]`.
        alternative: `"greater"` (a above b) or `"two-sided"`.
        permutations: random draws of orders.
        seed: of the draws.

    Raises:
        UsageError: as for `bootstrap_interval`.

    >>> two_sample_permutation_p([5.0, 6.0, 7.0, 8.0, 9.0], [0.0, 1.0, 2.0, 3.0]) < 0.05
    True
    """
    first, second = _values(a, at_least=1), _values(b, at_least=1)
    _require_draws(permutations)
    rng = np.random.default_rng(seed)
    pooled = np.concatenate([first, second])
    pooled = pooled - pooled.mean()
    # With the pooled mean at 0, the difference of means is a fixed multiple of the first sample's sum.
    scale = 1 / len(first) + 1 / len(second)
    sums = []
    for rows in _blocks(permutations, len(pooled)):
        orders = rng.permuted(np.broadcast_to(pooled, (rows, len(pooled))), axis=1)
        sums.append(orders[:, : len(first)].sum(axis=1))
    observed = float(pooled[: len(first)].sum())
    return _p_value(scale * np.concatenate(sums), scale * observed, float(np.abs(pooled).sum()), alternative)


def cohens_d(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> float | None:
    """Difference of means in pooled standard deviations; None where nothing varies.

    Raises:
        UsageError: fewer than two values in a sample, or values that are not finite.

    Source: Cohen (1988), equation 2.5.2.

    >>> cohens_d([2.0, 4.0], [1.0, 3.0]) == 1 / 2**0.5
    True
    """
    first, second = _values(a, at_least=2), _values(b, at_least=2)
    freedom = len(first) + len(second) - 2
    spread = np.square(first - first.mean()).sum() + np.square(second - second.mean()).sum()
    deviation = float(np.sqrt(spread / freedom))
    return None if deviation == 0 else float(first.mean() - second.mean()) / deviation


def paired_d(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> float | None:
    """Mean of the differences in their standard deviations (d_z); None where the differences do not vary.

    Raises:
        UsageError: lengths differ, fewer than two pairs, or values that are not finite.

    Source: Cohen (1988), section 2.3.5.

    >>> paired_d([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    2.0
    """
    differences = _differences(a, b, at_least=2)
    deviation = float(differences.std(ddof=1))
    return None if deviation == 0 else float(differences.mean()) / deviation


def _p_value(draws: Floats, observed: float, size: float, alternative: str) -> float:
    if alternative not in _ALTERNATIVES:
        raise UsageError(f"alternative is one of {', '.join(_ALTERNATIVES)}, not {alternative!r}")
    if alternative == "two-sided":
        draws, observed = np.abs(draws), abs(observed)
    further = int((draws >= observed - _ROUNDING * size).sum())
    return (1 + further) / (1 + len(draws))


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


def _differences(a: Sequence[float] | Floats, b: Sequence[float] | Floats, *, at_least: int = 1) -> Floats:
    first, second = _values(a, at_least=at_least), _values(b, at_least=at_least)
    if len(first) != len(second):
        raise UsageError(f"pairs need as many values on either side, got {len(first)} and {len(second)}")
    return first - second


def _require_draws(draws: int) -> None:
    if draws < 1:
        raise UsageError(f"draws: 1 or more are needed, got {draws}")


def _blocks(rows: int, columns: int) -> Iterator[int]:
    """Numbers of rows that sum to `rows`, each block of bounded size."""
    most = max(1, _BLOCK_VALUES // columns)
    for start in range(0, rows, most):
        yield min(most, rows - start)
