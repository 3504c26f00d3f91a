"""How often the analysers are right: on rendered songs, and on real voices.

    python -m benchmarks.analyser --analysers work/analysers --pairs work/pairs --real REAL

In: `vocal.safetensors` and `band.safetensors`; the test split of rendered pairs; a folder of real pairs
(`NAME.vocals.flac`, `NAME.accompaniment.flac`). Out: tables of means over songs with 95 % intervals, each
beside its floor: the same measure with the sheet of other songs.

    beats, any level, downbeats   F-measure, 70 ms; the best of the beats, every second one, the off-beats and
                                  both together
    tempo                         within 5 %, up to octaves, triples and their ratios
    phase                         F of the beats with the true tempo given; its floor is a random phase
    key                           of the first key; near keys in part (mir_eval's key score)
    root, chord tones             share of the time in which a chord's root is right; share of its tones in
                                  the true chord
    sung, est., sung, true        share of the sung notes of 160 ms and more inside the estimated, the true
                                  chords
    none                          share of songs without beats (they count as 0 elsewhere)

A second table sets what the analyser says of its own parts beside how right they are, in quarters of the
songs.

Real vocals are judged by the beats that `hafm.evaluate.fit.beats` finds in the true accompaniment, which is
itself right for part of them: the band analyser's row, on the accompaniments, says how far the two agree.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import mir_eval
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from hafm.data.collection.truth import lead_sheet_of_truth
from hafm.evaluate.fit.beats import beat_f_measure, track_beats
from hafm.evaluate.statistics import bootstrap_interval
from hafm.guide.analyser import Analyser
from hafm.guide.lead_sheet import LeadSheet, PartName
from hafm.stages.analysers import AnalyserName, read_analyser

Floats = NDArray[np.float64]
Row = Mapping[str, float]

RATIOS = (1, 2, 1 / 2, 3, 1 / 3, 3 / 2, 2 / 3)
OTHERS = 10
RIGHT_BY: Mapping[PartName, str] = {"beats": "beats", "bars": "downbeats", "key": "key", "chords": "root"}
"""By which measure a part of the sheet is right."""
LONG_NOTE_SECONDS = 0.16
STEP_SECONDS = 0.02


def read_mono(path: Path) -> tuple[torch.Tensor, int]:
    """A sound and its rate."""
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(sound.mean(axis=1)), rate


def times_of(sheet: LeadSheet) -> Floats:
    """When the beats are."""
    return np.array([beat.seconds for beat in sheet.beats])


def any_level(estimated: Floats, reference: Floats) -> float:
    """The best F-measure among the levels at which the reference can be heard."""
    middles = (reference[1:] + reference[:-1]) / 2
    levels = (reference, reference[::2], reference[1::2], middles, np.sort(np.append(reference, middles)))
    return max(beat_f_measure(estimated.tolist(), level.tolist()) for level in levels)


def tempo_agrees(estimated: Floats, reference: Floats) -> float:
    """1 where the tempi agree, up to `RATIOS`."""
    if len(estimated) < 3:
        return 0.0
    ratio = np.median(np.diff(reference)) / np.median(np.diff(estimated))
    return float(min(abs(np.log(ratio * known)) for known in RATIOS) < np.log(1.05))


def beat_row(estimated: LeadSheet, reference: Floats) -> dict[str, float]:
    """Measures of the beats."""
    beats = times_of(estimated)
    return {
        "beats": beat_f_measure(beats.tolist(), reference.tolist()),
        "any level": any_level(beats, reference),
        "tempo": tempo_agrees(beats, reference),
        "none": float(len(beats) == 0),
    }


def key_score(estimated: LeadSheet, true: LeadSheet) -> float:
    """1 for the same key, 0.5 a fifth away, 0.3 relative, 0.2 parallel; of the first keys."""
    modes = {"maj": "major", "min": "minor"}
    names = [f"{sheet.keys[0].tonic} {modes[sheet.keys[0].mode]}" for sheet in (true, estimated)]
    return float(mir_eval.key.weighted_score(*names))


def harmony_row(estimated: LeadSheet, true: LeadSheet, truth: Mapping[str, object]) -> dict[str, float]:
    """Measures of the chords."""
    size = round(true.duration_seconds / STEP_SECONDS)
    found, right = (_chords_of(sheet, size) for sheet in (estimated, true))
    sung = np.zeros((size, 12), bool)
    for note in truth["notes"]:  # type: ignore[attr-defined]
        begin, end = (round(max(0.0, note[f"{at}_seconds"]) / STEP_SECONDS) for at in ("start", "end"))
        if note["end_seconds"] - note["start_seconds"] >= LONG_NOTE_SECONDS:
            sung[begin:end, int(note["pitch"]) % 12] = True
    known = right[0] >= 0
    return {
        "key": key_score(estimated, true),
        "root": float((found[0] == right[0])[known].mean()),
        "chord tones": float((found[1] & right[1])[known].sum() / max(1, found[1][known].sum())),
        "sung, est.": float((sung & found[1]).sum() / max(1, sung.sum())),
        "sung, true": float((sung & right[1]).sum() / max(1, sung.sum())),
    }


def _chords_of(sheet: LeadSheet, size: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Root (-1 for none) and pitch classes of every step of time."""
    roots, classes = np.full(size, -1), np.zeros((size, 12), bool)
    for span in sheet.chords:
        begin, end = round(span.start_seconds / STEP_SECONDS), round(span.end_seconds / STEP_SECONDS)
        if span.chord.root is not None:
            roots[begin:end] = span.chord.root
            classes[begin:end, list(span.chord.pitch_classes)] = True
    return roots, classes


def floor_rows(sheets: Sequence[LeadSheet], references: Sequence[Floats]) -> list[Row]:
    """The beats of other songs, as far as they reach; of each song the mean over `OTHERS`."""
    rows = []
    for number, reference in enumerate(references):
        end = float(reference[-1]) + 0.1
        others = [sheets[(number + 1 + 3 * other) % len(sheets)] for other in range(OTHERS)]
        scores = [
            beat_row(other.cropped(0.0, min(end, other.duration_seconds)), reference) for other in others
        ]
        rows.append({name: float(np.mean([score[name] for score in scores])) for name in scores[0]})
    return rows


def phase_rows(
    analyser: Analyser, sounds: Sequence[tuple[torch.Tensor, int]], references: Sequence[Floats]
) -> tuple[list[Row], list[Row]]:
    """F with the tempo given, and that of beats in a random phase."""
    rng = np.random.default_rng(0)
    rows, floors = [], []
    for (sound, rate), reference in zip(sounds, references, strict=True):
        period = float(np.median(np.diff(reference)))
        sheet = analyser.analyse(sound, rate, tempo_bpm=60 / period)
        rows.append({"phase": beat_f_measure(times_of(sheet).tolist(), reference.tolist())})
        scores = []
        for _ in range(OTHERS):
            random = np.arange(rng.uniform(0, period), len(sound) / rate, period)
            scores.append(beat_f_measure(random.tolist(), reference.tolist()))
        floors.append({"phase": float(np.mean(scores))})
    return rows, floors


def show(title: str, rows: Sequence[Row], floors: Sequence[Row]) -> dict[str, object]:
    """Prints a table; returns its figures."""
    print(f"\n{title}, {len(rows)} songs\n\n| measure | mean, 95 % interval | floor |\n|---|---|---|")
    figures = {}
    for name in rows[0]:
        interval = bootstrap_interval([row[name] for row in rows])
        floor = float(np.mean([row[name] for row in floors])) if floors and name in floors[0] else None
        beside = "" if floor is None else f"{floor:.2f}"
        print(f"| {name} | {interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}] | {beside} |")
        figures[name] = [interval.value, interval.low, interval.high, floor]
    return figures


def show_confidence(sheets: Sequence[LeadSheet], rows: Sequence[Row]) -> None:
    """Prints how sure the analyser is of a part, and how right it is, in quarters of the songs."""
    print("\n| part, right by | least sure quarter: said, right | | | surest |\n|---|---|---|---|---|")
    for part, measure in RIGHT_BY.items():
        found = [
            (sheet.origin(part).confidence, row[measure]) for sheet, row in zip(sheets, rows, strict=True)
        ]
        quarters = np.array_split(np.array(sorted(found)), 4)
        means = [quarter.mean(axis=0) for quarter in quarters]
        print(f"| {part}, {measure} | {' | '.join(f'{said:.2f}, {right:.2f}' for said, right in means)} |")


def rendered(
    analyser: Analyser, side: str, folder: Path, limit: int | None, seconds: float | None
) -> dict[str, object]:
    """The tables of rendered songs."""
    rows, sheets, references = [], [], []
    for path in sorted(folder.glob("*.json"))[:limit]:
        truth = json.loads(path.read_text(encoding="utf-8"))
        true = lead_sheet_of_truth(truth)
        sound, rate = read_mono(path.with_suffix(f".{side}.wav"))
        if seconds is not None:
            sound = sound[: round(seconds * rate)]
            true = true.cropped(0.0, min(seconds, true.duration_seconds))
        if len(true.beats) < 4:
            continue
        sheet = analyser.analyse(sound, rate)
        downbeats = beat_f_measure(list(sheet.downbeats), list(true.downbeats))
        rows.append(
            {**beat_row(sheet, times_of(true)), "downbeats": downbeats, **harmony_row(sheet, true, truth)}
        )
        sheets.append(sheet)
        references.append(times_of(true))
    figures = show(f"Rendered, {side}", rows, floor_rows(sheets, references))
    show_confidence(sheets, rows)
    return figures


def real(analyser: Analyser, side: str, folder: Path) -> dict[str, object]:
    """The table of real songs."""
    sounds, references = [], []
    for path in sorted(folder.glob("*.accompaniment.flac")):
        references.append(np.array(track_beats(*read_mono(path))))
        sounds.append(read_mono(path.with_name(path.name.replace(".accompaniment.", f".{side}."))))
    sheets = [analyser.analyse(*sound) for sound in sounds]
    rows = [beat_row(sheet, reference) for sheet, reference in zip(sheets, references, strict=True)]
    phases, random = phase_rows(analyser, sounds, references)
    floors = floor_rows(sheets, references)
    return show(
        f"Real, {side}",
        [{**row, **phase} for row, phase in zip(rows, phases, strict=True)],
        [{**row, **phase} for row, phase in zip(floors, random, strict=True)],
    )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--analysers", type=Path, required=True, help="folder of the two files")
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--real", type=Path)
    parser.add_argument("--only", choices=("vocal", "band"))
    parser.add_argument("--limit", type=int, help="rendered songs")
    parser.add_argument("--seconds", type=float, help="of each rendered song; default: all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures = {}
    names: tuple[AnalyserName, ...] = ("vocal", "band") if options.only is None else (options.only,)
    for name in names:
        analyser = read_analyser(options.analysers / f"{name}.safetensors")
        side = "vocal" if name == "vocal" else "instrumental"
        folder = options.pairs / options.split
        figures[name] = {"rendered": rendered(analyser, side, folder, options.limit, options.seconds)}
        if options.real is not None:
            side = "vocals" if name == "vocal" else "accompaniment"
            figures[name]["real"] = real(analyser, side, options.real)
    print("\n" + json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
