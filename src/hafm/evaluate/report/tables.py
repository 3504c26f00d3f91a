"""Every table of measured figures.

In: `Lookup`. Out: `Table`s, None where there is nothing to show.

Conventions:

- A measure that does not tell true pairs from random ones here is grey, and has no best system. The best
  system that is not a ceiling is bold if its interval leaves out the mean of random pairing: a best that
  random pairing could have reached is not marked.
- A system called `X-best-of-N` chooses among N takes of the system `X`, whose own row is that of one take.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from hafm.evaluate.report.chart import scale_for
from hafm.evaluate.report.lookup import (
    ARM_TITLES,
    KIND_TITLES,
    ON_TITLES,
    RANDOM,
    Lookup,
    arrow,
    measure_title,
)
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
    plural,
)
from hafm.evaluate.run.results import ApaRow, ClipRow, FadRow, Figure, MeasureRow, On, SystemRow, WorthRow

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

_STEM: On = "stem"
_ON: tuple[On, ...] = ("stem", "mix")
_BEST_OF = re.compile(r"(?P<base>.+)-best-of-(?P<takes>\d+)")
_ADHERENCE_PLACES, _LOSS_PLACES, _P_PLACES = 2, 3, 4


# ---- distances


def distances(found: Lookup, arm: str, embedding: str) -> Table:
    """Every distance of an arm by one embedding, of accompaniments alone and of mixes, with charts."""
    columns: list[Column] = []
    cells: dict[str, list[Cell]] = {system.name: [] for system in found.systems}
    for on in _ON:
        rows = {name: found.fad(arm, name, embedding, on) for name in cells}
        places = decimals(row.fad.value for row in rows.values() if row is not None)
        title = ON_TITLES[on].capitalize()
        scale = scale_for(_figures(found, rows, control=False), _figures(found, rows, control=True))
        columns += [
            Column(title=f"FAD{DOWN}", group=title),
            Column(title="chart", group=title, chart_scale=scale),
            Column(title="FAD\N{INFINITY}", group=title),
            Column(title="Points", group=title),
        ]
        for name, row in rows.items():
            cells[name] += _distance_cells(row, places)
    return Table(
        caption=f"Distance to the true instrumentals, by {embedding}, {ARM_TITLES.get(arm, arm)}",
        corner="System",
        columns=tuple(columns),
        rows=_system_rows(found, cells),
        notes=_notes_on(found.systems),
    )


def _figures(found: Lookup, rows: Mapping[str, FadRow | None], *, control: bool) -> Iterator[Figure]:
    for system in found.systems:
        row = rows[system.name]
        if row is not None and (system.kind == "control") == control:
            yield row.fad


def _distance_cells(row: FadRow | None, places: int) -> list[Cell]:
    if row is None:
        return [NOT_MEASURED, Cell(), Cell(text=number(None, 0)), Cell(text=number(None, 0))]
    return [
        of_figure(row.fad, places),
        Cell(chart=row.fad),
        Cell(text=number(row.infinity, places)),
        Cell(text=f"{row.points:,}"),
    ]


def per_song(found: Lookup, arm: str, embedding: str) -> Table | None:
    """Each song's own distance to the whole reference, of accompaniments alone; None where no row has any."""
    rows = [(system.title, found.fad(arm, system.name, embedding, _STEM)) for system in found.systems]
    known = [(title, row.per_song) for title, row in rows if row is not None and row.per_song]
    if not known:
        return None
    songs = dict.fromkeys(song for _, values in known for song in values)
    places = decimals(value for _, values in known for value in values.values())
    return Table(
        caption=f"Each song's own distance, {ON_TITLES[_STEM]}, by {embedding}, {ARM_TITLES.get(arm, arm)}",
        corner="Song",
        columns=tuple(Column(title=title) for title, _ in known),
        rows=tuple(
            Row(
                title=song,
                cells=tuple(Cell(text=number(values.get(song), places)) for _, values in known),
            )
            for song in songs
        ),
    )


# ---- measures of fit


def fit(found: Lookup, arm: str) -> Table:
    """Every measure of every system of an arm."""
    cells: dict[str, list[Cell]] = {system.name: [] for system in found.systems}
    for measure in found.results.measures:
        figures = {name: found.fit(arm, name, measure.name) for name in cells}
        places = decimals(figure.value for figure in figures.values() if figure is not None)
        best = best_systems(found, arm, measure)
        for name, figure in figures.items():
            cells[name].append(of_figure(figure, places, strong=name in best))
    return Table(
        caption=f"Measures of fit, means over songs, {ARM_TITLES.get(arm, arm)}",
        corner="System",
        columns=tuple(_measure_column(measure) for measure in found.results.measures),
        rows=_system_rows(found, cells),
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
    """The head of a measure's column."""
    silent = measure.informative is False
    words = [measure.unit, SAYS_NOTHING if silent else ""]
    return Column(
        # The arrow stays with the last word.
        title="\N{NO-BREAK SPACE}".join(
            part for part in (measure_title(measure.name), arrow(measure)) if part
        ),
        small=", ".join(word for word in words if word),
        says_nothing=silent,
    )


def measures_of_clip(found: Lookup, rows: dict[str, ClipRow]) -> Table | None:
    """The values of one clip, by system; None where nothing was measured."""
    measures = [
        row for row in found.results.measures if any(row.name in each.measures for each in rows.values())
    ]
    if not measures:
        return None
    cells: dict[str, list[Cell]] = {name: [] for name in rows}
    for measure in measures:
        values = {name: row.measures.get(measure.name) for name, row in rows.items()}
        places = decimals(values.values())
        for name, value in values.items():
            cells[name].append(Cell(text=number(value, places)))
    return Table(
        caption="Measures of this clip",
        corner="System",
        columns=tuple(_measure_column(measure) for measure in measures),
        rows=_system_rows(found, cells),
    )


def best_of(found: Lookup, arm: str) -> Table | None:
    """The measures that say something, and the distances; None where nothing is chosen."""
    takes = _takes(found)
    if not takes:
        return None
    systems = [system for system in found.systems if system.name in takes]
    columns: list[tuple[Column, list[Figure | None]]] = [
        (_measure_column(measure), [found.fit(arm, system.name, measure.name) for system in systems])
        for measure in found.informative
    ]
    for embedding in found.fad_embeddings:
        for on in _ON:
            rows = [found.fad(arm, system.name, embedding, on) for system in systems]
            if any(row is not None for row in rows):
                head = Column(title=f"FAD{DOWN}", small=f"{ON_TITLES[on]}, {embedding}")
                columns.append((head, [None if row is None else row.fad for row in rows]))
    drawn = []
    for _, figures in columns:
        places = decimals(figure.value for figure in figures if figure is not None)
        drawn.append([of_figure(figure, places) for figure in figures])
    return Table(
        caption=f"Best of several takes, {ARM_TITLES.get(arm, arm)}",
        corner="Takes",
        columns=tuple(head for head, _ in columns),
        rows=tuple(
            Row(
                title=plural(takes[system.name], "take"),
                small=system.title,
                cells=tuple(cells[index] for cells in drawn),
            )
            for index, system in enumerate(systems)
        ),
        notes=(
            "The measures used to pick a take improve by construction; judge by the other columns.",
            *_notes_on(systems),
        ),
    )


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
    embeddings = list(dict.fromkeys(row.embedding for row in rows))
    silent = {
        name for name in embeddings if not any(row.informative for row in rows if row.embedding == name)
    }
    reasons = dict.fromkeys(f"{row.embedding}: {row.why.rstrip('.')}." for row in rows if row.why)
    cells = {
        system.name: [_adherence_cell(found.apa(arm, system.name, name)) for name in embeddings]
        for system in found.systems
    }
    return Table(
        caption=f"Accompaniment prompt adherence, {ARM_TITLES.get(arm, arm)}",
        corner="System",
        columns=tuple(
            Column(
                title=f"{name}\N{NO-BREAK SPACE}\N{UPWARDS ARROW}",
                small=SAYS_NOTHING if name in silent else "",
                says_nothing=name in silent,
            )
            for name in embeddings
        ),
        rows=_system_rows(found, cells),
        notes=("0: like random pairs; 1: like true pairs.", *reasons),
    )


def _adherence_cell(row: ApaRow | None) -> Cell:
    return NOT_MEASURED if row is None else of_figure(row.apa, _ADHERENCE_PLACES, faint=not row.informative)


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
                    of_figure(row.right, _LOSS_PLACES),
                    of_figure(row.wrong, _LOSS_PLACES),
                    of_figure(row.difference, _LOSS_PLACES),
                    Cell(text=number(row.p, _P_PLACES)),
                    Cell(text=f"{row.clips:,}"),
                ),
            )
            for row in rows
        ),
        notes=("p: paired permutation over songs.",),
    )


# ---- rows of systems


def _system_rows(found: Lookup, cells: Mapping[str, Sequence[Cell]]) -> tuple[Row, ...]:
    """A row for each system that has cells, in the order of the tables and grouped by kind."""
    return tuple(
        Row(
            title=system.title,
            cells=tuple(cells[system.name]),
            group=KIND_TITLES.get(system.kind, system.kind),
        )
        for system in found.systems
        if system.name in cells
    )


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
