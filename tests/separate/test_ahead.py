"""`map_ahead`: order, bounds and errors."""

import threading
import time

import pytest

from hafm.separate.overlap import map_ahead


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_order_is_kept_whoever_is_done_first(threads: int) -> None:
    def slow(item: int) -> int:
        time.sleep(0.002 * (item % 3 == 0))
        return item * item

    assert list(map_ahead(slow, range(20), threads=threads)) == [item * item for item in range(20)]


@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_than_so_many_are_taken_ahead(threads: int) -> None:
    taken = 0

    def items() -> "list[int]":
        nonlocal taken
        for item in range(50):
            taken += 1
            yield item

    for done, _ in enumerate(map_ahead(lambda item: item, items(), threads=threads)):
        assert taken - done <= threads


def test_they_do_run_at_the_same_time() -> None:
    """Each waits for the other: one thread would never end."""
    barrier = threading.Barrier(2, timeout=10)
    assert list(map_ahead(lambda _: barrier.wait() >= 0, range(4), threads=2)) == [True] * 4


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_in_its_place(threads: int) -> None:
    results = map_ahead(lambda item: 1 / item, [2, 1, 0, 1], threads=threads)
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)
