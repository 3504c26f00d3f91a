"""Rows of tables that have one row a system: in groups by kind, with what must be known of a system below.

In: `Lookup` and each system's cells. Out: rows and notes.
"""

from collections.abc import Iterable, Mapping, Sequence

from hafm.evaluate.report.labels import KIND_TITLES
from hafm.evaluate.report.lookup import Lookup
from hafm.evaluate.report.table import Cell, Row
from hafm.evaluate.run.results import SystemRow

__all__ = ["NOT_MEASURED", "notes_on", "system_rows"]

NOT_MEASURED = Cell(text="not measured", faint=True)


def system_rows(found: Lookup, cells: Mapping[str, Sequence[Cell]]) -> tuple[Row, ...]:
    """A row for each system that has cells, in the order of the tables."""
    return tuple(
        Row(
            title=system.title,
            cells=tuple(cells[system.name]),
            group=KIND_TITLES.get(system.kind, system.kind),
        )
        for system in found.systems
        if system.name in cells
    )


def notes_on(systems: Iterable[SystemRow]) -> tuple[str, ...]:
    """What a reader must know of systems; those with the same note share a line.

    >>> same = [SystemRow(name=name, title=name, kind="model", note="noisy", identity={}) for name in "ab"]
    >>> notes_on(same)
    ('a; b: noisy.',)
    """
    titles: dict[str, list[str]] = {}
    for system in systems:
        if system.note:
            titles.setdefault(system.note, []).append(system.title)
    return tuple(f"{'; '.join(names)}: {note.rstrip('.')}." for note, names in titles.items())
