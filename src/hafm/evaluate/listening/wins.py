"""From wins to figures: a share with its interval, the sign test, draws, and one strength per system.

In: counts, or wins by rater and clip. Out: bounds, a p-value, drawn counts, strengths.

    Wilson       (k + z^2/2  -+  z sqrt(k (n - k) / n + z^2/4)) / (n + z^2)
                 for k wins among n answers, a tie being half a win
    sign test    exact, without ties (`scipy.stats.binomtest`)
    draws        raters with replacement and clips with replacement, both at once; an answer counts as often
                 as its rater was drawn, times as often as its clip was
    strengths    b with mean 0, such that P(i is chosen over j) = 1 / (1 + exp(b_j - b_i))

The first two take answers for independent. They are so for one rater who hears each clip once with a pair.
With several raters an answer shares its rater with some and its clip with others, which the draws take into
account: they are those of Owen's pigeonhole bootstrap, which errs on the wide side.

Source: Wilson, "Probable inference" (1927); Owen, "The pigeonhole bootstrap" (2007); Bradley and Terry
(1952); Hunter, "MM algorithms for generalized Bradley-Terry models" (2004), equation 3.
"""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy import stats

from hafm.errors import UsageError

__all__ = ["PRIOR", "drawn_wins", "fit_strengths", "sign_test_p", "wilson"]

PRIOR = 0.5

_Z = 1.959963984540054  # 97.5 % of a standard normal lie below
_BLOCK_VALUES = 1 << 21
_MOST_STEPS = 20_000
_TOLERANCE = 1e-9


def wilson(wins: float, count: int) -> tuple[float, float]:
    """95 % interval of a share of answers, one or more; a half is a tie.

    >>> [round(bound, 3) for bound in wilson(5, 10)]
    [0.237, 0.763]
    >>> [round(bound, 3) for bound in wilson(10, 10)]
    [0.722, 1.0]
    """
    if count < 1 or not 0 <= wins <= count:
        raise UsageError(
            f"{wins} wins of {count} answers are not a share; give 0 to {count} wins, of 1 answer or more"
        )
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

    `wins` are by rater, clip, winner and loser. With one rater, clips alone are drawn.
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


def fit_strengths(
    wins: Float64[ndarray, "*draws S S"], *, prior: float = PRIOR
) -> Float64[ndarray, "*draws S"]:
    """One strength per system that makes the wins most likely (Bradley and Terry), by Hunter's MM iteration:

        p_i  <-  W_i / sum over j of n_ij / (p_i + p_j)

    in which W_i is the wins of i, n_ij its answers with j, and p = exp(b). A system that always wins has no
    finite strength, so `prior` wins are added to either side of each pair: with two systems the fit is then
    log((wins + prior) / (losses + prior)), the usual log-odds corrected for zeros. It draws strengths
    together a little, the more so the fewer answers there are.

    Args:
        wins: 0 or more, of the row's system over the column's, a tie as half a win for either; the diagonal
            does not count.
        prior: wins added to either side of each pair, above 0.

    Raises:
        UsageError: the prior is not above 0, or a count is negative or not finite.

    >>> wins = np.array([[0.0, 6.5], [1.5, 0.0]])
    >>> first, second = fit_strengths(wins)
    >>> bool(abs(first - second - np.log(7 / 2)) < 1e-8)
    True
    """
    if not prior > 0:
        raise UsageError(
            f"prior is {prior}; give a number above 0, or a system that always wins has no strength"
        )
    if not np.isfinite(wins).all() or (wins < 0).any():
        raise UsageError("wins must be finite and 0 or more")
    num_systems = wins.shape[-1]
    apart = 1.0 - np.eye(num_systems)
    wins = (wins + prior) * apart
    answers = wins + np.swapaxes(wins, -1, -2)
    won = wins.sum(axis=-1)
    strengths: Float64[ndarray, "*draws S"] = np.zeros(won.shape)
    for _ in range(_MOST_STEPS):
        p = np.exp(strengths)
        expected = (answers / (p[..., :, None] + p[..., None, :])).sum(axis=-1)
        updated = np.log(won / expected)
        updated -= updated.mean(axis=-1, keepdims=True)
        change = float(np.abs(updated - strengths).max())
        strengths = updated
        if change < _TOLERANCE:
            return strengths
    raise UsageError(
        f"strengths have not settled after {_MOST_STEPS} steps; the answers are too lopsided to rank by"
    )
