"""Which measures of fit rank takes, with which weights, and how well?

    python -m benchmarks.fit_ranking --train work/pairs/train --test work/pairs/test --real REAL

In: rendered pairs to fit to, and held-out pairs, rendered and real (a folder with index.tsv; may be left
out). Out: tables, and one JSON line with the same figures. The constants of `hafm.evaluate.ranking` are
copied from the table of weights.

1. A vocal of the train split meets its own instrumental and those of seven other songs. Values are
   held between the worst of the middle 95 % of other songs' and the best of the middle 95 % of own ones, and
   standardised by mean and deviation over other songs'.
2. A conditional logit says with what weights the own one is picked out of the eight:

       P(own) = exp(w z_own) / sum over the eight of exp(w z)

   Those measures stay whose weight has a 95 % interval (songs drawn again) without 0; they are fitted anew.
3. On held-out pairs, with the constants as they are in the code: how often is the own accompaniment ranked
   first among k? It meets those of all other songs, and all ways to choose k - 1 of them are counted
   exactly, ties as drawn by lot. (Two draws of 15 and 20 of them differed by 0.04 at k = 8.)

Conventions: one pair per song, its first 10 s at 24 kHz, mono; what one vocal meets is cut to one
length. Real clips are averaged per song, and no other clip of the same song is among the others. A value that
is None counts as the worst.

Source: McFadden, "Conditional logit analysis of qualitative choice behavior" (1974), equation 12.
"""

import argparse
import csv
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from hafm.audio.io import read_audio
from hafm.audio.resample import resample
from hafm.evaluate.fit.measures import MEASURES, Example, measure
from hafm.evaluate.ranking import CRITERIA, rank_takes
from hafm.evaluate.statistics import Interval, bootstrap_interval

SAMPLE_RATE = 24_000
SECONDS = 10.0
TRAIN_OTHERS = 7
CHOICES = (2, 4, 8)
DELAYS_MS = (50, 100, 200, 300)
DRAWS = 200
CANDIDATES = tuple(name for name, entry in MEASURES.items() if not entry.needs)

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A vocal, its own accompaniment, and which song they are of."""

    song: str
    vocal: Tensor
    instrumental: Tensor


def mono(path: Path) -> Tensor:
    """The beginning of a file, as analysis hears it."""
    audio = read_audio(path)
    waveform = audio.mono()[None, : round(SECONDS * audio.sample_rate)]
    return resample(waveform, audio.sample_rate, SAMPLE_RATE)[0]


def rendered_pairs(folder: Path, songs: int) -> list[Pair]:
    """The first pair of each song."""
    pairs: dict[str, Pair] = {}
    for truth in sorted(folder.glob("[0-9]*.json")):
        song = str(json.loads(truth.read_text())["song_id"])
        if song not in pairs and len(pairs) < songs:
            vocal, instrumental = (
                mono(truth.with_suffix(f".{stem}.wav")) for stem in ("vocal", "instrumental")
            )
            pairs[song] = Pair(song=song, vocal=vocal, instrumental=instrumental)
    return list(pairs.values())


def real_pairs(folder: Path) -> list[Pair]:
    """The rows of `index.tsv` that have an accompaniment; a number at the end of an id tells clips apart."""
    with open(folder / "index.tsv", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["accompaniment"]]
    return [
        Pair(
            song=re.sub(r"_\d+$", "", row["id"]),
            vocal=mono(folder / row["vocals"]),
            instrumental=mono(folder / row["accompaniment"]),
        )
        for row in rows
    ]


def foreign(pairs: Sequence[Pair], row: int) -> list[int]:
    """The pairs of other songs."""
    return [number for number, pair in enumerate(pairs) if pair.song != pairs[row].song]


def before(pairs: Sequence[Pair], row: int, others: Sequence[int]) -> list[Tensor]:
    """A vocal, its own accompaniment and those of others, cut to one length."""
    sounds = [pairs[row].vocal, pairs[row].instrumental, *(pairs[number].instrumental for number in others)]
    length = min(len(sound) for sound in sounds)
    return [sound[:length] for sound in sounds]


def measured(vocal: Tensor, accompaniment: Tensor, names: Iterable[str]) -> dict[str, float | None]:
    """Measures of one pair."""
    return measure(Example(vocal=vocal, accompaniment=accompaniment, sample_rate=SAMPLE_RATE), names)


def numbers(found: Mapping[str, float | None], names: Sequence[str]) -> list[float]:
    """In the order of names, NaN for None."""
    return [np.nan if (value := found[name]) is None else value for name in names]


def train_values(pairs: Sequence[Pair]) -> Floats:
    """`[N, K, M]`: each vocal before its own accompaniment and those of seven songs drawn at random."""
    rng = np.random.default_rng(0)
    rows = []
    for row in range(len(pairs)):
        others = foreign(pairs, row)
        drawn = rng.choice(others, size=min(TRAIN_OTHERS, len(others)), replace=False)
        vocal, *takes = before(pairs, row, drawn.tolist())
        rows.append([numbers(measured(vocal, take, CANDIDATES), CANDIDATES) for take in takes])
    return np.array(rows)


# ---- fit


@dataclass(frozen=True, kw_only=True)
class Standard:
    """What makes measures comparable, a value a measure `[M]`."""

    worst: Floats
    best: Floats
    mean: Floats
    deviation: Floats

    def held(self, values: Floats) -> Floats:
        """Values `[..., M]` between the worst and the best."""
        filled = np.where(np.isnan(values), self.worst, values)
        return np.clip(filled, np.minimum(self.worst, self.best), np.maximum(self.worst, self.best))


def standard_of(values: Floats, names: Sequence[str]) -> Standard:
    """From values `[N, K, M]` whose first of K is the own one; to three digits, as in the code."""
    low, high = np.nanquantile(values[:, 1:], [0.025, 0.975], axis=(0, 1))
    own_low, own_high = np.nanquantile(values[:, 0], [0.025, 0.975], axis=0)
    falling = [MEASURES[name].higher_is_better is False for name in names]
    bounds = Standard(
        worst=np.where(falling, high, low).round(3),
        best=np.where(falling, own_low, own_high).round(3),
        mean=np.zeros(len(names)),
        deviation=np.ones(len(names)),
    )
    held = bounds.held(values[:, 1:]).reshape(-1, len(names))
    return replace(bounds, mean=held.mean(axis=0).round(3), deviation=held.std(axis=0).round(3))


def conditional_logit(standardised: Floats) -> Floats:
    """Weights `[M]` by Newton's method, for `[N, K, M]` whose first of K is the own one."""
    differences = standardised - standardised[:, :1]
    weights = np.zeros(standardised.shape[2])
    for _ in range(100):
        odds = differences @ weights
        share = np.exp(odds - odds.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        expected = np.einsum("nk,nki->ni", share, differences)
        curvature = np.einsum("nk,nki,nkj->ij", share, differences, differences) - expected.T @ expected
        step = np.linalg.solve(curvature, expected.sum(axis=0))
        weights = weights - step
        if np.abs(step).max() < 1e-10:
            return weights
    raise RuntimeError("no weights fit best: the measures tell all songs apart; give more songs")


def fit(values: Floats, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row a measure: its constants, and its weight with an interval over songs."""
    standard = standard_of(values, names)
    standardised = (standard.held(values) - standard.mean) / standard.deviation
    weights = conditional_logit(standardised)
    rng = np.random.default_rng(0)
    drawn = [conditional_logit(standardised[rng.integers(0, len(values), len(values))]) for _ in range(DRAWS)]
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return [
        {
            "measure": name,
            **{key: float(getattr(standard, key)[column]) for key in ("worst", "best", "mean", "deviation")},
            "weight": round(float(weights[column]), 3),
            "weight_low": float(low[column]),
            "weight_high": float(high[column]),
        }
        for column, name in enumerate(names)
    ]


def varying(values: Floats, names: Sequence[str]) -> list[str]:
    """The measures whose middle 95 % is more than one value: the others cannot be fitted."""
    low, high = np.nanquantile(values.reshape(-1, len(names)), [0.025, 0.975], axis=0)
    return [name for name, one, other in zip(names, low, high, strict=True) if one < other]


# ---- held-out


def first_of(own: float, others: Sequence[float], k: int) -> float:
    """How often `own` is the highest of itself and k - 1 of the others, ties by lot.

    >>> first_of(1.0, [0.0, 0.0, 2.0], 2), first_of(1.0, [1.0], 2)
    (0.6666666666666666, 0.5)
    """
    below, tied = sum(other < own for other in others), sum(other == own for other in others)
    ways = sum(comb(tied, j) * comb(below, k - 1 - j) / (1 + j) for j in range(k))
    return ways / comb(len(others), k - 1)


def by_song(pairs: Sequence[Pair], values: Sequence[float]) -> Interval:
    """The mean of songs, with its interval."""
    songs: dict[str, list[float]] = {}
    for pair, value in zip(pairs, values, strict=True):
        songs.setdefault(pair.song, []).append(value)
    return bootstrap_interval([float(np.mean(each)) for each in songs.values()])


def held_out(pairs: Sequence[Pair]) -> tuple[dict[str, dict[int, Interval]], dict[int, Interval]]:
    """How often the own is first of k, for the ranking and each measure; and before its delayed self."""
    single = [name for name in CANDIDATES if MEASURES[name].higher_is_better is not None]
    signs = [-1.0 if MEASURES[name].higher_is_better is False else 1.0 for name in single]
    scores: dict[str, list[list[float]]] = {name: [] for name in ("ranking", *single)}
    delayed: dict[int, list[float]] = {delay: [] for delay in DELAYS_MS}
    for row in range(len(pairs)):
        vocal, *takes = before(pairs, row, foreign(pairs, row))
        late = [pad(takes[0], (round(delay * SAMPLE_RATE / 1000), 0))[: len(takes[0])] for delay in DELAYS_MS]
        ranking = rank_takes(vocal, [*takes, *late], SAMPLE_RATE)
        ranked = sorted(ranking.takes, key=lambda take: take.index)
        scores["ranking"].append([take.score for take in ranked[: len(takes)]])
        for delay, take in zip(DELAYS_MS, ranked[len(takes) :], strict=True):
            delayed[delay].append(first_of(ranked[0].score, [take.score], 2))
        left = [name for name in single if name not in ranked[0].values]
        known = [
            {**take.values, **measured(vocal, sound, left)}
            for sound, take in zip(takes, ranked, strict=False)
        ]
        found = signs * np.array([numbers(each, single) for each in known])
        for name, column in zip(single, np.where(np.isnan(found), -np.inf, found).T, strict=True):
            scores[name].append([float(value) for value in column])
    top = {
        name: {k: by_song(pairs, [first_of(row[0], row[1:], k) for row in rows]) for k in CHOICES}
        for name, rows in scores.items()
    }
    return top, {delay: by_song(pairs, shares) for delay, shares in delayed.items()}


# ---- tables


def print_weights(rows: Sequence[Mapping[str, Any]]) -> None:
    """A table of constants."""
    print("| measure | worst | best | mean | deviation | weight [95 %] |\n|---|---|---|---|---|---|")
    for row in rows:
        numbers = " | ".join(f"{row[key]:.3f}" for key in ("worst", "best", "mean", "deviation"))
        interval = f"{row['weight']:.3f} [{row['weight_low']:.2f}, {row['weight_high']:.2f}]"
        print(f"| {row['measure']} | {numbers} | {interval} |")


def print_held_out(
    what: str, top: Mapping[str, Mapping[int, Interval]], delayed: Mapping[int, Interval]
) -> None:
    """A table of shares."""
    print(f"\n| {what}: first of | {' | '.join(map(str, CHOICES))} |\n|---|{'---|' * len(CHOICES)}")
    print(f"| (chance) | {' | '.join(f'{1 / k:.2f}' for k in CHOICES)} |")
    for name, shares in top.items():
        print(f"| {name} | {' | '.join(_cell(shares[k]) for k in CHOICES)} |")
    print(f"\n| {what}: delayed by, ms | own before its delayed self |\n|---|---|")
    for delay, share in delayed.items():
        print(f"| {delay} | {_cell(share)} |")


def _cell(share: Interval) -> str:
    return f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]"


def _figures(share: Interval) -> list[float]:
    return [share.value, share.low, share.high]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(description="Which measures of fit rank takes, and how well?")
    parser.add_argument("--train", type=Path, required=True, help="the train split of recipes.builtin.render")
    parser.add_argument("--test", type=Path, required=True, help="its test split")
    parser.add_argument("--real", type=Path, help="a folder with index.tsv")
    parser.add_argument(
        "--songs",
        type=int,
        default=10_000,
        help="of either split, at most; under 200 or so may tell too little for a fit",
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)

    train = rendered_pairs(options.train, options.songs)
    values = train_values(train)
    names = varying(values, CANDIDATES)
    columns = [CANDIDATES.index(name) for name in names]
    everything = fit(values[:, :, columns], names)
    kept = [row["measure"] for row in everything if row["weight_low"] > 0 or row["weight_high"] < 0]
    weights = fit(values[:, :, [CANDIDATES.index(name) for name in kept]], kept)
    keys = ("measure", "worst", "best", "mean", "deviation", "weight")
    in_code = [{key: getattr(criterion, key) for key in keys} for criterion in CRITERIA]
    same = in_code == [{key: row[key] for key in keys} for row in weights]
    print(f"{len(train)} songs; all measures that vary:\n")
    print_weights(everything)
    print("\nThose that stay:\n")
    print_weights(weights)
    print(f"\nThe constants of hafm.evaluate.ranking are {'the same' if same else 'OTHERS'}.")

    found = {}
    for what, pairs in {
        "rendered": rendered_pairs(options.test, options.songs),
        "real": [] if options.real is None else real_pairs(options.real),
    }.items():
        if pairs:
            top, delayed = held_out(pairs)
            print_held_out(
                f"{what}, {len(pairs)} pairs of {len({pair.song for pair in pairs})} songs", top, delayed
            )
            found[what] = {
                "pairs": len(pairs),
                "first_of": {
                    name: {k: _figures(share) for k, share in by.items()} for name, by in top.items()
                },
                "before_delayed_ms": {delay: _figures(share) for delay, share in delayed.items()},
            }
    print(
        json.dumps(
            {"songs": len(train), "all": everything, "weights": weights, "same": same, "held_out": found}
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
