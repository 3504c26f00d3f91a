"""A table as Markdown, for the model card: the other writer of a `Table` beside the page's template.

In: `Table`. Out: a heading, a pipe table that GitHub and the hub render, and its notes. Charts are left
out; a column that says nothing says so in its head, since Markdown has no grey; what was not measured here
is in italics, below a row that says where it comes from.
"""

import re

from hafm.evaluate.report.values import Cell, Column, Row, Table

__all__ = ["plain", "table_markdown_of"]


def table_markdown_of(table: Table) -> str:
    """The table, ending with a line break.

    >>> table = Table(caption="Sizes", corner="Thing", columns=(Column(title="m"),),
    ...     rows=(Row(title="a|b", cells=(Cell(text="1.0", interval="[0.5, 1.5]", strong=True),)),))
    >>> print(table_markdown_of(table))
    **Sizes**
    <BLANKLINE>
    | Thing | m |
    |---|---:|
    | a\\|b | **1.0** [0.5, 1.5] |
    <BLANKLINE>
    """
    kept = [index for index, column in enumerate(table.columns) if column.chart_scale is None]
    heads = [plain(table.corner), *(_head(table.columns[index]) for index in kept)]
    lines = [f"**{plain(table.caption)}**", "", _line(heads), _line(["---", *["---:"] * len(kept)], gap="")]
    group = ""
    for row in table.rows:
        if row.group != group:
            group = row.group
            lines.append(_line([f"*{plain(group)}*", *[""] * len(kept)]))
        lines.append(_line([_title(row), *(_cell(row.cells[index], foreign=row.foreign) for index in kept)]))
    below = [text for text in (table.warning, *table.notes) if text]
    lines += ["", *(f"{plain(text)}\n" for text in below)]
    return "\n".join(lines)


def plain(text: str) -> str:
    """Text that Markdown leaves as it is.

    >>> print(plain("a*b <script> | [0.1, 0.2] [x](y)"))
    a\\*b &lt;script&gt; \\| [0.1, 0.2] [x\\](y)
    """
    one_line = " ".join(text.split())
    # A bracket matters only where an address or a name could follow: intervals stay readable.
    escaped = re.sub(r"([\\`*_|~$]|\](?=[(\[:]))", r"\\\1", one_line.replace("&", "&amp;"))
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def _line(fields: list[str], *, gap: str = " ") -> str:
    return "|" + "|".join(f"{gap}{field}{gap}" for field in fields) + "|"


def _head(column: Column) -> str:
    words = [
        f"{column.group}:" if column.group else "",
        column.title,
        f"({column.small})" if column.small else "",
    ]
    return plain(" ".join(word for word in words if word))


def _title(row: Row) -> str:
    title = f"*{plain(row.title)}*" if row.foreign else plain(row.title)
    return f"{title} ({plain(row.small)})" if row.small else title


def _cell(cell: Cell, *, foreign: bool) -> str:
    mark = "**" if cell.strong else "*" if foreign else ""
    text = f"{mark}{plain(cell.text)}{mark}"
    # Brackets alone do not make a link, and read better unescaped.
    return f"{text} {cell.interval}".strip()
