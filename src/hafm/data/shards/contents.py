"""What is in a folder of shards.

In: a path or a URL. Out: its contents, and a description of them as plain JSON values.

Tracks and levels come from the index. The state of each item comes from `ledger.tsv`, which `hafm prepare`
writes at the end of a run, also of one that stopped. Token statistics read every token that training may use:
those of kept runs, of all splits, every view of a vocal.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from hafm.data.collection.track import SPLITS
from hafm.data.preparing.assemble import TABLE_FILE
from hafm.data.preparing.ledger import STATUSES
from hafm.data.preparing.prepare_report import count_reasons
from hafm.data.shards.folder import ShardFolder
from hafm.data.shards.index import PARTS_FOLDER, Index, read_index, read_tracks
from hafm.data.shards.reader import STREAMS, Shards
from hafm.data.shards.token_use import TokenUse, count_tokens
from hafm.data.shards.track_entry import TrackEntry
from hafm.errors import ShardsNotFound
from hafm.stages.spec import COARSE, FINE, TokenStream
from hafm.stages.token_parts import fit_to_parts

__all__ = ["Contents", "Row", "count_rows", "describe", "look_at", "read_rows"]

_TOP_IDS = 5
_PERCENTILES = (5, 25, 50, 75, 95)

Row: TypeAlias = Mapping[str, str]
"""An item: id, song, split, status, reason."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """What a folder of shards holds: use of codebooks by stream, tracks with a lead sheet by split, and the
    rows of `read_rows`."""

    folder: ShardFolder
    index: Index
    tracks: Sequence[TrackEntry]
    use: Mapping[str, Sequence[TokenUse]]
    sheets: Mapping[str, int]
    ledger: Sequence[Row] | None

    def levels(self) -> tuple[np.ndarray, np.ndarray]:
        """Vocal and instrumental level of all clips, in dBFS. Shapes [clips]."""
        levels = [level for track in self.tracks for level in track.levels]
        return (
            np.array([level.vocal_dbfs for level in levels]),
            np.array([level.instrumental_dbfs for level in levels]),
        )


def look_at(place: str) -> Contents:
    """Reads a folder of shards, at a path or a URL, tokens included.

    Raises:
        ShardsNotFound: there are no shards; where a preparation has stopped, its counts are reported.
        ShardsDamaged: a file is missing or is not what was written.
    """
    folder = ShardFolder(place)
    try:
        index = read_index(folder)
    except ShardsNotFound as error:
        raise _unfinished(folder) or error from error
    tracks = tuple(read_tracks(folder, index))
    found = (split for split in SPLITS if split in index.counts)
    splits = [Shards(folder=folder, index=index, split=split, tracks=tracks) for split in found]
    return Contents(
        folder=folder,
        index=index,
        tracks=tracks,
        use={stream.name: count_tokens(splits, stream) for stream in _streams(splits)},
        sheets={shards.split: shards.num_sheets() for shards in splits},
        ledger=read_rows(folder),
    )


def describe(contents: Contents) -> dict[str, Any]:
    """JSON values."""
    index = contents.index
    vocal, instrumental = contents.levels()
    return {
        "place": contents.folder.place,
        "fingerprint": index.digest(),
        "splits": {split: _split(contents, split) for split in index.counts},
        "levels": {
            "vocal_over_instrumental_db": _percentiles(vocal - instrumental),
            "instrumental_dbfs": _percentiles(instrumental),
        },
        "tokens": {name: [_codebook(use) for use in codebooks] for name, codebooks in contents.use.items()},
        "filter": asdict(index.filter),
        "clip_seconds": float(index.clip_seconds),
        "made_by": dict(index.made_by),
        "parts": index.fingerprints,
        "ledger": None if contents.ledger is None else count_rows(contents.ledger),
    }


def read_rows(folder: ShardFolder) -> list[Row] | None:
    """All items; None where there is no table."""
    try:
        lines = folder.read(TABLE_FILE).decode(errors="replace").splitlines()
    except ShardsNotFound:
        return None
    names, *rows = (line.split("\t") for line in lines)
    return [dict(zip(names, row, strict=False)) for row in rows]


def count_rows(rows: Sequence[Row]) -> dict[str, Any]:
    """Items by status, and by kind of reason.

    >>> empty = {"status": "quarantined", "reason": "'a.mp3' is empty"}
    >>> count_rows([{"status": "done", "reason": ""}, empty])["reasons"]
    {'dropped': {}, 'quarantined': {"'…' is empty": 1}}
    """
    statuses = Counter(row["status"] for row in rows)
    return {
        "items": len(rows),
        **{status: statuses[status] for status in STATUSES},
        "reasons": count_reasons((row["status"], row["reason"]) for row in rows),
    }


def _unfinished(folder: ShardFolder) -> ShardsNotFound | None:
    """What to say of a folder whose preparation stopped before the index was written; None for any other."""
    rows = read_rows(folder)
    if rows is None:
        return None
    counts = count_rows(rows)
    found = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
    return ShardsNotFound(
        f"the shards in '{folder.place}' are not finished ({found}); let hafm prepare finish, or list the "
        "items with --ledger"
    )


def _streams(splits: Sequence[Shards]) -> list[TokenStream]:
    """The streams, with as many ids as the parts have; where parts are missing, as many as in the paper."""
    if not splits or not any(name.startswith(PARTS_FOLDER) for name in splits[0].index.files):
        return list(STREAMS.values())
    folder = splits[0].parts_folder()
    coarse, fine = (fit_to_parts(spec, folder) for spec in (COARSE, FINE))
    return [*coarse.sources, coarse.target, fine.target]


def _split(contents: Contents, split: str) -> dict[str, Any]:
    counts = contents.index.counts[split]
    files = {name: each.bytes for name, each in contents.index.files.items() if name.startswith(f"{split}-")}
    return {
        "songs": len({track.song_id for track in contents.tracks if track.split == split}),
        **{name: counts[name] for name in ("tracks", "kept_tracks", "clips")},
        "tracks_with_sheet": contents.sheets[split],
        "kept_clips": counts["clips"] - sum(counts["dropped_clips"].values()),
        "dropped_clips": counts["dropped_clips"],
        "hours": counts["seconds"] / 3600,
        "kept_hours": counts["kept_seconds"] / 3600,
        "shards": sum(name.endswith(".safetensors") for name in files),
        "bytes": sum(files.values()),
    }


def _percentiles(values: np.ndarray) -> dict[str, float]:
    if len(values) == 0:
        return {}
    found = np.percentile(values, _PERCENTILES)
    return {f"p{share}": round(float(value), 3) for share, value in zip(_PERCENTILES, found, strict=True)}


def _codebook(use: TokenUse) -> dict[str, Any]:
    return {
        "tokens": int(use.counts.sum()),
        "ids": len(use.counts),
        "used": use.used,
        "dead": use.dead,
        "entropy_bits": round(use.entropy_bits, 4),
        "perplexity": round(use.perplexity, 2),
        "most_frequent": [
            {"id": id_, "share": round(share, 6)} for id_, share in use.most_frequent(_TOP_IDS)
        ],
    }
