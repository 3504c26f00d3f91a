"""The results of an evaluation, as values and as JSON.

In: what `hafm.evaluate.run.summary` worked out. Out: `RUN/results.json`, which the report, the listening kit
and a later comparison read, and nothing else needs.

Conventions: every figure has its interval where one is known (95 %, over songs), else None. A number that
is not known is None, never NaN. The paper's own figures are in
`hafm.evaluate.report.paper_table2` and nowhere in here.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, TypeAlias

from hafm.errors import UsageError
from hafm.jsonfile import JsonFile

__all__ = [
    "ApaRow",
    "ClipRow",
    "FadRow",
    "Figure",
    "FitRow",
    "MeasureRow",
    "On",
    "Results",
    "SystemRow",
    "WorthRow",
]

FORMAT = 1

On: TypeAlias = Literal["stem", "mix"]
"""What is embedded: the accompaniment alone, or with the vocal."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number and its interval.

    >>> str(Figure(value=0.5, low=0.25, high=0.75)), str(Figure(value=2.0)), str(Figure(value=None))
    ('0.50 [0.25, 0.75]', '2.00', 'none')
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    def apart(self, other: "Figure") -> int | None:
        """1 if this figure's interval lies wholly above the other's, -1 if below, 0 if they meet.

        None where one of them is not known. Intervals that meet do not show that two figures are equal;
        intervals that do not meet show that they differ.

        >>> low, high = Figure(value=1.0, low=0.5, high=1.5), Figure(value=3.0, low=2.0, high=4.0)
        >>> low.apart(high), high.apart(low), low.apart(low), low.apart(Figure(value=9.0))
        (-1, 1, 0, None)
        """
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return None
        return 1 if self.low > other.high else -1 if self.high < other.low else 0

    def __str__(self) -> str:
        if self.value is None:
            return "none"
        if self.low is None or self.high is None:
            return f"{self.value:.2f}"
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, kw_only=True)
class SystemRow:
    """A row of the tables.

    Args:
        name: `truth`, `codec`, `model`, `model-best-of-4`, `retrieval`, `random`, `silence`, `noise`, ...
        kind: `ceiling`, `model`, `baseline` or `control`.
        note: what a reader must know, such as which measures its takes were chosen by.
    """

    name: str
    title: str
    kind: str
    note: str = ""
    identity: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class FadRow:
    """A Fréchet audio distance to the true instrumentals (or to their mixes).

    Args:
        embedding: its name; distances of different embeddings are different quantities.
        infinity: extrapolated to an endless set; None where that is not known.
        per_song: each song's own distance to the whole reference, by song.
    """

    arm: str
    system: str
    embedding: str
    on: On
    fad: Figure
    infinity: float | None
    points: int
    per_song: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class ApaRow:
    """Accompaniment prompt adherence, 0 (as random pairs) to 1 (as true pairs), and whether these differ."""

    arm: str
    system: str
    embedding: str
    apa: Figure
    informative: bool
    why: str


@dataclass(frozen=True, kw_only=True)
class MeasureRow:
    """A measure of fit, and whether it says anything on this test set.

    Args:
        informative: whether the true instrumental scores better than a random one, p below 0.05 over songs;
            None where higher is neither better nor worse, or a control is missing.
        p: of that test (paired permutation, two-sided).
        effect: paired d.
    """

    name: str
    unit: str
    higher_is_better: bool | None
    what: str
    informative: bool | None
    p: float | None
    effect: float | None
    why: str


@dataclass(frozen=True, kw_only=True)
class FitRow:
    """The mean of a measure over the songs of an arm; clips without a value are left out."""

    arm: str
    system: str
    measure: str
    figure: Figure
    songs: int
    clips: int


@dataclass(frozen=True, kw_only=True)
class ClipRow:
    """One clip under one system.

    Args:
        take: whose sound represents the system; `heard` and `source` say where it lies
            (`RunFolder.sound_path`).
        heard: arm that it was made for, or `both`.
        source: the system under whose name the sound lies (`model` for `model-best-of-4`).
        why: how the take was chosen, where it was.
    """

    arm: str
    system: str
    clip: str
    song: str
    take: int
    heard: str
    source: str
    measures: Mapping[str, float | None]
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class WorthRow:
    """What the vocal is worth to a stage: its loss on true tokens, with the right vocal and with another's.

    Args:
        right, wrong: nats per token.
        difference: wrong less right; above 0 where the vocal is used.
        p: paired permutation over songs.
    """

    stage: str
    right: Figure
    wrong: Figure
    difference: Figure
    p: float
    clips: int


@dataclass(frozen=True, kw_only=True)
class Results:
    """All results of a run; `made_with` has versions, bundle, seed, settings and levels."""

    made_with: Mapping[str, Any]
    manifest_fingerprint: str
    arms: tuple[str, ...]
    systems: tuple[SystemRow, ...]
    measures: tuple[MeasureRow, ...]
    fad: tuple[FadRow, ...]
    apa: tuple[ApaRow, ...]
    fit: tuple[FitRow, ...]
    clips: tuple[ClipRow, ...]
    worth: tuple[WorthRow, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """What `from_json` reads."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Self:
        """What `to_json` gave, which messages call `where`; UsageError where it is anything else."""
        return _FILE.read(cls, text, where=where)


_FILE = JsonFile(
    what="the results of an evaluation",
    fix="give the results.json of a run of hafm evaluate",
    error=UsageError,
    format=FORMAT,
)
