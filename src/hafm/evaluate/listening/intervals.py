"""How sure a share of answers is: Wilson's interval, the sign test, and draws of raters and clips.

In: counts, or wins by rater and clip. Out: bounds, a p-value, drawn counts.

    Wilson       (k + z^2/2  -+  z sqrt(k (n - k) / n + z^2/4)) / (n + z^2)
                 for k wins among n answers, a tie being half a win
    sign test    exact, without ties (`scipy.stats.binomtest`)
    draws        raters with replacement and clips with replacement, both at once; an answer counts as often
                 as its rater was drawn, times as often as its clip was

The first two take answers for independent. They are so for one rater who hears each clip once with a pair.
With several raters an answer shares its rater with some and its clip with others, which the draws take into
account: they are those of Owen's pigeonhole bootstrap, which errs on the wide side.

Source: Wilson, "Probable inference" (1927); Owen, "The pigeonhole bootstrap" (2007).
"""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy import stats

from hafm.errors import UsageError

__all__ = ["drawn_wins", "sign_test_p", "wilson"]

_Z = 1.959963984540054  # 97.5 % of a standard normal lie below
_BLOCK_VALUES = 1 << 21


def wilson(wins: float, count: int) -> tuple[float, float]:
    """95 % interval of a share.

    Args:
        wins: 0 to `count`; halves are ties.
        count: answers, 1 or more.

    Raises:
        UsageError: out of range.

    >>> [round(bound, 3) for bound in wilson(5, 10)]
    [0.237, 0.763]
    >>> [round(bound, 3) for bound in wilson(10, 10)]
    [0.722, 1.0]
    """
    if count < 1 or not 0 <= wins <= count:
        raise UsageError(f"{wins} of {count} is no share; give 0 to {count} wins, of 1 answer or more")
    centre = wins + _Z**2 / 2
    reach = _Z * math.sqrt(wins * (count - wins) / count + _Z**2 / 4)
    whole = count + _Z**2
    # Rounding may leave a bound some 1e-17 outside.
    return max(0.0, (centre - reach) / whole), min(1.0, (centre + reach) / whole)


def sign_test_p(wins: int, losses: int) -> float | None:
    """Two-sided exact p of so uneven a split if either were as likely; None without any.

    >>> sign_test_p(5, 0), sign_test_p(2, 2), sign_test_p(0, 0)
    (0.0625, 1.0, None)
    """
    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else None


def drawn_wins(wins: Float64[ndarray, "R C S S"], *, draws: int, seed: int) -> Float64[ndarray, "D S S"]:
    """Wins of each system over each, as they might have come out with other raters and other clips.

    Args:
        wins: by rater, clip, winner and loser.
        draws: D, 1 or more.
        seed: of the draws.

    With one rater, clips alone are drawn.
    """
    num_raters, num_clips, num_systems, _ = wins.shape
    rng = np.random.default_rng(seed)
    flat = wins.reshape(num_raters, -1)
    drawn = []
    for rows in _blocks(draws, flat.shape[1]):
        raters = rng.multinomial(num_raters, np.full(num_raters, 1 / num_raters), size=rows)
        clips = rng.multinomial(num_clips, np.full(num_clips, 1 / num_clips), size=rows)
        by_clip = (raters @ flat).reshape(rows, num_clips, -1)
        drawn.append(np.einsum("dc,dcp->dp", clips.astype(np.float64), by_clip))
    return np.concatenate(drawn).reshape(draws, num_systems, num_systems)


def _blocks(rows: int, columns: int) -> Iterator[int]:
    most = max(1, _BLOCK_VALUES // columns)
    for start in range(0, rows, most):
        yield min(most, rows - start)
