"""The standard streams, as a shell, a service or a lost terminal leaves them.

In: the descriptors 0, 1 and 2 as the process got them. Out: `sys.stdout` and `sys.stderr` that can be used.

| found | done |
|---|---|
| a closed descriptor | opened on nothing, so that no result gets its number; of stdout a note tells |
| stderr that takes nothing (full, its terminal lost) | nothing is shown; the work goes on |
| stdout that takes nothing | the work is done; then an `OutputError` says so, and where the results are |
| a reader of either who has left | BrokenPipeError, as ever: the program ends |
"""

import contextlib
import io
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import IO, cast

from hafm.errors import OutputError

__all__ = ["discard_output", "printing", "repair_streams"]


class _Patient(io.RawIOBase):
    """A descriptor to write to; what it does not take is dropped."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(cast(bytes, data)).cast("B")
        try:
            return os.write(self._descriptor, view)
        except BrokenPipeError:
            raise
        except OSError:
            return len(view)


def repair_streams(*, quiet: bool = False) -> None:
    """Makes stdout and stderr usable, whatever they are. For a program's first line.

    Args:
        quiet: do not say that stdout is closed.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    is_closed = sys.stdout is None
    if is_closed:
        sys.stdout = _text(io.FileIO(1, "w", closefd=False))
    sys.stderr = _text(_Patient(2), encoding=getattr(sys.stderr, "encoding", None))
    # The name of a file need not be text in the terminal's encoding, nor in any.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if is_closed and not quiet:
        print("note: standard output is closed, so nothing is printed there", file=sys.stderr)


def _text(raw: io.RawIOBase, *, encoding: str | None = None) -> io.TextIOWrapper:
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding=encoding, errors="backslashreplace", line_buffering=True)


@contextlib.contextmanager
def printing(results: Path | None = None) -> Generator[None]:
    """A block that prints on stdout.

    Args:
        results: what stays if that fails.

    Raises:
        OutputError: stdout takes nothing: its disk is full, its terminal is lost.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _point_at_nothing(sys.stdout)
        kept = f"what was made is in '{results}'" if results is not None and results.exists() else ""
        raise OutputError(
            f"standard output cannot be written ({error.strerror or error}); {kept or 'print elsewhere'}"
        ) from error


def discard_output() -> None:
    """Point stdout and stderr at nothing, so that Python's last flush does not fail as well."""
    for stream in (sys.stdout, sys.stderr):
        _point_at_nothing(stream)


def _point_at_nothing(stream: IO[str]) -> None:
    with contextlib.suppress(OSError, ValueError):  # captured by a test
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
