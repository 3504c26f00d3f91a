"""Which of several takes fits its vocal best, and why.

In: a vocal and the takes that were made for it, `[T]` each. Out: a `Ranking`, the best take first, with a
score, the terms that add up to it (`CRITERIA`), and a line in plain words for each.

Conventions: no truth and no true instrumental is needed. Sounds are measured at 24 kHz in windows of about
10 s, as the constants were fitted to, and points are averaged over the windows in which somebody sings. A
value that is not known (nothing sounds, nothing begins) counts as the criterion's worst, and so does the
share of the singing that has no accompaniment beneath it: no take wins by falling silent. A take that is
silent beneath all of the singing comes last, and takes of equal scores keep their order. One thread, no
random draws: the same sounds give the same ranking.

Where the vocal has no pitch (`hafm.audio.checks`: a whisper, noise), key and harmony do not count: what they
measure there is chance. The takes are ranked by beats and attacks alone, and every line says so.

What a score is not: it compares takes of one vocal. Vocals differ in how much their own instrumental gets.

How points are made of a measure's value:

    points = weight * (value - mean) / deviation        with the value held between `worst` and `best`

`mean` and `deviation` are those of other songs' instrumentals under a vocal, so 0 points is what an
accompaniment gets that knows nothing of the vocal. `worst` ends the middle 95 % of those, `best` the middle
95 % of own instrumentals: following the singer more closely than real bands do gains nothing. The weights are
those of a conditional logit that picks the own instrumental of a vocal out of eight: where it was fitted, one
with a point more than another is e = 2.7 times as likely to be the own.

Chosen by evidence: `benchmarks/fit_ranking.py` fits the constants to 545 rendered songs (experiments.md), and
a measure stays if the 95 % interval of its weight leaves out 0. On real singing the order holds less often,
and the points overstate the odds (docs/cli.md). Takes that follow a lead sheet are ranked by how well they
keep it, too (`SHEET_CRITERIA`).

Source: McFadden, "Conditional logit analysis of qualitative choice behavior" (1974); the use is ours.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from jaxtyping import Float
from torch import Tensor

from hafm.audio.checks import NO_PITCH, vocal_notes
from hafm.audio.resample import resample
from hafm.device import one_thread
from hafm.errors import UsageError
from hafm.evaluate.fit.beats import beat_strength
from hafm.evaluate.fit.measures import MEASURES, Example, Measure
from hafm.evaluate.fit.obedience import sheet_beats
from hafm.generate.accompaniment import Accompaniment
from hafm.guide.lead_sheet import LeadSheet
from hafm.tokens.level import active_rms
from hafm.words import listed

__all__ = ["CRITERIA", "SHEET_CRITERIA", "Criterion", "RankedTake", "Ranking", "pick_best", "rank_takes"]

_SAMPLE_RATE_HZ = 24_000
_WINDOW_SECONDS = 10.0
_DEAD_AIR = "dead_air"
_SINGING_ABOVE = 10 ** (-30 / 20)  # of the vocal's level: below, a window holds breath and bleed
_SILENT_RMS = 10 ** (-70 / 20)  # as in `hafm.evaluate.fit.levels`
_SHOWN_POINTS = 0.005  # smaller differences would be shown as 0.00


@dataclass(frozen=True)
class Criterion:
    """A measure of fit that takes are ranked by.

    Args:
        measure: its name in `hafm.evaluate.fit.measures.MEASURES`.
        words: what a singer calls it.
        worst, best, mean, deviation, weight: see the top of this file.
    """

    measure: str
    words: str
    worst: float
    best: float
    mean: float
    deviation: float
    weight: float

    def points(self, value: float | None) -> float:
        """What a value of the measure, None where it is not known, adds to the score.

        >>> harmony = CRITERIA[1]
        >>> [round(harmony.points(value)) for value in (None, -1.0, 0.014, 0.289, 0.9, 1.0)]
        [-3, -3, 0, 4, 8, 8]
        """
        held = self.worst if value is None else min(max(value, self.worst), self.best)
        return self.weight * (held - self.mean) / self.deviation


CRITERIA = (
    # measure, words, worst, best, mean, deviation, weight
    Criterion("key_vocal", "the melody's key", 0.0, 1.0, 0.082, 0.224, 0.38),
    Criterion("chroma_vocal", "harmony with the melody", -0.189, 0.593, 0.014, 0.136, 1.993),
    Criterion("beat_vocal", "beats on the syllables", -0.375, 1.366, -0.003, 0.22, 1.235),
    Criterion("onset_correlation", "attacks together with the syllables", 0.056, 0.378, 0.123, 0.045, 0.798),
)
"""What takes are ranked by, in the order of `MEASURES`."""

_OF_MELODY = ("key_vocal", "chroma_vocal")
_WITHOUT_MELODY = "no melody was heard in the vocal, so key and harmony do not count"

_SHEET_PULSE = Measure(
    name="sheet_pulse",
    unit="deviations",
    what="how much stronger the accompaniment's onsets are on the beats of its lead sheet than elsewhere",
    needs=("sheet",),
    of=lambda e, sheet: beat_strength(sheet_beats(sheet), e.accompaniment, e.sample_rate),
)
_MEASURES = {**MEASURES, _SHEET_PULSE.name: _SHEET_PULSE}

SHEET_CRITERIA = (
    Criterion("sheet_pulse", "the lead sheet's beats", -0.548, 2.936, -0.025, 0.262, 0.5),
    Criterion("sheet_chords", "the lead sheet's chords", 0.021, 0.944, 0.258, 0.16, 1.0),
)
"""What they are ranked by besides, where they follow a lead sheet.

`mean`, `deviation` and `worst` are those of 40 rendered bands against the sheets of other songs, `best` is
theirs against their own. The weights are chosen, so that a band that keeps its sheet as rendered ones do gets
about 4 points for each, as it does for the melody: nothing tells yet what singers make of it.
"""


@dataclass(frozen=True, kw_only=True)
class RankedTake:
    """A take and its place.

    Args:
        index: of the take in the list that was given, from 0.
        score: points; above 0 is better than what knows nothing of the vocal.
        terms: points by measure, which add up to the score.
        values: of the measures and of `dead_air`, averaged over windows; None where none is known.
        silent: whether it plays nothing beneath the singing.
    """

    index: int
    score: float
    terms: Mapping[str, float]
    values: Mapping[str, float | None]
    silent: bool
    why: str

    @property
    def number(self) -> int:
        """The take's number for people, from 1, as in `take-1/`."""
        return self.index + 1


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Takes in order, the best first, and the number of windows of the vocal in which somebody sings."""

    takes: tuple[RankedTake, ...]
    num_windows: int
    criteria: tuple[Criterion, ...] = CRITERIA

    @property
    def best(self) -> RankedTake:
        """The first."""
        return self.takes[0]

    def to_json(self) -> dict[str, Any]:
        """For `ranking.json`; takes by number, from 1."""
        return {
            "order": [take.number for take in self.takes],
            "takes": [{"take": take.number, **_without(take, "index")} for take in self.takes],
            "measures": {
                criterion.measure: {
                    "what": _MEASURES[criterion.measure].what,
                    "unit": _MEASURES[criterion.measure].unit,
                    **_without(criterion, "measure"),
                }
                for criterion in self.criteria
            },
            "num_windows": self.num_windows,
        }


def _without(item: RankedTake | Criterion, name: str) -> dict[str, Any]:
    return {key: value for key, value in asdict(item).items() if key != name}


def pick_best(accompaniments: Sequence[Accompaniment]) -> Ranking:
    """Ranks the takes of one vocal.

    Raises:
        UsageError: there are none, or they are of different vocals.

    >>> takes = accompanist.generate_takes("vocal.wav", takes=8)                    # doctest: +SKIP
    >>> ranking = pick_best(takes)                                                  # doctest: +SKIP
    >>> takes[ranking.best.index].save("out")                                       # doctest: +SKIP
    >>> print(ranking.best.why)                                                     # doctest: +SKIP
    take 3, 4.20 points: better than the other takes in harmony with the melody (0.31)
    """
    if not accompaniments:
        raise UsageError("there are no takes to rank; give one or more")
    vocal, rate = accompaniments[0].vocal, accompaniments[0].sample_rate
    for number, other in enumerate(accompaniments, start=1):
        same = (other.vocal.sha256, other.vocal.start_seconds) == (vocal.sha256, vocal.start_seconds)
        if not same or other.sample_rate != rate:
            raise UsageError(
                f"take {number} accompanies another vocal than take 1; rank only takes of one vocal"
            )
    sheet = accompaniments[0].record.lead_sheet
    if any(each.record.lead_sheet != sheet for each in accompaniments):
        sheet = None  # takes of several sheets are compared by what they do to the vocal alone
    takes = [accompaniment.waveform[0] for accompaniment in accompaniments]
    has_melody = NO_PITCH not in vocal_notes(vocal.waveform, rate)
    return rank_takes(vocal.mono(), takes, rate, has_melody=has_melody, sheet=sheet)


def rank_takes(
    vocal: Float[Tensor, " T"],
    accompaniments: Sequence[Float[Tensor, " T"]],
    sample_rate: int,
    *,
    has_melody: bool = True,
    sheet: LeadSheet | None = None,
) -> Ranking:
    """Ranks what was made for one vocal.

    Args:
        vocal: finite samples, mono.
        accompaniments: one or more, as long as the vocal.
        sample_rate: of all, in hertz, 8000 or more.
        has_melody: whether the vocal has a pitch; without one, key and harmony do not count.
        sheet: the lead sheet that all of them were made from; None where there was none.

    Raises:
        UsageError: no takes, or one that is not mono, not finite or of another length; it is named.

    >>> import torch
    >>> t = torch.arange(96_000) / 24_000
    >>> a, e, b_flat = (torch.sin(2 * torch.pi * hz * t) * torch.exp(-3 * (t % 1)) for hz in (440, 330, 466))
    >>> ranking = rank_takes(a, [torch.zeros(96_000), b_flat, a + e], 24_000)
    >>> [take.number for take in ranking.takes]
    [3, 2, 1]
    >>> ranking.takes[-1].why
    'take 1: silent beneath the singing'
    """
    if not accompaniments:
        raise UsageError("there are no takes to rank; give one or more")
    for number, accompaniment in enumerate(accompaniments, start=1):
        try:
            Example(vocal=vocal, accompaniment=accompaniment, sample_rate=sample_rate)
        except UsageError as error:
            raise UsageError(f"take {number} cannot be ranked: {error}") from error
    criteria = tuple(each for each in CRITERIA if has_melody or each.measure not in _OF_MELODY)
    if sheet is not None and (sheet.beats or sheet.chords):
        criteria += SHEET_CRITERIA
    with one_thread():
        heard = _at_analysis_rate(vocal, sample_rate)
        windows = _sung_windows(heard)
        measured = [
            _measured(index, heard, _at_analysis_rate(take, sample_rate), windows, criteria, sheet)
            for index, take in enumerate(accompaniments)
        ]
    order = sorted(measured, key=lambda take: (take.silent, -take.score, take.index))
    remark = "" if has_melody else f" ({_WITHOUT_MELODY})"
    takes = [replace(take, why=_why(take, measured, criteria, sung=bool(windows)) + remark) for take in order]
    return Ranking(takes=tuple(takes), num_windows=len(windows), criteria=criteria)


def _at_analysis_rate(waveform: Tensor, sample_rate: int) -> Tensor:
    return resample(waveform[None], sample_rate, _SAMPLE_RATE_HZ)[0]


def _sung_windows(vocal: Tensor) -> list[slice]:
    """Equal windows of about 10 s, without those in which the vocal is 30 dB or more below its level."""
    count = max(1, round(len(vocal) / _SAMPLE_RATE_HZ / _WINDOW_SECONDS))
    edges = [number * len(vocal) // count for number in range(count + 1)]
    windows = [slice(start, end) for start, end in pairwise(edges)]
    level = _level(vocal)
    return [window for window in windows if _level(vocal[window]) > max(_SILENT_RMS, level * _SINGING_ABOVE)]


def _level(waveform: Tensor) -> float:
    return float(active_rms(waveform[None], sample_rate=_SAMPLE_RATE_HZ)[0])


def _measured(
    index: int,
    vocal: Tensor,
    take: Tensor,
    windows: Sequence[slice],
    criteria: Sequence[Criterion],
    sheet: LeadSheet | None,
) -> RankedTake:
    """One take, before it is compared."""
    names = [_DEAD_AIR, *(criterion.measure for criterion in criteria)]
    found = []
    for window in windows:
        example = Example(
            vocal=vocal[window],
            accompaniment=take[window],
            sample_rate=_SAMPLE_RATE_HZ,
            sheet=None if sheet is None else _stretch(sheet, window),
        )
        found.append({name: _MEASURES[name](example) for name in names})
    terms = {
        criterion.measure: math.fsum(_points(criterion, values) for values in found) / max(1, len(found))
        for criterion in criteria
    }
    return RankedTake(
        index=index,
        score=math.fsum(terms.values()),
        terms=terms,
        values={
            name: _mean([value for values in found if (value := values[name]) is not None]) for name in names
        },
        silent=bool(windows) and all(values[_DEAD_AIR] == 1.0 for values in found),
        why="",
    )


def _stretch(sheet: LeadSheet, window: slice) -> LeadSheet:
    """The sheet of a window."""
    end_seconds = min(window.stop / _SAMPLE_RATE_HZ, sheet.duration_seconds)
    return sheet.cropped(window.start / _SAMPLE_RATE_HZ, end_seconds)


def _points(criterion: Criterion, values: Mapping[str, float | None]) -> float:
    """The term of one window: singing with nothing beneath it counts as the worst."""
    dead = values[_DEAD_AIR]
    assert dead is not None, "somebody sings in a window that is measured"
    return (1 - dead) * criterion.points(values[criterion.measure]) + dead * criterion.points(None)


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _why(take: RankedTake, takes: Sequence[RankedTake], criteria: Sequence[Criterion], *, sung: bool) -> str:
    called = f"take {take.number}" if take.silent else f"take {take.number}, {take.score:.2f} points"
    return f"{called}: {_compared(take, takes, criteria, sung)}"


def _compared(
    take: RankedTake, takes: Sequence[RankedTake], criteria: Sequence[Criterion], sung: bool
) -> str:
    """What the take does better and worse than the others that play, the largest difference first."""
    others = [other for other in takes if other is not take and not other.silent]
    if not sung:
        return "nobody sings, so the takes cannot be ranked"
    if take.silent:
        return "silent beneath the singing"
    if not others:
        return "the only take" if len(takes) == 1 else "the only take that plays beneath the singing"
    differences = {
        criterion.words: take.terms[criterion.measure]
        - math.fsum(other.terms[criterion.measure] for other in others) / len(others)
        for criterion in criteria
    }
    than = "the other take" if len(others) == 1 else "the other takes"
    better = _listed({words: points for words, points in differences.items() if points > 0})
    worse = _listed({words: -points for words, points in differences.items() if points < 0})
    if better and worse:
        return f"better than {than} in {better}; worse in {worse}"
    if better or worse:
        return f"{'better' if better else 'worse'} than {than} in {better or worse}"
    return f"no better and no worse than {than}"


def _listed(points: Mapping[str, float]) -> str:
    """What is more than rounding, the largest first.

    >>> _listed({"key": 0.1, "beats": 1.0, "attacks": 0.001, "harmony": 2.0})
    'harmony (2.00), beats (1.00) and key (0.10)'
    """
    return listed(
        f"{words} ({value:.2f})"
        for words, value in sorted(points.items(), key=lambda item: -item[1])
        if value >= _SHOWN_POINTS
    )
