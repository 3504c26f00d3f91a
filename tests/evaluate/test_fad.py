"""FAD of sets of songs: the bias is as large as theory says, and what corrects for it does."""

import numpy as np
import pytest

from hafm.errors import UsageError
from hafm.evaluate.fad import bootstrap_fad, fad, fad_infinity, per_song_fad
from hafm.evaluate.frechet import frechet_distance, gaussian_of

DIM = 8


def whitened(rng: np.random.Generator, count: int = 400) -> np.ndarray:
    """Embeddings whose mean is 0 and whose covariance is I, exactly: a reference that has no bias."""
    points = rng.normal(size=(count, DIM))
    points -= points.mean(0)
    return points @ np.linalg.inv(np.linalg.cholesky(np.cov(points, rowvar=False))).T


def songs_of(
    rng: np.random.Generator, count: int, *, length: int = 10, between: float = 0.0
) -> list[np.ndarray]:
    """Songs whose embeddings share a shift of size `between`; over all songs their covariance is I."""
    within = np.sqrt(1 - between**2)
    return [within * rng.normal(size=(length, DIM)) + between * rng.normal(size=DIM) for _ in range(count)]


def predicted_bias(count: int) -> float:
    return DIM / count + DIM * (DIM + 1) / (4 * (count - 1))


@pytest.mark.parametrize("count", [100, 200, 800])
def test_the_bias_shrinks_with_the_number_of_embeddings_as_predicted(count: int) -> None:
    rng = np.random.default_rng(0)
    reference = [whitened(rng)]
    distances = [fad(reference, [rng.normal(size=(count, DIM))]) for _ in range(200)]
    assert np.mean(distances) == pytest.approx(predicted_bias(count), rel=0.1)


@pytest.mark.slow
def test_infinity_takes_the_bias_off() -> None:
    rng = np.random.default_rng(1)
    reference = [whitened(rng)]
    found = [fad_infinity(reference, songs_of(rng, 40), seed=n) for n in range(20)]
    assert abs(np.mean([one.value for one in found])) < 0.1 * predicted_bias(400)
    # b of a + b / N is what theory says, and the mean of the last points is the plain distance's.
    assert np.mean([one.slope for one in found]) == pytest.approx(400 * predicted_bias(400), rel=0.15)
    assert np.mean([one.points[-1][1] for one in found]) == pytest.approx(predicted_bias(400), rel=0.1)


@pytest.mark.long
def test_infinity_finds_a_distance_that_is_there() -> None:
    rng = np.random.default_rng(2)
    reference = [whitened(rng)]
    shift = np.full(DIM, 0.5)  # a true distance of 2
    found = [
        fad_infinity(reference, [song + shift for song in songs_of(rng, 40)], seed=n).value for n in range(20)
    ]
    assert np.mean(found) == pytest.approx(2.0, rel=0.05)


def test_infinity_names_its_points_and_its_last_is_the_whole_set() -> None:
    rng = np.random.default_rng(3)
    reference, candidate = songs_of(rng, 20), songs_of(rng, 20)
    found = fad_infinity(reference, candidate, seed=0, num_sizes=5)
    assert [size for size, _ in found.points] == [50, 88, 125, 162, 200]
    assert found.points[-1][1] == pytest.approx(fad(reference, candidate), rel=1e-12)
    line = [found.value + found.slope / size for size, _ in found.points]
    residual = np.square(np.subtract(line, [mean for _, mean in found.points])).sum()
    spread = len(line) * np.var([mean for _, mean in found.points])
    assert found.r_squared == pytest.approx(1 - residual / spread)
    assert found == fad_infinity(reference, candidate, seed=0, num_sizes=5)
    assert found != fad_infinity(reference, candidate, seed=1, num_sizes=5)


def test_neither_order_nor_grouping_matters() -> None:
    rng = np.random.default_rng(4)
    reference, candidate = songs_of(rng, 12), songs_of(rng, 9)
    distance = fad(reference, candidate)
    shuffled = [rng.permutation(song) for song in candidate[::-1]]
    assert fad(reference[::-1], shuffled) == pytest.approx(distance, rel=1e-9)
    assert fad(reference, [np.concatenate(candidate)]) == pytest.approx(distance, rel=1e-9)
    assert fad(candidate, reference) == pytest.approx(distance, rel=1e-9)


def test_equal_sets_are_at_no_distance() -> None:
    rng = np.random.default_rng(5)
    songs = [rng.normal(size=(10, 128)).astype(np.float32) for _ in range(5)]  # without full rank
    assert fad(songs, songs[::-1]) <= 1e-6
    interval = bootstrap_fad(songs, songs, seed=0, resample="paired", draws=20)
    assert interval.high <= 1e-6


@pytest.mark.parametrize("resample", ["candidate", "both", "paired"])
def test_the_bootstrap_is_the_slow_one_over_songs(resample: str) -> None:
    rng = np.random.default_rng(6)
    reference = [rng.normal(size=(rng.integers(4, 12), DIM)) + 30 for _ in range(10)]
    candidate = [rng.normal(size=(rng.integers(4, 12), DIM)) + 30.2 for _ in range(10)]
    found = bootstrap_fad(reference, candidate, seed=3, resample=resample, draws=40, level=0.8)
    again = np.random.default_rng(3)
    slow = []
    for _ in range(40):
        picked = again.permutation(10)[:5]
        mine = picked if resample == "paired" else np.arange(10)
        if resample == "both":
            mine = again.permutation(10)[:5]
        slow.append(fad([reference[n] for n in mine], [candidate[n] for n in picked]))
    assert found.value == pytest.approx(fad(reference, candidate))
    assert found.bias == pytest.approx(np.mean(slow) - found.value, rel=1e-6)
    assert found.low == pytest.approx(np.quantile(slow, 0.1) - found.bias, rel=1e-6)
    assert found.high == pytest.approx(np.quantile(slow, 0.9) - found.bias, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("between", [pytest.param(0.0, marks=pytest.mark.slow), 0.7])
def test_intervals_cover_what_other_songs_would_give(between: float) -> None:
    """Also where embeddings of one song are alike, which a bootstrap over embeddings would not see."""
    rng = np.random.default_rng(7)
    reference = [whitened(rng)]

    def draw() -> list[np.ndarray]:
        return [song + 0.4 for song in songs_of(rng, 30, between=between)]

    expected = np.mean([fad(reference, draw()) for _ in range(200)])
    intervals = [
        bootstrap_fad(reference, draw(), seed=n, resample="candidate", draws=40, level=0.9) for n in range(60)
    ]
    covered = np.mean([one.low <= expected <= one.high for one in intervals])
    assert 0.75 <= covered <= 0.99
    assert all(one.low <= one.value <= one.high for one in intervals)


@pytest.mark.slow
def test_intervals_stay_narrow_where_the_bias_is_most_of_the_distance() -> None:
    """Draws with replacement give three to eight times the spread here, see `bootstrap_fad`."""
    rng = np.random.default_rng(11)

    def draw() -> list[np.ndarray]:
        return [rng.normal(size=(10, 48)) for _ in range(20)]

    spread = np.std([fad(draw(), draw()) for _ in range(30)])
    found = [bootstrap_fad(draw(), draw(), seed=n, draws=40, level=0.6827) for n in range(6)]
    assert spread < np.mean([one.high - one.low for one in found]) / 2 < 2.6 * spread


@pytest.mark.slow
def test_the_bootstraps_bias_is_the_one_of_the_sample() -> None:
    rng = np.random.default_rng(8)
    reference = [whitened(rng)]
    found = [
        bootstrap_fad(reference, songs_of(rng, 40), seed=n, resample="candidate", draws=40) for n in range(30)
    ]
    assert np.mean([one.bias for one in found]) == pytest.approx(predicted_bias(400), rel=0.2)


def test_songs_are_ranked_by_their_own_distance() -> None:
    rng = np.random.default_rng(9)
    reference = songs_of(rng, 30)
    candidate = [song + shift for song, shift in zip(songs_of(rng, 4), (0.0, 4.0, 1.0, 2.0), strict=True)]
    distances = per_song_fad(reference, candidate)
    assert np.argsort(distances).tolist() == [0, 2, 3, 1]
    whole = gaussian_of(np.concatenate(reference))
    assert distances[2] == pytest.approx(frechet_distance(whole, gaussian_of(candidate[2])))


def test_what_cannot_work_is_refused() -> None:
    rng = np.random.default_rng(10)
    songs = songs_of(rng, 5)
    with pytest.raises(UsageError, match="a set without songs"):
        fad(songs, [])
    with pytest.raises(UsageError, match="with one D"):
        fad(songs, [np.zeros((3, 4)), np.zeros((3, 5))])
    with pytest.raises(UsageError, match="of 8 and of 4 dimensions"):
        fad(songs, [np.zeros((3, 4))])
    with pytest.raises(UsageError, match="song 1 has 1 embeddings"):
        per_song_fad(songs, [songs[0], songs[1][:1]])
    with pytest.raises(UsageError, match="four songs or more"):
        bootstrap_fad(songs, songs[:1], seed=0)
    with pytest.raises(UsageError, match="5 and 4 songs cannot be paired"):
        bootstrap_fad(songs, songs[:4], seed=0, resample="paired")
    with pytest.raises(UsageError, match="got both, 19 draws"):
        bootstrap_fad(songs, songs, seed=0, draws=19)
    with pytest.raises(UsageError, match=r"level 1\.5"):
        bootstrap_fad(songs, songs, seed=0, level=1.5)
    with pytest.raises(UsageError, match="15 sizes from 50"):
        fad_infinity(songs, songs, seed=0, smallest=50)


def test_a_set_without_any_spread_has_an_interval() -> None:
    rng = np.random.default_rng(0)
    reference = [rng.normal(size=(5, 16)) for _ in range(8)]
    silent = [np.full((5, 16), -8.1, dtype=np.float32) for _ in range(8)]
    for resample in ("both", "candidate", "paired"):
        interval = bootstrap_fad(reference, silent, seed=0, resample=resample, draws=20)
        assert interval.low - 1e-9 <= interval.value <= interval.high + 1e-9
    assert bootstrap_fad(silent, silent, seed=0, draws=20).value == 0.0
