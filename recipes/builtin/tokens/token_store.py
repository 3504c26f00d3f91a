"""Tokens of many pairs on disk, mapped into memory.

In:  a folder that `tokenise` writes. Out: arrays by pair, without loading the rest.

    work/tokens/train/
        index.json                      which pairs, where, and the fingerprints of what made the ids
        00000.vocal.npy                 [views, frames of all its pairs at 50 Hz]   uint16
        00000.instrumental.npy          [frames at 50 Hz]                           uint16
        00000.codes.npy                 [codebooks, frames at 75 Hz]                uint16
        00001.vocal.npy ...             about 200 pairs a shard, end to end

`index.json` is the commit point: it is replaced atomically after a shard's arrays are on disk, and a reader
believes only what it lists. A shard is never changed once listed, so a reader may keep its mapping while more
are appended. Needs numpy only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "INDEX_FILE",
    "KINDS",
    "Index",
    "PairEntry",
    "PairTokens",
    "TokenStore",
    "append_shard",
    "load_index",
]

INDEX_FILE = "index.json"
KINDS = ("vocal", "instrumental", "codes")
FORMAT = 1

Ids = NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class PairTokens:
    """Tokens of one pair.

    Attributes:
        vocal: semantic tokens of each view. Shape [views, T50].
        instrumental: semantic tokens. Shape [T50].
        codes: acoustic codes. Shape [codebooks, T75].
    """

    vocal: Ids
    instrumental: Ids
    codes: Ids


@dataclass(frozen=True, kw_only=True)
class PairEntry:
    """Where the tokens of a pair are.

    Attributes:
        id: `"train/000123"`.
        song_id: the song that it was rendered from.
        shard: number of the shard.
        start_50: first frame at 50 Hz within the shard.
        frames_50: number of them.
        start_75: first frame at 75 Hz within the shard.
        frames_75: number of them.
    """

    id: str
    song_id: int
    shard: int
    start_50: int
    frames_50: int
    start_75: int
    frames_75: int


@dataclass(frozen=True, kw_only=True)
class Index:
    """What `index.json` says.

    Attributes:
        split: of all pairs in it.
        made_by: fingerprints of features, k-means and codec, and the settings (seed, views, levels) that
            decide the ids.
        pairs: in the order in which they were tokenised.
        shards: for each shard, SHA-256 of each of its files, by kind.
        quarantined: pairs that could not be tokenised, with the reason.
    """

    split: str
    made_by: Mapping[str, Any]
    pairs: Sequence[PairEntry] = ()
    shards: Sequence[Mapping[str, str]] = ()
    quarantined: Mapping[str, str] = field(default_factory=dict)


def load_index(folder: Path) -> Index | None:
    """The index of a split's folder; None where there is none yet.

    Raises:
        ValueError: it is not an index, or of another format.
    """
    path = folder / INDEX_FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text())
        if values.pop("format") != FORMAT:
            raise ValueError(f"format is not {FORMAT}")
        pairs = [PairEntry(**entry) for entry in values.pop("pairs")]
        return Index(pairs=pairs, **values)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"'{path}' cannot be used ({error}); remove the folder and tokenise again"
        ) from error


def append_shard(
    folder: Path,
    index: Index,
    tokens: Sequence[tuple[str, int, PairTokens]],
    *,
    quarantined: Mapping[str, str] | None = None,
) -> Index:
    """Writes one more shard, then the index that lists it.

    Args:
        folder: of the split; made if missing.
        index: so far.
        tokens: (pair id, song id, tokens) of each new pair; may be empty if only `quarantined` is news.
        quarantined: reasons of the pairs that failed.

    Returns:
        The new index, as it stands on disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = len(index.shards)
    entries: list[PairEntry] = []
    shards = list(index.shards)
    if tokens:
        start_50 = start_75 = 0
        for pair_id, song_id, pair in tokens:
            frames_50, frames_75 = pair.vocal.shape[1], pair.codes.shape[1]
            if pair.instrumental.shape != (frames_50,):
                raise ValueError(
                    f"{pair_id}: {frames_50} vocal frames but {pair.instrumental.shape} instrumental ones"
                )
            entries.append(
                PairEntry(
                    id=pair_id,
                    song_id=song_id,
                    shard=number,
                    start_50=start_50,
                    frames_50=frames_50,
                    start_75=start_75,
                    frames_75=frames_75,
                )
            )
            start_50, start_75 = start_50 + frames_50, start_75 + frames_75
        shards.append(
            {
                kind: _write_array(
                    _shard_path(folder, number, kind),
                    np.concatenate([getattr(pair, kind) for _, _, pair in tokens], axis=-1).astype(np.uint16),
                )
                for kind in KINDS
            }
        )
    grown = Index(
        split=index.split,
        made_by=index.made_by,
        pairs=[*index.pairs, *entries],
        shards=shards,
        quarantined={**index.quarantined, **(quarantined or {})},
    )
    _replace(folder / INDEX_FILE, json.dumps({"format": FORMAT, **asdict(grown)}).encode())
    return grown


class TokenStore:
    """Tokens of a split, by number of the pair.

    Args:
        folder: parent of the split folders, as given to `tokenise --out`.
        split: `"train"`, `"valid"` or `"test"`.

    Attributes:
        pairs: entries, in the order in which they were tokenised; `store.vocal[i]` belongs to `pairs[i]`.
        made_by: fingerprints and settings behind the ids.
        vocal: per pair, `[views, T50]`.
        instrumental: per pair, `[T50]`.
        codes: per pair, `[codebooks, T75]`.

    Raises:
        FileNotFoundError: nothing has been tokenised there.
        ValueError: the index or an array is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str], split: str) -> None:
        self.folder = Path(folder) / split
        index = load_index(self.folder)
        if index is None:
            raise FileNotFoundError(
                f"no tokens in '{self.folder}': run python -m recipes.builtin.tokenise --split {split} first"
            )
        self.pairs = list(index.pairs)
        self.made_by = dict(index.made_by)
        self._hashes = list(index.shards)
        # One mapping per file for the life of the store; the arrays of the pairs are views into them.
        shards = {
            kind: [_map_array(_shard_path(self.folder, number, kind)) for number in range(len(self._hashes))]
            for kind in KINDS
        }
        at_50 = [(pair.shard, slice(pair.start_50, pair.start_50 + pair.frames_50)) for pair in self.pairs]
        at_75 = [(pair.shard, slice(pair.start_75, pair.start_75 + pair.frames_75)) for pair in self.pairs]
        self.vocal: list[Ids] = [shards["vocal"][shard][:, frames] for shard, frames in at_50]
        self.instrumental: list[Ids] = [shards["instrumental"][shard][frames] for shard, frames in at_50]
        self.codes: list[Ids] = [shards["codes"][shard][:, frames] for shard, frames in at_75]

    def __len__(self) -> int:
        return len(self.pairs)

    def verify(self) -> None:
        """Compares every file with the hash in the index.

        Raises:
            ValueError: one differs; it is named.
        """
        for number, hashes in enumerate(self._hashes):
            for kind, expected in hashes.items():
                path = _shard_path(self.folder, number, kind)
                if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
                    raise ValueError(
                        f"'{path}' is not what tokenise wrote; remove the folder and tokenise again"
                    )


def _shard_path(folder: Path, number: int, kind: str) -> Path:
    return folder / f"{number:05d}.{kind}.npy"


def _map_array(path: Path) -> Ids:
    try:
        array: Ids = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(
            f"'{path}' cannot be read ({error}); remove the folder and tokenise again"
        ) from error
    return array


def _write_array(path: Path, array: Ids) -> str:
    """Writes an .npy file and returns its SHA-256."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    digest = hashlib.sha256(partial.read_bytes()).hexdigest()
    partial.replace(path)
    return digest


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    # The rename itself is on disk only once the folder is.
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
