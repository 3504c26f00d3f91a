"""Fréchet distances: closed forms, scipy's route on well-conditioned cases, missing rank, order."""

import numpy as np
import pytest
import scipy.linalg

from hafm.errors import UsageError
from hafm.evaluate.frechet import Gaussian, frechet_distance, gaussian_of


def random_gaussian(rng: np.random.Generator, dim: int, rank: int) -> Gaussian:
    factor = rng.normal(size=(dim, rank))
    return Gaussian(mean=rng.normal(size=dim), covariance=factor @ factor.T, count=1000)


def by_scipy(a: Gaussian, b: Gaussian) -> float:
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance).real
    return float(np.square(a.mean - b.mean).sum() + np.trace(a.covariance + b.covariance - 2 * root))


def test_diagonal_covariances_have_a_closed_form() -> None:
    rng = np.random.default_rng(0)
    mean, other = rng.normal(size=(2, 40))
    spread, wider = rng.uniform(0.0, 3.0, size=(2, 40))
    a = Gaussian(mean=mean, covariance=np.diag(spread), count=50)
    b = Gaussian(mean=other, covariance=np.diag(wider), count=50)
    expected = np.square(mean - other).sum() + np.square(np.sqrt(spread) - np.sqrt(wider)).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_the_general_square_root_where_that_works(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = random_gaussian(rng, 24, 60), random_gaussian(rng, 24, 60)
    assert frechet_distance(a, b) == pytest.approx(by_scipy(a, b), rel=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_orthogonal_supports_without_full_rank() -> None:
    """S1 S2 = 0: nothing overlaps, and the distance is the sum of the traces."""
    a = Gaussian(mean=np.zeros(128), covariance=np.diag(np.r_[np.full(64, 2.0), np.zeros(64)]), count=65)
    b = Gaussian(mean=np.zeros(128), covariance=np.diag(np.r_[np.zeros(64), np.full(64, 3.0)]), count=65)
    assert frechet_distance(a, b) == pytest.approx(64 * 2 + 64 * 3, rel=1e-9)


def test_rotated_low_rank_covariances_keep_their_distance() -> None:
    """A rotation of both changes nothing; here sqrtm of the product would turn complex."""
    rng = np.random.default_rng(1)
    spread, wider = rng.uniform(0, 2, size=(2, 128)) * (np.arange(128) < 10)
    turn = np.linalg.qr(rng.normal(size=(128, 128)))[0]
    a = Gaussian(mean=np.zeros(128), covariance=(turn * spread) @ turn.T, count=11)
    b = Gaussian(mean=np.zeros(128), covariance=(turn * wider) @ turn.T, count=11)
    expected = np.square(np.sqrt(spread) - np.sqrt(wider)).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("count", [5, 40, 400])
def test_a_set_is_at_no_distance_from_itself_in_any_order(count: int) -> None:
    rng = np.random.default_rng(2)
    embeddings = rng.normal(size=(count, 128))
    a, b = gaussian_of(embeddings), gaussian_of(rng.permutation(embeddings))
    assert frechet_distance(a, b) <= 1e-6


def test_what_is_no_covariance_is_refused() -> None:
    good = Gaussian(mean=np.zeros(2), covariance=np.eye(2), count=9)
    bad = Gaussian(mean=np.zeros(2), covariance=np.diag([1.0, -0.5]), count=9)
    with pytest.raises(UsageError, match=r"eigenvalue -0\.5"):
        frechet_distance(bad, good)


def test_other_dimensions_and_values_that_are_not_finite_are_refused() -> None:
    one = Gaussian(mean=np.zeros(2), covariance=np.eye(2), count=9)
    two = Gaussian(mean=np.zeros(3), covariance=np.eye(3), count=9)
    with pytest.raises(UsageError, match="of 2 and of 3 dimensions"):
        frechet_distance(one, two)
    with pytest.raises(UsageError, match="not finite"):
        gaussian_of(np.array([[0.0, np.nan], [1.0, 1.0]]))
