"""Scores as plain text.

In: `Scores`. Out: lines of at most 100 columns, without colour, fit for a terminal and for a mail.
"""

from collections.abc import Sequence

from hafm.evaluate.listening.scores import Scores
from hafm.evaluate.run.results import Figure

__all__ = ["table"]

_INTERVALS = {
    "wilson": "95 % intervals: Wilson, for one rater",
    "raters-and-clips": "95 % intervals: draws of raters and clips, no narrower than Wilson",
}


def table(scores: Scores) -> str:
    """What was found, for people."""
    told = sum(not rater.left_out for rater in scores.raters)
    lines = [
        f"kit {scores.kit}: {told} rater{'' if told == 1 else 's'}, "
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
    """Rows in columns; the first `left` columns stand on the left, the others on the right.

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
