"""A function over many items, some of them at a time, with the results in order.

In: items, however many. Out: results, one an item, in the items' order. At most `threads` results are under
way or waiting, so memory does not grow with the number of items; and what comes out does not depend on
`threads`, as long as the function's result depends on its item alone.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["map_ahead"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int = 1
) -> Iterator[Result]:
    """Like `map`, in `threads` threads.

    Args:
        function: called from several threads at a time, if `threads` is above 1.
        items: taken one after the other in the caller's thread, up to `threads` ahead.
        threads: 1 or more.

    Yields:
        The results, in order. What the function raises is raised in its place.

    >>> list(map_ahead(abs, range(-5, 0), threads=2))
    [5, 4, 3, 2, 1]
    """
    if threads == 1:
        yield from map(function, items)
        return
    executor = ThreadPoolExecutor(threads, thread_name_prefix="hafm-separate")
    try:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) == threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
