"""One writer per place: who comes second is refused by name, and what a killed process left is removed.

In: a folder. Out: a block in which no other HAFM writes there, or a `UsageError`.

    a run, a ledger      FOLDER/NAME               `locked_folder`    one process writes to the folder
    results to come      .OUT.hafm.part/lock       `claimed_place`    one process makes them (see `files`)
    a reader of shards   FOLDER/.reading.*.lock    `reading_folder`   nobody writes while they are read

The locks are the system's own (filelock), so they go with the process, whatever ends it. The folder must lie
on a disk of this machine: locks do not work across a network.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

from hafm.errors import OutputError, UsageError

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = [
    "claimed_place",
    "locked_folder",
    "reading_folder",
    "remove_leftovers",
    "require_no_readers",
]

_READING = ".reading.*.lock"
_TRIES = 5
_RESERVE_BYTES = 4 << 20


@contextlib.contextmanager
def locked_folder(
    folder: str | os.PathLike[str], *, name: str, elsewhere: str = "-o", stays: bool = True
) -> Generator[None]:
    """A folder that this process alone writes to while the block runs.

    Args:
        folder: made if it is not there.
        name: of the file that holds the lock.
        elsewhere: the option that names another folder.
        stays: whether the file stays when the block ends, and the folder if nothing came into it.

    Raises:
        UsageError: another process writes to it.
        OutputError: the folder cannot be made, or cannot be locked.
    """
    folder = Path(folder)
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    lock = None
    try:
        with _explained(folder, elsewhere):
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock(folder / name)
        if lock is None:
            raise UsageError(
                f"another hafm writes to '{folder}'; wait until it is done, or give another folder with "
                f"{elsewhere}"
            )
        yield
    finally:
        if lock is not None:
            if not stays:
                _remove(folder / name)
            lock.release()
        for place in missing if lock is None or not stays else []:
            with contextlib.suppress(OSError):  # it holds something now
                place.rmdir()


@contextlib.contextmanager
def claimed_place(around: Path, *, shown: Path) -> Generator[Callable[[], None]]:
    """A hidden folder that this process alone fills while the block runs. One that is left over is emptied.

    Args:
        around: the folder; made with its parents. Its name says what it is for, so that two processes with
            one aim meet in it.
        shown: what it is for, as messages name it.

    Yields:
        A function that removes it, which is called at the end too.

    Raises:
        UsageError: another process has it.
        OutputError: it cannot be made.
    """
    lock: BaseFileLock | None = None
    reserve = [bytearray(_RESERVE_BYTES)]  # to remove the folder with, when the memory is full

    def leave() -> None:
        nonlocal lock
        reserve.clear()
        if lock is None:  # stopped on the way to it, or it is another's, or this is not the first call
            with contextlib.suppress(OSError):
                around.rmdir()
            return
        shutil.rmtree(around, ignore_errors=True)
        lock.release()
        lock = None
        if around.exists() and os.name == "nt":  # which removes no file that is open
            shutil.rmtree(around, ignore_errors=True)

    try:
        with _explained(shown, "-o"):
            for tries_left in reversed(range(_TRIES)):
                try:
                    around.mkdir(parents=True, exist_ok=True)
                    if (lock := _lock(around / "lock")) is None:
                        break
                    if (around / "lock").exists():
                        break
                    lock.release()
                    lock = None
                except FileNotFoundError as error:  # who leaves takes the folder away, perhaps as we come
                    if not tries_left:
                        raise OutputError(
                            f"folder '{shown}' cannot be made ({error.strerror}); give another with -o"
                        ) from error
        if lock is None:
            raise UsageError(
                f"another hafm makes '{shown}' at this moment; wait until it is done, or give another place "
                "with -o"
            )
        for path in around.iterdir():
            if path.name != "lock":
                shutil.rmtree(path, ignore_errors=True)
        yield leave
    finally:
        leave()


@contextlib.contextmanager
def reading_folder(folder: Path, *, writer: str) -> Generator[None]:
    """A folder that nobody writes to while the block runs, as long as writers ask `require_no_readers`.

    Args:
        folder: to be read. One that this process may not write to is not marked.
        writer: name of the file in it by which writers lock it.

    Raises:
        UsageError: another process writes to it.
    """
    mark = folder / f".reading.{secrets.token_hex(4)}.lock"
    try:
        lock = _lock(mark)
    except (OSError, NotImplementedError):
        yield
        return
    assert lock is not None, "nobody else has its name"
    try:
        if (folder / writer).exists():
            other = _lock(folder / writer)
            if other is None:
                raise UsageError(f"another hafm writes to '{folder}' (hafm prepare); wait until it is done")
            other.release()
        yield
    finally:
        _remove(mark)
        lock.release()


def require_no_readers(folder: Path) -> None:
    """Refuses to write to a folder that is being read; for who holds its lock.

    Raises:
        UsageError: a process reads it.
    """
    for mark in folder.glob(_READING):
        with contextlib.suppress(OSError, NotImplementedError):
            lock = _lock(mark)
            if lock is None:
                raise UsageError(
                    f"another hafm reads '{folder}' (hafm train); wait until it is done, or give another "
                    "folder with -o"
                )
            _remove(mark)  # its process was killed
            lock.release()


def remove_leftovers(folder: Path) -> None:
    """Removes what killed writers left below a folder; for who holds its lock."""
    for path in [*folder.rglob(".*.part"), *folder.glob(".*.partial")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            _remove(path)


def _lock(path: Path) -> "BaseFileLock | None":
    """The lock of a file, which is made; None if another process has it."""
    # Fetched here: a folder is locked once per run, and this module is imported with every command.
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


@contextlib.contextmanager
def _explained(folder: Path, elsewhere: str) -> Generator[None]:
    try:
        yield
    except NotImplementedError as error:
        raise OutputError(
            f"'{folder}' cannot be locked; give a folder on a disk of this machine with {elsewhere}"
        ) from error
    except OSError as error:
        raise OutputError(
            f"cannot write to '{folder}' ({error.strerror or error}); give another folder with {elsewhere}"
        ) from error
