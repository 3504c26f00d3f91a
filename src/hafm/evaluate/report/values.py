"""A table as a value, before it is HTML or Markdown, so that both say the same.

In: figures and text. Out: `Table`, and numbers as they are shown.

Conventions: numbers of one column have the same number of decimals, chosen by `decimals`; a number that is
not known is a dash. The first cell of a row names it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Self

from hafm.evaluate.run.results import Figure

__all__ = ["DOWN", "NOT_MEASURED", "Cell", "Column", "Row", "Table", "decimals", "number", "of_figure"]

DOWN = "\N{NO-BREAK SPACE}\N{DOWNWARDS ARROW}"
"""Ends a heading whose figures are better where they are lower."""

_DASH = "\N{EN DASH}"
_MOST_DECIMALS = 4


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One field.

    Args:
        interval: in small print with the text.
        strong: to be noticed.
        faint: to be passed over.
        chart: what a small chart shows in place of the text, in a medium that can draw one.
    """

    text: str = ""
    interval: str = ""
    strong: bool = False
    faint: bool = False
    chart: Figure | None = None


NOT_MEASURED = Cell(text="not measured", faint=True)


@dataclass(frozen=True, kw_only=True)
class Column:
    """The head of a column.

    Args:
        small: a line below its title.
        says_nothing: whether its figures say nothing, and are shown as such.
        group: columns next to each other with the same group share a heading above.
        chart_scale: for a column of charts, the values at its ends.
    """

    title: str
    small: str = ""
    says_nothing: bool = False
    group: str = ""
    chart_scale: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row, with a cell per column.

    Args:
        small: a line below its title.
        group: rows next to each other with the same group share a heading.
        foreign: whether it was not measured here.
    """

    title: str
    small: str = ""
    cells: tuple[Cell, ...]
    group: str = ""
    foreign: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table.

    Args:
        corner: heading of the rows' names.
        columns: without the one of the names.
        warning: what must be read before it.
        notes: below it.
    """

    caption: str
    corner: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    warning: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def of_texts(cls, caption: str, corner: str, heads: Iterable[Column | str], *rows: Iterable[str]) -> Self:
        """A table of plain texts; the first of each row is its title."""
        columns = tuple(Column(title=head) if isinstance(head, str) else head for head in heads)
        made = (Row(title=title, cells=tuple(Cell(text=each) for each in texts)) for title, *texts in rows)
        return cls(caption=caption, corner=corner, columns=columns, rows=tuple(made))

    def __post_init__(self) -> None:
        assert all(len(row.cells) == len(self.columns) for row in self.rows), self.caption

    @property
    def row_groups(self) -> list[tuple[str, list[Row]]]:
        """Neighbouring rows under their shared headings."""
        return [(group, list(rows)) for group, rows in groupby(self.rows, key=lambda row: row.group)]

    @property
    def column_groups(self) -> list[tuple[str, int]]:
        """Shared headings of columns and how many columns each spans; empty where there are none."""
        groups = groupby(self.columns, key=lambda column: column.group)
        spans = [(group, len(list(columns))) for group, columns in groups]
        return spans if any(group for group, _ in spans) else []


def decimals(values: Iterable[float | None]) -> int:
    """How many decimals a column needs: two as a rule, fewer where numbers are large, more where they are
    small. One number that is far from all others changes nothing.

    >>> decimals([0.5, 0.25]), decimals([1234.5, 2345.0]), decimals([0.004, None]), decimals([])
    (2, 0, 4, 2)
    """
    sizes = [abs(value) for value in values if value is not None and value != 0]
    if not sizes:
        return 2
    leading = math.floor(math.log10(median(sizes)))
    return max(0, 3 - leading) if leading > 1 else min(max(2, 1 - leading), _MOST_DECIMALS)


def number(value: float | None, places: int) -> str:
    """A number as it is shown, with a true minus; what rounds to 0 has no sign.

    >>> number(0.5, 2), number(-0.224, 2), number(None, 2), number(-0.001, 2)
    ('0.50', '−0.22', '–', '0.00')
    """
    if value is None:
        return _DASH
    text = f"{value:.{places}f}"
    return text.lstrip("-") if not text.strip("-0.") else text.replace("-", "\N{MINUS SIGN}")


def of_figure(figure: Figure | None, places: int, *, faint: bool = False) -> Cell:
    """A figure as a cell.

    >>> cell = of_figure(Figure(value=0.5, low=0.25, high=0.75), 2)
    >>> cell.text, cell.interval
    ('0.50', '[0.25, 0.75]')
    """
    if figure is None or figure.value is None:
        return Cell(text=_DASH, faint=faint)
    interval = ""
    if figure.low is not None and figure.high is not None:
        interval = f"[{number(figure.low, places)}, {number(figure.high, places)}]"
    return Cell(text=number(figure.value, places), interval=interval, faint=faint)
