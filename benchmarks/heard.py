"""What `hafm analyse` says of real vocals, beside what their true bands play; and is "sure" right more often?

    python -m benchmarks.heard --real REAL

In: a folder of real vocals (`NAME.vocals.flac`) and, of most, their bands (`NAME.accompaniment.flac`).
Out: a table, one vocal per row: tempo, key and chords as heard in the vocal and as the bundle's band analyser
hears them in the band; then, for each part, how right it was among the more and the less confident half.

    beats    F-measure (70 ms) against the band's beats, at the best metrical level
    tempo    1 if within 5 % up to octaves, triples and their ratios
    key      1 the same, 0.5 a fifth away, 0.3 relative, 0.2 parallel (mir_eval's key score)
    chords   share of the time in which the vocal's and the band's chord have the same root and third

What the band analyser hears is no truth: on rendered bands its beats have F .95 and its chord roots .80
(docs/experiments.md). Floor: the same with the band of another song.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.analyser import any_level, key_score, read_mono, tempo_agrees, times_of
from hafm.evaluate.statistics import bootstrap_interval
from hafm.guide.chords import state_of
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.summary import key_words, tempo_words
from hafm.stages.bundle import Bundle

PARTS = ("beats", "key", "chords")
STEP_SECONDS = 0.1


def states(sheet: LeadSheet) -> np.ndarray:
    """Root and third of the chord at every step; -1 where it is unknown."""
    found = np.full(int(sheet.duration_seconds / STEP_SECONDS), -1)
    for span in sheet.chords:
        found[int(span.start_seconds / STEP_SECONDS) : int(span.end_seconds / STEP_SECONDS)] = state_of(
            span.label
        )
    return found


def rightness(vocal: LeadSheet, band: LeadSheet) -> dict[str, float]:
    """How far a vocal's sheet agrees with a band's, from 0 to 1."""
    scores = {}
    if band.beats:
        scores["beats"] = any_level(times_of(vocal), times_of(band)) if vocal.beats else 0.0
        scores["tempo"] = tempo_agrees(times_of(vocal), times_of(band)) if vocal.beats else 0.0
    scores["key"] = key_score(vocal, band)
    size = min(len(states(vocal)), len(states(band)))
    sung, played = states(vocal)[:size], states(band)[:size]
    known = (sung >= 0) & (played >= 0)
    if known.any():
        scores["chords"] = float((sung == played)[known].mean())
    return scores


def of_most(sheet: LeadSheet) -> str:
    """The chords, in short."""
    names = [span.label for span in sheet.chords]
    return " ".join(names[:6]) + (" ..." if len(names) > 6 else "")


def interval(values: Sequence[float]) -> str:
    """A mean with its 95 % interval over songs."""
    found = bootstrap_interval(values)
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def main() -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True, help="folder of real vocals")
    parser.add_argument("--bundle", default="builtin", help="whose analysers listen")
    parser.add_argument("--json", type=Path, help="also write all of it here")
    given = parser.parse_args()
    bundle = Bundle.open(given.bundle)
    vocal_analyser, band_analyser = bundle.load_analyser("vocal"), bundle.load_analyser("band")
    rows: list[dict[str, Any]] = []
    sheets: dict[str, tuple[LeadSheet, LeadSheet]] = {}
    print("| vocal | s | heard in the vocal | beats, key, chords: sure | heard in the band | right |")
    print("|---|---|---|---|---|---|")
    for path in sorted(given.real.glob("*.vocals.flac")):
        name = path.name.removesuffix(".vocals.flac")
        sheet = vocal_analyser.analyse(*read_mono(path))
        sure = {part: sheet.origin(part).confidence for part in PARTS if part != "beats" or sheet.beats}
        row: dict[str, Any] = {"name": name, "seconds": sheet.duration_seconds, "sure": sure}
        band_path = given.real / f"{name}.accompaniment.flac"
        said, right = "", ""
        if band_path.exists():
            band = band_analyser.analyse(*read_mono(band_path))
            sheets[name] = (sheet, band)
            row["right"] = rightness(sheet, band)
            said = _words(band)
            right = ", ".join(f"{part} {value:.2f}" for part, value in row["right"].items())
        rows.append(row)
        confident = ", ".join(f"{sure[part]:.2f}" if part in sure else "-" for part in PARTS)
        print(
            f"| {name} | {sheet.duration_seconds:.0f} | {_words(sheet)} | {confident} | {said} | {right} |",
            flush=True,
        )
    print()
    print("| part | right, all | another song's band | more confident half | less confident half |")
    print("|---|---|---|---|---|")
    judged = [row for row in rows if "right" in row]
    names = list(sheets)
    for part in PARTS:
        known = [row for row in judged if part in row["right"] and part in row["sure"]]
        order = sorted(known, key=lambda row: row["sure"][part])
        values = [
            [row["right"][part] for row in half]
            for half in (order, order[len(order) // 2 :], order[: len(order) // 2])
        ]
        floor = [
            rightness(sheets[name][0], sheets[names[(number + shift) % len(names)]][1]).get(part)
            for number, name in enumerate(names)
            for shift in (7, 13, 19)
        ]
        floor_mean = np.mean([value for value in floor if value is not None])
        cells = [interval(values[0]), f"{floor_mean:.2f}", interval(values[1]), interval(values[2])]
        print(f"| {part} | {' | '.join(cells)} |")
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def _words(sheet: LeadSheet) -> str:
    meter = f" {sheet.meters[0].label}" if sheet.beats else ""
    tempo = tempo_words(sheet) if sheet.beats else "free"
    return f"{tempo}{meter}, {key_words(sheet.keys[0])}: {of_most(sheet)}"


if __name__ == "__main__":
    sys.exit(main())
