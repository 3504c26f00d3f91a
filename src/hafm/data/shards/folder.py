"""A folder of shards, on this machine or in an object store.

In: a path, or any URL that fsspec opens (`s3://bucket/shards`, `https://...`, `memory://...`). Out: small
files as bytes, big ones as local paths that can be mapped into memory.

A remote file is fetched whole, once, into a cache folder, where its SHA-256 is its name: a shard that changed
is another file, and what is in the cache was verified when it came.

    s3://bucket/shards/train-00003.safetensors  --one request-->  ~/.cache/hafm/shards/5f3c...e1.safetensors
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from hafm.errors import HafmError, ShardsDamaged, ShardsError, ShardsNotFound, UsageError
from hafm.files import atomic_file, cache_folder, write_whole

__all__ = ["WRITER_LOCK", "FileEntry", "ShardFolder", "changed", "default_cache_folder"]

WRITER_LOCK = "ledger.lock"
"""Held by `hafm prepare`, which locks its ledger, while it writes to the folder."""

_BLOCK_BYTES = 1 << 22


def default_cache_folder() -> Path:
    """Where fetched files go: `hafm/shards` in `$XDG_CACHE_HOME` or `~/.cache`."""
    return cache_folder("shards")


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """A file as it was written: the SHA-256 of its bytes, and their number."""

    sha256: str
    bytes: int


def changed(where: str, *, found: str, expected: str) -> str:
    """The line about a file whose SHA-256 is not the expected one."""
    return (
        f"'{where}' is not what was written: its SHA-256 is {found} and should be {expected}; copy it again, "
        "or prepare again"
    )


class ShardFolder:
    """Files below a path or a URL.

    Args:
        cache_folder: for fetched files; made when the first comes. None is `default_cache_folder()`.

    Raises:
        UsageError: a URL of a kind that fsspec does not know, or needs another package for.

    >>> ShardFolder("memory://nothing/here").read("index.json")
    Traceback (most recent call last):
    ...
    hafm.errors.ShardsNotFound: there is no 'memory://nothing/here/index.json'
    """

    def __init__(
        self, place: str | os.PathLike[str], *, cache_folder: str | os.PathLike[str] | None = None
    ) -> None:
        self.place = os.fspath(place).removeprefix("file://").rstrip("/") or "/"
        self.cache_folder = default_cache_folder() if cache_folder is None else Path(cache_folder)
        self._remote: Any = None
        if "://" in self.place:
            self._remote, self._root = _open_url(self.place)

    @property
    def is_local(self) -> bool:
        """Whether its files can be mapped where they are."""
        return self._remote is None

    def where(self, name: str) -> str:
        """Path or URL of a file, for messages too."""
        return f"{self.place}/{name}"

    def read(self, name: str) -> bytes:
        """All bytes of a small file.

        Raises:
            ShardsNotFound: it is not there.
            ShardsError: it cannot be read.
        """
        with _explained(self.where(name)):
            if self._remote is None:
                return Path(self.place, name).read_bytes()
            return bytes(self._remote.cat_file(f"{self._root}/{name}"))

    def local_path(self, name: str, entry: FileEntry) -> Path:
        """Where a file is on this machine; a remote one is fetched first, if it has not been.

        Args:
            entry: what it must be. The hash of a fetched file is compared; one that is local anyway is
                believed if it has the size.

        Raises:
            ShardsDamaged: it is missing, or differs.
            ShardsError: it cannot be fetched.
        """
        path = Path(self.place, name) if self._remote is None else self._fetch(name, entry)
        try:
            found = path.stat().st_size
        except OSError as error:
            raise ShardsDamaged(
                f"'{self.where(name)}' is missing; prepare again, or copy it again"
            ) from error
        if found != entry.bytes:
            raise ShardsDamaged(
                f"'{self.where(name)}' has {found} bytes and should have {entry.bytes}; copy it again, or "
                "prepare again"
            )
        return path

    def sha256(self, name: str) -> str:
        """The SHA-256 of a file as it is there now, never from the cache; raises what `read` does."""
        with _explained(self.where(name)), self._open(name) as file:
            return _copy(file, None)

    def fetch_together(self, files: Mapping[str, FileEntry]) -> Path:
        """A copy in the cache of one subfolder's files, under their names; raises what `local_path` does."""
        prints = "".join(entry.sha256 for _, entry in sorted(files.items()))
        copy = self.cache_folder / hashlib.sha256(prints.encode()).hexdigest()
        for name, entry in files.items():
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.is_file():
                write_whole(target, self.local_path(name, entry).read_bytes())
        return copy / next(iter(files)).partition("/")[0]

    def _open(self, name: str) -> Any:
        if self._remote is None:
            return Path(self.place, name).open("rb")
        return self._remote.open(f"{self._root}/{name}", "rb")

    def _fetch(self, name: str, entry: FileEntry) -> Path:
        from filelock import FileLock

        path = self.cache_folder / f"{entry.sha256}{Path(name).suffix}"
        self.cache_folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):  # many ranks of one machine want it at once
            if path.is_file() and path.stat().st_size == entry.bytes:
                return path
            with atomic_file(path) as copy:
                with _explained(self.where(name)), self._open(name) as file:
                    found = _copy(file, copy)
                if found != entry.sha256:
                    raise ShardsDamaged(changed(self.where(name), found=found, expected=entry.sha256))
        return path


def _copy(source: Any, target: BinaryIO | None) -> str:
    """Reads a file to its end, in blocks, and returns its SHA-256."""
    digest = hashlib.sha256()
    while block := source.read(_BLOCK_BYTES):
        digest.update(block)
        if target is not None:
            target.write(block)
    return digest.hexdigest()


def _open_url(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    try:
        remote, root = url_to_fs(url)
    except (ImportError, ValueError) as error:
        is_missing = isinstance(error, ImportError)
        fix = "pip install what is missing" if is_missing else "give a path, or a URL of s3, gs, https"
        raise UsageError(f"'{url}' cannot be opened: {error}; {fix}") from error
    return remote, root.rstrip("/")


@contextlib.contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turns whatever reading raises into a line about `where`. Every store has errors of its own."""
    try:
        yield
    except HafmError:
        raise
    except FileNotFoundError as error:
        raise ShardsNotFound(f"there is no '{where}'") from error
    except Exception as error:
        raise ShardsError(
            f"'{where}' cannot be read: {error or type(error).__name__}; try again later"
        ) from error
