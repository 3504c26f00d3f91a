"""The worker process of a lane: it does tasks, one after the other, and says how far it is.

    lane                      worker
     |--- start ---------------->| opens its bundle
     |--- task ----------------->| works
     |<-- Reported --------------| ten times per second at most
     |--- None ----------------->| gives up, at its next report
     |<-- Ended -----------------| with a result, an error, or neither: cancelled
     |<-- Failed ----------------| the bundle cannot be opened; the process ends

It ends when the lane's process does (`hafm.worker_process`).
"""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from hafm.web.tasks import Report, Task
from hafm.web.work import Studio
from hafm.worker_process import Failed, end_with_parent

__all__ = ["Ended", "Reported", "serve_tasks"]

_REPORTS_APART_SECONDS = 0.1


@dataclass(frozen=True)
class Reported:
    """How far a task is."""

    step: str
    share: float
    seconds_left: float | None


@dataclass(frozen=True)
class Ended:
    """How a task ended: with a result, with an error, or with neither, since it was cancelled."""

    result: Mapping[str, Any] | None = None
    failed: Failed | None = None


class _CancelledError(Exception):
    """The task was cancelled."""


def serve_tasks(connection: Connection, opener: "Callable[[], Studio]") -> None:
    """The life of a worker.

    Args:
        connection: to the lane. Tasks come from there, and None for the end of the one that runs.
    """
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        studio = opener()
    except Exception as error:
        with contextlib.suppress(EOFError, OSError):
            connection.recv()  # the first task gets to know why
            connection.send(Failed.of(error))
        return
    while True:
        try:
            task = connection.recv()
            if task is not None:  # else what it would cancel has ended
                connection.send(_ended(studio, task, _reporter(connection)))
        except (EOFError, OSError):
            return


def _ended(studio: "Studio", task: Task, report: Report) -> Ended:
    try:
        return Ended(result=studio.do(task, report))
    except _CancelledError:
        return Ended()
    except Exception as error:
        return Ended(failed=Failed.of(error))


def _reporter(connection: Connection) -> Report:
    last_step, last_time = "", 0.0

    def report(step: str, share: float, seconds_left: float | None) -> None:
        nonlocal last_step, last_time
        if connection.poll():
            connection.recv()
            raise _CancelledError
        now = time.monotonic()
        if step != last_step or now - last_time >= _REPORTS_APART_SECONDS:
            last_step, last_time = step, now
            connection.send(Reported(step, share, seconds_left))

    return report
