"""What training batches cost: milliseconds per batch at the paper's sizes, and crops per second.

    python benchmarks/crops.py --tracks 10000

In: a number of made-up tracks of 30 s, or shards. Out: a table, and one JSON line with the same figures.

Conventions: one thread. Shards are written just before, so that they are in the memory of the system: what is
measured is the work, not the disk. The first batch of an epoch orders it, which is in `worst`. Ids are
random; what an id is changes nothing here.
"""

import argparse
import json
import statistics
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hafm.data.crops import Crops
from hafm.data.result import ClipLevel, TrackTokens
from hafm.data.shards.file import shard_name, write_shard
from hafm.data.shards.index import write_index
from hafm.data.shards.reader import Shards
from hafm.data.shards.track_entry import TrackEntry
from hafm.data.tokenising.clip_filter import ClipFilter
from hafm.stages.spec import COARSE, FINE, SEMANTIC

BATCHES = ((SEMANTIC, 210), (COARSE, 42), (FINE, 140))
"""Table 1 of the paper."""

SECONDS, CLIP_SECONDS = 30, 10
TRACKS_PER_SHARD = 256


def make_shards(folder: Path, num_tracks: int) -> None:
    """Shards of random ids, in which the filter drops about a clip of seven."""
    rng = np.random.default_rng(0)
    frames_50, frames_75 = 50 * SECONDS, 75 * SECONDS
    entries: list[TrackEntry] = []
    shards: dict[str, str] = {}
    for shard in range(-(-num_tracks // TRACKS_PER_SHARD)):
        count = min(TRACKS_PER_SHARD, num_tracks - TRACKS_PER_SHARD * shard)
        tokens: list[TrackTokens] = []
        for place in range(count):
            semantic = rng.integers(500, size=(2, frames_50), dtype=np.uint16)
            codes = rng.integers(1024, size=(8, frames_75), dtype=np.uint16)
            tokens.append(TrackTokens(vocal=semantic[:1], instrumental=semantic[1], codes=codes))
            levels = tuple(
                ClipLevel(
                    start_seconds=float(start),
                    seconds=float(CLIP_SECONDS),
                    vocal_dbfs=round(float(rng.normal(-20, 5)), 3),
                    instrumental_dbfs=round(float(rng.normal(-18, 4)), 3),
                )
                for start in range(0, SECONDS, CLIP_SECONDS)
            )
            entries.append(
                TrackEntry(
                    id=f"{shard}/{place}",
                    song_id=f"{shard}/{place}",
                    split="train",
                    shard=shard,
                    start_50=place * frames_50,
                    frames_50=frames_50,
                    start_75=place * frames_75,
                    frames_75=frames_75,
                    seconds=float(SECONDS),
                    levels=levels,
                    kept=ClipFilter().kept_runs(levels),
                )
            )
        name = shard_name("train", shard)
        shards[name] = write_shard(folder / name, tokens)
    write_index(
        folder,
        tracks=entries,
        made_by={},
        filter=ClipFilter(),
        clip_seconds=Fraction(CLIP_SECONDS),
        shards=shards,
    )


def measure(place: str, num_batches: int) -> dict[str, Any]:
    """Opens shards and takes batches of every stage."""
    began = time.perf_counter()
    shards = Shards.open(place)
    result: dict[str, Any] = {"open_seconds": time.perf_counter() - began, "pairs": len(shards), "stages": {}}
    for spec, size in BATCHES:
        crops = Crops(pairs=shards, spec=spec, seed=0)
        taken: list[float] = []
        for step in range(num_batches):
            began = time.perf_counter()
            crops.batch(step, size=size)
            taken.append(1e3 * (time.perf_counter() - began))
        result["stages"][spec.name] = {
            "batch": size,
            "clip_seconds": float(spec.clip_seconds),
            "clips_per_epoch": len(crops),
            "median_ms": statistics.median(taken),
            "worst_ms": max(taken),
            "crops_per_second": 1e3 * size * num_batches / sum(taken),
        }
    return result


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"{result['pairs']:,} pairs, opened in {result['open_seconds']:.2f} s",
        "",
        "| stage | batch | clips per epoch | ms per batch, median | worst | crops per second |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["stages"].items():
        lines.append(
            f"| {name} | {row['batch']} x {row['clip_seconds']:g} s | {row['clips_per_epoch']:,} "
            f"| {row['median_ms']:.2f} | {row['worst_ms']:.1f} | {row['crops_per_second']:,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tracks", type=int, default=10_000, help="made-up tracks")
    parser.add_argument("--shards", help="a folder or a URL instead of made-up tracks")
    parser.add_argument("--batches", type=int, default=300, help="batches per stage")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.shards is None:
            make_shards(Path(folder), options.tracks)
        result = measure(options.shards or folder, options.batches)
    print(table(result))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
