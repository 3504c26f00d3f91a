"""What a user sees while the command works: one moving line on a terminal, a few plain lines elsewhere.

In: the steps of the command and the `Progress` of its work. Out: text on stderr.

    coarse codes  ━━━━━━━━━━━━━━━━━━━━╸━━━━━━━━━━━━━━━━━━━   52 %   0:14 left            on a terminal
    hafm: coarse codes, 50 %, 0:15 left                                                  in a log file

Plain lines come when a step or a stage begins, and at every tenth of the generation that is `_PLAIN_SECONDS`
or more after the last line, so a log of ten minutes of singing stays readable. Of work on many items they
come every `_PLAIN_ITEMS_SECONDS`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from hafm.estimate import Estimate, Estimator
from hafm.progress import OnProgress, Progress
from hafm.words import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = [
    "Display",
    "PlainDisplay",
    "SilentDisplay",
    "TerminalDisplay",
    "bar_between",
    "can_move",
    "display",
    "writer",
]

_PLAIN_SECONDS = 2.0
_PLAIN_ITEMS_SECONDS = 30.0  # preparing a collection takes hours
_NAMES = {
    "semantic": "semantic tokens",
    "coarse": "coarse codes",
    "fine": "fine codes",
    "separation": "separating",
}


class Display:
    """Shows what is going on. This one shows nothing, and says what the others must offer."""

    def step(self, what: str) -> None:
        """A step begins whose length is not known, such as loading."""

    def say(self, line: str) -> None:
        """Something was found out that a user may want to stop for."""

    def show(self, estimate: Estimate) -> None:
        """Generation goes on."""

    def generation(self, job: Estimator) -> Callable[[str, int], None]:
        """A function to call with a stage's name and how many of its frames are done."""
        job.start(now=time.monotonic())

        def on_progress(stage: str, done: int) -> None:
            self.show(job.update(stage, done=done, now=time.monotonic()))

        return on_progress

    def follow(self, words: Mapping[str, str] | None = None) -> OnProgress:
        """A function to call with how far a step is, earlier runs included; each has its own time left.

        Args:
            words: what a step is called here, by its name; None for the names themselves.
        """
        first: dict[str, tuple[float, float]] = {}  # when a step was seen to go on, and how far it was then
        begun: dict[str, float] = {}

        def on_progress(progress: Progress) -> None:
            step, done, total = progress.step, progress.done, progress.total
            now, left = time.monotonic(), None
            if step in first:
                since, before = first[step]
                if done > before:
                    left = (now - since) / (done - before) * (total - done)
            elif done > begun.setdefault(step, done):  # before that, models were loaded: no measure of speed
                first[step] = (now, done)
            name = (words or {}).get(step, step)
            estimate = Estimate(stage=name, share=done / total if total else 1.0, seconds_left=left)
            self.show_items(estimate, f"{done:,.0f} of {total:,.0f}")

        return on_progress

    def show_items(self, estimate: Estimate, counted: str) -> None:
        """Work on items goes on; `counted` says how many are done."""


class SilentDisplay(Display):
    """For `--quiet`."""


class PlainDisplay(Display):
    """Sparse lines for whatever is not a terminal.

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

    def say(self, line: str) -> None:
        self._write(f"hafm: {line}")

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
    """A bar that moves."""

    def __init__(self, progress: "Bar", task: "TaskID") -> None:
        self._progress = progress
        self._task = task

    def step(self, what: str) -> None:
        self._progress.update(self._task, description=what, total=None, left="", visible=True)

    def say(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def show(self, estimate: Estimate) -> None:
        self._progress.update(
            self._task,
            description=_name(estimate.stage),
            total=1.0,
            completed=estimate.share,
            left="  ".join(f"{number:>6}" for number in _numbers(estimate)),
            visible=True,
        )

    def show_items(self, estimate: Estimate, counted: str) -> None:
        self.show(estimate)
        self._progress.update(self._task, description=f"{estimate.stage} {counted}")


@contextlib.contextmanager
def display(console: "Console", *, quiet: bool) -> Iterator[Display]:
    """The display that fits."""
    if quiet:
        yield SilentDisplay()
    elif not can_move(console):
        yield PlainDisplay(writer(console))
    else:
        with bar_between(console, "{task.description:<17}", "{task.fields[left]}", width=40) as bar:
            yield TerminalDisplay(bar, bar.add_task("", total=None, left="", visible=False))


def can_move(console: "Console") -> bool:
    """Whether lines can be written over: it is a terminal, and not a dumb one (`TERM=dumb`)."""
    return console.is_terminal and not console.is_dumb_terminal


def _name(stage: str) -> str:
    return _NAMES.get(stage, stage)


def _numbers(estimate: Estimate) -> list[str]:
    """Share and time left; nothing while they are not known.

    >>> _numbers(Estimate(stage="fine", share=0.5, seconds_left=61.0))
    ['50 %', '1:01 left']
    """
    if estimate.seconds_left is None:
        return []
    return [f"{100 * estimate.share:.0f} %", f"{duration(estimate.seconds_left)} left"]


def writer(console: "Console") -> Callable[[str], None]:
    """What prints a line as it is."""
    return lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def bar_between(console: "Console", before: str, after: str, *, width: int) -> "Iterator[Bar]":
    """A bar between two texts, gone when the work is done."""
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = [TextColumn(before), BarColumn(bar_width=width), TextColumn(after)]
    with Bar(*columns, console=console, transient=True) as bar:
        yield bar
