"""Help on a terminal that is too narrow for boxes: no option's name is cut, and no line is longer than it.

In: a command of typer's, and the width of the terminal. Out: its help, as boxes from `_BOXES_FROM` columns
on, else as indented text:

    --seconds SECONDS
          How much to
          read.
"""

import copy
import functools
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any, TypeVar

from typer.core import TyperCommand, TyperGroup

__all__ = ["NarrowCommand", "NarrowGroup"]

_BOXES_FROM = 60
_LEAST_COLUMNS = 16
_INDENT = 2 * " "

C = TypeVar("C", bound=TyperCommand | TyperGroup)


class NarrowCommand(TyperCommand):
    """A command."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super(NarrowCommand, _narrow(self, formatter)).format_help(ctx, formatter)


class NarrowGroup(TyperGroup):
    """A command that has commands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super(NarrowGroup, _narrow(self, formatter)).format_help(ctx, formatter)


def _narrow(command: C, formatter: Any) -> C:
    """The command; where there is little room, a copy shown as text, with names on lines of their own."""
    columns = shutil.get_terminal_size().columns
    if columns >= _BOXES_FROM:
        return command
    from rich.text import Text

    command = copy.copy(command)
    command.rich_markup_mode = None
    command.help, command.epilog = (
        None if text is None else Text.from_markup(text).plain for text in (command.help, command.epilog)
    )
    formatter.width = max(columns, _LEAST_COLUMNS)
    formatter.write_dl = functools.partial(_write_rows, formatter)
    return command


def _write_rows(formatter: Any, rows: Sequence[tuple[str, str]], **_: Any) -> None:
    """Names and what they mean, one below the other."""
    for names, words in rows:
        lines = textwrap.wrap(
            names,
            width=formatter.width,
            initial_indent=_INDENT,
            subsequent_indent=3 * _INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines += textwrap.wrap(
            words, width=formatter.width, initial_indent=3 * _INDENT, subsequent_indent=3 * _INDENT
        )
        formatter.write("".join(f"{line}\n" for line in lines))
