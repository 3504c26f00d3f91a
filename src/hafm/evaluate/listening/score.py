"""From a key and answers to win rates, strengths, and how well raters listened.

In: a `Design` and the `Answers` of one rater or several. Out: `Scores`: win rates lie between 0 and 1 and
count a tie as half a win for either; intervals are of 95 %; what is not known (nobody answered) is None.

    main trials     win rate of each pair, sign test, strengths over all systems
    catch trials    who chose the truth less often than `min_catch` is named, and left out if asked
    repeats         whether a rater gives the same answer twice; chance is about a half

Intervals of win rates: with one rater Wilson's. With several, percentiles of draws of raters and clips, and
no narrower than Wilson's; answers that all agree would otherwise have an interval of no width. Intervals of
strengths are percentiles of the same draws. See `hafm.evaluate.listening.wins`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from statistics import median
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from hafm.errors import UsageError
from hafm.evaluate.listening.answers import Answer, Answers, check_distinct
from hafm.evaluate.listening.design import MIN_CATCH, Design, Trial
from hafm.evaluate.listening.wins import drawn_wins, fit_strengths, sign_test_p, wilson
from hafm.evaluate.run.results import Figure
from hafm.evaluate.testset import TRUTH

__all__ = ["Comment", "IntervalKind", "PairScore", "RaterScore", "Scores", "Strength", "score"]

IntervalKind: TypeAlias = Literal["wilson", "raters-and-clips"]

_TAILS = (0.025, 0.975)


@dataclass(frozen=True, kw_only=True)
class PairScore:
    """Two systems against each other.

    Args:
        answers: to trials of this pair.
        wins, ties, losses: of the first.
        rate: win rate of the first, with its interval.
        p: exact two-sided sign test of wins against losses, answers taken for independent.
    """

    first: str
    second: str
    answers: int
    wins: int
    ties: int
    losses: int
    rate: Figure
    p: float | None

    def turned(self) -> "PairScore":
        """The second against the first."""
        value, high, low = (
            None if share is None else 1 - share for share in (self.rate.value, self.rate.low, self.rate.high)
        )
        return replace(
            self,
            first=self.second,
            second=self.first,
            wins=self.losses,
            losses=self.wins,
            rate=Figure(value=value, low=low, high=high),
        )


@dataclass(frozen=True, kw_only=True)
class Strength:
    """A system's strength over all pairs: log-odds against the mean of all systems, with its interval."""

    system: str
    strength: Figure


@dataclass(frozen=True, kw_only=True)
class RaterScore:
    """How a rater listened.

    Args:
        name: the one given, or `rater 2` by the order of the files.
        catch, caught: catch trials answered, and those in which the truth was chosen.
        repeats, consistent: repeats whose first was answered too, and those with the same answer both times.
        side_a: share of side A among main answers that choose a side.
        inattentive: whether the share of caught ones is below the limit.
    """

    name: str
    answered: int
    catch: int
    caught: int
    repeats: int
    consistent: int
    side_a: Figure
    seconds: float | None
    inattentive: bool
    left_out: bool


@dataclass(frozen=True, kw_only=True)
class Comment:
    """A rater's words on a trial."""

    rater: str
    trial: str
    clip: str
    a: str
    b: str
    choice: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Scores:
    """All that a test found.

    Args:
        trials: in the design, of all kinds.
        interval: how win rates have theirs: `wilson` for one rater, else by drawing raters and clips.
        strengths: the strongest first.
        consistency: share of repeats with the same answer both times, of all who count.
        min_catch: below this share of caught catch trials a rater is named.
    """

    kit: str
    trials: int
    interval: IntervalKind
    pairs: tuple[PairScore, ...]
    strengths: tuple[Strength, ...]
    raters: tuple[RaterScore, ...]
    consistency: Figure
    min_catch: float
    comments: tuple[Comment, ...]
    notes: tuple[str, ...]

    def pair(self, first: str, second: str) -> PairScore:
        """The two in the order asked for; KeyError where they were not compared."""
        for pair in self.pairs:
            if {pair.first, pair.second} == {first, second}:
                return pair if pair.first == first else pair.turned()
        raise KeyError((first, second))

    def to_json(self) -> Mapping[str, Any]:
        """JSON values."""
        return asdict(self)


# ---- scoring


def score(
    key: Design,
    answers: Sequence[Answers],
    *,
    min_catch: float = MIN_CATCH,
    leave_out: bool = False,
    draws: int = 2000,
    seed: int = 0,
) -> Scores:
    """Score a listening test.

    Args:
        answers: one file per rater.
        min_catch: share of catch trials, 0 to 1, below which a rater is named as inattentive.
        leave_out: whether such a rater counts for nothing.
        draws: for the intervals.

    Raises:
        UsageError: no answers, answers that count twice, a value out of range, or nobody is left.
    """
    if not answers:
        raise UsageError("no answers were given; give the files that raters saved")
    if not 0 <= min_catch <= 1:
        raise UsageError(f"--min-catch is {min_catch:g}; give a share from 0 to 1")
    check_distinct(answers)
    trials = {trial.id: trial for trial in key.trials}
    raters = [
        _rater(each, trials, name=each.rater or f"rater {number}", min_catch=min_catch, leave_out=leave_out)
        for number, each in enumerate(answers, start=1)
    ]
    counted = [each for each, rater in zip(answers, raters, strict=True) if not rater.left_out]
    if not counted:
        raise UsageError(
            "every rater falls below --min-catch and is left out, so nothing is left to score; score without "
            "leaving them out, or ask more raters"
        )
    main = [[(trials[a.trial], a) for a in _of_kind(each, trials, "main")] for each in counted]
    if not any(main):
        raise UsageError("nobody answered a trial that compares systems; ask raters to go on with their test")
    wins = _wins(key, main)
    drawn = drawn_wins(wins, draws=draws, seed=seed)
    pairs = _pairs(key, main, drawn)
    counting = [rater for rater in raters if not rater.left_out]
    return Scores(
        kit=key.kit,
        trials=len(key.trials),
        interval="wilson" if len(counted) == 1 else "raters-and-clips",
        pairs=pairs,
        strengths=_strengths(key, wins.sum(axis=(0, 1)), drawn),
        raters=tuple(raters),
        consistency=_share(sum(each.consistent for each in counting), sum(each.repeats for each in counting)),
        min_catch=min_catch,
        comments=tuple(
            Comment(
                rater=rater.name,
                trial=answer.trial,
                clip=trials[answer.trial].clip,
                a=trials[answer.trial].a,
                b=trials[answer.trial].b,
                choice=answer.choice,
                text=answer.comment,
            )
            for rater, each in zip(raters, answers, strict=True)
            for answer in each.answers
            if answer.comment
        ),
        notes=_notes(key, raters, pairs),
    )


# ---- raters


def _of_kind(each: Answers, trials: dict[str, Trial], kind: str) -> list[Answer]:
    return [answer for answer in each.answers if trials[answer.trial].kind == kind]


def _rater(
    each: Answers, trials: dict[str, Trial], *, name: str, min_catch: float, leave_out: bool
) -> RaterScore:
    catch = _of_kind(each, trials, "catch")
    caught = sum(trials[answer.trial].chosen(answer.choice) == TRUTH for answer in catch)
    inattentive = bool(catch) and caught / len(catch) < min_catch
    first = {answer.trial: answer for answer in _of_kind(each, trials, "main")}
    again = [
        (first[original], answer)
        for answer in _of_kind(each, trials, "repeat")
        if (original := trials[answer.trial].repeats) in first
    ]
    sided = [answer.choice for answer in first.values() if answer.choice != "same"]
    return RaterScore(
        name=name,
        answered=len(each.answers),
        catch=len(catch),
        caught=caught,
        repeats=len(again),
        consistent=sum(
            trials[before.trial].chosen(before.choice) == trials[after.trial].chosen(after.choice)
            for before, after in again
        ),
        side_a=_share(sided.count("a"), len(sided)),
        seconds=median(answer.seconds for answer in each.answers) if each.answers else None,
        inattentive=inattentive,
        left_out=inattentive and leave_out,
    )


def _share(wins: float, count: int) -> Figure:
    if count == 0:
        return Figure(value=None)
    low, high = wilson(wins, count)
    return Figure(value=wins / count, low=low, high=high)


# ---- systems


def _wins(key: Design, main: Sequence[Sequence[tuple[Trial, Answer]]]) -> Float64[ndarray, "R C S S"]:
    """By rater, clip, winner and loser; a tie is half a win for either."""
    clips = {clip: number for number, clip in enumerate(dict.fromkeys(t.clip for t in key.of_kind("main")))}
    systems = {system: number for number, system in enumerate(key.systems)}
    wins = np.zeros((len(main), len(clips), len(systems), len(systems)))
    for rater, answered in enumerate(main):
        for trial, answer in answered:
            for_a = {"a": 1.0, "same": 0.5, "b": 0.0}[answer.choice]
            a, b = systems[trial.a], systems[trial.b]
            wins[rater, clips[trial.clip], a, b] += for_a
            wins[rater, clips[trial.clip], b, a] += 1 - for_a
    return wins


def _pairs(
    key: Design, main: Sequence[Sequence[tuple[Trial, Answer]]], drawn: Float64[ndarray, "D S S"]
) -> tuple[PairScore, ...]:
    answered = [each for rater in main for each in rater]
    pairs = []
    for (i, first), (j, second) in combinations(enumerate(key.systems), 2):
        chosen = [
            trial.chosen(answer.choice) for trial, answer in answered if {trial.a, trial.b} == {first, second}
        ]
        wins, losses = chosen.count(first), chosen.count(second)
        ties = len(chosen) - wins - losses
        rate = _share(wins + ties / 2, len(chosen))
        if len(main) > 1 and chosen:
            rate = _widened(rate, drawn[:, i, j], drawn[:, j, i])
        pairs.append(
            PairScore(
                first=first,
                second=second,
                answers=len(chosen),
                wins=wins,
                ties=ties,
                losses=losses,
                rate=rate,
                p=sign_test_p(wins, losses),
            )
        )
    return tuple(pairs)


def _widened(rate: Figure, wins: Float64[ndarray, " D"], losses: Float64[ndarray, " D"]) -> Figure:
    """The interval of the draws, where it is wider than Wilson's."""
    count = wins + losses
    rates = wins[count > 0] / count[count > 0]
    if rate.low is None or rate.high is None or not len(rates):
        return rate
    low, high = np.quantile(rates, _TAILS)
    return Figure(value=rate.value, low=min(rate.low, float(low)), high=max(rate.high, float(high)))


def _strengths(
    key: Design, wins: Float64[ndarray, "S S"], drawn: Float64[ndarray, "D S S"]
) -> tuple[Strength, ...]:
    values, (low, high) = fit_strengths(wins), np.quantile(fit_strengths(drawn), _TAILS, axis=0)
    return tuple(
        Strength(
            system=key.systems[i],
            strength=Figure(value=float(values[i]), low=float(low[i]), high=float(high[i])),
        )
        for i in np.argsort(-values, kind="stable")
    )


# ---- notes


def _notes(key: Design, raters: Sequence[RaterScore], pairs: Sequence[PairScore]) -> tuple[str, ...]:
    notes = []
    for rater in raters:
        if rater.inattentive:
            notes.append(
                f"{rater.name} chose the truth in {rater.caught} of {rater.catch} catch trials"
                + (" and is left out" if rater.left_out else " and counts nevertheless")
            )
        if rater.answered < len(key.trials):
            notes.append(f"{rater.name} answered {rater.answered} of {len(key.trials)} trials")
    if not any(rater.catch for rater in raters):
        notes.append("there are no catch trials, so inattentive raters cannot be found")
    if few := sum(pair.answers < 6 for pair in pairs):
        # Five answers that all agree have p 0.0625.
        notes.append(f"{few} of {len(pairs)} pairs have fewer than 6 answers, too few for any conclusion")
    return tuple(notes)
