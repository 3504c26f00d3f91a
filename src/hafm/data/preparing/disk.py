"""Room on the disk: whether there is enough before the work, and plain words when there was not.

In: a folder and a number of bytes. Out: nothing, or an `OutputError` that says how much is needed.
"""

import errno
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hafm.errors import OutputError
from hafm.words import size

__all__ = ["free_bytes", "require_room", "telling_room"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def free_bytes(folder: Path) -> int:
    """Free space on the disk of a folder, which need not exist yet.

    Raises:
        OutputError: nothing of its path exists, or it cannot be looked at.
    """
    standing = next((place for place in (folder, *folder.absolute().parents) if place.exists()), None)
    try:
        return shutil.disk_usage(standing or folder).free
    except OSError as error:
        raise OutputError(f"cannot look at '{folder}': {error.strerror or error}; give another -o") from error


def require_room(folder: Path, *, needed_bytes: int) -> None:
    """Refuses a disk that is too small, before the work begins.

    Raises:
        OutputError: it has less than `needed_bytes` free.
    """
    free = free_bytes(folder)
    if free < needed_bytes:
        raise OutputError(
            f"the tokens need about {size(needed_bytes)}, and the disk of '{folder}' has {size(free)} free; "
            "make room, or give another folder with -o"
        )


@contextmanager
def telling_room(needed_bytes: Callable[[], int]) -> Iterator[None]:
    """Adds to the error of a full disk how much room the rest of the work needs.

    Args:
        needed_bytes: asked when the disk was full.

    Raises:
        OutputError: a write failed in the block.
    """
    try:
        yield
    except (OutputError, OSError) as error:
        if not (_is_full(error) or _is_full(error.__cause__)):
            raise
        raise OutputError(
            f"{error}; what is done is kept, the rest needs about {size(needed_bytes())}: make room and run "
            "the same command again"
        ) from error


def _is_full(error: BaseException | None) -> bool:
    if isinstance(error, sqlite3.Error):
        # SQLite tells a write that failed for another reason than ENOSPC (a quota) as an I/O error.
        return error.sqlite_errorname in ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE")
    return isinstance(error, OSError) and error.errno in _FULL
