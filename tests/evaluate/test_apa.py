"""APA: closed forms, what an interval covers, and when the measure says nothing."""

from dataclasses import replace

import numpy as np
import pytest

from hafm.errors import UsageError
from hafm.evaluate.apa import Apa, ApaInterval, _bounds, apa, bootstrap_apa
from hafm.evaluate.exchange import exchange_groups, exchange_partners
from hafm.evaluate.fad import fad

DIM = 6

Set = list[np.ndarray]


def cloud(rng: np.random.Generator, mean: np.ndarray, scale: float = 1.0, count: int = 60) -> Set:
    """A song of exactly that mean, with the covariance scale^2 I."""
    points = rng.normal(size=(count, DIM))
    points -= points.mean(0)
    points = points @ np.linalg.inv(np.linalg.cholesky(np.cov(points, rowvar=False))).T
    return [scale * points + mean]


def mixes(
    rng: np.random.Generator, count: int, *, mismatch: float, place: float = 0.5, length: int = 3
) -> tuple[Set, Set, Set, tuple[int, ...]]:
    """R, R', C and donors of songs whose embeddings add up; mismatched mixes are moved by `mismatch`.

    The candidate has accompaniments of its own, and is at `place` between R' (0) and R (1).
    """
    donors = exchange_partners(count, seed=int(rng.integers(1 << 30)))
    shift = np.eye(DIM)[0] * mismatch

    def part() -> np.ndarray:
        return rng.normal(size=(count, 1, DIM)) + 0.6 * rng.normal(size=(count, length, DIM))

    vocals, accompaniments, made = part(), part(), part()
    true, mismatched = vocals + accompaniments, vocals + accompaniments[list(donors)] + shift
    return list(true), list(mismatched), list(vocals + made + (1 - place) * shift), donors


def test_the_anchors_are_one_and_zero() -> None:
    rng = np.random.default_rng(0)
    true, mismatched, _, _ = mixes(rng, 12, mismatch=1.0)
    as_true = apa(reference=true, shuffled=mismatched, candidate=true)
    assert as_true.value == pytest.approx(1.0)
    assert as_true.candidate_reference == pytest.approx(0.0, abs=1e-9)
    assert as_true.candidate_shuffled == pytest.approx(as_true.reference_shuffled) == fad(true, mismatched)
    assert apa(reference=true, shuffled=mismatched, candidate=mismatched).value == pytest.approx(0.0)


@pytest.mark.parametrize("place", [0.0, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("aside", [0.0, 3.0])
def test_with_equal_covariances_it_is_the_place_between_the_means(place: float, aside: float) -> None:
    """Whatever moves the candidate off the line from R' to R does not count."""
    rng = np.random.default_rng(1)
    one, two, off = np.zeros(DIM), 2 * np.eye(DIM)[0], aside * np.eye(DIM)[3]
    found = apa(
        reference=cloud(rng, one),
        shuffled=cloud(rng, two),
        candidate=cloud(rng, place * one + (1 - place) * two + off),
    )
    assert found.raw == pytest.approx(place, abs=1e-9)
    assert found.candidate_reference == pytest.approx(4 * (1 - place) ** 2 + aside**2, abs=1e-9)


def test_spreads_count_as_the_formula_says() -> None:
    rng = np.random.default_rng(2)
    found = apa(
        reference=cloud(rng, np.zeros(DIM), 1.0),
        shuffled=cloud(rng, np.zeros(DIM), 3.0),
        candidate=cloud(rng, np.zeros(DIM), 1.5),
    )
    # FAD of k1^2 I and k2^2 I is D (k1 - k2)^2.
    assert found.raw == pytest.approx(0.5 + (1.5**2 - 0.5**2) / (2 * 2**2))


def test_what_lies_beyond_the_anchors_is_clipped() -> None:
    rng = np.random.default_rng(3)
    one, two = np.zeros(DIM), np.eye(DIM)[0]
    beyond = apa(reference=cloud(rng, one), shuffled=cloud(rng, two), candidate=cloud(rng, -2 * two))
    assert (beyond.value, beyond.raw) == (1.0, pytest.approx(3.0))
    below = apa(reference=cloud(rng, one), shuffled=cloud(rng, two), candidate=cloud(rng, 4 * two))
    assert (below.value, below.raw) == (0.0, pytest.approx(-3.0))


def test_neither_order_nor_grouping_matters() -> None:
    rng = np.random.default_rng(4)
    true, mismatched, candidate, _ = mixes(rng, 10, mismatch=1.0)
    found = apa(reference=true, shuffled=mismatched, candidate=candidate).raw
    again = apa(
        reference=true[::-1], shuffled=[np.concatenate(mismatched)], candidate=candidate[3:] + candidate[:3]
    )
    assert again.raw == pytest.approx(found, rel=1e-9)


def test_components_keep_the_line_and_favour_neither_anchor() -> None:
    rng = np.random.default_rng(5)
    one, two = np.zeros(DIM), 9 * np.eye(DIM)[0]
    sets = cloud(rng, one), cloud(rng, two), cloud(rng, 0.3 * two + 5 * np.eye(DIM)[2])
    found = apa(reference=sets[0], shuffled=sets[1], candidate=sets[2], num_components=1)
    assert found.raw == pytest.approx(0.7, abs=0.05)
    assert (
        found.candidate_reference
        < 20
        < apa(reference=sets[0], shuffled=sets[1], candidate=sets[2]).candidate_reference
    )
    whole = apa(reference=sets[0], shuffled=sets[1], candidate=sets[2], num_components=DIM)
    assert whole.raw == pytest.approx(apa(reference=sets[0], shuffled=sets[1], candidate=sets[2]).raw)

    def noise() -> Set:
        return list(rng.normal(size=(12, 4, 64)))

    def on_components_of_the_reference_alone(reference: Set, shuffled: Set, candidate: Set) -> float:
        axes = np.linalg.eigh(np.cov(np.concatenate(reference), rowvar=False))[1][:, -8:]
        moved = ([song @ axes for song in songs] for songs in (reference, shuffled, candidate))
        return apa(**dict(zip(("reference", "shuffled", "candidate"), moved, strict=True))).value

    draws = [(noise(), noise(), noise()) for _ in range(12)]
    ours = [apa(reference=r, shuffled=s, candidate=c, num_components=8).value for r, s, c in draws]
    assert 0.3 < np.mean(ours) < 0.7
    assert np.mean([on_components_of_the_reference_alone(*sets) for sets in draws]) < 0.15


@pytest.mark.slow
def test_intervals_cover_what_other_songs_would_give() -> None:
    rng = np.random.default_rng(6)

    def fresh() -> float:
        true, mismatched, candidate, _ = mixes(rng, 24, mismatch=2.0, place=0.3)
        return apa(reference=true, shuffled=mismatched, candidate=candidate).raw

    expected = np.mean([fresh() for _ in range(100)])
    assert 0.2 < expected < 0.4
    found = []
    for seed in range(30):
        true, mismatched, candidate, donors = mixes(rng, 24, mismatch=2.0, place=0.3)
        found.append(
            bootstrap_apa(
                reference=true,
                shuffled=mismatched,
                candidate=candidate,
                donors=donors,
                seed=seed,
                draws=30,
                level=0.9,
            )
        )
    assert 0.7 <= np.mean([one.low <= expected <= one.high for one in found]) <= 0.99
    assert all(one.low <= one.apa.value <= one.high for one in found)
    assert np.mean([one.high - one.low for one in found]) < 0.6
    assert all(one.informative for one in found)


def test_the_interval_of_the_anchors_is_a_point() -> None:
    true, mismatched, _, donors = mixes(np.random.default_rng(7), 12, mismatch=2.0)
    for candidate, value in ((true, 1.0), (mismatched, 0.0)):
        found = bootstrap_apa(
            reference=true, shuffled=mismatched, candidate=candidate, donors=donors, seed=0, draws=20
        )
        assert (found.low, found.high) == (pytest.approx(value, abs=1e-6), pytest.approx(value, abs=1e-6))


def test_draws_without_a_distance_between_the_anchors_widen_the_interval() -> None:
    whole = Apa(value=0.5, raw=0.5, candidate_reference=1.0, candidate_shuffled=1.0, reference_shuffled=0.1)
    halves = np.array([[1.0, 1.0, 0.0]] * 10 + [[1.0, 1.0, 0.5]] * 10)
    assert _bounds(whole, halves, 0.9) == (0.0, 1.0)
    assert _bounds(replace(whole, reference_shuffled=1.0), halves, 0.9) == (0.5, 0.5)


def uninformative(seed: int, *, mismatch: float) -> ApaInterval:
    true, mismatched, candidate, donors = mixes(np.random.default_rng(seed), 20, mismatch=mismatch)
    return bootstrap_apa(
        reference=true, shuffled=mismatched, candidate=candidate, donors=donors, seed=seed, draws=20
    )


@pytest.mark.parametrize("count", [8, pytest.param(30, marks=pytest.mark.slow)])
def test_it_says_nothing_where_mismatches_are_not_heard(count: int) -> None:
    found = [uninformative(seed, mismatch=0.0) for seed in range(count)]
    assert np.mean([one.informative for one in found]) <= 0.15  # 0.05 by design
    # Chance is as large as the distance: all of it comes from sample size.
    ratios = [one.apa.reference_shuffled / one.chance for one in found]
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.05)
    silent = next(one for one in found if not one.informative)
    assert "the value says nothing; give more songs" in silent.reason
    assert silent.p > 0.05


def test_it_says_something_where_they_are() -> None:
    found = uninformative(0, mismatch=2.0)
    assert found.informative
    assert found.p == pytest.approx(1 / 21)
    assert found.chance < 0.5 * found.apa.reference_shuffled
    assert "0 of 20 swaps" in found.reason
    assert "the embedding recognises which accompaniment" in found.reason


def test_a_shared_trait_of_vocal_and_accompaniment_is_heard_without_any_shift() -> None:
    """As with keys: true mixes spread along what their parts have in common, shuffled ones less."""
    rng = np.random.default_rng(8)
    count, donors = 60, exchange_partners(60, seed=0)
    trait = 1.5 * rng.normal(size=(count, 1, DIM))
    vocals, accompaniments = (trait + 0.5 * rng.normal(size=(count, 3, DIM)) for _ in range(2))
    true, mismatched = vocals + accompaniments, vocals + accompaniments[list(donors)]
    found = bootstrap_apa(
        reference=list(true),
        shuffled=list(mismatched),
        candidate=list(true),
        donors=donors,
        seed=0,
        draws=40,
    )
    assert np.abs(true.mean((0, 1)) - mismatched.mean((0, 1))).max() < 1e-9
    assert found.informative


def test_the_bootstrap_is_the_slow_one_over_groups() -> None:
    true, mismatched, candidate, donors = mixes(np.random.default_rng(11), 13, mismatch=2.0)
    found = bootstrap_apa(
        reference=true, shuffled=mismatched, candidate=candidate, donors=donors, seed=5, draws=30, level=0.8
    )
    groups, rng = exchange_groups(donors), np.random.default_rng(5)
    assert len(groups) == 6
    halves, swaps = [], []
    for _ in range(30):
        songs = [song for group in rng.permutation(6)[:3] for song in groups[group]]
        one, two, three = ([songs_of[song] for song in songs] for songs_of in (true, mismatched, candidate))
        halves.append((fad(three, one), fad(three, two), fad(one, two)))
        stays = {
            song for group, draw in zip(groups, rng.random(6), strict=True) if draw < 0.5 for song in group
        }
        left = [true[song] if song in stays else mismatched[song] for song in range(13)]
        right = [mismatched[song] if song in stays else true[song] for song in range(13)]
        swaps.append(fad(left, right))
    whole = (fad(candidate, true), fad(candidate, mismatched), fad(true, mismatched))
    to_true, to_mismatched, between = np.transpose(np.array(halves) - np.mean(halves, axis=0) + whole)
    values = np.clip(0.5 + (to_mismatched - to_true) / (2 * between), 0, 1)
    assert found.low == pytest.approx(np.quantile(values, 0.1))
    assert found.high == pytest.approx(np.quantile(values, 0.9))
    assert found.chance == pytest.approx(np.mean(swaps))
    assert found.p == (1 + sum(swap >= whole[2] * (1 - 1e-9) for swap in swaps)) / 31


def test_the_bootstrap_follows_its_seed() -> None:
    true, mismatched, candidate, donors = mixes(np.random.default_rng(9), 12, mismatch=1.0)

    def found(seed: int) -> ApaInterval:
        return bootstrap_apa(
            reference=true, shuffled=mismatched, candidate=candidate, donors=donors, seed=seed, draws=20
        )

    assert found(0) == found(0) != found(1)


def test_what_cannot_work_is_refused() -> None:
    rng = np.random.default_rng(10)
    true, mismatched, candidate, donors = mixes(rng, 8, mismatch=1.0)
    sets = {"reference": true, "shuffled": mismatched, "candidate": candidate}
    with pytest.raises(UsageError, match="a set without songs"):
        apa(**sets | {"candidate": []})
    with pytest.raises(UsageError, match="of 4 and of 6 dimensions"):
        apa(**sets | {"candidate": [rng.normal(size=(3, 4))]})
    with pytest.raises(UsageError, match="with one D"):
        apa(**sets | {"candidate": [rng.normal(size=(3, 4))]}, num_components=2)
    with pytest.raises(UsageError, match="the true and the shuffled mixes are the same"):
        apa(**sets | {"shuffled": true[::-1]})
    with pytest.raises(UsageError, match=r"7 principal components asked for, .* have 1 to 6"):
        apa(**sets, num_components=7)
    with pytest.raises(UsageError, match="0 principal components"):
        apa(**sets, num_components=0)
    with pytest.raises(
        UsageError, match="8 true mixes, 8 shuffled ones, 7 candidates and 8 donors do not pair"
    ):
        bootstrap_apa(**sets | {"candidate": candidate[:7]}, donors=donors, seed=0)
    with pytest.raises(UsageError, match="8 songs in 1 groups are too few"):
        bootstrap_apa(**sets, donors=[*range(1, 8), 0], seed=0)
    with pytest.raises(UsageError, match="each once"):
        bootstrap_apa(**sets, donors=[1] * 8, seed=0)
    with pytest.raises(UsageError, match="20 draws or more"):
        bootstrap_apa(**sets, donors=donors, seed=0, draws=19)
    with pytest.raises(UsageError, match=r"level 1\.5"):
        bootstrap_apa(**sets, donors=donors, seed=0, level=1.5)
