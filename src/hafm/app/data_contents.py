"""What is in a folder of shards.

In: a path or a URL. Out: its contents, and a description of them as plain JSON values.

Tracks and levels come from the index, what became of each item from `ledger.tsv`. Token statistics read every
token that training may use: those of kept runs, of all splits, every view of a vocal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hafm.app.data_ledger import Row, count_rows, explain_unfinished, read_rows
from hafm.data.collection.track import SPLITS
from hafm.data.shards.folder import ShardFolder, ShardsNotFound
from hafm.data.shards.index import PARTS_FOLDER, Index, read_index, read_tracks
from hafm.data.shards.reader import STREAMS, Shards
from hafm.data.shards.token_use import TokenUse, count_tokens
from hafm.stages.spec import COARSE, FINE, TokenStream

if TYPE_CHECKING:
    import numpy as np

    from hafm.data.shards.track_entry import TrackEntry

__all__ = ["Contents", "describe", "look_at"]

_TOP_IDS = 5
_PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """What a folder of shards holds.

    Args:
        folder: where it is.
        index: of the folder.
        tracks: all of them.
        use: of every codebook, by stream.
        ledger: rows of `data_ledger.read_rows`; None if there are none.
    """

    folder: ShardFolder
    index: Index
    tracks: "Sequence[TrackEntry]"
    use: Mapping[str, Sequence[TokenUse]]
    ledger: Sequence[Row] | None

    def levels(self) -> "tuple[np.ndarray, np.ndarray]":
        """Vocal and instrumental level of all clips, in dBFS. Shapes [clips]."""
        import numpy as np

        levels = [level for track in self.tracks for level in track.levels]
        return (
            np.array([level.vocal_dbfs for level in levels]),
            np.array([level.instrumental_dbfs for level in levels]),
        )


def look_at(place: str) -> Contents:
    """Reads a folder of shards, tokens included.

    Args:
        place: path or URL.

    Raises:
        ShardsNotFound: there are no shards; where a preparation has stopped, its counts are told.
        ShardsDamaged: a file is missing or is not what was written.
    """
    folder = ShardFolder(place)
    try:
        index = read_index(folder)
    except ShardsNotFound as error:
        raise explain_unfinished(folder) or error from error
    tracks = tuple(read_tracks(folder, index))
    splits = [
        Shards(folder=folder, index=index, split=split, tracks=tracks)
        for split in SPLITS
        if split in index.counts
    ]
    return Contents(
        folder=folder,
        index=index,
        tracks=tracks,
        use={stream.name: count_tokens(splits, stream) for stream in _streams(splits)},
        ledger=read_rows(folder),
    )


def describe(contents: Contents) -> dict[str, Any]:
    """JSON values.

    Returns:
        Keys: place, fingerprint, splits, levels, tokens, filter, clip_seconds, made_by, parts, ledger.
    """
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


def _streams(splits: Sequence[Shards]) -> list[TokenStream]:
    """The streams, with as many ids as the parts have; where parts are missing, as many as in the paper."""
    from hafm.train.vocabulary import fit_to_parts

    with_parts = [
        split for split in splits if any(name.startswith(PARTS_FOLDER) for name in split.index.files)
    ]
    if not with_parts:
        return list(STREAMS.values())
    folder = with_parts[0].parts_folder()
    coarse, fine = (fit_to_parts(spec, folder) for spec in (COARSE, FINE))
    return [*coarse.sources, coarse.target, fine.target]


def _split(contents: Contents, split: str) -> dict[str, Any]:
    counts = dict(contents.index.counts[split])
    files = [entry.bytes for name, entry in contents.index.files.items() if name.startswith(f"{split}-")]
    return {
        "songs": len({track.song_id for track in contents.tracks if track.split == split}),
        "tracks": counts["tracks"],
        "kept_tracks": counts["kept_tracks"],
        "clips": counts["clips"],
        "kept_clips": counts["clips"] - sum(counts["dropped_clips"].values()),
        "dropped_clips": counts["dropped_clips"],
        "hours": counts["seconds"] / 3600,
        "kept_hours": counts["kept_seconds"] / 3600,
        "shards": len(files),
        "bytes": sum(files),
    }


def _percentiles(values: "np.ndarray") -> dict[str, float]:
    import numpy as np

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
            {"id": each, "share": round(share, 6)} for each, share in use.most_frequent(_TOP_IDS)
        ],
    }
