"""What a listening test found: as values, as JSON and as plain text.

In: what `hafm.evaluate.listening.score` worked out. Out: `Scores`, and lines of at most 100 columns, without
colour, fit for a terminal and for a mail.

Conventions: win rates lie between 0 and 1 and count a tie as half a win for either. Intervals are of 95 %.
What is not known (nobody answered) is None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from hafm.evaluate.run.results import Figure

__all__ = ["MIN_CATCH", "Comment", "IntervalKind", "PairScore", "RaterScore", "Scores", "Strength", "table"]

MIN_CATCH = 0.75
"""Share of catch trials that an attentive rater gets right; of four, one slip is forgiven."""

IntervalKind: TypeAlias = Literal["wilson", "raters-and-clips"]

_INTERVALS = {
    "wilson": "95 % intervals: Wilson, for one rater",
    "raters-and-clips": "95 % intervals: draws of raters and clips, no narrower than Wilson",
}


@dataclass(frozen=True, kw_only=True)
class PairScore:
    """Two systems against each other.

    Args:
        first, second: their names.
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

    @property
    def ties_share(self) -> float | None:
        """Ties among the answers."""
        return self.ties / self.answers if self.answers else None


@dataclass(frozen=True, kw_only=True)
class Strength:
    """A system's strength over all pairs.

    Args:
        system: its name.
        strength: log-odds against the mean of all systems, with its interval.
    """

    system: str
    strength: Figure


@dataclass(frozen=True, kw_only=True)
class RaterScore:
    """How a rater listened.

    Args:
        name: the one given, or `rater 2` by the order of the files.
        answered: trials of all kinds.
        catch, caught: catch trials answered, and those in which the truth was chosen.
        repeats, consistent: repeats whose first was answered too, and those with the same answer both times.
        side_a: share of side A among main answers that choose a side.
        seconds: median of the time that a trial took.
        inattentive: whether the share of caught ones is below the limit.
        left_out: whether no figure counts this rater.
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
        kit: whose.
        trials: in the design, of all kinds.
        interval: how win rates have theirs: `wilson` for one rater, else by drawing raters and clips.
        pairs: in the order of the design's systems.
        strengths: the strongest first.
        raters: in the order of their files.
        consistency: share of repeats with the same answer both times, of all who count.
        min_catch: below this share of caught catch trials a rater is named.
        comments: of all raters.
        notes: what a reader must know.
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
                return pair if pair.first == first else _turned(pair)
        raise KeyError((first, second))

    def to_json(self) -> Mapping[str, Any]:
        """JSON values."""
        return asdict(self)


def _turned(pair: PairScore) -> PairScore:
    def other(share: float | None) -> float | None:
        return None if share is None else 1 - share

    return PairScore(
        first=pair.second,
        second=pair.first,
        answers=pair.answers,
        wins=pair.losses,
        ties=pair.ties,
        losses=pair.wins,
        rate=Figure(value=other(pair.rate.value), low=other(pair.rate.high), high=other(pair.rate.low)),
        p=pair.p,
    )


# ---- as text


def table(scores: Scores) -> str:
    """What was found, for people."""
    counted = sum(not rater.left_out for rater in scores.raters)
    lines = [
        f"kit {scores.kit}: {counted} rater{'' if counted == 1 else 's'}, "
        f"{sum(pair.answers for pair in scores.pairs)} answers to {len(scores.pairs)} pairs of systems",
        _INTERVALS[scores.interval] + "; ties are half a win",
        "",
        *_aligned(
            [
                ("how often chosen", "over", "rate", "95 %", "won", "tied", "lost", "p"),
                *(
                    (
                        pair.first,
                        pair.second,
                        _percent(pair.rate.value),
                        _range(pair.rate),
                        str(pair.wins),
                        str(pair.ties),
                        str(pair.losses),
                        "" if pair.p is None else f"{pair.p:.3g}",
                    )
                    for pair in scores.pairs
                ),
            ],
            left=2,
        ),
        "",
        *_aligned(
            [
                ("strength", "log-odds", "95 %"),
                *(
                    (
                        row.system,
                        "" if row.strength.value is None else f"{row.strength.value:+.2f}",
                        f"{row.strength.low:+.2f} to {row.strength.high:+.2f}",
                    )
                    for row in scores.strengths
                ),
            ],
            left=1,
        ),
        "",
        *_aligned(
            [
                ("rater", "answered", "caught", "same twice", "side A", "seconds"),
                *(
                    (
                        rater.name + (" (left out)" if rater.left_out else ""),
                        f"{rater.answered} of {scores.trials}",
                        f"{rater.caught} of {rater.catch}",
                        f"{rater.consistent} of {rater.repeats}",
                        _percent(rater.side_a.value),
                        "" if rater.seconds is None else f"{rater.seconds:.0f}",
                    )
                    for rater in scores.raters
                ),
            ],
            left=1,
        ),
        "",
        f"same answer twice: {_percent(scores.consistency.value)} ({_range(scores.consistency)})"
        if scores.consistency.value is not None
        else "same answer twice: no repeats were answered",
    ]
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.0f} %"


def _range(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return "none"
    return f"{100 * figure.low:.0f} to {100 * figure.high:.0f} %"


def _aligned(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Rows in columns; the first `left` columns are aligned on the left, the others on the right.

    >>> _aligned([("a", "bb"), ("ccc", "d")], left=1)
    ['a    bb', 'ccc   d']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if number < left else f"{cell:>{width}}"
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
