"""What a command returns, and how it tells of what it made.

In: nothing, or an outcome. Out: the type `Job`; the outcome on stdout, its notes on stderr.
"""

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias, runtime_checkable

from hafm.app.interrupt import Interrupts

__all__ = ["Job", "Outcome", "tell"]

Job: TypeAlias = Callable[[Interrupts], None]
"""What a command is to do, as its words were parsed: typer only parses, `hafm.app.cli.run` does the work."""


@runtime_checkable
class Outcome(Protocol):
    """What a command made."""

    def summary(self) -> str:
        """For people."""

    def to_json(self) -> dict[str, Any]:
        """For programs."""


def tell(outcome: Outcome, *, notes: Iterable[str] = (), as_json: bool, quiet: bool) -> None:
    """Prints what a command made: as JSON, or as notes and a summary, or (`quiet`) not at all.

    Args:
        outcome: what it made.
        notes: what a user should know; JSON holds them already.
        as_json: whether `--json` was given.
        quiet: whether `--quiet` was given.
    """
    if as_json:
        print(json.dumps(outcome.to_json()))
    elif not quiet:
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
        print(outcome.summary())
