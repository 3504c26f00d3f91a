"""How far off must an accompaniment be before the measures of fit see it?

    python -m benchmarks.fit_curves --rendered work/pairs/test --plot docs/fit_curves.png

In: rendered pairs, one per song. Out: tables, one JSON line with the same figures, and a picture. Each pair's
own accompaniment, as it is (what the measures give the truth, so the estimators' known error), with sound
transposed upwards by 0 to 11 semitones, late by 0 to 400 ms, and exchanged for those of other songs (random
pairing: for each song the mean of some shifts of the list). Means over songs with their 95 % intervals.

Conventions: 10 s from the whole second before the singing begins, 24 kHz, mono. Whole seconds, since windows
that begin with a syllable would begin on a beat in all songs, and wrong pairs would fit by that.

    transposed   by Signalsmith Stretch (python-stretch), which keeps time; lengths and onsets stay. Two
                 controls: 0 semitones through it, and the score transposed downwards instead, untouched sound
    late         silence or what came before moves in at the front
    chance       keys     mean credit over all pairs of different songs' keys, and 2/24 for keys drawn evenly
                 chords   mean over all 12 transpositions of the score: number of tones / 12
                 chroma   0: over the 12 rotations of centred chroma r sums to 0
                 beats    the same wrong beats, rotated round the window by random times; against the vocal 0
                 lag      mean size of lags from -0.3 to 0.3 s drawn evenly
"""

import argparse
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from benchmarks.draw_fit_curves import draw_fit_curves
from benchmarks.fit_measures import SAMPLE_RATE, Pair, rendered_pairs, scores
from hafm.evaluate.fit.beats import beat_closeness, beat_f_measure, track_beats
from hafm.evaluate.fit.chroma import Chord
from hafm.evaluate.fit.truth import Truth
from hafm.evaluate.key import Key, estimate_key, key_score
from hafm.evaluate.statistics import bootstrap_interval
from hafm.files import write_whole

Floats = NDArray[np.float64]
Figures = list[float]
"""Mean, low, high."""

SECONDS = 10
SEMITONES = tuple(range(12))
DELAYS_MS = (0, 25, 50, 100, 150, 200, 300, 400)
SHIFTS = (1, 7, 13, 19, 29)
HARMONY = ("key_truth", "key_vocal", "chord_tones", "chroma_vocal")
TIME = ("beat_truth", "beat_closeness", "beat_vocal", "onset_correlation", "onset_lag")
MEASURES = (*HARMONY, *TIME)
_SINGS = 10 ** (-30 / 20)  # of the loudest 100 ms
_MOST_LAG = 30  # hundredths of a second, of hafm.evaluate.fit.onsets


@dataclass(frozen=True, kw_only=True)
class Window:
    """Ten seconds of a pair.

    Args:
        pair: the ten seconds, the score's times from their start.
        whole: the accompaniment that they were cut from.
        first: their first sample in it.
    """

    pair: Pair
    whole: Tensor
    first: int

    @property
    def truth(self) -> Truth:
        """What the score says about them."""
        assert self.pair.truth is not None
        return self.pair.truth

    def late(self, delay_ms: int) -> Tensor:
        """The accompaniment, delayed."""
        delay = round(delay_ms * SAMPLE_RATE / 1000)
        return pad(self.whole, (delay, 0))[self.first : self.first + len(self.pair.vocal)]


def sung(pair: Pair) -> Window:
    """Ten seconds from the whole second before the singing begins; the last ten where it begins late."""
    frame = SAMPLE_RATE // 10
    levels = pair.vocal[: len(pair.vocal) // frame * frame].view(-1, frame).square().mean(dim=1).sqrt()
    begins = int((levels >= _SINGS * levels.max()).nonzero()[0]) // 10
    start = max(0, min(begins, len(pair.vocal) // SAMPLE_RATE - SECONDS))
    part = slice(start * SAMPLE_RATE, (start + SECONDS) * SAMPLE_RATE)
    assert pair.truth is not None
    cut = Pair(
        vocal=pair.vocal[part],
        instrumental=pair.instrumental[part],
        truth=Truth(
            key=pair.truth.key,
            chords=tuple(
                replace(
                    chord, start_seconds=chord.start_seconds - start, end_seconds=chord.end_seconds - start
                )
                for chord in pair.truth.chords
            ),
            beats_seconds=tuple(beat - start for beat in pair.truth.beats_seconds),
        ),
    )
    return Window(pair=cut, whole=pair.instrumental, first=part.start)


def transposed(sound: Tensor, semitones: int) -> Tensor:
    """Another pitch, the same time: Signalsmith Stretch with its preset, seed 0."""
    stretch = importlib.import_module("python_stretch").Signalsmith.Stretch(0)
    stretch.preset(1, SAMPLE_RATE)
    stretch.setTransposeSemitones(semitones)
    return torch.from_numpy(np.array(stretch.process(sound[None].numpy())[0, : len(sound)]))


def score_lowered(truth: Truth, semitones: int) -> Truth:
    """The score, transposed downwards: what the sound transposed upwards would be to the true score."""

    def lowered(chord: Chord) -> Chord:
        return replace(chord, pitch_classes=tuple((each - semitones) % 12 for each in chord.pitch_classes))

    return Truth(
        key=Key((truth.key.tonic - semitones) % 12, truth.key.mode),
        chords=tuple(lowered(chord) for chord in truth.chords),
        beats_seconds=truth.beats_seconds,
    )


def curve(windows: Sequence[Window], names: Sequence[str], sounds: Sequence[Tensor]) -> Floats:
    """The measures of each window with a sound in its accompaniment's place. Shape [measures, songs]."""
    rows = [scores(window.pair, sound, names) for window, sound in zip(windows, sounds, strict=True)]
    return np.array(rows, dtype=np.float64).T


def figures(values: Floats) -> Figures:
    """Mean and interval over the songs that have a value."""
    interval = bootstrap_interval(values[np.isfinite(values)])
    return [interval.value, interval.low, interval.high]


def by_name(names: Sequence[str], values: Floats) -> dict[str, Figures]:
    """`figures` of each measure."""
    return {name: figures(row) for name, row in zip(names, values, strict=True)}


def random_pairs(windows: Sequence[Window]) -> dict[str, Figures]:
    """Accompaniments of other songs."""
    shifted = [
        curve(windows, MEASURES, [other.pair.instrumental for other in rolled(windows, shift)])
        for shift in SHIFTS
    ]
    return by_name(MEASURES, np.nanmean(shifted, axis=0))


def rolled(windows: Sequence[Window], shift: int) -> list[Window]:
    """The list, shifted round: nobody meets himself."""
    assert shift % len(windows) != 0, f"{len(windows)} songs shifted by {shift} are themselves"
    return [windows[(row + shift) % len(windows)] for row in range(len(windows))]


def chances(windows: Sequence[Window], chord_tones: float) -> dict[str, list[float]]:
    """What wrong pairs give by chance, computed without them."""
    found = [estimate_key(window.pair.instrumental, SAMPLE_RATE) for window in windows]
    sung_keys = [estimate_key(window.pair.vocal, SAMPLE_RATE) for window in windows]
    beats = [track_beats(window.pair.instrumental, SAMPLE_RATE) for window in windows]
    rng = np.random.default_rng(0)
    scored: list[list[float]] = []
    for shift in SHIFTS:
        for row, window in enumerate(windows):
            wrong = np.asarray(beats[(row + shift) % len(windows)])
            true = [beat for beat in window.truth.beats_seconds if 0 <= beat < SECONDS]
            for turn in rng.uniform(0, SECONDS, 4):
                turned = sorted(float(beat) for beat in (wrong + turn) % SECONDS)
                scored.append([beat_f_measure(turned, true), beat_closeness(turned, true)])
    f_measure, closeness = np.mean(scored, axis=0).tolist()
    lags = np.abs(np.arange(-_MOST_LAG, _MOST_LAG + 1)) / 100
    return {
        "key_truth": [2 / 24, shuffled_credit(found, [window.truth.key for window in windows])],
        "key_vocal": [2 / 24, shuffled_credit(found, sung_keys)],
        "chord_tones": [chord_tones],
        "chroma_vocal": [0.0],
        "beat_truth": [f_measure],
        "beat_closeness": [closeness],
        "beat_vocal": [0.0],
        "onset_lag": [float(lags.mean())],
    }


def shuffled_credit(estimated: Sequence[Key], references: Sequence[Key]) -> float:
    """Mean credit over all pairs of different songs, so over all shuffles."""
    credit = np.array([[key_score(one, other) for one in estimated] for other in references])
    return float(credit[~np.eye(len(credit), dtype=bool)].mean())


def measured(windows: Sequence[Window]) -> dict[str, Any]:
    """All figures."""
    own = [window.pair.instrumental for window in windows]
    pitched = {
        n: curve(windows, HARMONY, own if n == 0 else [transposed(sound, n) for sound in own])
        for n in SEMITONES
    }
    late = {ms: curve(windows, TIME, [window.late(ms) for window in windows]) for ms in DELAYS_MS}
    known = ("key_truth", "chord_tones")
    lowered = {}
    for n in SEMITONES:
        scored = [
            replace(window, pair=replace(window.pair, truth=score_lowered(window.truth, n)))
            for window in windows
        ]
        lowered[n] = curve(scored, known, own)
    control = curve(windows, HARMONY, [transposed(sound, 0) for sound in own])
    rows = [HARMONY.index(name) for name in known]
    found_random = random_pairs(windows)
    chance = chances(windows, float(np.nanmean([values[1] for values in lowered.values()])))
    return {
        "songs": len(windows),
        "truth": {**by_name(HARMONY, pitched[0]), **by_name(TIME, late[0])},
        "semitones": {n: by_name(HARMONY, values) for n, values in pitched.items()},
        "score_lowered": {n: by_name(known, values) for n, values in lowered.items()},
        "zero_semitones_through_the_method": by_name(HARMONY, control),
        # Songs whose credit is the same either way, and how far the chord shares lie apart.
        "keys_alike": float(np.mean([pitched[n][rows[0]] == lowered[n][0] for n in SEMITONES[1:]])),
        "chords_apart": float(
            np.nanmean([np.abs(pitched[n][rows[1]] - lowered[n][1]) for n in SEMITONES[1:]])
        ),
        "late": {ms: by_name(TIME, values) for ms, values in late.items()},
        "random": found_random,
        "chance": {
            name: {
                "values": values,
                "inside": [found_random[name][1] <= value <= found_random[name][2] for value in values],
            }
            for name, values in chance.items()
        },
    }


def tables(found: Mapping[str, Any]) -> str:
    """Markdown."""
    lines = [
        f"{found['songs']} songs\n",
        "| measure | the truth [95 %] | random pairing [95 %] | chance, computed |\n|---|---|---|---|",
    ]
    for name in MEASURES:
        entry = found["chance"].get(name, {"values": [], "inside": []})
        chance = ", ".join(
            f"{value:.3f} ({'inside' if inside else 'outside'})"
            for value, inside in zip(entry["values"], entry["inside"], strict=True)
        )
        truth, random = (text(found[which][name]) for which in ("truth", "random"))
        lines.append(f"| {name} | {truth} | {random} | {chance or 'none'} |")
    lines += points("semitones up", HARMONY, found["semitones"])
    lines += points("score down instead", ("key_truth", "chord_tones"), found["score_lowered"])
    control = found["zero_semitones_through_the_method"]
    lines.append("\n0 semitones through the method: " + ", ".join(f"{n} {text(control[n])}" for n in HARMONY))
    lines.append(
        f"sound up and score down: the same key credit in {found['keys_alike']:.1%}, "
        f"chord tones {found['chords_apart']:.3f} apart"
    )
    lines += points("ms late", TIME, found["late"])
    return "\n".join(lines)


def points(axis: str, names: Sequence[str], values: Mapping[int, Mapping[str, Figures]]) -> list[str]:
    """A table of one axis."""
    head = f"\n| {axis} | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}"
    rows = [
        f"| {point} | " + " | ".join(text(row[name]) for name in names) + " |"
        for point, row in values.items()
    ]
    return [head, *rows]


def text(interval: Figures) -> str:
    """As in the tables of the docs."""
    return "{:.2f} [{:.2f}, {:.2f}]".format(*interval)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(description="What the measures of fit see of pitch and delay")
    parser.add_argument("--rendered", type=Path, required=True, help="a split of the rendered pairs")
    parser.add_argument("--songs", type=int, default=59, help="the most; one pair each")
    parser.add_argument("--plot", type=Path, help="PNG to write")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = measured([sung(pair) for pair in rendered_pairs(options.rendered, options.songs)])
    print(tables(found))
    if options.plot is not None:
        write_whole(options.plot, draw_fit_curves(found))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
