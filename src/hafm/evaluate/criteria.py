"""The measures of fit that rank takes, with the constants that make points of their values.

In: a value of a measure. Out: points.

    points = weight * (value - mean) / deviation        with the value held between `worst` and `best`

`mean` and `deviation` are those of other songs' instrumentals under a vocal, so 0 points is what an
accompaniment gets that knows nothing of the vocal. `worst` ends the middle 95 % of those, `best` the middle
95 % of own instrumentals: following the singer more closely than real bands do gains nothing. The weights are
those of a conditional logit that picks the own instrumental of a vocal out of eight: where it was fitted, one
with a point more than another is e = 2.7 times as likely to be the own.

Chosen by evidence, on 545 rendered songs. A measure stays if the 95 % interval of its weight leaves out 0:
`onset_lag` and `loudness_balance` go, as they add nothing to the others, and `dead_air` does not vary. This
prints the constants, their intervals, and how often the own instrumental of a held-out vocal comes first:

    python -m benchmarks.fit_ranking --train work/pairs/train --test work/pairs/test --real REAL

On real singing the order holds less often, and the points overstate the odds (docs/cli.md).

Source: McFadden, "Conditional logit analysis of qualitative choice behavior" (1974); the use is ours.
"""

from dataclasses import dataclass

__all__ = ["CRITERIA", "Criterion"]


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """A measure of fit that takes are ranked by.

    Args:
        measure: its name in `hafm.evaluate.fit.measures.MEASURES`.
        words: what a singer calls it.
        worst: what lower values, and those that cannot be told, count as.
        best: what higher values count as.
        mean, deviation: over other songs' instrumentals.
        weight: points a deviation.
    """

    measure: str
    words: str
    worst: float
    best: float
    mean: float
    deviation: float
    weight: float

    def points(self, value: float | None) -> float:
        """What a value adds to the score.

        Args:
            value: of the measure; None where it cannot be told.

        >>> harmony = CRITERIA[1]
        >>> [round(harmony.points(value)) for value in (None, -1.0, 0.014, 0.289, 0.9, 1.0)]
        [-3, -3, 0, 4, 8, 8]
        """
        held = self.worst if value is None else min(max(value, self.worst), self.best)
        return self.weight * (held - self.mean) / self.deviation


CRITERIA = (
    Criterion(
        measure="key_vocal",
        words="the melody's key",
        worst=0.0,
        best=1.0,
        mean=0.082,
        deviation=0.224,
        weight=0.38,
    ),
    Criterion(
        measure="chroma_vocal",
        words="harmony with the melody",
        worst=-0.189,
        best=0.593,
        mean=0.014,
        deviation=0.136,
        weight=1.993,
    ),
    Criterion(
        measure="beat_vocal",
        words="beats on the syllables",
        worst=-0.375,
        best=1.366,
        mean=-0.003,
        deviation=0.22,
        weight=1.235,
    ),
    Criterion(
        measure="onset_correlation",
        words="attacks together with the syllables",
        worst=0.056,
        best=0.378,
        mean=0.123,
        deviation=0.045,
        weight=0.798,
    ),
)
"""What takes are ranked by, in the order of `MEASURES`."""
