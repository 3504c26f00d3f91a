"""Every table of measured figures.

In: `Lookup`. Out: `Table`s, None where there is nothing to show.

Conventions:

- A measure that does not tell true pairs from random ones here is grey, and has no best system. The best
  system that is not a ceiling is bold if its interval leaves out the mean of random pairing: a best that
  random pairing could have reached is not marked.
- A system called `X-best-of-N` chooses among N takes of the system `X`, whose own row is that of one take.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from hafm.evaluate.report.chart import scale_for
from hafm.evaluate.report.lookup import ARM_TITLES, KIND_TITLES, ON_TITLES, RANDOM, Lookup, measure_title
from hafm.evaluate.report.values import (
    DOWN,
    NOT_MEASURED,
    Cell,
    Column,
    Row,
    Table,
    decimals,
    number,
    of_figure,
)
from hafm.evaluate.run.results import ClipRow, Figure, MeasureRow, On, SystemRow, WorthRow
from hafm.words import plural

__all__ = [
    "SAYS_NOTHING",
    "adherence",
    "best_of",
    "best_systems",
    "distances",
    "fit",
    "measures_of_clip",
    "per_song",
    "worth",
]

SAYS_NOTHING = "says nothing here"

_ON: tuple[On, ...] = ("stem", "mix")
_ARROWS = {True: "\N{UPWARDS ARROW}", False: "\N{DOWNWARDS ARROW}", None: ""}  # which way is better
_BEST_OF = re.compile(r"(?P<base>.+)-best-of-(?P<takes>\d+)")
_ADHERENCE_PLACES, _LOSS_PLACES, _P_PLACES = 2, 3, 4


# ---- distances


def distances(found: Lookup, arm: str, embedding: str) -> Table:
    """Every distance of an arm by one embedding, of accompaniments alone and of mixes, with charts."""
    columns: list[tuple[Column, list[Cell]]] = []
    for on in _ON:
        rows = [found.fad(arm, system.name, embedding, on) for system in found.systems]
        places = decimals(row.fad.value for row in rows if row is not None)
        sides: dict[bool, list[Figure]] = {False: [], True: []}
        for system, row in zip(found.systems, rows, strict=True):
            if row is not None:
                sides[system.kind == "control"].append(row.fad)
        title = ON_TITLES[on].capitalize()
        columns += [
            (
                Column(title=f"FAD{DOWN}", group=title),
                [NOT_MEASURED if row is None else of_figure(row.fad, places) for row in rows],
            ),
            (
                Column(title="chart", group=title, chart_scale=scale_for(sides[False], sides[True])),
                [Cell(chart=None if row is None else row.fad) for row in rows],
            ),
            (
                Column(title="FAD\N{INFINITY}", group=title),
                [Cell(text=number(None if row is None else row.infinity, places)) for row in rows],
            ),
            (
                Column(title="Points", group=title),
                [Cell(text=number(None, 0) if row is None else f"{row.points:,}") for row in rows],
            ),
        ]
    caption = f"Distance to the true instrumentals, by {embedding}, {ARM_TITLES.get(arm, arm)}"
    return _by_system(caption, found.systems, columns, notes=_notes_on(found.systems))


def per_song(found: Lookup, arm: str, embedding: str) -> Table | None:
    """Each song's own distance to the whole reference, of accompaniments alone; None where no row has any."""
    rows = [(system.title, found.fad(arm, system.name, embedding, "stem")) for system in found.systems]
    known = [(title, row.per_song) for title, row in rows if row is not None and row.per_song]
    if not known:
        return None
    songs = dict.fromkeys(song for _, values in known for song in values)
    places = decimals(value for _, values in known for value in values.values())
    return Table.of_texts(
        f"Each song's own distance, {ON_TITLES['stem']}, by {embedding}, {ARM_TITLES.get(arm, arm)}",
        "Song",
        (title for title, _ in known),
        *((song, *(number(values.get(song), places) for _, values in known)) for song in songs),
    )


# ---- measures of fit


def fit(found: Lookup, arm: str) -> Table:
    """Every measure of every system of an arm."""
    columns = []
    for measure in found.results.measures:
        best = best_systems(found, arm, measure)
        cells = _cells([found.fit(arm, system.name, measure.name) for system in found.systems])
        strong = [
            replace(cell, strong=system.name in best)
            for system, cell in zip(found.systems, cells, strict=True)
        ]
        columns.append((_measure_column(measure), strong))
    return _by_system(
        f"Measures of fit, means over songs, {ARM_TITLES.get(arm, arm)}",
        found.systems,
        columns,
        notes=(
            "Bold: the best system that is not a ceiling, where its interval excludes the mean of random "
            "pairing.",
            f"Grey: {SAYS_NOTHING}, since it does not tell true pairs from random ones on this test set.",
            *_notes_on(found.systems),
        ),
    )


def best_systems(found: Lookup, arm: str, measure: MeasureRow) -> frozenset[str]:
    """The best by a measure that says something, where its interval leaves out random pairing's mean."""
    chance = found.fit(arm, RANDOM, measure.name)
    if not measure.informative or measure.higher_is_better is None or chance is None or chance.value is None:
        return frozenset()
    sign = 1 if measure.higher_is_better else -1
    rated: dict[str, tuple[float, Figure]] = {}
    for system in found.systems:
        figure = found.fit(arm, system.name, measure.name)
        if system.kind != "ceiling" and figure is not None and figure.value is not None:
            rated[system.name] = sign * figure.value, figure
    most = max((value for value, _ in rated.values()), default=None)
    return frozenset(
        name for name, (value, figure) in rated.items() if value == most and _excludes(figure, chance.value)
    )


def _excludes(figure: Figure, value: float) -> bool:
    return figure.low is not None and figure.high is not None and not figure.low <= value <= figure.high


def _measure_column(measure: MeasureRow) -> Column:
    silent = measure.informative is False
    title = measure_title(measure.name), _ARROWS[measure.higher_is_better]
    small = measure.unit, SAYS_NOTHING if silent else ""
    return Column(
        title="\N{NO-BREAK SPACE}".join(filter(None, title)),  # the arrow stays with the last word
        small=", ".join(filter(None, small)),
        says_nothing=silent,
    )


def measures_of_clip(found: Lookup, rows: dict[str, ClipRow]) -> Table | None:
    """The values of one clip, by system; None where nothing was measured."""
    systems = [system for system in found.systems if system.name in rows]
    columns = []
    for measure in found.results.measures:
        if any(measure.name in row.measures for row in rows.values()):
            values = [rows[system.name].measures.get(measure.name) for system in systems]
            places = decimals(values)
            cells = [Cell(text=number(value, places)) for value in values]
            columns.append((_measure_column(measure), cells))
    return _by_system("Measures of this clip", systems, columns) if columns else None


def best_of(found: Lookup, arm: str) -> Table | None:
    """The measures that say something, and the distances; None where nothing is chosen."""
    takes = _takes(found)
    if not takes:
        return None
    systems = [system for system in found.systems if system.name in takes]
    columns = [
        (_measure_column(measure), _cells([found.fit(arm, system.name, measure.name) for system in systems]))
        for measure in found.informative
    ]
    for embedding in found.fad_embeddings:
        for on in _ON:
            rows = [found.fad(arm, system.name, embedding, on) for system in systems]
            if any(row is not None for row in rows):
                head = Column(title=f"FAD{DOWN}", small=f"{ON_TITLES[on]}, {embedding}")
                columns.append((head, _cells([None if row is None else row.fad for row in rows])))
    advice = "The measures used to pick a take improve by construction; judge by the other columns."
    notes = (advice, *_notes_on(systems))
    table = _by_system(f"Best of several takes, {ARM_TITLES.get(arm, arm)}", systems, columns, notes=notes)
    renamed = (
        replace(row, title=plural(takes[system.name], "take"), small=system.title, group="")
        for system, row in zip(systems, table.rows, strict=True)
    )
    return replace(table, corner="Takes", rows=tuple(renamed))


def _takes(found: Lookup) -> dict[str, int]:
    """How many takes each of these systems has to choose from."""
    names = {system.name for system in found.systems}
    chosen = {name: match for name in names if (match := _BEST_OF.fullmatch(name))}
    bases = {match["base"]: 1 for match in chosen.values() if match["base"] in names}
    return bases | {name: int(match["takes"]) for name, match in chosen.items()}


# ---- the vocal


def adherence(found: Lookup, arm: str) -> Table | None:
    """Accompaniment prompt adherence by every embedding."""
    rows = [row for row in found.results.apa if row.arm == arm]
    if not rows:
        return None
    reasons = dict.fromkeys(f"{row.embedding}: {row.why.rstrip('.')}." for row in rows if row.why)
    columns = []
    for name in dict.fromkeys(row.embedding for row in rows):
        silent = not any(row.informative for row in rows if row.embedding == name)
        head = Column(
            title=f"{name}\N{NO-BREAK SPACE}\N{UPWARDS ARROW}",
            small=SAYS_NOTHING if silent else "",
            says_nothing=silent,
        )
        mine = [found.apa(arm, system.name, name) for system in found.systems]
        cells = [
            NOT_MEASURED if row is None else of_figure(row.apa, _ADHERENCE_PLACES, faint=not row.informative)
            for row in mine
        ]
        columns.append((head, cells))
    return _by_system(
        f"Accompaniment prompt adherence, {ARM_TITLES.get(arm, arm)}",
        found.systems,
        columns,
        notes=("0: like random pairs; 1: like true pairs.", *reasons),
    )


def worth(rows: tuple[WorthRow, ...]) -> Table | None:
    """The held-out loss with the right vocal and with another's."""
    if not rows:
        return None
    return Table(
        caption="Held-out loss of the stages on true tokens, in nats per token",
        corner="Stage",
        columns=(
            Column(title="Right vocal"),
            Column(title="Another's vocal"),
            Column(title="Difference", small="above 0: the vocal is used"),
            Column(title="p"),
            Column(title="Clips"),
        ),
        rows=tuple(
            Row(
                title=row.stage,
                cells=(
                    *(of_figure(each, _LOSS_PLACES) for each in (row.right, row.wrong, row.difference)),
                    Cell(text=number(row.p, _P_PLACES)),
                    Cell(text=f"{row.clips:,}"),
                ),
            )
            for row in rows
        ),
        notes=("p: paired permutation over songs.",),
    )


# ---- rows of systems


def _by_system(
    caption: str,
    systems: Sequence[SystemRow],
    columns: Sequence[tuple[Column, Sequence[Cell]]],
    *,
    notes: tuple[str, ...] = (),
) -> Table:
    """A row for each system, grouped by kind, of columns with a cell for each."""
    return Table(
        caption=caption,
        corner="System",
        columns=tuple(head for head, _ in columns),
        rows=tuple(
            Row(
                title=system.title,
                cells=tuple(cells[index] for _, cells in columns),
                group=KIND_TITLES.get(system.kind, system.kind),
            )
            for index, system in enumerate(systems)
        ),
        notes=notes,
    )


def _cells(figures: Sequence[Figure | None]) -> list[Cell]:
    """The figures of a column, with the same number of decimals."""
    places = decimals(figure.value for figure in figures if figure is not None)
    return [of_figure(figure, places) for figure in figures]


def _notes_on(systems: Iterable[SystemRow]) -> tuple[str, ...]:
    """What a reader must know of systems; those with the same note share a line.

    >>> same = [SystemRow(name=name, title=name, kind="model", note="noisy", identity={}) for name in "ab"]
    >>> _notes_on(same)
    ('a; b: noisy.',)
    """
    titles: dict[str, list[str]] = {}
    for system in systems:
        if system.note:
            titles.setdefault(system.note, []).append(system.title)
    return tuple(f"{'; '.join(names)}: {note.rstrip('.')}." for note, names in titles.items())
