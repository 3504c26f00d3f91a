"""Tables of what the vocal has to do with it: adherence of the sound, and worth to the stages.

In: `Lookup`, or rows. Out: `Table`s, None where there is nothing to show.
"""

from hafm.evaluate.report.fit_tables import SAYS_NOTHING
from hafm.evaluate.report.labels import ARM_TITLES
from hafm.evaluate.report.lookup import Lookup
from hafm.evaluate.report.system_rows import NOT_MEASURED, system_rows
from hafm.evaluate.report.table import Cell, Column, Table, number, of_figure
from hafm.evaluate.report.table import Row as TableRow
from hafm.evaluate.run.results import ApaRow, WorthRow

__all__ = ["adherence", "worth"]

_ADHERENCE_PLACES, _LOSS_PLACES, _P_PLACES = 2, 3, 4


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
        rows=system_rows(found, cells),
        notes=("0 is as random pairs, 1 as true pairs.", *reasons),
    )


def _adherence_cell(row: ApaRow | None) -> Cell:
    return NOT_MEASURED if row is None else of_figure(row.apa, _ADHERENCE_PLACES, faint=not row.informative)


def worth(rows: tuple[WorthRow, ...]) -> Table | None:
    """The held-out loss with the right vocal and with another's."""
    if not rows:
        return None
    return Table(
        caption="Held-out loss of the stages on true tokens, in nats a token",
        corner="Stage",
        columns=(
            Column(title="Right vocal"),
            Column(title="Another's vocal"),
            Column(title="Difference", small="above 0: the vocal is heard"),
            Column(title="p"),
            Column(title="Clips"),
        ),
        rows=tuple(
            TableRow(
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
