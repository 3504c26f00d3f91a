"""An index of instrumentals on disk: what they sound like, and where they are.

In: entries and their descriptors. Out: a folder, and the same back.

    INDEX/index.json                    the collection, the entries, and the hash of the other file
    INDEX/descriptors-<12>.safetensors  what `hafm.evaluate.retrieval.descriptors.pack` gives

The sounds stay where they are; an entry has the hash that its files had. `index.json` is written last, and
readers believe what it says of the other file, whose name holds the first digits of its hash: so a reader
sees the old index or the new one, and never parts of both. Nothing is unpickled.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError
from safetensors.numpy import load, save

from hafm.data.collection.track import SoundPart, Split, Track
from hafm.errors import IndexDamaged, IndexNotFound
from hafm.evaluate.retrieval.descriptors import Descriptors, pack, unpack
from hafm.evaluate.retrieval.tracks import LeftOut
from hafm.files import write_whole
from hafm.jsonfile import JsonFile

__all__ = ["INDEX_FILE", "IndexEntry", "RetrievalIndex"]

INDEX_FILE = "index.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class IndexEntry:
    """An instrumental: the files that sum to it, below the root of the collection, and their hash."""

    track_id: str
    song_id: str
    parts: tuple[SoundPart, ...]
    sha256: str

    @classmethod
    def of(cls, track: Track, sha256: str, *, root: str | os.PathLike[str]) -> Self:
        """The entry of a track below `root`."""
        parts = tuple(replace(part, path=os.path.relpath(part.path, root)) for part in track.instrumental)
        return cls(track_id=track.id, song_id=track.song_id, parts=parts, sha256=sha256)

    def track(self, root: str | os.PathLike[str]) -> Track:
        """A track that has this instrumental; its vocal does not matter."""
        parts = tuple(replace(part, path=os.path.join(root, part.path)) for part in self.parts)
        return Track(id=self.track_id, song_id=self.song_id, vocal=parts, instrumental=parts)


@dataclass(frozen=True, kw_only=True, eq=False)
class RetrievalIndex:
    """An index, in memory.

    Args:
        source: what the collection is: kind, root and options, as `Source.describe` gives them.
        entries: in the order of the collection, each with its descriptors.
        left_out: tracks of the split that are not in it.
        elsewhere: how many tracks of the collection belong to other splits.
    """

    source: Mapping[str, Any]
    split: Split
    entries: tuple[IndexEntry, ...]
    descriptors: tuple[Descriptors, ...]
    left_out: tuple[LeftOut, ...] = ()
    elsewhere: int = 0

    def __post_init__(self) -> None:
        assert len(self.entries) == len(self.descriptors), "one each"

    @property
    def seconds(self) -> float:
        """Of all instrumentals together."""
        return sum(known.seconds for known in self.descriptors)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that decides what is found, whatever place the collection lies at."""
        facts = [self.split, hashlib.sha256(save(pack(self.descriptors))).hexdigest()]
        facts += [f"{entry.sha256} {entry.song_id!r}" for entry in self.entries]
        return hashlib.sha256("\n".join(facts).encode("utf-8", "surrogateescape")).hexdigest()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the index to a folder, made if missing; the one that was there is replaced in one step.

        Raises:
            OutputError: the disk is full, or there is no permission. The old index then remains.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        data = save(pack(self.descriptors))
        digest = hashlib.sha256(data).hexdigest()
        name = f"descriptors-{digest[:12]}.safetensors"
        write_whole(target / name, data)
        manifest = {
            "format": FORMAT,
            "source": dict(self.source),
            "split": self.split,
            "descriptors": {"file": name, "sha256": digest, "bytes": len(data)},
            "entries": [asdict(entry) for entry in self.entries],
            "left_out": [asdict(each) for each in self.left_out],
            "elsewhere": self.elsewhere,
        }
        write_whole(target / INDEX_FILE, json.dumps(manifest, indent=1) + "\n")
        for old in target.glob("descriptors-*.safetensors"):
            if old.name != name:
                with contextlib.suppress(OSError):  # a leftover harms nobody
                    old.unlink()

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Self:
        """Reads what `save` wrote to a folder, and verifies the descriptors.

        Raises:
            IndexNotFound: it is missing.
            IndexDamaged: a file of it is missing, is something else, or has another hash.
        """
        path = Path(folder) / INDEX_FILE
        try:
            text = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise IndexNotFound(
                f"there is no index in '{folder}' (no {INDEX_FILE}); make one with: hafm retrieve-index "
                f"COLLECTION -o {folder}"
            ) from error
        except OSError as error:
            raise IndexDamaged(f"'{path}' cannot be read ({error.strerror}); make it readable") from error
        where = f"'{path}'"
        file = _FILE.read(_IndexFile, text, where=where)
        try:
            descriptors = unpack(load(_verified(Path(folder), file.descriptors)))
            return cls(**{**vars(file), "descriptors": tuple(descriptors)})
        except (KeyError, TypeError, ValueError, AssertionError, SafetensorError) as error:
            raise _FILE.refused(where, f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class _DescriptorsFile:
    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class _IndexFile:
    """The contents of `index.json`."""

    source: Mapping[str, Any]
    split: Split
    descriptors: _DescriptorsFile
    entries: tuple[IndexEntry, ...]
    left_out: tuple[LeftOut, ...]
    elsewhere: int


_FILE = JsonFile(
    what="an index of instrumentals",
    fix="make it again with hafm retrieve-index",
    error=IndexDamaged,
    format=FORMAT,
)


def _verified(folder: Path, file: _DescriptorsFile) -> bytes:
    path = folder / Path(file.file).name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise IndexDamaged(
            f"'{path}', which the index names, cannot be read ({error.strerror}); make the index again with "
            "hafm retrieve-index"
        ) from error
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise IndexDamaged(
            f"'{path}' is not what the index says; make the index again with hafm retrieve-index"
        )
    return data
