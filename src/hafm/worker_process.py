"""A worker process of a pool: a preparer at the other end of a pipe (`hafm.workers` has the pool).

    pool                      worker
     |--- start ---------------->| opens its preparer
     |<-- Ready -----------------|
     |--- [item, ...] ---------->| works
     |<-- Part([result, ...]) ---| once, or for every result
     |<-- Ready -----------------|
     |<-- Failed ----------------| a mistake of ours, or an error that stops the run
     |--- None ----------------->| ends

A worker ends when the pool's process does, however that ended: its pipe closes while it waits, and a thread
looks out while it works. Ctrl-C is the pool's affair: SIGINT is blocked before the process begins.
"""

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection as pipes
from multiprocessing.connection import Connection
from typing import Generic, Protocol, TypeVar, cast, runtime_checkable

from hafm.errors import HafmError

__all__ = ["Failed", "Part", "Preparer", "Ready", "WorkerError", "end_with_parent", "parts_of", "serve"]

Item = TypeVar("Item")
Result = TypeVar("Result")
ItemIn = TypeVar("ItemIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)


@runtime_checkable
class Preparer(Protocol[ItemIn, ResultOut]):
    """What works on items."""

    def prepare(self, items: Sequence[ItemIn], /) -> Iterable[ResultOut]:
        """The results of some items: in a sequence, or in an iterator, which hands them on one by one."""
        ...


class WorkerError(RuntimeError):
    """A mistake of ours, made in a worker; its traceback is the `__cause__`."""


class _RemoteTraceback(Exception):
    """A traceback as text; only its string is for use."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class Ready:
    """The worker waits for a batch."""


@dataclass(frozen=True)
class Part(Generic[Result]):
    """Some results of the batch."""

    results: Sequence[Result]


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


def serve(connection: Connection, opener: Callable[[], Preparer[Item, Result]]) -> None:
    """The life of a worker.

    Args:
        connection: to the pool.
        opener: of the preparer.
    """
    threading.Thread(target=end_with_parent, daemon=True).start()
    batch: Sequence[Item] | None
    try:
        preparer = opener()
        while _send(connection, Ready()) and (batch := _next(connection)) is not None:
            for part in parts_of(preparer.prepare(batch)):
                _send(connection, Part(part))
    except Exception as error:
        _send(connection, Failed.of(error))


def parts_of(results: Iterable[Result]) -> Iterator[Sequence[Result]]:
    """A sequence as a whole; anything else result by result, as they come."""
    if isinstance(results, Sequence):
        yield results
    else:
        for result in results:
            yield [result]


def _send(connection: Connection, message: object) -> bool:
    """Whether the pool is still there to hear it."""
    try:
        connection.send(message)
    except OSError:
        return False
    return True


def _next(connection: Connection) -> Sequence[Item] | None:
    """The next batch; None after the last, or if the pool is gone."""
    try:
        return cast("Sequence[Item] | None", connection.recv())
    except (EOFError, OSError):
        return None


def end_with_parent() -> None:
    """Waits for the end of the process that started this one, and ends this one. For a thread."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has one"
    pipes.wait([parent.sentinel])
    os._exit(1)
