"""A worker process of the pool: a workbench at the other end of a pipe.

    pool                      worker
     |--- start ---------------->| opens its workbench
     |<-- Ready -----------------|
     |--- [Track, ...] --------->| works
     |<-- [result, ...] ---------|
     |<-- Failed ----------------| a mistake of ours, or an error that stops the run
     |--- None ----------------->| ends

A worker ends when the pool's process does, however that ended: its pipe closes while it waits, and a thread
looks out while it works. Ctrl-C is the pool's affair: SIGINT is blocked before the process begins.
"""

import multiprocessing
import multiprocessing.connection
import os
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from hafm.data.collection.track import Track
from hafm.data.preparing.workbench import Opener
from hafm.errors import HafmError

__all__ = ["Failed", "Ready", "WorkerError", "serve"]


class WorkerError(RuntimeError):
    """A mistake of ours, made in a worker; its traceback stands in the `__cause__`."""


class _RemoteTraceback(Exception):
    """A traceback as text; only its string is for use."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class Ready:
    """The workbench is open."""


@dataclass(frozen=True)
class Failed:
    """The run must stop.

    Args:
        error: for the user to put right; None for a mistake of ours.
        what: the error in one line.
        trace: its traceback.
    """

    error: HafmError | None
    what: str
    trace: str

    @classmethod
    def of(cls, error: Exception) -> "Failed":
        """What to send of an error: our own are plain, others may not survive the pipe."""
        return cls(
            error=error if isinstance(error, HafmError) else None,
            what=f"{type(error).__name__}: {error}",
            trace="".join(traceback.format_exception(error)),
        )

    def to_error(self) -> Exception:
        """The error to raise in the pool's process."""
        error = self.error or WorkerError(self.what)
        error.__cause__ = _RemoteTraceback(self.trace)
        return error


def serve(connection: Connection, opener: Opener) -> None:
    """The life of a worker.

    Args:
        connection: to the pool.
        opener: of the workbench.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    message: object
    try:
        bench = opener()
    except Exception as error:
        _tell(connection, Failed.of(error))
        return
    message = Ready()
    while _tell(connection, message) and (batch := _next(connection)) is not None:
        try:
            message = bench.prepare(batch)
        except Exception as error:
            message = Failed.of(error)


def _tell(connection: Connection, message: object) -> bool:
    """Whether the pool is still there to be told."""
    try:
        connection.send(message)
    except OSError:
        return False
    return True


def _next(connection: Connection) -> Sequence[Track] | None:
    """The next batch; None if there is none or the pool is gone."""
    try:
        batch: Sequence[Track] | None = connection.recv()
    except (EOFError, OSError):
        return None
    return batch


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has one"
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
