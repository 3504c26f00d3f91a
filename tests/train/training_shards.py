"""A whole folder of shards, with parts that work, of tiny made-up songs: what `hafm train` is given.

from tests.train.training_shards import make_training_shards
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from hafm.data.result import TrackTokens
from hafm.data.shards.index import Index
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.sheet_json import lead_sheet_to_json
from hafm.stages.token_parts import TokenParts
from hafm.tokens.spectral import INSTRUMENTAL, VOCAL, SpectralFeatures
from tests.shard_folder import ShardTrack, write_shard_folder
from tests.tiny import CARDINALITY, tiny_codec, tiny_kmeans

CODEBOOKS = 8


def tiny_parts() -> TokenParts:
    vocal, instrumental = SpectralFeatures(VOCAL), SpectralFeatures(INSTRUMENTAL)
    return TokenParts(
        vocal_features=vocal,
        vocal_kmeans=tiny_kmeans(vocal, seed=1),
        instrumental_features=instrumental,
        instrumental_kmeans=tiny_kmeans(instrumental, seed=2),
        codec=tiny_codec(seed=3, codebooks=CODEBOOKS),
        instrumental_rms=0.1,
    )


def song(seed: int, seconds: float) -> TrackTokens:
    """Random tokens, but the instrumental follows the vocal and codes follow codes."""
    rng = np.random.default_rng(seed)
    frames_50, frames_75 = math.ceil(50 * seconds), math.ceil(75 * seconds)
    vocal = rng.integers(CARDINALITY, size=(1, frames_50)).astype(np.uint16)
    codes = rng.integers(CARDINALITY, size=(CODEBOOKS, frames_75)).astype(np.uint16)
    codes[4:] = (np.roll(codes[:4], 1, axis=1) + 1) % CARDINALITY
    return TrackTokens(vocal=vocal, instrumental=(np.roll(vocal[0], 1) + 1) % CARDINALITY, codes=codes)


def make_training_shards(
    folder: Path,
    *,
    songs: int = 8,
    held_out: int = 4,
    seconds: float = 2.0,
    seed: int = 0,
    with_sheet: int = 0,
) -> Index:
    """One shard per split; every song is kept whole, and the first few of a split have a lead sheet."""
    sheets = dict.fromkeys(
        range(with_sheet), lead_sheet_to_json(LeadSheet(duration_seconds=seconds, style="folk"), compact=True)
    )
    tracks = [
        ShardTrack(
            id=f"{split}-{number}",
            song_id=f"{split}-{number}",
            split=split,
            tokens=replace(song(first_seed + number, seconds), lead_sheet=sheets.get(number)),
            seconds=seconds,
        )
        for split, first_seed, count in (("train", seed, songs), ("valid", seed + 1000, held_out))
        for number in range(count)
    ]
    return write_shard_folder(folder, tracks, parts=tiny_parts())
