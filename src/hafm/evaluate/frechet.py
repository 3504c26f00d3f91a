"""Fréchet distance between two Gaussians, and with it the Fréchet audio distance (FAD).

In:  embeddings `[N, D]` of two sets of sounds, or their means and covariances. Out: a distance, 0 or more.

    d² = |μ1 - μ2|² + tr S1 + tr S2 - 2 tr (S1^½ S2 S1^½)^½

Conventions: float64 throughout; covariances divide by N - 1. The FAD of the literature is d², and so is ours.

The last term is usually written tr (S1 S2)^½ and computed with a general matrix square root, which goes
complex where a covariance lacks rank, and that is the rule here: fewer clips than dimensions. S1^½ S2 S1^½
has the same eigenvalues, is symmetric and has none below zero, so two calls of `eigh` are enough. Eigenvalues
that rounding made negative are zero by theory and are set to it; larger ones below zero are an error.

Source: Dowson and Landau, "The Fréchet distance between multivariate normal distributions" (1982); Kilgour et
al., "Fréchet Audio Distance" (2019); paper 4.1.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from hafm.errors import UsageError

__all__ = ["Gaussian", "frechet_distance", "gaussian_of"]

_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Gaussian:
    """Mean and covariance of `count` embeddings."""

    mean: Float64[np.ndarray, " D"]
    covariance: Float64[np.ndarray, "D D"]
    count: int


def gaussian_of(embeddings: NDArray[np.floating]) -> Gaussian:
    """Mean and covariance of embeddings.

    Raises:
        UsageError: fewer than two, or one that is not finite.

    >>> gaussian_of(np.array([[0.0, 1.0], [2.0, 1.0]])).covariance
    array([[2., 0.],
           [0., 0.]])
    """
    if embeddings.ndim != 2 or embeddings.shape[0] < 2:
        raise UsageError(
            f"a Fréchet distance needs two embeddings or more, [N, D]; got {list(embeddings.shape)}"
        )
    values = embeddings.astype(np.float64)
    if not np.isfinite(values).all():
        raise UsageError("some embeddings are not finite; the sounds behind them cannot be compared")
    mean = values.mean(axis=0)
    centred = values - mean
    return Gaussian(mean=mean, covariance=centred.T @ centred / (len(values) - 1), count=len(values))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """The squared Fréchet distance of two Gaussians, as FAD is defined.

    Args:
        a, b: of the same dimension; covariances may lack rank. The order does not matter.

    Returns:
        0 or more; below 1e-6 of the traces, equal sets give 0 up to rounding.

    Raises:
        UsageError: the dimensions differ.

    >>> one = Gaussian(mean=np.zeros(2), covariance=np.eye(2), count=9)
    >>> two = Gaussian(mean=np.array([3.0, 4.0]), covariance=4 * np.eye(2), count=9)
    >>> round(frechet_distance(one, two), 9)  # 25 + 2 (1 - 2)^2
    27.0
    """
    if a.mean.shape != b.mean.shape:
        raise UsageError(
            f"embeddings of {a.mean.shape[0]} and of {b.mean.shape[0]} dimensions cannot be compared; "
            "use the same embedding for both sets"
        )
    trace_a, trace_b = float(np.trace(a.covariance)), float(np.trace(b.covariance))
    root = _square_root(a.covariance)
    product = root @ b.covariance @ root
    eigenvalues = _from_zero(np.linalg.eigvalsh((product + product.T) / 2), scale=trace_a * trace_b)
    shift = a.mean - b.mean
    spread = trace_a + trace_b - 2 * float(np.sqrt(eigenvalues).sum())
    # The spread of equal sets is zero, and rounding may leave it just below.
    return float(shift @ shift) + max(spread, 0.0)


def _square_root(covariance: Float64[np.ndarray, "D D"]) -> Float64[np.ndarray, "D D"]:
    """The symmetric root of a covariance."""
    eigenvalues, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    scaled = vectors * np.sqrt(_from_zero(eigenvalues, scale=float(np.trace(covariance))))
    root: Float64[np.ndarray, "D D"] = scaled @ vectors.T
    return root


def _from_zero(eigenvalues: Float64[np.ndarray, " D"], *, scale: float) -> Float64[np.ndarray, " D"]:
    """Ascending eigenvalues of a matrix that has none below zero, without what rounding did to them, which is
    small beside `scale`.
    """
    if eigenvalues[0] < -_ROUNDING * scale:
        raise UsageError(
            f"this is not a covariance: it has the eigenvalue {eigenvalues[0]:.3g} at a trace of "
            f"{scale:.3g}; compute it from the embeddings again"
        )
    clamped: Float64[np.ndarray, " D"] = np.maximum(eigenvalues, 0.0)
    return clamped
