"""Tables of Fréchet audio distance: the paper's Table 2, all distances, and each song's own.

In: `Lookup`. Out: `Table`s.

Conventions: Table 2 has one embedding (`Lookup.main_embedding`) and accompaniments alone, since the paper
does not say which of the two it embedded; everything else stands in the second table. Delta is FADi - FADs
with its sign, of the two values; its interval is not known.
"""

from collections.abc import Iterator, Mapping

from hafm.evaluate.report.chart import scale_for
from hafm.evaluate.report.labels import ARM_TITLES, ON_TITLES
from hafm.evaluate.report.lookup import Lookup
from hafm.evaluate.report.system_rows import NOT_MEASURED, notes_on, system_rows
from hafm.evaluate.report.table import Cell, Column, Row, Table, decimals, number, of_figure
from hafm.evaluate.report.table2 import CONDITIONS, PAPER_ROWS, SOURCE, PaperRow
from hafm.evaluate.run.results import FadRow, Figure, On, SystemRow

__all__ = ["distances", "like_table2", "per_song"]

_DOWN = "\N{NO-BREAK SPACE}\N{DOWNWARDS ARROW}"
_DELTA = "\N{GREEK CAPITAL LETTER DELTA}"
_STEM: On = "stem"
_ON: tuple[On, ...] = ("stem", "mix")


def like_table2(found: Lookup) -> Table | None:
    """Our rows in the layout of Table 2, and the paper's own, marked as such; None without distances."""
    embedding = found.main_embedding
    if embedding is None:
        return None
    names = [system.name for system in found.systems]
    isolated, separated = ([found.fad(arm, name, embedding, _STEM) for name in names] for arm in ARM_TITLES)
    places = decimals(row.fad.value for row in (*isolated, *separated) if row is not None)
    ours = [_our_row(*each, places) for each in zip(found.systems, isolated, separated, strict=True)]
    here = "" if embedding.startswith("vggish") else f" Here it is {embedding}, so they are not."
    return Table(
        caption="Fréchet audio distance, in the layout of the paper's Table 2",
        corner="Method",
        columns=tuple(Column(title=f"{name}{_DOWN}") for name in ("FADi", "FADs", _DELTA)),
        rows=(*ours, *(_paper_row(row) for row in PAPER_ROWS)),
        warning=CONDITIONS + here,
        notes=(
            f"FADi: isolated vocals. FADs: separated vocals. {_DELTA} is FADi less FADs, with its sign. The "
            "paper does not say whether it embeds accompaniments alone or mixes; ours are of accompaniments "
            f"alone, embedded by {embedding}.",
        ),
    )


def _our_row(system: SystemRow, isolated: FadRow | None, separated: FadRow | None, places: int) -> Row:
    delta = NOT_MEASURED
    if isolated is not None and separated is not None:
        first, second = isolated.fad.value, separated.fad.value
        if first is not None and second is not None:
            delta = Cell(text=number(first - second, places))
    cells = [NOT_MEASURED if row is None else of_figure(row.fad, places) for row in (isolated, separated)]
    return Row(title=system.title, cells=(*cells, delta), group="Measured here")


def _paper_row(row: PaperRow) -> Row:
    values = row.fad_isolated, row.fad_separated, row.delta
    return Row(
        title=row.method,
        small=row.note,
        cells=tuple(Cell(text=number(value, 2)) for value in values),
        group=SOURCE[0].upper() + SOURCE[1:],
        foreign=True,
    )


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
            Column(title=f"FAD{_DOWN}", group=title),
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
        rows=system_rows(found, cells),
        notes=notes_on(found.systems),
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
    """Each song's own distance to the whole reference, of accompaniments alone; None where there are none."""
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
