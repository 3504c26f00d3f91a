"""Statistics: closed forms and whole enumeration agree with them."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from hafm.errors import UsageError
from hafm.evaluate.statistics import bootstrap_interval, paired_d, paired_permutation_p


def normal(seed, count, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1.0, count)


def test_the_interval_of_a_mean_is_the_normal_one():
    values = normal(0, 400)
    interval = bootstrap_interval(values, resamples=4000)
    half = 1.96 * values.std() / 20
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.01)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.01)


def test_one_value_is_its_own_interval():
    interval = bootstrap_interval([3.0])
    assert (interval.low, interval.value, interval.high) == (3.0, 3.0, 3.0)


@pytest.mark.slow
def test_intervals_cover_as_often_as_they_say():
    hits = 0
    for seed in range(200):
        interval = bootstrap_interval(normal(seed, 40, mean=3.0), resamples=400, confidence=0.8, seed=seed)
        hits += interval.low <= 3.0 <= interval.high
    assert 140 <= hits <= 180


def test_a_seed_gives_the_same_draws():
    values = normal(2, 30)
    assert bootstrap_interval(values, seed=5) == bootstrap_interval(values, seed=5)
    assert bootstrap_interval(values, seed=5) != bootstrap_interval(values, seed=6)


def all_sign_flips(differences):
    sums = np.array(list(product([1, -1], repeat=len(differences)))) @ differences
    return (np.abs(sums) >= abs(differences.sum()) - 1e-12).mean()


@pytest.mark.parametrize(("songs", "within"), [(1, 1e-12), (10, 1e-12), (15, 0.01)])
def test_sign_flips_agree_with_all_of_them(songs, within):
    """With few songs all sign flips are tried, with more a sample of them."""
    a, b = normal(3, songs, mean=0.5), normal(4, songs)
    exact = all_sign_flips(a - b)
    assert 0.01 < exact <= 1
    p = paired_permutation_p(a, b, permutations=20_000)
    assert p == pytest.approx(exact, abs=within)


def test_p_is_uniform_where_nothing_differs():
    p = [paired_permutation_p(normal(s, 20), normal(1000 + s, 20), permutations=199) for s in range(100)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_p_is_never_zero_and_equal_samples_give_one():
    assert paired_permutation_p(normal(0, 50, mean=9), normal(1, 50), permutations=99) == 0.01
    assert paired_permutation_p([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]) == 1.0


def test_blocks_bound_memory_for_many_values():
    a = normal(7, 3000)
    assert paired_permutation_p(a, a + 1e-3, permutations=700) == pytest.approx(1 / 701)


def test_the_effect_size_is_a_t_statistic():
    a, b = normal(8, 15, mean=1.0), normal(9, 15)
    assert paired_d(a, b) * np.sqrt(15) == pytest.approx(stats.ttest_rel(a, b).statistic)
    assert paired_d([2.0, 3.0], [1.0, 2.0]) is None


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: bootstrap_interval([]), "1 or more values"),
        (lambda: bootstrap_interval([1.0, float("nan")]), "finite"),
        (lambda: bootstrap_interval([1.0], confidence=95.0), "between 0 and 1"),
        (lambda: bootstrap_interval([1.0], resamples=0), "1 or more"),
        (lambda: paired_permutation_p([1.0], [1.0, 2.0]), "1 and 2"),
        (lambda: paired_d([1.0], [2.0]), "2 or more"),
    ],
)
def test_what_cannot_be_computed_is_said(call, says):
    with pytest.raises(UsageError, match=says):
        call()
