"""What generation costs: seconds of compute per second of audio, stage by stage, and peak memory.

    python benchmarks/generate.py --seconds 10 60 --takes 1 4

In: a bundle, lengths of vocal, numbers of takes. Out: a table, and one JSON line with the same figures.

Conventions: each row is measured in a process of its own, so that its peak memory is its own; the figures
of the stages do not include the import of the libraries, which has a column. The vocal is the bundled one,
repeated to the length asked for. "x real time" below 1 is faster than the music plays; with several takes
it is a second of every take.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

DEMO_VOCAL = Path(__file__).parent.parent / "src/hafm/assets/demo_vocal.flac"
STEPS = ("import", "hear", "semantic", "coarse", "fine", "sound", "save")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row: what is measured."""

    bundle: str
    vocal: str
    seconds: float
    takes: int
    threads: int
    device: str


def measure(case: Case) -> dict[str, Any]:
    """Runs one case in this process.

    Returns:
        The case, `seconds_by_step`, `real_time_factor` of all stages together, and memory in MB:
        `after_import` and `peak`.
    """
    began = time.perf_counter()
    import tempfile

    import torch

    from hafm.audio.io import audio_from_array, read_audio
    from hafm.generate.accompany import Accompanist
    from hafm.progress import Progress

    torch.set_num_threads(case.threads)
    recording = read_audio(case.vocal)
    num_samples = round(case.seconds * recording.sample_rate)
    repeats = -(-num_samples // recording.num_samples)
    vocal = recording.waveform.repeat(1, repeats)[:, :num_samples]
    audio_from_array(vocal, recording.sample_rate)  # refused here, if at all
    accompanist = Accompanist.from_pretrained(case.bundle, device=case.device)
    imported = time.perf_counter()
    after_import = peak_megabytes()

    first: dict[str, float] = {}
    last: dict[str, float] = {}

    def on_progress(progress: Progress) -> None:
        last[progress.step] = time.perf_counter()
        first.setdefault(progress.step, last[progress.step])

    takes = accompanist.generate_takes(
        vocal, takes=case.takes, sample_rate=recording.sample_rate, on_progress=on_progress
    )
    generated = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for number, take in enumerate(takes, start=1):
            take.save(Path(folder) / str(number))
    saved = time.perf_counter()
    # A stage is loaded and reads its prompt before it reports its first frame; that is counted with it. For
    # the first one that cannot be separated from the hearing of the vocal, and counts as hearing.
    marks = [imported, first["semantic"], last["semantic"], last["coarse"], last["fine"], generated, saved]
    seconds = [imported - began, *(after - before for before, after in pairwise(marks))]
    return {
        **asdict(case),
        "seconds_by_step": dict(zip(STEPS, seconds, strict=True)),
        "real_time_factor": (generated - imported) / case.seconds / case.takes,
        "megabytes": {"after_import": after_import, "peak": peak_megabytes()},
    }


def peak_megabytes() -> float:
    """The most memory that this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3  # bytes there, kilobytes elsewhere


def in_a_process_of_its_own(case: Case) -> dict[str, Any]:
    """What `measure` returns, from a fresh process."""
    command = [sys.executable, __file__, "--case", json.dumps(asdict(case))]
    environment = {**os.environ, "OMP_NUM_THREADS": str(case.threads)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        sys.exit(f"the measurement of {case} failed; what it said is above")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown: seconds of compute per second of one take's audio."""
    stages = STEPS[1:]
    lines = [
        "| audio | takes | import | " + " | ".join(stages) + " | x real time | peak MB |",
        "|---" * (len(stages) + 5) + "|",
    ]
    for row in results:
        seconds = row["seconds_by_step"]
        parts = [f"{seconds[stage] / row['seconds'] / row['takes']:.3f}" for stage in stages]
        lines.append(
            f"| {row['seconds']:g} s | {row['takes']} | {seconds['import']:.1f} s | {' | '.join(parts)} "
            f"| {row['real_time_factor']:.2f} | {row['megabytes']['peak']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bundle", default="builtin", help="builtin, a folder, or a hub id")
    parser.add_argument("--vocal", default=str(DEMO_VOCAL), help="a recording")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0], help="lengths of vocal")
    parser.add_argument("--takes", type=int, nargs="+", default=[1], help="takes in one pass")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(Case(**json.loads(options.case)))))
        return
    results = [
        in_a_process_of_its_own(
            Case(
                bundle=options.bundle,
                vocal=options.vocal,
                seconds=seconds,
                takes=takes,
                threads=options.threads,
                device=options.device,
            )
        )
        for seconds, takes in product(options.seconds, options.takes)
    ]
    print(table(results))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
