"""A table as HTML.

In: `Table`. Out: a figure with a caption above, a table that scrolls sideways where it is too wide, and notes
below. Heads of columns, rows and groups say so to screen readers (`scope`).
"""

from itertools import groupby

from hafm.evaluate.report.chart import axis, mark
from hafm.evaluate.report.markup import Html, element, joined
from hafm.evaluate.report.table import Cell, Column, Row, Table

__all__ = ["table_html"]


def table_html(table: Table, *, class_: str = "") -> Html:
    """The table.

    Args:
        table: what it shows.
        class_: for the style sheet.
    """
    body = [
        element("tbody", *_group(group, len(table.columns)), *(_row(row, table.columns) for row in rows))
        for group, rows in groupby(table.rows, key=lambda row: row.group)
    ]
    whole = element(
        "table",
        element("caption", table.caption),
        element("thead", *_heads(table)),
        *body,
        class_=class_ or None,
    )
    # A box that scrolls must be reachable by keyboard, and then needs a name.
    scroll = element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=table.caption)
    notes = [element("p", note, class_="note") for note in table.notes]
    warning = [element("p", table.warning, class_="note warning")] if table.warning else []
    return element("div", *warning, scroll, *notes, class_="table")


def _heads(table: Table) -> list[Html]:
    grouped = any(column.group for column in table.columns)
    corner = element("th", table.corner, scope="col", rowspan="2" if grouped else None)
    heads = [_head(column) for column in table.columns]
    if not grouped:
        return [element("tr", corner, *heads)]
    spans = [
        (group, len(list(columns))) for group, columns in groupby(table.columns, key=lambda each: each.group)
    ]
    above = [
        element("th", group, scope="colgroup", colspan=str(span), class_="span") if group else _blank(span)
        for group, span in spans
    ]
    return [element("tr", corner, *above), element("tr", *heads)]


def _blank(span: int) -> Html:
    return element("td", colspan=str(span))


def _head(column: Column) -> Html:
    small = [element("small", column.small)] if column.small else []
    if column.chart_scale is not None:
        return element(
            "th",
            element("span", column.title, class_="unseen"),
            axis(column.chart_scale),
            scope="col",
            class_="chart",
        )
    return element("th", column.title, *small, scope="col", class_="nothing" if column.says_nothing else None)


def _group(group: str, columns: int) -> list[Html]:
    if not group:
        return []
    return [
        element(
            "tr",
            element("th", element("span", group), scope="rowgroup", colspan=str(columns + 1)),
            class_="group",
        ),
    ]


def _row(row: Row, columns: tuple[Column, ...]) -> Html:
    small = [element("small", row.small)] if row.small else []
    cells = [_cell(cell, column) for cell, column in zip(row.cells, columns, strict=True)]
    return element(
        "tr",
        element("th", row.title, *small, scope="row"),
        *cells,
        class_="foreign" if row.foreign else None,
    )


def _cell(cell: Cell, column: Column) -> Html:
    if column.chart_scale is not None:
        drawn = mark(cell.chart, column.chart_scale) if cell.chart is not None else joined()
        return element("td", drawn, class_="chart")
    text = element("b", cell.text) if cell.strong else cell.text
    interval = [element("small", cell.interval)] if cell.interval else []
    faint = column.says_nothing or cell.faint
    return element("td", text, *interval, class_="nothing" if faint else None)
