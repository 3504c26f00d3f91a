"""How far a piece of work is, in one shape for all that takes long.

A caller hands in a callback, which is called as the work goes on: once per generated frame, per track, per
second of sound. It may raise: the exception passes through everything unchanged, and that is how work is
cancelled.

>>> def report(progress: Progress) -> None:
...     print(f"{progress.step}: {progress.done} of {progress.total}")
>>> report(Progress(step="coarse", done=3, total=375))
coarse: 3 of 375
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["OnProgress", "Progress"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far one step of the work is."""

    step: str
    """Its name, such as that of a stage."""
    done: float
    """Units of it that are done: frames, tracks, seconds, as the step counts."""
    total: float
    """Units that it has, above 0."""


OnProgress: TypeAlias = Callable[[Progress], None]
"""Called after every unit, or after every few."""
