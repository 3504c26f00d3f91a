"""A folder of shards of made-up tokens, as `hafm prepare` leaves it."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from hafm.data.collection.track import Split
from hafm.data.result import ClipLevel, TrackTokens
from hafm.data.shards.file import shard_name, write_shard
from hafm.data.shards.index import PARTS_FOLDER, write_index
from hafm.data.shards.track_entry import TrackEntry
from hafm.data.tokenising.clip_filter import ClipFilter
from hafm.stages.token_parts import TokenParts

Tracks = Sequence[tuple[str, str, TrackTokens]]
"""(id, song id, tokens) of each."""


def make_shards(
    folder: Path,
    tracks: Mapping[Split, Tracks],
    *,
    parts: TokenParts | None = None,
    made_by: Mapping[str, Any] | None = None,
) -> Path:
    """Writes one shard a split; every track is kept whole."""
    folder.mkdir(parents=True, exist_ok=True)
    if parts is not None:
        parts.save(folder / PARTS_FOLDER)
    entries: list[TrackEntry] = []
    shards: dict[str, str] = {}
    for split, members in tracks.items():
        name = shard_name(split, 0)
        shards[name] = write_shard(folder / name, [tokens for _, _, tokens in members])
        start_50 = start_75 = 0
        for track_id, song_id, tokens in members:
            frames_50, frames_75 = tokens.vocal.shape[1], tokens.codes.shape[1]
            seconds = frames_50 / 50
            level = ClipLevel(start_seconds=0.0, seconds=seconds, vocal_dbfs=-20.0, instrumental_dbfs=-18.0)
            entries.append(
                TrackEntry(
                    id=track_id,
                    song_id=song_id,
                    split=split,
                    shard=0,
                    start_50=start_50,
                    frames_50=frames_50,
                    start_75=start_75,
                    frames_75=frames_75,
                    seconds=seconds,
                    levels=(level,),
                    kept=((0.0, seconds),),
                )
            )
            start_50, start_75 = start_50 + frames_50, start_75 + frames_75
    write_index(
        folder,
        tracks=entries,
        made_by={
            "fingerprints": {} if parts is None else parts.fingerprints(),
            "noise_sigma": 0.01,
            **(made_by or {}),
        },
        filter=ClipFilter(),
        clip_seconds=Fraction(10),
        shards=shards,
    )
    return folder
