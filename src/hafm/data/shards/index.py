"""What is in a folder of shards: its tracks, where their tokens stand, and the hash of every file.

In: what preparation knows. Out: two files, which a reader trusts once their hashes agree:

    tracks.jsonl    one line per track whose tokens are in a shard
    index.json      what made the ids, and SHA-256 of tracks.jsonl, of the shards, of their lead sheets and of
                    parts/; written last

    {"format": 1,
     "made_by": {"fingerprints": {...}, "seed": 0, ...},           parts and settings behind the ids
     "filter": {...}, "clip_seconds": "10",                        what was kept, measured on which grid
     "counts": {"train": {"tracks": 256, "seconds": 7680, ...}},   of the tracks, by split
     "views": 1, "codebooks": 8,
     "files": {"tracks.jsonl": {"sha256": ..., "bytes": ...}, ...},
     "digest": "<sha256>"}                                         of all of the above: the data's fingerprint

Conventions: no timestamps and nothing about the machine, so that the same inputs give the same bytes. Unknown
keys and other formats are refused.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

from hafm.data.collection.track import SPLITS
from hafm.data.shards.file import ShardArrays
from hafm.data.shards.folder import FileEntry, ShardFolder, changed
from hafm.data.shards.guides import sheets_name
from hafm.data.shards.track_entry import TrackEntry
from hafm.data.tokenising.clip_filter import ClipFilter
from hafm.errors import ShardsDamaged, ShardsNotFound
from hafm.files import atomic_file, write_whole
from hafm.jsonfile import JsonFile, digest

__all__ = ["INDEX_FILE", "PARTS_FOLDER", "Index", "check_files", "read_index", "read_tracks", "write_index"]

FORMAT = 1
INDEX_FILE, TRACKS_FILE, PARTS_FOLDER = "index.json", "tracks.jsonl", "parts"


@dataclass(frozen=True, kw_only=True)
class Index:
    """The contents of `index.json`.

    Args:
        made_by: settings behind the ids, and under `fingerprints` those of the parts; JSON values.
        filter: that decided what is kept.
        clip_seconds: grid on which levels were measured.
        counts: of the tracks in shards, by split: `tracks`, `kept_tracks`, `clips`, `dropped_clips` (by
            reason), `seconds`, `kept_seconds`.
        views: differently augmented versions of every vocal; 0 without shards.
        codebooks: of the codes; 0 without shards.
        files: every other file by its name below the folder.
    """

    made_by: Mapping[str, Any]
    filter: ClipFilter
    clip_seconds: Fraction
    counts: Mapping[str, Mapping[str, Any]]
    views: int
    codebooks: int
    files: Mapping[str, FileEntry]

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of the parts that made the ids, by name; none where they are not known."""
        return dict(self.made_by.get("fingerprints", {}))

    def digest(self) -> str:
        """SHA-256 over everything, the files' hashes included: one fingerprint for the data."""
        return digest(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """JSON values, without the digest."""
        return {
            "format": FORMAT,
            **vars(self),
            "filter": asdict(self.filter),
            "clip_seconds": str(self.clip_seconds),
            "files": {name: asdict(entry) for name, entry in sorted(self.files.items())},
        }

    def to_json(self) -> str:
        """The text of `index.json`."""
        values = self.to_dict()
        return json.dumps({**values, "digest": digest(values)}, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str = INDEX_FILE) -> Self:
        """Reads what `to_json` wrote.

        Raises:
            ShardsDamaged: no JSON object, another format, unknown or missing keys, or another digest.

        >>> Index.from_json('{"format": 7}')
        Traceback (most recent call last):
        ...
        hafm.errors.ShardsDamaged: 'index.json' is of format 7, and this version of hafm reads...
        """
        where = f"'{where}'"
        values = _FILE.values(text, where=where)
        recorded = values.pop("digest", None)
        index = _FILE.build(cls, values, where=where)
        if recorded != digest({"format": FORMAT, **values}):
            raise ShardsDamaged(f"{where} was changed after it was written (its digest differs); {_FIX}")
        return index


_FIX = "copy it again, or prepare again"
_FILE = JsonFile(what="the index of token shards", fix=_FIX, error=ShardsDamaged, format=FORMAT)


def write_index(
    folder: str | os.PathLike[str],
    *,
    tracks: Iterable[TrackEntry],
    made_by: Mapping[str, Any],
    filter: ClipFilter,
    clip_seconds: Fraction,
    shards: Mapping[str, str],
) -> Index:
    """Writes `tracks.jsonl`, then `index.json`. From then on the folder is believed.

    Args:
        folder: that holds the shards, and their lead sheets and `parts/` if there are any; all are hashed.
        tracks: all of them, in order; may be a generator.
        made_by, filter, clip_seconds: see `Index`; the filter gave the tracks their `kept`.
        shards: SHA-256 of every shard by file name, as `write_shard` returned it.

    Raises:
        OutputError: the disk is full, or the folder cannot be written to.
        ShardsDamaged: a shard is missing, or differs from the others in views or codebooks.
    """
    folder = Path(folder)
    views, codebooks = _shape(folder, shards)
    counts: dict[str, dict[str, Any]] = {}
    with atomic_file(folder / TRACKS_FILE) as file:
        for track in tracks:
            file.write(track.to_json().encode() + b"\n")
            _count(counts.setdefault(track.split, {}), track, filter)
    files = {
        name: FileEntry(sha256=sha256, bytes=(folder / name).stat().st_size)
        for name, sha256 in shards.items()
    }
    sheets = (folder / sheets_name(name) for name in shards)
    for path in (folder / TRACKS_FILE, *sheets, *sorted((folder / PARTS_FOLDER).rglob("*"))):
        if path.is_file():
            data = path.read_bytes()
            name = path.relative_to(folder).as_posix()
            files[name] = FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    index = Index(
        made_by=json.loads(json.dumps(made_by, allow_nan=False)),
        filter=filter,
        clip_seconds=clip_seconds,
        counts={split: counts[split] for split in SPLITS if split in counts},
        views=views,
        codebooks=codebooks,
        files=files,
    )
    write_whole(folder / INDEX_FILE, index.to_json())
    return index


def read_index(folder: ShardFolder) -> Index:
    """The index of a folder; `ShardsNotFound` without one, `ShardsDamaged` if it is not what was written."""
    try:
        return Index.from_json(folder.read(INDEX_FILE), where=folder.where(INDEX_FILE))
    except ShardsNotFound as error:
        raise ShardsNotFound(
            f"there are no shards in '{folder.place}' (no {INDEX_FILE}, which hafm prepare writes last); "
            "give another folder, or let hafm prepare finish"
        ) from error


def read_tracks(folder: ShardFolder, index: Index) -> Iterator[TrackEntry]:
    """The tracks that an index lists, in the order of their preparation; a changed file is refused."""
    where = folder.where(TRACKS_FILE)
    entry = index.files.get(TRACKS_FILE)
    expected = entry.sha256 if entry else "in the index"
    data = folder.read(TRACKS_FILE)
    if (found := hashlib.sha256(data).hexdigest()) != expected:
        raise ShardsDamaged(changed(where, found=found, expected=expected))
    for number, line in enumerate(data.splitlines(), 1):
        try:
            yield TrackEntry.from_json(line.decode())
        except ValueError as error:
            raise ShardsDamaged(f"'{where}', line {number}: {error}; prepare again") from error


def check_files(folder: ShardFolder, index: Index) -> Iterator[tuple[str, str | None]]:
    """Reads every file of an index and compares its hash.

    Yields:
        Name and what is wrong with it, None for a good one; in order of their names.

    Raises:
        ShardsError: a file cannot be read at all; a missing one is yielded.
    """
    for name, entry in sorted(index.files.items()):
        where = folder.where(name)
        try:
            found = folder.sha256(name)
        except ShardsNotFound:
            yield name, f"'{where}' is missing; prepare again, or copy it again"
            continue
        same = found == entry.sha256
        yield name, None if same else changed(where, found=found, expected=entry.sha256)


def _shape(folder: Path, names: Iterable[str]) -> tuple[int, int]:
    """Views and codebooks, the same in all shards."""
    shapes: dict[tuple[int, int], str] = {}
    for name in names:
        arrays = ShardArrays.open(folder / name)
        shapes.setdefault((arrays.vocal.shape[0], arrays.codes.shape[0]), name)
    if len(shapes) > 1:
        found = ", ".join(f"{name} {shape}" for shape, name in shapes.items())
        raise ShardsDamaged(f"shards in '{folder}' differ in (views, codebooks): {found}; prepare again")
    return next(iter(shapes), (0, 0))


def _count(counts: dict[str, Any], track: TrackEntry, filter: ClipFilter) -> None:
    """Adds a track to the counts of its split."""
    for name in ("tracks", "kept_tracks", "clips", "seconds", "kept_seconds"):
        counts.setdefault(name, 0)
    counts["tracks"] += 1
    counts["kept_tracks"] += bool(track.kept)
    counts["clips"] += len(track.levels)
    counts["seconds"] = round(counts["seconds"] + track.seconds, 6)
    counts["kept_seconds"] = round(counts["kept_seconds"] + sum(end - start for start, end in track.kept), 6)
    drops = counts.setdefault("dropped_clips", {})
    for reason, number in filter.count_drops(track.levels).items():
        drops[reason] = drops.get(reason, 0) + number
