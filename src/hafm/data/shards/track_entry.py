"""A line of `tracks.jsonl`: one track in the shards.

In: what preparation knows of a track. Out: one line of JSON, and back.

    {"id": "a/b", "song_id": "a", "split": "train", "shard": 0,
     "start_50": 0, "frames_50": 1500, "start_75": 0, "frames_75": 2250, "seconds": 30.0,
     "levels": [[0.0, 10.0, -20.1, -18.3], ...], "kept": [[0.0, 30.0]], "known": {}}

A level is [start_seconds, seconds, vocal_dbfs, instrumental_dbfs]. Unknown keys are refused.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from hafm.data.collection.track import SPLITS, Split
from hafm.data.result import ClipLevel
from hafm.data.tokenising.clip_filter import Runs

__all__ = ["TrackEntry"]


@dataclass(frozen=True, kw_only=True)
class TrackEntry:
    """Where the tokens of a track stand, and which stretches of it training may use.

    Args:
        shard: number of the shard in its split.
        start_50, frames_50: first frame at 50 Hz in the shard, and number of them.
        start_75, frames_75: the same at 75 Hz.
        kept: stretches that training may use.
        known: what the source says of it; JSON values.
    """

    id: str
    song_id: str
    split: Split
    shard: int
    start_50: int
    frames_50: int
    start_75: int
    frames_75: int
    seconds: float
    levels: tuple[ClipLevel, ...]
    kept: Runs
    known: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line; `from_json` reads it.

        >>> entry = TrackEntry(
        ...     id="a", song_id="a", split="train", shard=0, start_50=0, frames_50=500, start_75=0,
        ...     frames_75=750, seconds=10.0, levels=(), kept=((0.0, 10.0),),
        ... )
        >>> TrackEntry.from_json(entry.to_json()) == entry
        True
        """
        # Not `asdict`, which copies every level with care and takes ten times as long.
        values = {**vars(self), "levels": [list(vars(level).values()) for level in self.levels]}
        return json.dumps(values, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Reads what `to_json` wrote; a `ValueError` for anything else."""
        try:
            values = json.loads(line)
            values["levels"] = tuple(
                ClipLevel(
                    start_seconds=start, seconds=seconds, vocal_dbfs=vocal, instrumental_dbfs=instrumental
                )
                for start, seconds, vocal, instrumental in values["levels"]
            )
            values["kept"] = tuple((start, end) for start, end in values["kept"])
            if values["split"] not in SPLITS:
                raise ValueError(f"split {values['split']!r}")
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise ValueError(str(error)) from error
