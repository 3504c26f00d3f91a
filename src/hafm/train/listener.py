"""What a run tells while it goes on: to a display, to a log, to a test.

In: steps, evaluations, checkpoints and notes, as they happen. Out: whatever a `Listener` makes of them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hafm.train.heldout import HeldOut
from hafm.train.recipe import Recipe
from hafm.train.state import Position
from hafm.train.update import Update

__all__ = ["Listener", "StepReport"]


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What a step did.

    Args:
        position: after it.
        update: its loss and gradient.
        rate: its highest learning rate.
        seconds: since this start of the run began.
        tokens_per_second: target tokens, over all ranks, since then.
        waiting_share: share of the time in which the device waited for data.
    """

    position: Position
    update: Update
    rate: float
    seconds: float
    tokens_per_second: float
    waiting_share: float

    def metrics(self, *, loss: float, epoch: float) -> dict[str, Any]:
        """A line of `metrics.jsonl`.

        Args:
            loss: mean since the line before; also written in hexadecimal, which shows every bit.
            epoch: passes over the data so far.
        """
        return {
            "step": self.position.step,
            "updates": self.position.updates,
            "epoch": epoch,
            "loss": loss,
            "loss_hex": loss.hex(),
            "norm": self.update.norm,
            "rate": self.rate,
            "skipped": self.position.skips.total,
            "seconds": round(self.seconds, 3),
            "tokens_per_second": round(self.tokens_per_second, 1),
            "waiting_share": round(self.waiting_share, 4),
        }


class Listener:
    """Is told what goes on, on rank 0. This one does nothing, and says what others can do."""

    def note(self, text: str) -> None:
        """Something that a person should know."""

    def begins(self, recipe: Recipe, position: Position) -> None:
        """Training begins or goes on."""

    def step(self, report: StepReport) -> None:
        """A step is done."""

    def evaluated(self, position: Position, scores: HeldOut) -> None:
        """The held-out pairs were evaluated."""

    def saved(self, path: Path) -> None:
        """A checkpoint stands."""
