"""Accompanies every vocal of a folder, and says of each whether the result is what was promised.

    python benchmarks/vocals.py FOLDER [--bundle builtin] [--out OUT] [--workers 2]

In: sung vocals. Out: a table, a line per vocal, then one JSON line with the totals:

    same length   as many samples as the vocal, at its rate
    finite        no NaN, no infinity
    loudness      of the accompaniment, LUFS; below -40 it would count as inaudible
    true peak     of the mix, dBTP; it may not pass -1
    ratio         seconds of compute (one core) a second of audio
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any


def accompany(path: Path, *, bundle: str, out: Path | None, seed: int) -> dict[str, Any]:
    """One vocal: the figures of its accompaniment and mix."""
    import torch

    from hafm import Accompanist
    from hafm.audio.loudness import integrated_lufs
    from hafm.audio.true_peak import true_peak_dbtp

    torch.set_num_threads(1)
    started = time.process_time()
    accompaniment = Accompanist.from_pretrained(bundle).generate(path, seed=seed)
    seconds = time.process_time() - started
    mix = accompaniment.mix()
    if out is not None:
        accompaniment.save(out / path.name.split(".")[0], overwrite=True)
    vocal = accompaniment.vocal
    peak = true_peak_dbtp(mix)
    loudness = integrated_lufs(accompaniment.waveform, accompaniment.sample_rate)
    return {
        "vocal": path.name.split(".")[0],
        "seconds": round(vocal.num_samples / vocal.sample_rate, 2),
        "same_length": accompaniment.waveform.shape[-1] == vocal.num_samples,
        "finite": bool(torch.isfinite(accompaniment.waveform).all() and torch.isfinite(mix).all()),
        "loudness_lufs": None if loudness is None else round(loudness, 1),
        "mix_true_peak_dbtp": None if peak is None else round(peak, 2),
        "ratio": round(seconds * vocal.sample_rate / vocal.num_samples, 2),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description="Accompanies every vocal of a folder and checks the results."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pattern", default="*.vocals.flac")
    parser.add_argument("--bundle", default="builtin")
    parser.add_argument("--out", type=Path, help="keep the results here, a folder per vocal")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    paths = sorted(options.folder.glob(options.pattern))
    if not paths:
        raise SystemExit(f"{options.folder} holds no file like {options.pattern}")
    work = partial(accompany, bundle=options.bundle, out=options.out, seed=options.seed)
    rows = []
    print("| vocal | seconds | same length | finite | loudness LUFS | mix dBTP | compute ratio |")
    print("|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for row in pool.map(work, paths):
            rows.append(row)
            print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)
    audible = [row for row in rows if row["loudness_lufs"] is not None and row["loudness_lufs"] > -40]
    print(
        json.dumps(
            {
                "vocals": len(rows),
                "same_length": sum(row["same_length"] for row in rows),
                "finite": sum(row["finite"] for row in rows),
                "audible": len(audible),
                "peak_kept": sum(
                    row["mix_true_peak_dbtp"] is not None and row["mix_true_peak_dbtp"] <= -0.95
                    for row in rows
                ),
                "ratio_median": sorted(row["ratio"] for row in rows)[len(rows) // 2],
                "ratio_max": max(row["ratio"] for row in rows),
            }
        )
    )


if __name__ == "__main__":
    main()
