"""Shards whose tokens say where they are: each is its own frame number.

vocal         frame + 20000 * view
instrumental  frame
codes         frame in codebooks 0 to 6; in the last one the number of the track
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hafm.data.collection.track import Split
from hafm.data.result import ClipLevel, TrackTokens
from hafm.data.shards.index import Index
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.sheet_json import lead_sheet_to_json
from hafm.stages.parts import PART_NAMES
from tests.shard_folder import ShardTrack, write_shard_folder

CLIP_SECONDS = 10
FINGERPRINTS = {name: f"{number}" * 64 for number, name in enumerate(PART_NAMES)}
MADE_BY = {"fingerprints": FINGERPRINTS, "seed": 0, "noise_sigma": 0.01}


@dataclass(frozen=True)
class MadeTrack:
    """A track: its length, and of each clip whether the filter keeps it ("+"), or why not ("q", "l")."""

    seconds: float
    clips: str = ""
    split: Split = "train"
    sheet: LeadSheet | None = None


def clock_tokens(number: int, seconds: float, views: int = 2) -> TrackTokens:
    frames_50, frames_75 = math.ceil(50 * seconds), math.ceil(75 * seconds)
    codes = np.tile(np.arange(frames_75, dtype=np.uint16), (8, 1))
    codes[7] = number
    instrumental = np.arange(frames_50, dtype=np.uint16)
    vocal = np.stack([instrumental + np.uint16(20_000 * view) for view in range(views)])
    return TrackTokens(vocal=vocal, instrumental=instrumental, codes=codes)


def levels_of(track: MadeTrack) -> tuple[ClipLevel, ...]:
    count = math.ceil(track.seconds / CLIP_SECONDS)
    vocal = {"+": -20.0, "q": -45.0, "l": -10.0}
    instrumental = {"+": -18.0, "q": -40.0, "l": -18.0}
    return tuple(
        ClipLevel(
            start_seconds=float(CLIP_SECONDS * number),
            seconds=min(float(CLIP_SECONDS), track.seconds - CLIP_SECONDS * number),
            vocal_dbfs=vocal[kind],
            instrumental_dbfs=instrumental[kind],
        )
        for number, kind in enumerate((track.clips or "+" * count)[:count])
    )


def make_shards(
    folder: Path,
    tracks: Sequence[MadeTrack],
    *,
    views: int = 2,
    tracks_per_shard: int = 2,
    parts: bool = True,
) -> Index:
    """A whole folder; the files that stand for parts hold none."""
    if parts:
        (folder / "parts" / "codec").mkdir(parents=True)
        (folder / "parts" / "parts.json").write_text('{"format": 1}')
        (folder / "parts" / "codec" / "codec.json").write_text("{}")
    members = []
    for number, track in enumerate(tracks):
        sheet = track.sheet and lead_sheet_to_json(track.sheet, compact=True)
        members.append(
            ShardTrack(
                id=f"track-{number}",
                song_id=f"song-{number}",
                split=track.split,
                shard=sum(each.split == track.split for each in tracks[:number]) // tracks_per_shard,
                tokens=replace(clock_tokens(number, track.seconds, views), lead_sheet=sheet),
                seconds=track.seconds,
                levels=levels_of(track),
                known={"number": number},
            )
        )
    return write_shard_folder(folder, members, made_by=MADE_BY)
