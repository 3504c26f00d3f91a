"""Outcomes that people read as tables.

In: JSON values, and how they are laid out. Out: an outcome of a command (`hafm.app.command`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["Tables", "new_table", "print_tables"]


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What a command has to report.

    Args:
        values: for programs; JSON values.
        show: for people; prints on rich's console, which has the terminal's width and colours.
    """

    values: Any
    show: "Callable[[Console], None]"

    def summary(self) -> str:
        from rich.console import Console

        outside = Console()
        inside = Console(
            file=StringIO(),
            force_terminal=outside.is_terminal,
            width=outside.width,
            markup=False,
            highlight=False,
            emoji=False,
        )
        with inside.capture() as captured:
            self.show(inside)
        return captured.get().rstrip("\n")

    def to_json(self) -> Any:
        return self.values


def new_table(*columns: str) -> "Table":
    """An empty table; where no column has a name it has no head."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, show_header=any(columns))
    for name in columns:
        made.add_column(name, overflow="fold")
    return made


def print_tables(tables: "Iterable[tuple[str, Table]]", console: "Console") -> None:
    """Prints tables, each below its title, which rich would wrap to the width of the table."""
    for title, table in tables:
        console.print(f"\n{title}", style="bold")
        console.print(table)
