"""What a user sees while the command works: one moving line on a terminal, a few plain lines elsewhere.

In: the steps of the command and the `Progress` of generation. Out: text on stderr; stdout is left to the
result.

    coarse codes  ━━━━━━━━━━━━━━━━━━━━╸━━━━━━━━━━━━━━━━━━━   52 %   0:14 left            on a terminal
    hafm: coarse codes, 50 %, 0:15 left                                                  in a log file

Plain lines come when a step or a stage begins, and at every tenth of the generation that is `_PLAIN_SECONDS`
or more after the last line, so a log of ten minutes of singing stays readable. Of work on many items they
come every `_PLAIN_ITEMS_SECONDS`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hafm.app.estimate import Estimate, Estimator, Phase

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

__all__ = ["Display", "PlainDisplay", "SilentDisplay", "TerminalDisplay", "display"]

_PLAIN_SECONDS = 2.0
_PLAIN_ITEMS_SECONDS = 30.0  # preparing a collection takes hours
_NAMES = {
    "semantic": "semantic tokens",
    "coarse": "coarse codes",
    "fine": "fine codes",
    "separation": "separating",
}


class Display:
    """Tells what is going on. This one tells nothing, and says what the others must offer."""

    def step(self, what: str) -> None:
        """A step begins whose length is not known, such as loading."""

    def show(self, estimate: Estimate) -> None:
        """Generation goes on."""

    def generation(self, job: Estimator) -> Callable[[str, int], None]:
        """A function to call with a stage's name and how many of its frames are done."""
        job.start(now=time.monotonic())

        def on_progress(stage: str, done: int) -> None:
            self.show(job.update(stage, done=done, now=time.monotonic()))

        return on_progress

    def items(self, what: str) -> Callable[[int, int], None]:
        """A function to call with how many of how many items are done, those of earlier runs included."""
        first: int | None = None
        job: Estimator | None = None

        def on_progress(done: int, total: int) -> None:
            nonlocal first, job
            first = done if first is None else first
            now, left = time.monotonic(), None
            if job is None and done > first:  # before that, models were loaded: no measure of speed
                job = Estimator([Phase(name=what, frames=max(1, total), cost=1.0)])
                job.start(now=now)
            if job is not None:
                left = job.update(what, done=done, now=now).seconds_left
            share = done / total if total else 1.0
            estimate = Estimate(stage=what, share=share, seconds_left=left)
            self.show_items(estimate, f"{done:,} of {total:,}")

        return on_progress

    def show_items(self, estimate: Estimate, counted: str) -> None:
        """Work on items goes on; `counted` says how many are done."""


class SilentDisplay(Display):
    """For `--quiet`."""


class PlainDisplay(Display):
    """Sparse lines for whatever is not a terminal.

    Args:
        write: takes one line.
        now: the time in seconds.

    >>> plain = PlainDisplay(print, now=iter([0.0, 1.0, 2.0, 9.0]).__next__)
    >>> plain.step("reading")
    hafm: reading
    >>> plain.show(Estimate(stage="semantic", share=0.01, seconds_left=None))
    hafm: semantic tokens
    >>> plain.show(Estimate(stage="semantic", share=0.11, seconds_left=80.0))
    >>> plain.show(Estimate(stage="semantic", share=0.23, seconds_left=72.4))
    hafm: semantic tokens, 23 %, 1:12 left
    """

    def __init__(self, write: Callable[[str], None], *, now: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._now = now
        self._last_seconds = -_PLAIN_SECONDS
        self._last_tenth = 0
        self._last_stage = ""

    def step(self, what: str) -> None:
        self._last_seconds = self._now()
        self._write(f"hafm: {what}")

    def show(self, estimate: Estimate) -> None:
        tenth = int(estimate.share * 10)
        another_stage = estimate.stage != self._last_stage
        if not another_stage and tenth == self._last_tenth:
            return
        now = self._now()
        if not another_stage and now - self._last_seconds < _PLAIN_SECONDS:
            return
        self._last_seconds, self._last_tenth, self._last_stage = now, tenth, estimate.stage
        self._write("hafm: " + ", ".join([_name(estimate.stage), *_numbers(estimate)]))

    def show_items(self, estimate: Estimate, counted: str) -> None:
        another_stage = estimate.stage != self._last_stage
        now = self._now()
        if not another_stage and now - self._last_seconds < _PLAIN_ITEMS_SECONDS:
            return
        self._last_seconds, self._last_stage = now, estimate.stage
        self._write("hafm: " + ", ".join([f"{estimate.stage} {counted}", *_numbers(estimate)]))


class TerminalDisplay(Display):
    """A bar that moves.

    Args:
        progress: rich's, running.
        task: the bar in it.
    """

    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self._progress = progress
        self._task = task

    def step(self, what: str) -> None:
        self._progress.update(self._task, description=what, total=None, left="")

    def show(self, estimate: Estimate) -> None:
        self._progress.update(
            self._task,
            description=_name(estimate.stage),
            total=1.0,
            completed=estimate.share,
            left="  ".join(f"{number:>6}" for number in _numbers(estimate)),
        )

    def show_items(self, estimate: Estimate, counted: str) -> None:
        self.show(estimate)
        self._progress.update(self._task, description=f"{estimate.stage} {counted}")


@contextlib.contextmanager
def display(console: "Console", *, quiet: bool) -> Iterator[Display]:
    """The display that fits.

    Args:
        console: rich's, on stderr.
        quiet: tell nothing.
    """
    if quiet:
        yield SilentDisplay()
    elif not console.is_terminal:
        yield PlainDisplay(lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True))
    else:
        from rich.progress import BarColumn, Progress, TextColumn

        columns = [
            TextColumn("{task.description:<17}"),
            BarColumn(bar_width=40),
            TextColumn("{task.fields[left]}"),
        ]
        with Progress(*columns, console=console, transient=True) as progress:
            yield TerminalDisplay(progress, progress.add_task("", total=None, left=""))


def _name(stage: str) -> str:
    return _NAMES.get(stage, stage)


def _numbers(estimate: Estimate) -> list[str]:
    """Share and time left; nothing while they are not known.

    >>> _numbers(Estimate(stage="fine", share=0.5, seconds_left=61.0))
    ['50 %', '1:01 left']
    """
    if estimate.seconds_left is None:
        return []
    minutes, seconds = divmod(round(estimate.seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return [f"{100 * estimate.share:.0f} %", f"{clock}:{seconds:02d} left"]
