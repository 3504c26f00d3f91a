"""A folder of shards of made-up tokens, one shard per split, every track kept whole."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hafm.data.collection.track import Split
from hafm.data.result import TrackTokens
from hafm.stages.token_parts import TokenParts
from tests.shard_folder import ShardTrack, write_shard_folder

Tracks = Sequence[tuple[str, str, TrackTokens]]
"""(id, song id, tokens) of each."""


def make_shards(
    folder: Path,
    tracks: Mapping[Split, Tracks],
    *,
    parts: TokenParts | None = None,
    made_by: Mapping[str, Any] | None = None,
) -> Path:
    members = [
        ShardTrack(id=track_id, song_id=song_id, tokens=tokens, split=split)
        for split, some in tracks.items()
        for track_id, song_id, tokens in some
    ]
    write_shard_folder(folder, members, parts=parts, made_by={"noise_sigma": 0.01, **(made_by or {})})
    return folder
