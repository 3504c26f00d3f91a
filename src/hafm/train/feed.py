"""Batches made ahead of time, in a thread of their own, so that the device never waits for data.

In: a function from a step's number to its batch. Out: the batches, step by step, and how long anybody waited.

    thread     make(0)  make(1)  make(2) ...            at most `ahead` made and not yet taken
    main         take(0)           take(1) ...

A batch is a pure function of its step, so what was made ahead and never taken is no loss.
"""

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

__all__ = ["Feed"]

T = TypeVar("T")
_LOOK_SECONDS = 0.1  # how soon a full queue notices that it was closed


class Feed(Generic[T]):
    """Batches from a step on.

    Args:
        make: gives the batch of a step; is called in another thread, one step after the other.
        first: the first step.
        ahead: how many batches wait at most, 1 or more.

    >>> with Feed(lambda step: step * 10, first=3) as feed:
    ...     feed.take(), feed.take()
    (30, 40)
    """

    def __init__(self, make: Callable[[int], T], *, first: int, ahead: int = 4) -> None:
        self.waited_seconds = 0.0
        """Time that `take` has waited in all."""
        self._make = make
        self._first = first
        self._ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(ahead)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="hafm-feed", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()

    def take(self) -> T:
        """The next batch.

        Raises:
            Exception: whatever making it raised.
        """
        began = time.perf_counter()
        batch, error = self._ready.get()
        self.waited_seconds += time.perf_counter() - began
        if error is not None:
            raise error
        return batch  # type: ignore[return-value]

    def _work(self) -> None:
        step = self._first
        while not self._closed.is_set():
            made: tuple[T | None, BaseException | None]
            try:
                made = self._make(step), None
            except BaseException as error:
                made = None, error
            while not self._closed.is_set():
                try:
                    self._ready.put(made, timeout=_LOOK_SECONDS)
                    break
                except queue.Full:
                    continue
            if made[1] is not None:
                return
            step += 1
