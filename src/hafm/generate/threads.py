"""One thread while tokens are made, however many the machine has.

A step of decoding is many small products. Shared out among threads, each takes longer to hand over than to
compute, and on a machine that has other work the threads wait for each other (docs/experiments.md has a first
figure). One thread also sums in one order, so that a take does not depend on
how many cores its machine has.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Sets torch to one thread, and back.

    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
