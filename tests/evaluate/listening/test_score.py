"""Known preferences come back within their intervals, and intervals are as wide as they must be."""

import json
import math
from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from hafm.app.listen import ScoreOutcome
from hafm.errors import UsageError
from hafm.evaluate.listening.design import Trial
from hafm.evaluate.listening.score import score
from hafm.evaluate.listening.wins import drawn_wins, fit_strengths, sign_test_p, wilson
from tests.evaluate.listening.simulated import design_of, simulated
from tests.unchecked import unchecked

SYSTEMS = ("model", "retrieval", "random", "truth")


def always(probability: float) -> Callable[[Trial], float]:
    return lambda trial: probability


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# ---- Wilson, and the sign test


def test_wilson_against_published_values() -> None:
    """Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    for wins, count, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(wins, count) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize("count", [8, 24, 60])
def test_wilson_covers_as_often_as_it_says(count: int) -> None:
    """Exactly, by summing over all outcomes."""
    bounds = [wilson(wins, count) for wins in range(count + 1)]
    covered = []
    for rate in np.linspace(0.05, 0.95, 91):
        chances = [math.comb(count, k) * rate**k * (1 - rate) ** (count - k) for k in range(count + 1)]
        inside = [low <= rate <= high for low, high in bounds]
        covered.append(sum(chance for chance, within in zip(chances, inside, strict=True) if within))
    assert 0.94 < np.mean(covered) < 0.97
    assert min(covered) > 0.88


def test_the_sign_test_is_exact() -> None:
    for wins, losses in ((7, 1), (0, 6), (12, 5), (3, 3)):
        count = wins + losses
        worse = [k for k in range(count + 1) if abs(2 * k - count) >= abs(wins - losses)]
        assert sign_test_p(wins, losses) == pytest.approx(sum(math.comb(count, k) for k in worse) / 2**count)


@pytest.mark.parametrize(("wins", "count"), [(1, 0), (-0.5, 3), (4, 3)])
def test_no_share_is_refused(wins: float, count: int) -> None:
    with pytest.raises(UsageError, match="are not a share"):
        wilson(wins, count)


# ---- strengths


@pytest.mark.parametrize(("wins", "losses"), [(7.5, 2.5), (10.0, 0.0), (3.0, 3.0)])
def test_two_systems_have_a_closed_form(wins: float, losses: float) -> None:
    first, second = fit_strengths(np.array([[0.0, wins], [losses, 0.0]]))
    assert first - second == pytest.approx(math.log((wins + 0.5) / (losses + 0.5)), abs=1e-6)
    assert first + second == pytest.approx(0, abs=1e-9)


def test_strengths_come_back_from_expected_wins() -> None:
    """Where wins are what the strengths say, and enough that the prior is lost, the fit is the strengths."""
    true = np.array([1.5, 0.2, -0.5, -1.2])
    wins = 1e9 / (1 + np.exp(true[None, :] - true[:, None]))
    assert fit_strengths(wins) == pytest.approx(true, abs=1e-5)


def test_many_fits_at_once_are_as_one_by_one() -> None:
    wins = np.random.default_rng(0).integers(0, 9, size=(5, 4, 4)).astype(np.float64)
    each = np.stack([fit_strengths(one) for one in wins])
    assert fit_strengths(wins) == pytest.approx(each, abs=1e-7)


def test_the_fit_is_the_likeliest() -> None:
    wins = np.array([[0.0, 6.0, 9.0], [3.0, 0.0, 5.0], [1.0, 4.0, 0.0]])

    def likelihood(b: np.ndarray) -> float:
        chances = 1 / (1 + np.exp(b[None, :] - b[:, None]))
        return float(((wins + 0.5) * (1 - np.eye(3)) * np.log(chances)).sum())

    best, rng = fit_strengths(wins), np.random.default_rng(1)
    assert all(likelihood(best) > likelihood(best + 0.05 * rng.standard_normal(3)) - 1e-9 for _ in range(200))


@pytest.mark.parametrize(("prior", "message"), [(0.0, "prior is 0"), (0.5, "0 or more")])
def test_what_has_no_strength_is_refused(prior: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fit_strengths(np.array([[0.0, -1.0], [2.0, 0.0]]), prior=prior)


# ---- draws of raters and clips


def test_draws_against_the_slow_way() -> None:
    """Every answer counts as often as its rater was drawn, times as often as its clip was."""
    wins = np.random.default_rng(3).random((3, 5, 2, 2))
    drawn = drawn_wins(wins, draws=4, seed=9)
    rng = np.random.default_rng(9)
    raters = rng.multinomial(3, [1 / 3] * 3, size=4)
    clips = rng.multinomial(5, [1 / 5] * 5, size=4)
    for draw in range(4):
        slow = sum(raters[draw, r] * clips[draw, c] * wins[r, c] for r in range(3) for c in range(5))
        assert drawn[draw] == pytest.approx(slow)


# ---- one rater


@pytest.mark.slow
@unchecked()
def test_a_known_preference_comes_back_within_its_interval() -> None:
    """Wilson through the whole of `score`: 100 raters, each alone; 95 % cover, give or take their luck."""
    design = design_of(songs=24, trials=24, repeats=0)
    covered = 0
    for seed in range(100):
        pair = score(design, [simulated(design, always(0.7), seed=seed)], draws=2).pair("model", "random")
        covered += pair.rate.low <= 0.7 <= pair.rate.high
    assert 0.9 <= covered / 100 <= 0.99


def test_counts_rates_and_ties() -> None:
    design = design_of(systems=SYSTEMS, songs=12, trials=24)
    found = score(design, [simulated(design, always(1.0), seed=1)], draws=50)
    assert found.interval == "wilson"
    assert [(pair.wins, pair.ties, pair.losses) for pair in found.pairs] == [(4, 0, 0)] * 6
    assert [row.system for row in found.strengths] == list(SYSTEMS)
    tied = score(design, [simulated(design, always(1.0), seed=1, ties=1.0)], draws=50)
    for pair in tied.pairs:
        assert (pair.rate.value, pair.ties, pair.p) == (0.5, pair.answers, None)
    turned = found.pair("random", "model")
    assert (turned.wins, turned.losses, turned.rate.value) == (0, 4, 0.0)
    assert turned.rate.high == pytest.approx(1 - found.pair("model", "random").rate.low)


def test_random_raters_include_a_half() -> None:
    design = design_of(systems=SYSTEMS, songs=12, trials=60)
    raters = [simulated(design, always(0.5), seed=seed) for seed in range(6)]
    found = score(design, raters, draws=300)
    for pair in found.pairs:
        assert pair.rate.low < 0.5 < pair.rate.high
        assert pair.p > 0.01
    for row in found.strengths:
        assert row.strength.low < 0 < row.strength.high


# ---- several raters


@pytest.mark.slow
def test_several_raters_who_differ_and_clips_that_differ() -> None:
    """Of 100 tests with raters and clips of their own, 95 % must cover the rate over all raters and clips.

    The control is Wilson's interval of the same answers, taken for independent: it covers far too seldom.
    """
    design = design_of(songs=20, trials=20, repeats=0, catch=0)
    population = Random(0)
    truth = np.mean(
        [logistic(0.6 + population.gauss(0, 0.8) + population.gauss(0, 0.8)) for _ in range(50_000)]
    )
    covered = by_wilson = 0
    for test in range(100):
        rng = Random(f"test {test}")
        clips = {f"c{number}": rng.gauss(0, 0.8) for number in range(20)}
        raters = []
        for rater in range(8):
            own = rng.gauss(0, 0.8)
            raters.append(
                simulated(
                    design,
                    lambda trial, own=own, clips=clips: logistic(0.6 + own + clips[trial.clip]),
                    seed=1000 * test + rater,
                )
            )
        pair = score(design, raters, draws=200).pair("model", "random")
        covered += pair.rate.low <= truth <= pair.rate.high
        low, high = wilson(pair.wins + pair.ties / 2, pair.answers)
        by_wilson += low <= truth <= high
    assert covered / 100 >= 0.9
    assert by_wilson / 100 < 0.82


def test_raters_who_all_agree_have_an_interval_with_a_width() -> None:
    design = design_of(songs=6, trials=6, repeats=0)
    found = score(design, [simulated(design, always(1.0), seed=seed) for seed in range(3)], draws=100)
    pair = found.pair("model", "random")
    assert found.interval == "raters-and-clips"
    assert (pair.rate.value, pair.rate.high) == (1.0, 1.0)
    assert pair.rate.low == pytest.approx(wilson(18, 18)[0])


# ---- how raters listened


def test_the_inattentive_are_named_and_left_out_if_asked() -> None:
    design = design_of(trials=24)
    raters = [
        simulated(design, always(1.0), seed=1, rater="Ann"),
        simulated(design, always(0.0), seed=2, attentive=False),
    ]
    both = score(design, raters, draws=50)
    assert [(r.name, r.caught, r.catch, r.inattentive, r.left_out) for r in both.raters] == [
        ("Ann", 4, 4, False, False),
        ("rater 2", 0, 4, True, False),
    ]
    assert both.pair("model", "random").rate.value == 0.5
    assert "rater 2 chose the truth in 0 of 4 catch trials and counts nevertheless" in both.notes
    one = score(design, raters, draws=50, leave_out=True)
    assert one.pair("model", "random").rate.value == 1.0
    assert one.interval == "wilson"
    assert one.raters[1].left_out
    assert "rater 2 chose the truth in 0 of 4 catch trials and is left out" in one.notes
    forgiving = score(design, raters, draws=50, min_catch=0.0, leave_out=True)
    assert not any(rater.left_out for rater in forgiving.raters)
    with pytest.raises(UsageError, match="nothing is left to score"):
        score(design, raters[1:], leave_out=True)


def test_the_same_answer_twice() -> None:
    design = design_of(trials=24, repeats=10)
    steady = score(design, [simulated(design, always(1.0), seed=1)], draws=10)
    assert (steady.raters[0].consistent, steady.raters[0].repeats) == (10, 10)
    raters = [simulated(design, always(0.5), seed=seed) for seed in range(20)]
    fickle = score(design, raters, draws=10)
    assert 0.4 < fickle.consistency.value < 0.6
    # Repeats are no answers of their own.
    assert sum(pair.answers for pair in fickle.pairs) == 20 * 24


def test_a_rater_who_presses_one_side_shows() -> None:
    design = design_of(trials=24)
    a_first = {
        trial.id: design.systems.index(trial.a) < design.systems.index(trial.b)
        for trial in design.trials
        if trial.kind != "catch"
    }
    left = score(design, [simulated(design, lambda trial: float(a_first[trial.id]), seed=1)], draws=10)
    assert left.raters[0].side_a.value == 1.0
    assert left.pair("model", "random").rate.value == 0.5  # sides are balanced, so it speaks for nobody
    assert left.raters[0].consistent == 0


def test_who_stopped_early_is_reported() -> None:
    design = design_of(systems=SYSTEMS, songs=12)
    whole = simulated(design, always(1.0), seed=1)
    part = type(whole)(where="x", session="y", rater="Bo", answers=whole.answers[:3])
    found = score(design, [part], draws=10)
    assert "Bo answered 3 of 32 trials" in found.notes
    nothing = type(whole)(where="x", session="y", rater="Bo", answers=())
    with pytest.raises(UsageError, match="nobody answered a trial that compares systems"):
        score(design, [nothing])


# ---- what is said


def test_json_and_table() -> None:
    design = design_of(systems=SYSTEMS, songs=12, trials=24)
    found = score(design, [simulated(design, always(0.8), seed=s, ties=0.1) for s in range(3)], draws=50)
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert {"kit", "pairs", "strengths", "raters", "consistency", "notes"} <= set(values)
    summary = ScoreOutcome(scores=found).summary()
    assert max(map(len, summary.splitlines())) <= 100
    assert "draws of raters and clips" in summary
    assert all(system in summary for system in SYSTEMS)


def test_the_same_seed_gives_the_same_scores() -> None:
    design = design_of(systems=SYSTEMS, songs=12)
    raters = [simulated(design, always(0.6), seed=seed) for seed in range(3)]
    assert score(design, raters, draws=50, seed=1) == score(design, raters, draws=50, seed=1)


@pytest.mark.parametrize(("words", "message"), [({"min_catch": 1.5}, "--min-catch is 1.5")])
def test_settings_out_of_range_are_refused(words: dict, message: str) -> None:
    design = design_of()
    with pytest.raises(UsageError, match=message):
        score(design, [simulated(design, always(0.5), seed=1)], **words)


def test_no_answers_are_refused() -> None:
    with pytest.raises(UsageError, match="no answers were given"):
        score(design_of(), [])
