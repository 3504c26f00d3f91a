"""Batches made ahead of time, in a thread of their own, so that the device never waits for data.

In: a function from a step's number to its batch. Out: the batches, step by step, and how long anybody waited.

    thread     make(0)  make(1)  make(2) ...            at most `ahead` made and not yet taken
    main         take(0)           take(1) ...

A batch is a pure function of its step, so what was made ahead and never taken is no loss.
"""

import itertools
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Self, TypeVar

__all__ = ["Feed"]

T = TypeVar("T")


class Feed(Generic[T]):
    """Batches from a step on.

    Args:
        make: gives the batch of a step; is called in another thread, one step after the other.
        ahead: how many batches wait at most, 1 or more.

    >>> with Feed(lambda step: step * 10, first=3) as feed:
    ...     feed.take(), feed.take()
    (30, 40)
    """

    def __init__(self, make: Callable[[int], T], *, first: int, ahead: int = 4) -> None:
        self.waited_seconds = 0.0
        """Time that `take` has waited in all."""
        self._make = make
        self._steps = itertools.count(first)
        self._ahead = ahead
        self._waiting: deque[Future[T]] = deque()
        self._thread = ThreadPoolExecutor(1, "hafm-feed")

    def __enter__(self) -> Self:
        for _ in range(self._ahead + 1):  # the last is in hand while the others wait
            self._make_another()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def take(self) -> T:
        """The next batch; raises whatever making it raised."""
        began = time.perf_counter()
        batch = self._waiting.popleft().result()
        self.waited_seconds += time.perf_counter() - began
        self._make_another()
        return batch

    def _make_another(self) -> None:
        self._waiting.append(self._thread.submit(self._make, next(self._steps)))
