"""Do the measures of fit tell a song's own accompaniment from another song's?

    python -m benchmarks.fit_measures --rendered work/pairs/test --songs 20
    python -m benchmarks.fit_measures --real REAL         a folder with index.tsv: vocals, accompaniment

In: pairs whose accompaniment is the true one. Out: a table, and one JSON line with the same figures: the mean
of each measure with its 95 % interval, with the song's own accompaniment and with those of other songs (the
mean of some shifts of the list), the paired effect size, and the p-value of a paired permutation test,
two-sided. For rendered pairs also the beat scores of the true accompaniment delayed.

Conventions: p-values are not corrected for the number of measures. Sounds are cut to 20 s, at 24 kHz, mono.
"""

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from hafm.audio.io import read_audio
from hafm.audio.resample import resample
from hafm.evaluate.fit.measures import MEASURES, Example, measure
from hafm.evaluate.fit.truth import Truth, read_truth
from hafm.evaluate.statistics import bootstrap_interval, paired_d, paired_permutation_p

SAMPLE_RATE = 24_000
SECONDS = 20.0
SHIFTS = (1, 7, 13)
DELAYS_MS = (0, 50, 100, 150, 200, 300, 400)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A vocal, its own accompaniment, and its score where there is one."""

    vocal: Tensor
    instrumental: Tensor
    truth: Truth | None


def mono(path: Path) -> Tensor:
    """The beginning of a file, as analysis hears it."""
    audio = read_audio(path)
    waveform = audio.mono()[None, : round(SECONDS * audio.sample_rate)]
    return resample(waveform, audio.sample_rate, SAMPLE_RATE)[0]


def rendered_pairs(folder: Path, songs: int) -> list[Pair]:
    """The first pair of each song."""
    pairs: dict[int, Pair] = {}
    for truth in sorted(folder.glob("[0-9]*.json")):
        song = json.loads(truth.read_text())["song_id"]
        if song not in pairs and len(pairs) < songs:
            vocal, instrumental = (
                mono(truth.with_suffix(f".{stem}.wav")) for stem in ("vocal", "instrumental")
            )
            pairs[song] = Pair(vocal=vocal, instrumental=instrumental, truth=read_truth(truth))
    return list(pairs.values())


def real_pairs(folder: Path) -> list[Pair]:
    """The rows of `index.tsv` that have an accompaniment."""
    with open(folder / "index.tsv", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["accompaniment"]]
    return [
        Pair(vocal=mono(folder / row["vocals"]), instrumental=mono(folder / row["accompaniment"]), truth=None)
        for row in rows
    ]


def scores(vocal: Pair, accompaniment: Tensor, names: Sequence[str]) -> list[float]:
    """Each measure; NaN where it has no value."""
    length = min(len(vocal.vocal), len(accompaniment), len(vocal.instrumental))
    example = Example(
        vocal=vocal.vocal[:length],
        accompaniment=accompaniment[:length],
        sample_rate=SAMPLE_RATE,
        truth=vocal.truth,
        instrumental=None if vocal.truth is None else vocal.instrumental[:length],
    )
    found: Mapping[str, float | None] = measure(example, names)
    return [np.nan if found[name] is None else float(found[name]) for name in names]


def compare(pairs: Sequence[Pair], names: Sequence[str]) -> list[dict[str, object]]:
    """A row a measure: own against others' accompaniments."""
    own = np.array([scores(pair, pair.instrumental, names) for pair in pairs])
    shifted = [
        [
            scores(pair, pairs[(row + shift) % len(pairs)].instrumental, names)
            for row, pair in enumerate(pairs)
        ]
        for shift in SHIFTS
    ]
    others = np.mean(shifted, axis=0)
    table = []
    for column, name in enumerate(names):
        usable = np.isfinite(own[:, column]) & np.isfinite(others[:, column])
        a, b = own[usable, column], others[usable, column]
        mine, theirs = bootstrap_interval(a), bootstrap_interval(b)
        table.append(
            {
                "measure": name,
                "pairs": int(usable.sum()),
                "own": [mine.value, mine.low, mine.high],
                "others": [theirs.value, theirs.low, theirs.high],
                "paired_d": paired_d(a, b),
                "p": paired_permutation_p(a, b),
            }
        )
    return table


def delayed(pairs: Sequence[Pair]) -> dict[int, list[float]]:
    """Mean beat scores of the true accompaniment, by delay in ms."""
    names = ["beat_truth", "beat_closeness"]
    found = {}
    for delay in DELAYS_MS:
        late = round(delay * SAMPLE_RATE / 1000)
        values = [
            scores(pair, pad(pair.instrumental, (late, 0))[: len(pair.instrumental)], names) for pair in pairs
        ]
        found[delay] = [float(value) for value in np.nanmean(values, axis=0)]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(description="Do the measures of fit tell own from others?")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--rendered", type=Path, help="a split of what recipes.builtin.render wrote")
    which.add_argument("--real", type=Path, help="a folder with index.tsv")
    parser.add_argument("--songs", type=int, default=20, help="of the rendered ones")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.rendered is not None:
        pairs = rendered_pairs(options.rendered, options.songs)
        names = list(MEASURES)
    else:
        pairs = real_pairs(options.real)
        names = [name for name, entry in MEASURES.items() if not entry.needs]
    table = compare(pairs, names)
    print("| measure | own [95 %] | others [95 %] | paired d | p |\n|---|---|---|---|---|")
    for row in table:
        own, others = (
            "{:.3f} [{:.3f}, {:.3f}]".format(*row[side])  # type: ignore[misc]
            for side in ("own", "others")
        )
        effect = "none" if row["paired_d"] is None else f"{row['paired_d']:.2f}"
        print(f"| {row['measure']} | {own} | {others} | {effect} | {row['p']:.4f} |")
    late = delayed(pairs) if options.rendered is not None else None
    if late is not None:
        print("\n| delay, ms | beat F | closeness |\n|---|---|---|")
        for delay, (f_measure, closeness) in late.items():
            print(f"| {delay} | {f_measure:.3f} | {closeness:.3f} |")
    print(json.dumps({"pairs": len(pairs), "measures": table, "delayed": late}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
