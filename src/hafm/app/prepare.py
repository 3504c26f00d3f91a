"""`hafm prepare`: a music collection turned into token shards.

In: options. Out: a `PrepareOutcome` or a `RehearsalOutcome`, and the files. The work itself is that of
`hafm.data.preparing.prepare`.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hafm.app import options
from hafm.app.command import Command, Range, argument, flag, option
from hafm.app.interrupt import Interrupts
from hafm.app.options import RUN, TAKEN, TOKENS
from hafm.errors import UsageError
from hafm.progress import Progress
from hafm.words import plural, size

if TYPE_CHECKING:
    from hafm.app.display import Display
    from hafm.data.collection.track import Source
    from hafm.data.preparing.before import PrepareConfig, Rehearsal
    from hafm.data.preparing.prepare_report import PrepareSummary
    from hafm.data.preparing.track_preparer import OpenTokenPreparer, TrackEngine

__all__ = ["Prepare", "PrepareOutcome", "RehearsalOutcome", "parse_clip_seconds"]

_SHOWN_REASONS = 12
_KEPT = "What is kept"
_MIXES = ("mixes", "fma")
_STEPS = {"scan": "reading", "tokens": "preparing", "trial": "trying"}


@dataclass(frozen=True, kw_only=True)
class PrepareOutcome:
    """A run that went through."""

    result: "PrepareSummary"
    kind: str
    output: Path
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "output": str(self.output),
            "wall_seconds": self.seconds,
            **self.result.to_json(),
        }

    def summary(self) -> str:
        result, counts = self.result, self.result.counts
        lines = [
            f"{self.output}: {size(result.num_bytes)} in {plural(result.num_shards, 'shard')}, "
            f"from {plural(counts.items, 'track')}",
            "",
            _line("done", counts.done, _shares(result.splits)),
            _line("dropped", counts.dropped),
            *_reasons(result.dropped),
            _line("quarantined", counts.quarantined),
            *_reasons(result.quarantined),
            "",
            f"{_clock(result.seconds)} of audio, of which the filter keeps {_clock(result.kept_seconds)}",
        ]
        if result.speeds:
            lines += ["", "seconds of audio per second of one core:"]
            lines += [f"    {step:<22}{speed:10,.1f}" for step, speed in result.speeds.items()]
            whole = result.seconds / sum(result.spent.values())
            lines.append(f"    {'all together':<22}{whole:10,.1f}")
        if result.notes:
            lines += ["", "notes:", *_reasons(result.notes)]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class RehearsalOutcome:
    """A dry run."""

    rehearsal: "Rehearsal"
    kind: str
    workers: int

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "workers": self.workers,
            "wall_seconds": self.rehearsal.wall_seconds(self.workers),
            **self.rehearsal.to_json(),
        }

    def summary(self) -> str:
        found = self.rehearsal
        lines = [
            f"a dry run: nothing was written; a collection of kind {self.kind}",
            "",
            _line("known already", found.known),
            _line("new", found.new),
            *_reasons(found.lost),
            _line("to be done", found.pending, _shares(found.splits)),
            "",
            *(f"tried {name}: {verdict}" for name, verdict in found.tried.items()),
            "",
            f"audio   {_clock(found.audio_seconds)}",
            f"disk    {size(found.num_bytes)} needed, {size(found.free)} free",
        ]
        wall = found.wall_seconds(self.workers)
        if wall is not None and found.core_seconds_per_second:
            lines.append(
                f"time    {_clock(wall)} with {plural(self.workers, 'worker')} "
                f"({1 / found.core_seconds_per_second:,.1f} s of audio per second of one core)"
            )
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Prepare(Command):
    """Turn a music collection into token shards, which training reads.

    Separates mixes, drops clips that teach nothing, makes tokens, and keeps a ledger of every track. Stopped
    anywhere, the same command goes on where it was, and the shards come out the same.
    """

    source: Path = argument("The folder of a music collection.", "SOURCE")
    output: Path = options.output(
        "Where the shards go; the same folder again goes on.", example="shards/", panel=None
    )
    kind: options.Kind | None = options.kind()
    subset: options.Subset | None = options.subset()
    song_from: str | None = options.song_from()
    limit: int | None = options.limit()
    valid_share: float = option(
        "Share of songs held out for validation, where the collection does not say.", "X", TAKEN, default=0.02
    )
    test_share: float = option("Share of songs held out for tests.", "X", TAKEN, default=0.02)
    quarantine_limit: float = options.quarantine_limit()
    retry: bool = flag("Look at quarantined tracks again, now that their files were mended.", TAKEN)
    parts: str = option(
        "Features, codec and k-means: builtin, paper, a folder of fit-kmeans, or a bundle.",
        "NAME",
        TOKENS,
        default="builtin",
    )
    kmeans: Path | None = option(
        "The k-means of this folder, in place of those of the parts.", "FOLDER", TOKENS, shown=False
    )
    separator: Path | None = options.separator()
    views: int = option("Tokenise each vocal N times.", "N", TOKENS, default=1)
    augment: bool = options.augment()
    guide: bool = flag(
        "Store a lead sheet per track: NAME.lead.json, .mid or .lab beside the audio, and for the rest "
        "what is heard in the instrumental.",
        TOKENS,
    )
    seed: int = option(
        "Of noise, augmentation and splits; 0 or more.", "N", TOKENS, default=0, within=Range(0)
    )
    clip_seconds: str = option(
        "Length of the clips that are kept or dropped.", "SECONDS", _KEPT, default="10"
    )
    min_instrumental: float = option(
        "Drop clips whose instrumental is quieter (RMS), -120 to 0.", "DBFS", _KEPT, default=-25.0
    )
    max_vocal_over: float = option(
        "Drop clips whose vocal is louder than the instrumental by more, -120 to 120.",
        "DB",
        _KEPT,
        default=5.0,
    )
    workers: int | None = option(
        "Processes, each with its own models; 0 works in this one.",
        "N",
        RUN,
        shown="one per core",
        within=Range(0, options.MAX_WORKERS),
    )
    batch_size: int = option("Tracks that a worker takes at once; for GPUs.", "N", RUN, default=1)
    device: str = options.device()
    engine: Literal["local", "ray"] = option(
        "What runs the workers: this machine, or a Ray cluster.", "local|ray", RUN, default="local"
    )
    address: str | None = option(
        "Of a running Ray cluster; auto finds the one of this machine.",
        "ADDRESS",
        RUN,
        shown="a new one, here",
    )
    dry_run: bool = flag("Scan, try a few tracks, report what it would take, and write nothing.", RUN)

    examples: ClassVar = (
        "hafm prepare work/pairs -o shards/ --views 2 --augment",
        "hafm prepare pairs/ -o shards/ --guide",
        "hafm prepare musdb18hq/ -o shards/ --parts parts/",
        "hafm prepare fma/ --subset large --separator vocals.onnx --parts parts/ --device cuda -o shards/",
    )

    def check(self) -> None:
        """Refuses what does not go together.

        >>> Prepare(source=Path("music"), output=Path("shards"), address="auto")
        Traceback (most recent call last):
        ...
        hafm.errors.UsageError: --address names a Ray cluster; use it with --engine ray
        """
        parse_clip_seconds(self.clip_seconds)
        if self.engine == "ray" and self.workers == 0:
            raise UsageError("--workers 0 works in this process, which Ray does not; give 1 or more")
        if self.address is not None and self.engine != "ray":
            raise UsageError("--address names a Ray cluster; use it with --engine ray")
        if self.output.resolve() == self.source.resolve():
            raise UsageError(f"'{self.output}' is the collection itself; give another folder with -o")

    @property
    def num_workers(self) -> int:
        """How many processes: one per core, or one for a GPU, where the option was not given."""
        if self.workers is not None:
            return self.workers
        return options.cores() if self.device == "cpu" else 1

    def run(self, shown: "Display", interrupts: Interrupts) -> PrepareOutcome | RehearsalOutcome:
        began = time.monotonic()
        shown.step("looking at the collection")
        source, kind = self._source()
        opener = self._opener(kind)
        shown.step("loading the parts")
        from hafm.data.preparing.before import rehearse
        from hafm.data.preparing.prepare import prepare
        from hafm.device import find_device

        find_device(self.device)
        config = self._config()
        if self.dry_run:
            rehearsal = rehearse(config, source, opener, on_progress=shown.follow(_STEPS))
            return RehearsalOutcome(rehearsal=rehearsal, kind=kind, workers=max(1, self.num_workers))

        interrupts.left = "what is done is kept; run the same command to go on"
        report = shown.follow(_STEPS)

        def on_progress(progress: Progress) -> None:
            if progress.step == "tokens":
                interrupts.left = (
                    f"{progress.done:,} of {progress.total:,} tracks are done; run the same command to go on"
                )
            report(progress)

        result = prepare(config, source, opener, engine=self._engine(), on_progress=on_progress)
        interrupts.left = "all tracks are done"
        return PrepareOutcome(result=result, kind=kind, output=self.output, seconds=time.monotonic() - began)

    def _source(self) -> "tuple[Source, str]":
        from hafm.data.collection.sources import guess_kind, open_source

        # Resolved, so that the same collection is the same one from another folder too.
        root = self.source.resolve()
        kind = self.kind if self.kind is not None else guess_kind(root)
        source = open_source(kind, root, subset=self.subset, song_from=self.song_from)
        if not self.guide:
            return source, kind
        from hafm.data.collection.sheets import WithSheets

        return WithSheets(source=source), kind

    def _opener(self, kind: str) -> "OpenTokenPreparer":
        from hafm.data.preparing.track_preparer import OpenTokenPreparer
        from hafm.data.tokenising.tokenise import TokeniseSettings

        separator = None
        if kind in _MIXES:
            separator = options.separator_path(self.separator, spelling="--separator")
        elif self.separator is not None:
            raise UsageError(
                f"--separator is for mixes, and a collection of kind {kind} has stems; leave it out"
            )
        return OpenTokenPreparer(
            parts=self.parts,
            kmeans=self.kmeans,
            separator=separator,
            settings=TokeniseSettings(
                seed=self.seed,
                views=self.views,
                augment=self.augment,
                clip_seconds=parse_clip_seconds(self.clip_seconds),
            ),
            device=self.device,
            hears_sheets=self.guide,
        )

    def _config(self) -> "PrepareConfig":
        from hafm.data.preparing.before import PrepareConfig
        from hafm.data.preparing.scan import SplitRule
        from hafm.data.tokenising.clip_filter import ClipFilter

        return PrepareConfig(
            out=self.output,
            clip_filter=ClipFilter(
                min_instrumental_dbfs=self.min_instrumental, max_vocal_over_db=self.max_vocal_over
            ),
            split_rule=SplitRule(seed=self.seed, valid_share=self.valid_share, test_share=self.test_share),
            batch_size=self.batch_size,
            limit=self.limit,
            quarantine_limit=self.quarantine_limit,
            retry=self.retry,
        )

    def _engine(self) -> "TrackEngine":
        from hafm.data.preparing.track_preparer import quarantine
        from hafm.workers import Pool, SameProcess

        if self.engine == "ray":
            from hafm.data.preparing.ray_engine import RayEngine

            gpus = 1.0 if self.device.startswith("cuda") else 0.0
            return RayEngine(workers=self.num_workers, address=self.address, gpus=gpus)
        if not self.num_workers:
            return SameProcess()
        return Pool(workers=self.num_workers, give_up=quarantine, name="hafm-prepare")


def parse_clip_seconds(text: str) -> Fraction:
    """An exact number of seconds.

    >>> parse_clip_seconds("2.5"), parse_clip_seconds("1/3")
    (Fraction(5, 2), Fraction(1, 3))
    """
    try:
        seconds = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"--clip-seconds is {text!r}; give a number such as 10 or 2.5") from None
    if not seconds > 0:
        raise UsageError(f"--clip-seconds is {text}; give more than 0")
    return seconds


def _line(name: str, number: int, more: str = "") -> str:
    return f"{name:<14}{number:>9,}" + (f"   {more}" if more else "")


def _shares(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items())


def _reasons(reasons: Mapping[str, int]) -> list[str]:
    shown = list(reasons.items())[:_SHOWN_REASONS]
    lines = [f"    {number:>9,} × {reason}" for reason, number in shown]
    if len(reasons) > len(shown):
        lines.append(f"    and {len(reasons) - len(shown)} other reasons; see ledger.tsv")
    return lines


def _clock(seconds: float) -> str:
    """Hours and minutes, or minutes and seconds.

    >>> _clock(95), _clock(36_000)
    ('1:35 min', '10:00 h')
    """
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600:,}:{whole % 3600 // 60:02d} h"
