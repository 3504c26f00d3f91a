"""A folder of shards of given tokens, as `hafm prepare` leaves it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from hafm.data.collection.track import Split
from hafm.data.result import ClipLevel, TrackTokens
from hafm.data.shards.file import shard_name, write_shard
from hafm.data.shards.guides import write_sheets
from hafm.data.shards.index import PARTS_FOLDER, Index, write_index
from hafm.data.shards.track_entry import TrackEntry
from hafm.data.tokenising.clip_filter import ClipFilter
from hafm.stages.token_parts import TokenParts


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardTrack:
    """A track: without `levels`, one clip of an ordinary level, which is kept whole."""

    id: str
    song_id: str
    tokens: TrackTokens
    split: Split = "train"
    shard: int = 0
    seconds: float | None = None
    levels: tuple[ClipLevel, ...] | None = None
    known: Mapping[str, Any] = field(default_factory=dict)


def write_shard_folder(
    folder: Path,
    tracks: Sequence[ShardTrack],
    *,
    parts: TokenParts | None = None,
    made_by: Mapping[str, Any] | None = None,
) -> Index:
    """Writes shards, lead sheets, index and parts; tracks of one shard lie end to end, as they come."""
    folder.mkdir(parents=True, exist_ok=True)
    if parts is not None:
        parts.save(folder / PARTS_FOLDER)
    by_shard: dict[tuple[Split, int], list[ShardTrack]] = {}
    for track in tracks:
        by_shard.setdefault((track.split, track.shard), []).append(track)
    entries: list[TrackEntry] = []
    shards: dict[str, str] = {}
    for key, members in by_shard.items():
        path = folder / shard_name(*key)
        write_sheets(path, [track.tokens for track in members])
        shards[path.name] = write_shard(path, [track.tokens for track in members])
        start_50 = start_75 = 0
        for track in members:
            frames_50, frames_75 = track.tokens.vocal.shape[1], track.tokens.codes.shape[1]
            seconds = frames_50 / 50 if track.seconds is None else track.seconds
            level = ClipLevel(start_seconds=0.0, seconds=seconds, vocal_dbfs=-20.0, instrumental_dbfs=-18.0)
            entries.append(
                TrackEntry(
                    id=track.id,
                    song_id=track.song_id,
                    split=track.split,
                    shard=track.shard,
                    start_50=start_50,
                    frames_50=frames_50,
                    start_75=start_75,
                    frames_75=frames_75,
                    seconds=seconds,
                    levels=(level,) if track.levels is None else track.levels,
                    kept=((0.0, seconds),) if track.levels is None else ClipFilter().kept_runs(track.levels),
                    known=track.known,
                )
            )
            start_50, start_75 = start_50 + frames_50, start_75 + frames_75
    fingerprints = {} if parts is None else parts.fingerprints()
    return write_index(
        folder,
        tracks=entries,
        made_by={"fingerprints": fingerprints, **(made_by or {})},
        filter=ClipFilter(),
        clip_seconds=Fraction(10),
        shards=shards,
    )
