"""Tables of the measures of fit: the means of every system, and one clip's values.

In: `Lookup`. Out: `Table`s.

Conventions: a measure that does not tell true pairs from random ones here is grey, and is not looked at for
what is best. The best figure that is no ceiling's is bold if its interval leaves out the mean of random
pairing: a best that random pairing could have reached is none.
"""

from hafm.evaluate.report.labels import ARM_TITLES, arrow, measure_title
from hafm.evaluate.report.lookup import RANDOM, Lookup
from hafm.evaluate.report.system_rows import notes_on, system_rows
from hafm.evaluate.report.table import Cell, Column, Table, decimals, number, of_figure
from hafm.evaluate.run.results import ClipRow, Figure, MeasureRow

__all__ = ["SAYS_NOTHING", "best_systems", "fit", "measure_column", "one_clip"]

SAYS_NOTHING = "says nothing here"


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
        columns=tuple(measure_column(measure) for measure in found.results.measures),
        rows=system_rows(found, cells),
        notes=(
            "Bold: the best that is no ceiling, where its interval leaves out the mean of random pairing.",
            f"Grey: {SAYS_NOTHING}, since it does not tell true pairs from random ones on this test set.",
            *notes_on(found.systems),
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


def measure_column(measure: MeasureRow) -> Column:
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


def one_clip(found: Lookup, rows: dict[str, ClipRow]) -> Table | None:
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
        columns=tuple(measure_column(measure) for measure in measures),
        rows=system_rows(found, cells),
    )
