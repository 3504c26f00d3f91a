"""One strength a system from wins between pairs: the model of Bradley and Terry.

In: `wins[i, j]`, how often system i was chosen over system j; a tie is half a win for either. Out: strengths
b with mean 0, such that

    P(i is chosen over j) = 1 / (1 + exp(b_j - b_i))

Fitted by Hunter's MM iteration, in which W_i is the wins of i, n_ij its answers with j, and p = exp(b):

    p_i  <-  W_i / sum over j of n_ij / (p_i + p_j)

A system that always wins has no finite strength. So `PRIOR` wins are added to either side of each pair: with
two systems the fit is then log((wins + PRIOR) / (losses + PRIOR)), the usual log-odds corrected for zeros. It
draws strengths together a little, the more so the fewer answers there are.

Source: Bradley and Terry (1952); Hunter, "MM algorithms for generalized Bradley-Terry models" (2004),
equation 3.
"""

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from hafm.errors import UsageError

__all__ = ["PRIOR", "fit_strengths"]

PRIOR = 0.5

_MOST_STEPS = 20_000
_TOLERANCE = 1e-9


def fit_strengths(
    wins: Float64[ndarray, "*draws S S"], *, prior: float = PRIOR
) -> Float64[ndarray, "*draws S"]:
    """Strengths that make the wins most likely.

    Args:
        wins: 0 or more, of the row's system over the column's; the diagonal is not looked at.
        prior: wins added to either side of each pair, above 0.

    Shape:
        `[..., S, S] -> [..., S]`

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
