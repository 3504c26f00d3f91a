"""Does retrieval find accompaniments that fit better than any would?

    hafm retrieve-index work/pairs -o work/index --limit 300
    python -m benchmarks.retrieval --index work/index --rendered work/pairs/test --songs 20

In: an index of training songs, and rendered pairs of test songs. Out: tables, and one JSON line with the same
figures: the mean of each measure of fit with its 95 % interval, for

    retrieved    the best match, made to fit
    random       the beginning of an instrumental of the index drawn at random, as it is
    fitted       that same one made to fit as well as it can be: what choosing adds is what is above it
    true         the vocal's own instrumental

with the p-value of a paired permutation test of retrieved against random; how often the tempo, up to factors
of 2, and the key (`hafm.evaluate.key`) are found in the vocals and instrumentals, by the ways of this
package and by the others that it has; and the time a vocal takes.

Conventions: sounds at 24 kHz, mono, one thread. p-values are not corrected for the number of measures.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hafm.audio.io import read_audio
from hafm.audio.resample import resample
from hafm.evaluate.fit.beats import track_beats
from hafm.evaluate.fit.measures import Example, measure
from hafm.evaluate.fit.onsets import onset_envelope
from hafm.evaluate.fit.truth import Truth, read_truth
from hafm.evaluate.key import Key, estimate_key, key_score
from hafm.evaluate.retrieval.descriptors import describe_vocal, likeliest_keys
from hafm.evaluate.retrieval.index import RetrievalIndex
from hafm.evaluate.retrieval.pulse import find_pulses
from hafm.evaluate.retrieval.retrieve import Retriever
from hafm.evaluate.retrieval.tracks import read_instrumental
from hafm.evaluate.statistics import bootstrap_interval, paired_permutation_p

SAMPLE_RATE = 24_000
MEASURES = ("key_truth", "chord_tones", "beat_truth", "chroma_vocal", "beat_vocal", "dead_air")
WAYS = ("retrieved", "random", "fitted", "true")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A vocal, its own instrumental, its score, and its song."""

    song: str
    vocal: Tensor
    instrumental: Tensor
    truth: Truth


def mono(path: Path) -> Tensor:
    """A file, as analysis hears it."""
    audio = read_audio(path)
    return resample(audio.mono()[None], audio.sample_rate, SAMPLE_RATE)[0]


def rendered_pairs(folder: Path, songs: int) -> list[Pair]:
    """The first pair of each song."""
    pairs: dict[str, Pair] = {}
    for path in sorted(folder.glob("[0-9]*.json")):
        song = str(json.loads(path.read_text())["song_id"])
        if song not in pairs and len(pairs) < songs:
            pairs[song] = Pair(
                song=song,
                vocal=mono(path.with_suffix(".vocal.wav")),
                instrumental=mono(path.with_suffix(".instrumental.wav")),
                truth=read_truth(path),
            )
    return list(pairs.values())


def of_length(sound: Tensor, num_samples: int) -> Tensor:
    """Repeated from its beginning where it is too short."""
    return sound.repeat(math.ceil(num_samples / len(sound)))[:num_samples]


def random_choice(retriever: Retriever, pair: Pair, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """An instrumental of another song, as it is; and made to fit."""
    index = retriever.index
    others = [number for number, entry in enumerate(index.entries) if entry.song_id != pair.song]
    number = others[int(torch.randint(len(others), (), generator=draws))]
    stems = read_instrumental(index.entries[number].track(retriever.root))
    plain = resample(stems.instrumental[None], stems.sample_rate, SAMPLE_RATE)[0]
    alone = RetrievalIndex(
        source=index.source,
        split=index.split,
        entries=index.entries[number : number + 1],
        descriptors=index.descriptors[number : number + 1],
    )
    fitted = Retriever(alone, root=retriever.root).retrieve(pair.vocal, SAMPLE_RATE)
    return of_length(plain, len(pair.vocal)), fitted.waveform


def scores(pair: Pair, accompaniment: Tensor) -> list[float]:
    """Each measure; NaN where it has no value."""
    example = Example(
        vocal=pair.vocal, accompaniment=accompaniment, sample_rate=SAMPLE_RATE, truth=pair.truth
    )
    found = measure(example, MEASURES)
    return [math.nan if (value := found[name]) is None else value for name in MEASURES]


def compare(retriever: Retriever, pairs: Sequence[Pair]) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """A row a measure, and the seconds that a vocal takes."""
    draws = torch.Generator().manual_seed(0)
    values: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    spent = {"rank": 0.0, "render": 0.0}
    for pair in pairs:
        began = time.perf_counter()
        ranking = retriever.rank(pair.vocal, SAMPLE_RATE, exclude_songs=[pair.song])
        ranked = time.perf_counter()
        found = retriever.render(ranking)
        spent["rank"] += (ranked - began) / len(pairs)
        spent["render"] += (time.perf_counter() - ranked) / len(pairs)
        plain, fitted = random_choice(retriever, pair, draws)
        sounds = {"retrieved": found.waveform, "random": plain, "fitted": fitted, "true": pair.instrumental}
        for way, sound in sounds.items():
            values[way].append(scores(pair, of_length(sound, len(pair.vocal))))
    table = []
    for column, name in enumerate(MEASURES):
        columns = {way: np.array(rows)[:, column] for way, rows in values.items()}
        usable = np.all([np.isfinite(column) for column in columns.values()], axis=0)
        row: dict[str, Any] = {"measure": name, "pairs": int(usable.sum())}
        for way, column_values in columns.items():
            interval = bootstrap_interval(column_values[usable])
            row[way] = [interval.value, interval.low, interval.high]
        row["p"] = paired_permutation_p(columns["retrieved"][usable], columns["random"][usable])
        table.append(row)
    return table, spent


def listening(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """How often tempo and key are found, and by what."""
    stems: dict[str, Callable[[Pair], Tensor]] = {
        "vocal": lambda pair: pair.vocal,
        "instrumental": lambda pair: pair.instrumental,
    }
    rows = []
    for stem, sound in stems.items():
        found: dict[str, list[float]] = {"pulse": [], "beats": [], "key, chroma": [], "key, spectrum": []}
        for pair in pairs:
            waveform = sound(pair)
            true_seconds = float(np.median(np.diff(pair.truth.beats_seconds)))
            pulses = find_pulses(onset_envelope(waveform, SAMPLE_RATE), count=1)
            beats = track_beats(waveform, SAMPLE_RATE)
            found["pulse"].append(is_tempo([pulse.period_seconds for pulse in pulses], true_seconds))
            found["beats"].append(is_tempo(np.diff(beats).tolist(), true_seconds))
            by_chroma: Key = likeliest_keys(describe_vocal(waveform, SAMPLE_RATE).profile)[0][0]
            found["key, chroma"].append(key_score(by_chroma, pair.truth.key))
            by_spectrum = estimate_key(waveform, SAMPLE_RATE)
            found["key, spectrum"].append(key_score(by_spectrum, pair.truth.key))
        rows.append({"stem": stem, **{name: float(np.mean(values)) for name, values in found.items()}})
    return rows


def is_tempo(periods: Sequence[float], true_seconds: float) -> float:
    """1 where the median period is the true one times a power of 2, within 2 %."""
    if not periods:
        return 0.0
    octaves = math.log2(float(np.median(periods)) / true_seconds)
    return float(abs(octaves - round(octaves)) < math.log2(1.02))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(description="Does retrieval find what fits?")
    parser.add_argument("--index", type=Path, required=True, help="of hafm retrieve-index")
    parser.add_argument("--rendered", type=Path, required=True, help="a split of rendered pairs")
    parser.add_argument("--songs", type=int, default=20)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    retriever = Retriever.open(options.index)
    pairs = rendered_pairs(options.rendered, options.songs)
    table, spent = compare(retriever, pairs)
    print(f"| measure | {' | '.join(WAYS)} | p |\n|---|{'---|' * len(WAYS)}---|")
    for row in table:
        figures = " | ".join("{:.3f} [{:.3f}, {:.3f}]".format(*row[way]) for way in WAYS)
        print(f"| {row['measure']} | {figures} | {row['p']:.4f} |")
    heard = listening(pairs)
    names = [name for name in heard[0] if name != "stem"]
    print(f"\n| stem | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for row in heard:
        print(f"| {row['stem']} | {' | '.join(f'{row[name]:.2f}' for name in names)} |")
    print(f"\n{spent['rank']:.2f} s to rank, {spent['render']:.2f} s to render a vocal")
    entries = retriever.index.entries
    facts = {
        "pairs": len(pairs),
        "tracks": len(entries),
        "songs": len({entry.song_id for entry in entries}),
        "measures": table,
        "heard": heard,
        "seconds_per_vocal": spent,
    }
    print(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
