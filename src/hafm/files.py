"""Files and folders that appear whole or not at all, and folders that are fit to take them.

In: a path, and what is to lie there. Out: the file or folder, or an `OutputError` and nothing left behind.

A file is written under another name beside its target (on the same disk), flushed to the disk, and only then
renamed, which the file system does in one step. Whoever looks at the target sees the old bytes or the new
ones. A folder is filled under another name, too:

    OUT does not exist   .OUT.3f2a.part/results  is filled, and takes the name OUT in one step
    OUT exists           OUT/.3f2a.part/results  is filled, and each file takes its place in OUT in one step

Either way what is written lies on the disk where it will stay (OUT may be the root of one).
"""

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from hafm.errors import OutputError, UsageError
from hafm.words import size

__all__ = [
    "StagedFolder",
    "atomic_file",
    "check_output_folder",
    "locked_folder",
    "replaced_folder",
    "staged_folder",
    "write_json",
    "write_whole",
]


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Generator[BinaryIO]:
    """A binary file to write to, which takes its name when the block ends well.

    Args:
        path: the target; its folder must exist. An existing file is replaced.

    Yields:
        The open file.

    Raises:
        OutputError: the disk is full, the folder is missing or not writable. Whatever is raised, Ctrl-C
            included, the target keeps its old bytes and no other file is left.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_file(Path(folder) / "a.txt") as file:
    ...         _ = file.write(b"whole")
    ...     os.listdir(folder)
    ['a.txt']
    """
    target = Path(path)
    partial = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        # Not by `tempfile`: its files are readable by their owner alone.
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
        _sync_folder(target.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _explained(error, target) from error
        raise


def write_whole(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Writes a file of these bytes, or of this text as UTF-8, whole or not at all; see `atomic_file`."""
    with atomic_file(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def write_json(path: str | os.PathLike[str], values: Mapping[str, Any]) -> None:
    """Writes a file of JSON values, two spaces per level, whole or not at all; see `atomic_file`."""
    write_whole(path, json.dumps(values, indent=2) + "\n")


@dataclass(frozen=True)
class StagedFolder:
    """A folder to be filled, and where its files will be in the end.

    Args:
        staging: the folder to write to; there already.
        target: the folder that it is for.
    """

    staging: Path
    target: Path

    def final(self, path: Path) -> Path:
        """Where a file that was written below `staging` will be.

        >>> folder = StagedFolder(staging=Path("/a/.out.part/results"), target=Path("out"))
        >>> folder.final(Path("/a/.out.part/results/take-1/mix.wav")).as_posix()
        'out/take-1/mix.wav'
        """
        return self.target / path.relative_to(self.staging)


@contextlib.contextmanager
def staged_folder(
    target: str | os.PathLike[str],
    *,
    last: Collection[str] = (),
    cleaning: Callable[[Callable[[], None]], AbstractContextManager[None]] | None = None,
    commit: AbstractContextManager[None] | None = None,
) -> Generator[StagedFolder]:
    """A folder to fill, whose files take their places when the block ends well.

    Args:
        target: where they go; made with its parents if it is not there. Other files in it stay.
        last: names of files that vouch for the others. Where the folder exists, the old ones go before the
            first file is replaced; the new ones come when all others are there, that of the folder itself
            after those of folders in it.
        cleaning: entered with what removes the staging folder, for those who must call it at other times too.
        commit: entered while the files take their places.

    Yields:
        The folder to fill.

    Raises:
        OutputError: the disk is full, or the place not writable. Nothing new is left behind.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     with staged_folder(Path(parent) / "out") as folder:
    ...         _ = (folder.staging / "a.txt").write_text("whole")
    ...     os.listdir(parent), os.listdir(Path(parent) / "out")
    (['out'], ['a.txt'])
    """
    target = Path(target)
    place = target.resolve()
    mark = f"{secrets.token_hex(4)}.part"
    around = place / f".{mark}" if place.exists() else place.with_name(f".{place.name[:100]}.{mark}")
    staging = around / "results"
    made = _missing_folders(place.parent)

    def clean_up() -> None:
        shutil.rmtree(around, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):  # it holds the result now, or was never made
                folder.rmdir()

    with contextlib.ExitStack() as stack:
        if cleaning is None:
            stack.callback(clean_up)
        else:
            stack.enter_context(cleaning(clean_up))
        try:
            staging.mkdir(parents=True)
            yield StagedFolder(staging=staging, target=target)
            with commit or contextlib.nullcontext():
                _put_in_place(staging, place, last)
        except OSError as error:
            raise OutputError(
                f"cannot write to '{target}': {error.strerror or error}; make room there, or give another "
                "folder with -o"
            ) from error


@contextlib.contextmanager
def replaced_folder(folder: Path, *, what: str = "", parents: bool = False) -> Generator[Path]:
    """A new folder to fill, which takes the place of another, and of all that it holds, when the block ends
    well.

    Args:
        folder: the target; what is there goes once the new one is in its place.
        what: it holds, for the message, such as `the bundle`.
        parents: make its parents if they are not there.

    Yields:
        The folder to fill, beside the target.

    Raises:
        OutputError: it cannot be written. The target is as it was.
    """
    staging = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    old = staging.with_suffix(".old")
    try:
        staging.mkdir(parents=parents)
        yield staging
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(staging, folder)
        except BaseException:
            if old.exists():
                os.replace(old, folder)
            raise
    except OSError as error:
        raise OutputError(
            f"cannot write {f'{what} ' if what else ''}'{folder}': {error.strerror or error}; write elsewhere"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def locked_folder(folder: str | os.PathLike[str], *, name: str) -> Generator[None]:
    """A folder that this process alone writes to while the block runs.

    The lock is the system's own, so it goes with the process. The folder must lie on a disk of this machine:
    locks do not work across a network.

    Args:
        folder: made if it is not there.
        name: of the file that holds the lock, which stays.

    Raises:
        UsageError: another process writes to it.
        OutputError: the folder cannot be made, or cannot be locked.
    """
    # Fetched here: a folder is locked once per run, and this module is imported with every command.
    from filelock import FileLock, Timeout

    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / name, timeout=0, thread_local=False)
        lock.acquire()
    except Timeout:
        raise UsageError(
            f"another hafm writes to '{folder}'; wait until it is done, or give another folder with -o"
        ) from None
    except NotImplementedError as error:
        raise OutputError(
            f"'{folder}' cannot be locked; give a folder on a disk of this machine with -o"
        ) from error
    except OSError as error:
        raise OutputError(
            f"cannot write to '{folder}' ({error.strerror or error}); give another folder with -o"
        ) from error
    try:
        yield
    finally:
        lock.release()


def check_output_folder(
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    needed_bytes: int = 0,
    source: str | os.PathLike[str] | None = None,
) -> Path:
    """Refuse a folder that results must not or cannot go to, before any work is done. Creates nothing.

    Args:
        folder: where results are to go; need not exist.
        overwrite: whether results may go beside (and replace) what is there.
        needed_bytes: what will be written, 0 or more.
        source: the file that came in, which must not lie in the folder: it could be replaced.

    Returns:
        The folder as a path.

    Raises:
        OutputError: it is a file, holds files without `overwrite`, holds `source`, cannot be written to, or
            its disk has too little room.
    """
    folder = Path(folder)
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"output folder '{folder}' is a file; give another name with -o")
        if folder.is_symlink() and not folder.exists():
            raise OutputError(
                f"output folder '{folder}' is a link that points to nothing; give another name with -o"
            )
        if folder.is_dir() and any(folder.iterdir()) and not overwrite:
            raise OutputError(
                f"output folder '{folder}' already holds files; give another with -o, or allow replacing "
                f"with --overwrite"
            )
        if source is not None and Path(source).resolve().parent == folder.resolve():
            raise OutputError(
                f"output folder '{folder}' holds the vocal itself, which must not be replaced; give another "
                f"folder with -o"
            )
        existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if not existing.is_dir():
            raise OutputError(
                f"output folder '{folder}' cannot be made: '{existing}' is a file; give another with -o"
            )
        if not os.access(existing, os.W_OK | os.X_OK):
            raise OutputError(f"no permission to write to '{existing}'; give another folder with -o")
        free = shutil.disk_usage(existing).free
    except OSError as error:
        raise _explained(error, folder) from error
    if free < needed_bytes:
        raise OutputError(
            f"output folder '{folder}' is on a disk with {size(free)} free, and {size(needed_bytes)} are "
            f"needed; "
            "make room or give another folder with -o"
        )
    return folder


def _missing_folders(folder: Path) -> list[Path]:
    """Those of `folder` and its parents that do not exist, the deepest first."""
    missing = []
    for place in (folder, *folder.parents):
        if place.exists():
            break
        missing.append(place)
    return missing


def _put_in_place(staging: Path, place: Path, last: Collection[str]) -> None:
    if not place.exists():
        os.rename(staging, place)
        return
    files = [path.relative_to(staging) for path in sorted(staging.rglob("*")) if path.is_file()]
    for name in files:
        if name.name in last:
            (place / name).unlink(missing_ok=True)
    for name in sorted(files, key=lambda name: (name.name in last, -len(name.parts))):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / name, place / name)


def _explained(error: OSError, path: Path) -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return OutputError(
            f"cannot write '{path}': the disk is full{_free(path)}; make room or write elsewhere"
        )
    if isinstance(error, PermissionError):
        return OutputError(f"cannot write '{path}': no permission; choose a folder that is yours")
    if isinstance(error, FileNotFoundError):
        return OutputError(f"cannot write '{path}': there is no folder '{path.parent}'; create it first")
    return OutputError(f"cannot write '{path}': {error.strerror or error}; write elsewhere")


def _free(path: Path) -> str:
    try:
        return f" ({size(shutil.disk_usage(path.parent).free)} free)"
    except OSError:
        return ""


def _sync_folder(folder: Path) -> None:
    # A rename is on the disk only when its folder is. Windows cannot open folders, and some file systems
    # refuse.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
