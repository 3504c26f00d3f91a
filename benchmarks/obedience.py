"""Does the band keep what the user gives, where that is half of a lead sheet, or against the voice?

    python -m benchmarks.obedience --pairs work/pairs/test --songs 40

In: rendered pairs, of which the first of each song is taken (10 s of it). Out: a table of means over songs
with 95 % intervals, and a line of JSON. Each row is a way of giving the true sheet; what it leaves out, the
bundle's analyser fills in, as `hafm generate` does. Each column judges the *sound* against what was given
(`hafm.evaluate.fit.obedience`).

    all         the whole sheet
    beats       beats and bars alone
    chords      chords and key alone
    fourth      the whole sheet, its chords and key a fourth up: against the voice
    voice       nothing: judged against the true sheet, which nobody gave
    truth       the true band, against the true sheet: the ceiling
    other       the band of `all`, against the sheet of another song: the floor
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.links import RATE, Song, read_songs
from hafm import Accompanist
from hafm.evaluate.fit.beats import beat_f_measure, track_beats
from hafm.evaluate.fit.obedience import (
    sheet_bass_share,
    sheet_beats,
    sheet_chord_share,
    sheet_downbeat_f,
    sheet_key_agreement,
)
from hafm.evaluate.statistics import bootstrap_interval
from hafm.guide.lead_sheet import LeadSheet

FOURTH = 5
NAMES = ("beats", "downbeats", "chord tones", "bass", "key")

Way = Callable[[LeadSheet], LeadSheet]
WAYS: Mapping[str, Way] = {
    "all": lambda sheet: sheet,
    "beats": lambda sheet: replace(sheet, chords=(), keys=(), arrangement=(), origins={}),
    "chords": lambda sheet: replace(sheet, beats=(), meters=(), arrangement=(), origins={}),
    "fourth": lambda sheet: sheet.transposed(FOURTH),
    "voice": lambda sheet: LeadSheet(duration_seconds=sheet.duration_seconds),
}


def judged(sound: Tensor, sheet: LeadSheet) -> list[float | None]:
    """How well a sound keeps a sheet, by `NAMES`."""
    beats = track_beats(sound, RATE)
    return [
        beat_f_measure(beats, sheet_beats(sheet)),
        sheet_downbeat_f(sound, RATE, beats, sheet),
        sheet_chord_share(sound, RATE, sheet),
        sheet_bass_share(sound, RATE, sheet),
        sheet_key_agreement(sound, RATE, sheet),
    ]


def bands(accompanist: Accompanist, songs: list[Song], sheets: list[LeadSheet], rows: int) -> list[Tensor]:
    """A take for each song."""
    found = []
    for first in range(0, len(songs), rows):
        part = slice(first, first + rows)
        made = accompanist.generate_batch(
            [song.vocal.numpy() for song in songs[part]], sample_rate=RATE, guides=sheets[part], seed=first
        )
        found += [takes[0].waveform[0] for takes in made]
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--bundle", default="builtin")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--songs", type=int, default=40)
    parser.add_argument("--rows", type=int, default=8, help="songs in one batch")
    options = parser.parse_args()
    torch.set_num_threads(1)

    songs = read_songs(options.pairs, options.songs)
    accompanist = Accompanist.from_pretrained(options.bundle, engine=options.engine)
    truths = [song.sheet for song in songs]
    scores = {"truth": [judged(song.instrumental, song.sheet) for song in songs]}
    for name, way in WAYS.items():
        given = [way(sheet) for sheet in truths]
        filled = [
            accompanist.analyse(song.vocal.numpy(), sample_rate=RATE, given=sheet)
            for song, sheet in zip(songs, given, strict=True)
        ]
        wanted = [way(sheet) for sheet in truths] if name == "fourth" else truths
        sounds = bands(accompanist, songs, filled, options.rows)
        scores[name] = [judged(sound, sheet) for sound, sheet in zip(sounds, wanted, strict=True)]
        if name == "all":
            others = truths[1:] + truths[:1]
            scores["other"] = [judged(sound, sheet) for sound, sheet in zip(sounds, others, strict=True)]

    print(f"{len(songs)} songs\n\n| given | {' | '.join(NAMES)} |\n|{'---|' * (1 + len(NAMES))}")
    figures: dict[str, dict[str, list[float]]] = {}
    for name, rows in scores.items():
        figures[name] = {}
        for column, measure in enumerate(NAMES):
            values = [value for row in rows if (value := row[column]) is not None]
            interval = bootstrap_interval(values)
            figures[name][measure] = [interval.value, interval.low, interval.high]
        cells = " | ".join(
            f"{value:.2f} [{low:.2f}, {high:.2f}]" for value, low, high in figures[name].values()
        )
        print(f"| {name} | {cells} |")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
