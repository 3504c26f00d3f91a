"""Which separator a command is to use.

In: the option, and the environment variable HAFM_SEPARATOR. Out: the path of an `.onnx`, and how many threads
to run it in.
"""

import os
from pathlib import Path

from hafm.errors import UsageError

__all__ = ["VARIABLE", "separator_path", "separator_threads"]

VARIABLE = "HAFM_SEPARATOR"

_MOST_THREADS = 4  # each chunk that is under way has the net's whole memory, about 1 GB of a real one


def separator_path(given: Path | None, *, option: str) -> Path:
    """The separator: that of the option, or that of the environment.

    Args:
        given: what the option said, if it was there.
        option: how it is spelt, for the message.

    Raises:
        UsageError: neither names one.

    >>> separator_path(Path("vocals.onnx"), option="--model")
    PosixPath('vocals.onnx')
    """
    if given is not None:
        return given
    if named := os.environ.get(VARIABLE):
        return Path(named)
    raise UsageError(
        f"no separator was given, and HAFM brings none; name an MDX-Net with {option} MODEL.onnx, or in "
        f"{VARIABLE}"
    )


def separator_threads(workers: int = 1) -> int:
    """Threads for the separator of each of so many processes. Results do not depend on it.

    >>> separator_threads(1000)
    1
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    return max(1, min(_MOST_THREADS, cores // workers))
