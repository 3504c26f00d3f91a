"""Files and folders that appear whole or not at all, and folders that are fit to take them.

In: a path, and what is to lie there. Out: the file or folder, or an `OutputError` and nothing left behind.

A file is written under another name beside its target (on the same disk), flushed to the disk, and only then
renamed, which the file system does in one step. Whoever looks at the target sees the old bytes or the new
ones. A folder is filled under another name, too:

    OUT does not exist   .OUT.hafm.part/results  is filled, and takes the name OUT in one step
    OUT exists           OUT/.hafm.part/results  is filled, and each file takes its place in OUT in one step

Either way what is written lies on the disk where it will stay (OUT may be the root of one). The hidden folder
is locked (`locks.py`): a second process with the same aim is refused, and what a killed one left is removed.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from hafm.errors import OutputError
from hafm.locks import claimed_place
from hafm.words import size

__all__ = [
    "StagedFolder",
    "atomic_file",
    "cache_folder",
    "check_output_folder",
    "hashes",
    "is_unused",
    "replaced_folder",
    "scratch_file",
    "staged_folder",
    "write_json",
    "write_whole",
]

_HIDDEN = "hafm.part"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cache_folder(name: str) -> Path:
    """Where files go that can be had again: `hafm/NAME` in `$XDG_CACHE_HOME` or `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hafm" / name


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


@contextlib.contextmanager
def scratch_file(path: str | os.PathLike[str]) -> Generator[BinaryIO]:
    """A file without a name, on the disk of what is written with it, for what memory need not hold.

    Args:
        path: what is written; its folder must exist.

    Yields:
        The open file, for writing and reading. It is gone when the block ends.

    Raises:
        OutputError: the disk is full, or the folder is missing or not writable.
    """
    target = Path(path)
    try:
        with TemporaryFile(dir=target.parent) as file:
            yield file
    except OSError as error:
        raise _explained(error, target) from error


def write_whole(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Writes a file of these bytes, or of this text as UTF-8, whole or not at all; see `atomic_file`."""
    with atomic_file(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def write_json(path: str | os.PathLike[str], values: Mapping[str, Any]) -> None:
    """Writes a file of JSON values, two spaces per level, whole or not at all; see `atomic_file`."""
    write_whole(path, json.dumps(values, indent=2) + "\n")


def hashes(folder: Path, paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files, by their names in a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


@dataclass(frozen=True)
class StagedFolder:
    """A folder to be filled, and where its files will be in the end.

    Args:
        staging: the folder to write to; there already.
        target: the folder that it is for.
        finished: what stays should something later fail; see `finish`.
    """

    staging: Path
    target: Path
    finished: list[Path] = field(default_factory=list)

    def finish(self, path: Path) -> None:
        """A file or folder below `staging` is whole: it is delivered though the rest cannot be written."""
        self.finished.append(path)

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
    overwrite: bool = True,
    cleaning: Callable[[Callable[[], None]], AbstractContextManager[None]] | None = None,
    commit: AbstractContextManager[None] | None = None,
) -> Generator[StagedFolder]:
    """A folder to fill, whose files take their places when the block ends well.

    Args:
        target: where they go; made with its parents if it is not there. Other files in it stay.
        last: names of files that vouch for the others. Where the folder exists, the old ones go before the
            first file is replaced; the new ones come when all others are there, that of the folder itself
            after those of folders in it.
        overwrite: whether files that are there may be replaced. They may come while the block runs.
        cleaning: entered with what removes the staging folder, for those who must call it at other times too.
        commit: entered while the files take their places.

    Yields:
        The folder to fill.

    Raises:
        UsageError: another process fills one for the same place.
        OutputError: the disk is full, or the place not writable, or in use. What was finished by then stays:
            in its place if that can be, else beside it, and the message says where.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     with staged_folder(Path(parent) / "out") as folder:
    ...         _ = (folder.staging / "a.txt").write_text("whole")
    ...     os.listdir(parent), os.listdir(Path(parent) / "out")
    (['out'], ['a.txt'])
    """
    target = Path(target)
    place = target.resolve()
    around = place / f".{_HIDDEN}" if place.exists() else place.with_name(f".{_short(place.name)}.{_HIDDEN}")
    made = _missing_folders(place.parent)
    with contextlib.ExitStack() as stack:

        def remove_made() -> None:
            for folder in made:
                with contextlib.suppress(OSError):  # it holds the result now, or was never made
                    folder.rmdir()

        stack.callback(remove_made)
        leave = stack.enter_context(claimed_place(around, shown=target))

        def clean_up() -> None:
            leave()
            remove_made()

        if cleaning is not None:
            stack.enter_context(cleaning(clean_up))
        if not overwrite:
            _require_unused(place, target)  # another process may just have filled it
        folder = StagedFolder(staging=around / "results", target=target)
        try:
            folder.staging.mkdir()
            yield folder
        except OSError as error:
            ours = error.filename is not None and str(error.filename).startswith(str(around))
            if not ours and error.errno not in _NO_ROOM:
                raise
            raise _explained(error, target) from error
        except OutputError as error:
            if not _keep_finished(folder):
                raise
            with commit or contextlib.nullcontext():
                where = _delivered(folder, place, last, overwrite)
            raise OutputError(f"{error}; what was finished is in '{where}'") from error
        with commit or contextlib.nullcontext():
            where = _delivered(folder, place, last, overwrite)
        if where != target:
            raise OutputError(
                f"'{target}' cannot take the results any more (other files or folders came into their "
                f"places); they are in '{where}'"
            )


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
        UsageError: another process makes one for the same place.
        OutputError: it cannot be written. The target is as it was.
    """
    place = folder.absolute()
    around = place.with_name(f".{_short(place.name)}.{_HIDDEN}")
    old = place.with_name(f".{_short(place.name)}.hafm.old")
    try:
        if not parents and not place.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place.parent))
        with claimed_place(around, shown=folder):
            if old.exists() and not place.exists():  # a process was killed between the two renames
                os.replace(old, place)
            staging = around / "results"
            staging.mkdir()
            yield staging
            if place.exists():
                os.replace(place, old)
            try:
                os.replace(staging, place)
            except BaseException:
                if old.exists():
                    os.replace(old, place)
                raise
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _explained(error, folder) from error
        raise OutputError(
            f"cannot write {f'{what} ' if what else ''}'{folder}': {error.strerror or error}; write elsewhere"
        ) from error


def check_output_folder(
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    needed_bytes: int = 0,
    largest_bytes: int = 0,
    files: Collection[str] = (),
    source: str | os.PathLike[str] | None = None,
) -> Path:
    """Refuse a folder that results must not or cannot go to, before any work is done. Creates nothing.

    Args:
        folder: where results are to go; need not exist.
        overwrite: whether results may go beside (and replace) what is there.
        needed_bytes: what will be written, 0 or more.
        largest_bytes: of one file.
        files: what will be written, as far as it is known: names below the folder.
        source: the file that came in, which must not lie in the folder: it could be replaced.

    Returns:
        The folder as a path.

    Raises:
        OutputError: it is a file, holds files without `overwrite`, holds `source`, has a folder where a file
            should go, cannot be written to, or its disk has too little room, or the process a limit.
    """
    folder = Path(folder)
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"output folder '{folder}' is a file; give another name with -o")
        if folder.is_symlink() and not folder.exists():
            raise OutputError(
                f"output folder '{folder}' is a link that points to nothing; give another name with -o"
            )
        if not overwrite:
            _require_unused(folder, folder)
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
        for name in files:
            _require_place(folder, name)
        free = shutil.disk_usage(existing).free
    except OSError as error:
        raise _explained(error, folder) from error
    limit = _file_limit()
    if limit is not None and limit < largest_bytes:
        raise OutputError(
            f"this process may write files of at most {size(limit)} (ulimit -f), and {size(largest_bytes)} "
            "are needed; raise that limit"
        )
    if free < needed_bytes:
        raise OutputError(
            f"output folder '{folder}' is on a disk with {size(free)} free, and {size(needed_bytes)} are "
            f"needed; "
            "make room or give another folder with -o"
        )
    return folder


def is_unused(folder: Path) -> bool:
    """Whether a folder is missing or empty; what is being made in it, or a killed process left, counts as
    nothing."""
    return not folder.is_dir() or all(path.name == f".{_HIDDEN}" for path in folder.iterdir())


def _require_unused(folder: Path, shown: Path) -> None:
    if not is_unused(folder):
        raise OutputError(
            f"output folder '{shown}' already holds files; give another with -o, or allow replacing "
            f"with --overwrite"
        )


def _require_place(folder: Path, name: str) -> None:
    path = folder / name
    if path.is_dir():
        raise OutputError(f"'{path}' is a folder, and a file of that name is to be written; move it away")
    for around in path.relative_to(folder).parents:
        inner = folder / around
        if inner.exists() and not inner.is_dir():
            raise OutputError(f"'{inner}' is a file, and a folder of that name is needed; move it away")
        if inner.is_dir() and not os.access(inner, os.W_OK | os.X_OK):
            raise OutputError(f"no permission to write to '{inner}'; give another folder with -o")


def _file_limit() -> int | None:
    """The most bytes that this process may write to one file; None without a limit."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if limit == resource.RLIM_INFINITY else limit


def _short(name: str) -> str:
    """A name that more can be added to."""
    return (
        name if len(name.encode()) <= 100 else f"{name[:20]}.{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    )


def _missing_folders(folder: Path) -> list[Path]:
    """Those of `folder` and its parents that do not exist, the deepest first."""
    missing = []
    for place in (folder, *folder.parents):
        if place.exists():
            break
        missing.append(place)
    return missing


def _keep_finished(folder: StagedFolder) -> bool:
    """Removes what was not finished; whether anything is left."""
    for path in sorted(folder.staging.rglob("*"), reverse=True):
        if path.is_file() and not any(path == kept or kept in path.parents for kept in folder.finished):
            path.unlink(missing_ok=True)
    return any(path.is_file() for path in folder.staging.rglob("*"))


def _delivered(folder: StagedFolder, place: Path, last: Collection[str], overwrite: bool) -> Path:
    """Puts what is staged into its place, or beside it where that cannot be; says where it is."""
    try:
        _put_in_place(folder.staging, place, last, overwrite)
        return folder.target
    except OSError as error:
        for number in range(1, 1000):
            beside, inside = f"{place.name}-{number}", f"results-{number}"
            for path, shown in (
                (place.with_name(beside), folder.target.with_name(beside)),
                (place / inside, folder.target / inside),
            ):
                if not path.exists():
                    with contextlib.suppress(OSError):
                        os.rename(folder.staging, path)
                        return shown
        raise _explained(error, folder.target) from error


def _put_in_place(staging: Path, place: Path, last: Collection[str], overwrite: bool) -> None:
    if not place.exists():
        os.rename(staging, place)
        return
    files = [path.relative_to(staging) for path in sorted(staging.rglob("*")) if path.is_file()]
    for name in files:
        if (place / name).is_dir() or (not overwrite and (place / name).exists()):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place / name))
    for name in files:
        if name.name in last:
            (place / name).unlink(missing_ok=True)
    for name in sorted(files, key=lambda name: (name.name in last, -len(name.parts))):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / name, place / name)


def _explained(error: OSError, path: Path) -> OutputError:
    path = _final(path)
    if error.errno == errno.EFBIG:
        limit = _file_limit()
        most = "" if limit is None else f" of {size(limit)} (ulimit -f)"
        return OutputError(
            f"cannot write '{path}': it would exceed the limit{most} on the size of a file; raise that limit"
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(
            f"cannot write '{path}': the disk is full{_free(path)}; make room or write elsewhere"
        )
    if isinstance(error, PermissionError):
        return OutputError(f"cannot write '{path}': no permission; choose a folder that is yours")
    if isinstance(error, FileNotFoundError):
        return OutputError(f"cannot write '{path}': there is no folder '{path.parent}'; create it first")
    return OutputError(f"cannot write '{path}': {error.strerror or error}; write elsewhere")


def _final(path: Path) -> Path:
    """Where a file of a staged folder was to go, for messages.

    >>> _final(Path("/a/.out.hafm.part/results/mix.wav")).as_posix()
    '/a/out/mix.wav'
    >>> _final(Path("/a/out/.hafm.part/results/mix.wav")).as_posix()
    '/a/out/mix.wav'
    """
    for around in path.parents:
        if around.name == "results" and around.parent.name.endswith(f".{_HIDDEN}"):
            hidden = around.parent
            name = hidden.name.removesuffix(f".{_HIDDEN}").removeprefix(".")
            return (
                hidden.with_name(name) / path.relative_to(around)
                if name
                else hidden.parent / path.relative_to(around)
            )
    return path


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
