r"""Render training pairs.

    python -m recipes.builtin.render --pop909 PACK --soundfont SF3 --voices NPZ --out DIR \
        --split train --hours 24

In: scores, a SoundFont and a voice bank. Out: a folder for each split, and for each pair

    000123.vocal.wav            24 kHz, mono, 16 bit
    000123.instrumental.wav     same length, same clock
    000123.drums.wav ...        with --stems: drums, bass, harmony, melody, before the bus (see `mixbus`)
    000123.json                 the truth; written last, so that a pair is complete if and only if this exists

Rerunning skips complete pairs; pair k does not depend on how many are rendered, by how many workers, or in
which order. Ctrl-C stops cleanly. A pair that fails is named in `failures.jsonl`, never replaced in silence;
more than 2 % stop the run.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import signal
import sys
import wave
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from recipes.builtin.rendering.pair import Pair, Sources, make_pair
from recipes.builtin.rendering.scores import SPLITS, PackedPop909
from recipes.builtin.rendering.scores_folder import Pop909Folder
from recipes.builtin.rendering.stems import SAMPLE_RATE, SoundFontRenderer, Waveform
from recipes.builtin.rendering.voices import VoiceBank

FAILURES_ALLOWED = 0.02
_QUEUED_PER_WORKER = 4


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """One run of the command.

    Attributes:
        pop909: the data set's folder, or the pack `pop909.npz.xz`.
        soundfont: an .sf2 or .sf3 file.
        voices: the voice bank.
        out: parent of the split folders.
        split: "train", "valid" or "test".
        hours: length of the whole split, pairs already there included.
        seconds: length of one pair.
        workers: processes.
        stems: whether to write the dry stems too.
        seed: of the corpus.
        solos: share of the pairs in which one stem plays alone.
    """

    pop909: Path
    soundfont: Path
    voices: Path
    out: Path
    split: str
    hours: float
    seconds: float = 20.0
    workers: int = 2
    stems: bool = False
    seed: int = 0
    solos: float = 0.0

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split {self.split!r} is not one of {', '.join(SPLITS)}")
        if not self.hours > 0:
            raise ValueError(f"--hours {self.hours} must be positive")
        if not 2 <= self.seconds <= 60:
            raise ValueError(f"--seconds {self.seconds} must lie in 2..60")
        if self.workers < 1:
            raise ValueError(f"--workers {self.workers} must be at least 1")
        if self.seed < 0:
            raise ValueError(f"--seed {self.seed} must not be negative")
        if not 0 <= self.solos <= 1:
            raise ValueError(f"--solos {self.solos} must lie in 0..1")

    @property
    def folder(self) -> Path:
        return self.out / self.split

    @property
    def num_pairs(self) -> int:
        return math.ceil(self.hours * 3600 / self.seconds)


def write_pair(folder: Path, index: int, pair: Pair, *, stems: bool) -> None:
    """Write a pair; its JSON comes last and is the commit point.

    Args:
        folder: must exist.
        index: number of the pair.
        pair: what to write.
        stems: whether to write the stems.
    """
    waveforms = {"vocal": pair.vocal, "instrumental": pair.instrumental, **(pair.stems if stems else {})}
    for name, waveform in waveforms.items():
        path = folder / f"{index:06d}.{name}.wav"
        partial = path.with_suffix(".wav.partial")
        _write_wav(partial, waveform)
        partial.replace(path)
    path = truth_path(folder, index)
    partial = path.with_suffix(".json.partial")
    partial.write_text(json.dumps(pair.truth, indent=1) + "\n")
    partial.replace(path)


def truth_path(folder: Path, index: int) -> Path:
    """Where a pair's truth is, `000123.json`."""
    return folder / f"{index:06d}.json"


def _write_wav(path: Path, waveform: Waveform) -> None:
    with path.open("wb") as stream, wave.open(stream, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE)
        wav.writeframes(np.round(np.clip(waveform, -1.0, 1.0) * 32767.0).astype("<i2").tobytes())
        stream.flush()


def open_sources(config: RenderConfig) -> Sources:
    """Open the scores, the voices and the SoundFont that a run names.

    Raises:
        FileNotFoundError: one of them is not there.
        ValueError: one of them is not what it should be.
    """
    folder = config.pop909.is_dir()
    return Sources(
        scores=Pop909Folder(config.pop909) if folder else PackedPop909(config.pop909),
        voices=VoiceBank(config.voices),
        renderer=SoundFontRenderer(config.soundfont),
    )


Opener = Callable[[RenderConfig], Sources]

_worker: tuple[RenderConfig, Sources] | None = None


def _start_worker(config: RenderConfig, opener: Opener) -> None:
    """Open the sources once per process. The parent alone answers Ctrl-C."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _worker = config, opener(config)


def _render_one(index: int) -> tuple[int, str | None]:
    """Render and write one pair. Returns its index and the reason of failure, if any."""
    assert _worker is not None
    config, sources = _worker
    try:
        pair = make_pair(
            sources,
            seed=config.seed,
            split=config.split,
            index=index,
            seconds=config.seconds,
            solos=config.solos,
        )
    except ValueError as error:  # what make_pair raises for a pair that cannot be; anything else is a bug
        return index, str(error)
    write_pair(config.folder, index, pair, stems=config.stems)
    return index, None


def render(config: RenderConfig, *, opener: Opener = open_sources) -> int:
    """Render what is missing of a split.

    Args:
        config: what to render.
        opener: opens the sources, once in each worker process; a function of a module.

    Returns:
        Number of pairs rendered now.

    Raises:
        RuntimeError: more than `FAILURES_ALLOWED` of the pairs failed.
        KeyboardInterrupt: Ctrl-C; complete pairs stay, and running the command again goes on.
    """
    config.folder.mkdir(parents=True, exist_ok=True)
    missing = [index for index in range(config.num_pairs) if not _is_complete(config, index)]
    failed = 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("pairs, left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, refresh_per_second=1) as progress:
        bar = progress.add_task(
            config.split, total=config.num_pairs, completed=config.num_pairs - len(missing)
        )
        for index, reason in _results(config, missing, opener):
            if reason is not None:
                failed += 1
                with (config.folder / "failures.jsonl").open("a") as ledger:
                    ledger.write(json.dumps({"index": index, "reason": reason}) + "\n")
                if failed > max(3, FAILURES_ALLOWED * config.num_pairs):
                    raise RuntimeError(
                        f"{failed} pairs failed, more than {FAILURES_ALLOWED:.0%}; the last reason: {reason}"
                    )
            progress.advance(bar)
    return len(missing) - failed


def _is_complete(config: RenderConfig, index: int) -> bool:
    if not truth_path(config.folder, index).is_file():
        return False
    return not config.stems or (config.folder / f"{index:06d}.melody.wav").is_file()


def _results(
    config: RenderConfig, indices: Sequence[int], opener: Opener
) -> Iterator[tuple[int, str | None]]:
    """Render in worker processes, with a short queue so that an interrupt has little to wait for."""
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(
        config.workers, mp_context=context, initializer=_start_worker, initargs=(config, opener)
    )
    waiting = iter(indices)
    running: set[Future[tuple[int, str | None]]] = set()
    try:
        while True:
            while len(running) < _QUEUED_PER_WORKER * config.workers:
                index = next(waiting, None)
                if index is None:
                    break
                running.add(executor.submit(_render_one, index))
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _parse(arguments: Sequence[str] | None) -> RenderConfig:
    parser = argparse.ArgumentParser(
        prog="python -m recipes.builtin.render", description="Render aligned vocal and instrumental pairs."
    )
    parser.add_argument("--pop909", type=Path, required=True, help="POP909: its folder, or the pack")
    parser.add_argument("--soundfont", type=Path, required=True, help="General MIDI .sf2 or .sf3")
    parser.add_argument("--voices", type=Path, required=True, help="voice bank, voicebank_flite.npz")
    parser.add_argument("--out", type=Path, required=True, help="parent of the split folders")
    parser.add_argument("--split", required=True, choices=SPLITS)
    parser.add_argument("--hours", type=float, required=True, help="length of the whole split")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a pair (default 20)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--stems", action="store_true", help="write the dry stems too")
    parser.add_argument("--seed", type=int, default=0, help="of the corpus (default 0)")
    parser.add_argument(
        "--solos",
        type=float,
        default=0.0,
        help="share of pairs with one stem alone (default 0)",
    )
    values = parser.parse_args(arguments)
    try:
        config = RenderConfig(**vars(values))
    except ValueError as error:
        parser.error(str(error))
    for name in ("pop909", "soundfont", "voices"):
        if not getattr(config, name).exists():
            parser.error(f"--{name}: no file {getattr(config, name)}")
    return config


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status: 0, 1 after too many failures, 130 after Ctrl-C."""
    config = _parse(arguments)
    # One thread per worker: the arrays are small, and libraries that start more only get in each other's way.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    # A shell starts background jobs with SIGINT ignored; both signals shall stop the run all the same.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        count = render(config)
    except KeyboardInterrupt:
        print("stopped; complete pairs are kept, run the same command to go on", file=sys.stderr)
        return 130
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{count} pairs rendered into {config.folder}, {config.num_pairs} wanted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
