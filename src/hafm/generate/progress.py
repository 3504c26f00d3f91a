"""What generation tells while it runs, and how it is stopped.

A caller hands in a callback. It is called once a generated frame, so many times a second, and may
raise: the exception passes through everything unchanged, and that is how a run is cancelled.

>>> def report(progress: Progress) -> None:
...     print(f"{progress.stage}: {progress.done} of {progress.total} frames")
>>> report(Progress(stage="coarse", done=3, total=375))
coarse: 3 of 375 frames
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["OnStep", "Progress"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far one stage is."""

    stage: str
    """The stage's name, as in its spec."""
    done: int
    """Target frames there are."""
    total: int
    """Target frames there will be."""


OnStep: TypeAlias = Callable[[Progress], None]
"""Called after every frame."""
