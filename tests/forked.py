"""Work in a child of the process of the tests, where torch is loaded: another Python takes seconds for that.

    child = forked(lambda: work())
    assert ended(child) == 0

The child has the memory of its parent, and no other thread; types are not checked in it.
"""

import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import jaxtyping

__all__ = ["ended", "forked"]


def forked(work: Callable[[], Any]) -> int:
    """The id of a child that does `work` and ends."""
    sys.stdout.flush()
    with warnings.catch_warnings():
        # It warns of threads of the parent: of those of the tests, none holds what a child needs.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    try:
        jaxtyping.config.update("jaxtyping_disable", True)
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def ended(child: int, *, seconds: float | None = None) -> int:
    """Waits for a child, which is killed after so long; its exit code, negative for a signal."""
    if seconds is not None:
        end = time.monotonic() + seconds
        while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > end:
                os.kill(child, 9)
                break
            time.sleep(0.01)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
