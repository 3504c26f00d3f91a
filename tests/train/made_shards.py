"""A whole folder of shards, with parts that work, of tiny made-up songs: what `hafm train` is given.

from tests.train.made_shards import make_training_shards
"""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np

from hafm.data.collection.track import Split
from hafm.data.result import ClipLevel, TrackTokens
from hafm.data.shards.file import shard_name, write_shard
from hafm.data.shards.index import Index, write_index
from hafm.data.shards.track_entry import TrackEntry
from hafm.data.tokenising.clip_filter import ClipFilter
from hafm.stages.token_parts import TokenParts
from hafm.tokens.spectral import INSTRUMENTAL, VOCAL, SpectralFeatures
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
    folder: Path, *, songs: int = 8, held_out: int = 4, seconds: float = 2.0, seed: int = 0
) -> Index:
    """One shard a split; every song is kept whole."""
    folder.mkdir(parents=True)
    parts = tiny_parts()
    parts.save(folder / "parts")
    entries: list[TrackEntry] = []
    shards: dict[str, str] = {}
    splits: list[tuple[Split, int, int]] = [("train", seed, songs), ("valid", seed + 1000, held_out)]
    for split, first_seed, count in splits:
        if not count:
            continue
        tokens = [song(first_seed + number, seconds) for number in range(count)]
        shards[shard_name(split, 0)] = write_shard(folder / shard_name(split, 0), tokens)
        for number, each in enumerate(tokens):
            frames_50, frames_75 = each.vocal.shape[1], each.codes.shape[1]
            level = ClipLevel(start_seconds=0.0, seconds=seconds, vocal_dbfs=-20.0, instrumental_dbfs=-18.0)
            entries.append(
                TrackEntry(
                    id=f"{split}-{number}",
                    song_id=f"{split}-{number}",
                    split=split,
                    shard=0,
                    start_50=number * frames_50,
                    frames_50=frames_50,
                    start_75=number * frames_75,
                    frames_75=frames_75,
                    seconds=seconds,
                    levels=(level,),
                    kept=((0.0, seconds),),
                    known={},
                )
            )
    return write_index(
        folder,
        tracks=entries,
        made_by={"fingerprints": parts.fingerprints()},
        filter=ClipFilter(),
        clip_seconds=Fraction(10),
        shards=shards,
    )
