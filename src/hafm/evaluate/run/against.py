"""Two evaluations side by side: what became better, and whether that is more than chance.

In: the results of a run and of an older one. Out: a row for each row, arm and figure that both have.

On the same clips, measures are compared song by song (paired permutation test), which notices far smaller
changes than two intervals do. Distances have no value per song; they are compared by their intervals alone.
Where the clips differ, so are measures, and a note says so. Distances of different embeddings are not
compared at all.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from hafm.evaluate.fit.measures import MEASURES
from hafm.evaluate.run.results import FadRow, Figure, FitRow, Results
from hafm.evaluate.run.summary import FEWEST_SONGS_OF_TEST, by_song, figure_of, paired
from hafm.evaluate.statistics import bootstrap_interval, paired_permutation_p

__all__ = ["Change", "Comparison", "compare"]

_P = 0.05


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure, then and now.

    Args:
        figure: its name: a measure, or `FAD` with what it is of.
        difference: now less then, with its interval where songs could be paired.
        p: of the paired test; None without one.
        verdict: `better`, `worse`, `different` (no direction is better), or `no difference seen`.
    """

    arm: str
    system: str
    figure: str
    then: Figure
    now: Figure
    difference: Figure
    p: float | None
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All changes, in the order of the tables, and notes of what cannot be compared."""

    same_clips: bool
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """For `RUN/comparison.json`."""
        return json.dumps(asdict(self), indent=1)

    def to_markdown(self) -> str:
        """A table for people."""
        lines = [
            "| arm | system | figure | then | now | difference | p | |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for change in self.changes:
            p = "" if change.p is None else f"{change.p:.4f}"
            cells = (change.arm, change.system, change.figure, change.then, change.now, change.difference, p)
            lines.append(f"| {' | '.join(map(str, cells))} | {change.verdict} |")
        return "\n".join([*lines, *(f"\nNote: {note}" for note in self.notes)])


def compare(then: Results, now: Results) -> Comparison:
    """Compares an evaluation with an older one."""
    same_clips = then.manifest_fingerprint == now.manifest_fingerprint
    notes = []
    if not same_clips:
        notes.append("the clips are not the same, so songs are not paired and small changes go unseen")
    old, new = ({row.name for row in each.systems} for each in (then, now))
    for where, names in (("the older run", new - old), ("this run", old - new)):
        if names:
            notes.append(f"{', '.join(sorted(names))}: not in {where}")
    then_embeddings, now_embeddings = (dict(each.made_with["embeddings"]) for each in (then, now))
    foreign = {name for name in now_embeddings if then_embeddings.get(name) != now_embeddings[name]}
    if foreign:
        notes.append(f"{', '.join(sorted(foreign))}: the older run has no distances of that embedding")
    changes = [*_fit(then, now, same_clips=same_clips), *_fad(then, now, foreign)]
    return Comparison(same_clips=same_clips, changes=tuple(changes), notes=tuple(notes))


def _fit(then: Results, now: Results, *, same_clips: bool) -> Iterator[Change]:
    old = {(row.arm, row.system, row.measure): row.figure for row in then.fit}
    for row in now.fit:
        before = old.get((row.arm, row.system, row.measure))
        if before is None or before.value is None or row.figure.value is None:
            continue
        test = None
        if same_clips:
            ours, theirs = (
                [clip for clip in each.clips if (clip.arm, clip.system) == (row.arm, row.system)]
                for each in (now, then)
            )
            a, b = paired(by_song(ours, row.measure), by_song(theirs, row.measure))
            if not a:
                continue
            if len(a) >= FEWEST_SONGS_OF_TEST:
                differences = [x - y for x, y in zip(a, b, strict=True)]
                test = figure_of(bootstrap_interval(differences)), paired_permutation_p(a, b)
        higher = MEASURES[row.measure].higher_is_better if row.measure in MEASURES else None
        yield _change(row, row.measure, before, row.figure, higher=higher, test=test)


def _fad(then: Results, now: Results, foreign: set[str]) -> Iterator[Change]:
    old = {(row.arm, row.system, row.embedding, row.on): row.fad for row in then.fad}
    for row in now.fad:
        before = old.get((row.arm, row.system, row.embedding, row.on))
        if before is None or row.embedding in foreign or before.value is None or row.fad.value is None:
            continue
        yield _change(row, f"FAD {row.embedding}, {row.on}", before, row.fad, higher=False)


def _change(
    row: FitRow | FadRow,
    figure: str,
    then: Figure,
    now: Figure,
    *,
    higher: bool | None,
    test: tuple[Figure, float] | None = None,
) -> Change:
    """Of two figures that are known; where songs were paired, `test` has the difference and its p."""
    assert then.value is not None
    assert now.value is not None
    change = now.value - then.value
    difference, p = test or (Figure(value=change), None)
    differs = bool(now.apart(then)) if p is None else p < _P
    if not differs or change == 0:
        verdict = "no difference seen"
    elif higher is None:
        verdict = "different"
    else:
        verdict = "better" if (change > 0) == higher else "worse"
    return Change(
        arm=row.arm,
        system=row.system,
        figure=figure,
        then=then,
        now=now,
        difference=difference,
        p=p,
        verdict=verdict,
    )
