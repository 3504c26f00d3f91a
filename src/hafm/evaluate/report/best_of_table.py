"""The table of a model against itself with more takes to choose from.

In: `Lookup`. Out: a `Table` with a row for each number of takes.

Convention: a system called `X-best-of-N` chooses among N takes of the system `X`, which stands for one take.
Measures that say nothing here are left out.
"""

import re

from hafm.evaluate.report.fit_tables import measure_column
from hafm.evaluate.report.labels import ARM_TITLES, ON_TITLES
from hafm.evaluate.report.lookup import Lookup
from hafm.evaluate.report.system_rows import notes_on
from hafm.evaluate.report.table import Column, Row, Table, decimals, of_figure, plural
from hafm.evaluate.run.results import Figure, On

__all__ = ["best_of"]

_NAME = re.compile(r"(?P<base>.+)-best-of-(?P<takes>\d+)")
_ON: tuple[On, ...] = ("stem", "mix")


def best_of(found: Lookup, arm: str) -> Table | None:
    """The measures that say something, and the distances; None where nothing is chosen."""
    takes = _takes(found)
    if not takes:
        return None
    systems = [system for system in found.systems if system.name in takes]
    columns: list[tuple[Column, list[Figure | None]]] = [
        (measure_column(measure), [found.fit(arm, system.name, measure.name) for system in systems])
        for measure in found.informative
    ]
    for embedding in found.fad_embeddings:
        for on in _ON:
            rows = [found.fad(arm, system.name, embedding, on) for system in systems]
            if any(row is not None for row in rows):
                head = Column(
                    title="FAD\N{NO-BREAK SPACE}\N{DOWNWARDS ARROW}", small=f"{ON_TITLES[on]}, {embedding}"
                )
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
            "What takes are chosen by gets better by choosing; whether they do, only the other columns say.",
            *notes_on(systems),
        ),
    )


def _takes(found: Lookup) -> dict[str, int]:
    """How many takes each of these systems has to choose from."""
    names = {system.name for system in found.systems}
    chosen = {name: match for name in names if (match := _NAME.fullmatch(name))}
    bases = {match["base"]: 1 for match in chosen.values() if match["base"] in names}
    return bases | {name: int(match["takes"]) for name, match in chosen.items()}
