"""Training as it goes on: a bar with figures on a terminal, sparse lines elsewhere.

In: what `hafm.train.trainer` reports. Out: text on stderr.

    coarse  ━━━━━━━━━━━━━╸━━━━━━━━━━━━━━━━━━━━  step 41200/200000  loss 4.8123  9120 tok/s  21:14:05 left
    hafm: coarse, step 41200 of 200000, loss 4.8123, 9120 tokens/s, waiting 0 %, 21:14:05 left
    hafm: coarse, step 42000: held-out 4.9012, with another condition 5.3310, right 12.3 %, the best so far

Plain lines come at most every `_PLAIN_SECONDS`; evaluations always. This is no part of `hafm.app.display`,
which shows something before torch is imported.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hafm.app.display import bar_between, can_move, writer
from hafm.train.heldout import HeldOut
from hafm.train.metrics import Listener, StepReport
from hafm.train.recipe import Recipe
from hafm.train.state import Position
from hafm.words import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["PlainTraining", "SilentTraining", "TerminalTraining", "training_display"]

_PLAIN_SECONDS = 10.0
_SMOOTHING = 0.05  # of the loss that is shown


class SilentTraining(Listener):
    """For `--quiet`: only notes, which somebody must know."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._stage, self._steps, self._first = "", 1, 0
        self._loss: float | None = None

    def note(self, text: str) -> None:
        self._write(f"hafm: {text}")

    def begins(self, recipe: Recipe, position: Position) -> None:
        self._stage, self._steps, self._first = recipe.spec.name, recipe.steps, position.updates

    def _smoothed(self, report: StepReport) -> float:
        loss = report.update.loss
        if report.update.finite:
            self._loss = loss if self._loss is None else self._loss + _SMOOTHING * (loss - self._loss)
        return loss if self._loss is None else self._loss

    def _left(self, report: StepReport) -> str:
        done = report.position.updates - self._first
        if not done:
            return "? left"
        return f"{duration(report.seconds / done * (self._steps - report.position.updates))} left"


class PlainTraining(SilentTraining):
    """Sparse lines."""

    def __init__(self, write: Callable[[str], None], *, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(write)
        self._now = now
        self._last_seconds = -_PLAIN_SECONDS

    def begins(self, recipe: Recipe, position: Position) -> None:
        super().begins(recipe, position)
        going_on = f", going on after step {position.step}" if position.step else ""
        self._write(f"hafm: {self._stage}, {self._steps} steps{going_on}")

    def step(self, report: StepReport) -> None:
        loss, now = self._smoothed(report), self._now()
        if now - self._last_seconds < _PLAIN_SECONDS and report.position.updates < self._steps:
            return
        self._last_seconds = now
        self._write(
            f"hafm: {self._stage}, step {report.position.updates} of {self._steps}, loss {loss:.4f}, "
            f"{report.tokens_per_second:.0f} tokens/s, waiting {100 * report.waiting_share:.0f} %, "
            f"{self._left(report)}"
        )

    def evaluated(self, position: Position, scores: HeldOut) -> None:
        self._write(f"hafm: {self._stage}, step {position.updates}: {described(position, scores)}")


class TerminalTraining(SilentTraining):
    """A bar that moves, and a line above it for each evaluation."""

    def __init__(self, progress: "Bar", task: "TaskID") -> None:
        super().__init__(lambda line: progress.console.print(line, markup=False, highlight=False))
        self._progress, self._task = progress, task

    def begins(self, recipe: Recipe, position: Position) -> None:
        super().begins(recipe, position)
        self._progress.update(
            self._task, description=self._stage, total=self._steps, completed=position.updates
        )

    def step(self, report: StepReport) -> None:
        figures = [
            f"step {report.position.updates}/{self._steps}",
            f"loss {self._smoothed(report):.4f}",
            f"{report.tokens_per_second:.0f} tok/s",
            self._left(report),
        ]
        self._progress.update(self._task, completed=report.position.updates, figures="  ".join(figures))

    def evaluated(self, position: Position, scores: HeldOut) -> None:
        self._write(f"step {position.updates}: {described(position, scores)}")

    def saved(self, path: Path) -> None:
        self._progress.refresh()


@contextlib.contextmanager
def training_display(console: "Console", *, quiet: bool) -> Iterator[Listener]:
    """The display that fits."""
    if quiet:
        yield SilentTraining(writer(console))
    elif not can_move(console):
        yield PlainTraining(writer(console))
    else:
        with bar_between(console, "{task.description}", "{task.fields[figures]}", width=30) as bar:
            yield TerminalTraining(bar, bar.add_task("", total=None, figures=""))


def described(position: Position, scores: HeldOut) -> str:
    """One line about an evaluation.

    >>> scores = HeldOut(right=(4.9,), wrong=(5.3,), wrong_vocal=None, accuracy=(0.123,))
    >>> described(Position(step=7, best_step=7), scores)
    'held-out 4.9000, with another condition 5.3000, right 12.3 %, the best so far'
    """
    accuracy = sum(scores.accuracy) / len(scores.accuracy)
    best = ", the best so far" if position.best_step == position.step else ""
    return (
        f"held-out {scores.mean_right:.4f}, with another condition {scores.mean_wrong:.4f}, "
        f"right {100 * accuracy:.1f} %{best}"
    )
