"""`hafm retrieve`: an accompaniment from recordings that exist.

In: options. Out: a `RetrieveOutcome`: where everything is, and what a user should know.

    folder? index? python-stretch? vocal? room?   ->   rank, render   ->   write   ->   put in place
    `-------- refused before any work --------'                            `-- all or nothing (files.py) -'

    accompaniment.wav   mono, as long as the vocal and at its sample rate, at the level of the instrumental
    mix.wav             with the vocal, in the vocal's channels
    retrieval.json      vocal (by hash), index (by fingerprint), match, settings, versions, hashes of both

`retrieval.json` is what makes them again: the same index, vocal and options give the same match, and the same
versions on the same machine the same bytes. It is written last. As JSON:

    {"takes": [{"take", "accompaniment", "mix", "record", "match": {...}, "levels"}],
     "vocal": {...}, "index": {"folder", "fingerprint", "songs"}, "timings": {...}, "notes"}

The work itself is that of `hafm.evaluate.retrieval`; start to read there.
"""

import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hafm.app import options
from hafm.app.command import Command, Range, argument, option
from hafm.app.generate_result import Take, vocal_to_json
from hafm.app.interrupt import Interrupts
from hafm.errors import OutputError
from hafm.version import __version__

if TYPE_CHECKING:
    from hafm.app.display import Display
    from hafm.audio.sound import Audio
    from hafm.evaluate.retrieval.index import RetrievalIndex
    from hafm.evaluate.retrieval.retrieve import Retrieved
    from hafm.files import StagedFolder
    from hafm.generate.record import Output

__all__ = ["RECORD_FILE", "Retrieve", "RetrieveOutcome", "RetrievedTake"]

RECORD_FILE = "retrieval.json"

_FOUND = "Where it is found"
_FORMAT = 1
_BYTES_PER_SAMPLE = 3
_BYTES_BESIDE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class RetrievedTake(Take):
    """One accompaniment that was found and written."""

    found: "Retrieved"

    def to_json(self) -> dict[str, Any]:
        values = super().to_json()
        levels = values.pop("levels")
        return {**values, "match": self.found.to_dict(), "levels": levels}


@dataclass(frozen=True, kw_only=True)
class RetrieveOutcome:
    """What was found.

    Args:
        folder: of the index.
    """

    takes: Sequence[RetrievedTake]
    vocal: "Audio"
    folder: Path
    index: "RetrievalIndex"
    timings: Mapping[str, float]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know."""
        return self.vocal.notes

    def summary(self) -> str:
        """For people: what it is and why, where the files are, and how long it took."""
        lines = []
        for take in self.takes:
            lines.append(f"{'found':<14} {take.found.entry.track_id}: {take.found.why}")
            lines += [f"{name:<14} {path}" for name, path in take.paths.items()]
        lines.append(
            f"{'':<14} {self.vocal.seconds:.1f} s, found among {self._num_songs:,} songs in "
            f"{self.timings['total_seconds']:.1f} s"
        )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        return {
            "takes": [take.to_json() for take in self.takes],
            "vocal": vocal_to_json(self.vocal),
            "index": {
                "folder": str(self.folder),
                "fingerprint": self.index.fingerprint,
                "songs": self._num_songs,
            },
            "timings": dict(self.timings),
            "notes": list(self.notes),
        }

    @property
    def _num_songs(self) -> int:
        return len({entry.song_id for entry in self.index.entries})


@dataclass(frozen=True, kw_only=True)
class Retrieve(Command):
    """Find the instrumental that fits a vocal best, and make it fit: the baseline without a model.

    It is chosen by key, tempo and chords, transposed, stretched, and looped where it is too short.

    Writes accompaniment.wav, mix.wav, and retrieval.json, which says what it is and why.
    """

    vocal: Path = argument(options.VOCALS, "VOCAL")
    start: float | None = options.start()
    seconds: float | None = options.seconds()
    output: Path = options.output()
    overwrite: bool = options.overwrite()
    format: options.SoundFormat = options.sound_format()
    balance: float | None = options.balance()
    loudness: float | None = options.loudness()
    index: Path = option(
        "What hafm retrieve-index made. Required.",
        "FOLDER",
        _FOUND,
        shown=False,
        required="no index was given; make one with hafm retrieve-index, and name it with --index",
    )
    collection: Path | None = option(
        "Where the collection of the index is now, if it was moved.", "FOLDER", _FOUND, shown=False
    )
    rank: int = option("Take the N-th best song.", "N", _FOUND, default=1, within=Range(1))
    takes: int = option(
        f"Take N songs, from that rank on, 1 to {options.MAX_TAKES}: take-1/, take-2/, ...",
        "N",
        _FOUND,
        default=1,
        within=Range(1, options.MAX_TAKES),
    )
    exclude: list[str] | None = option(
        "Never find this song, by its id in the index; may be given several times.",
        "SONG",
        _FOUND,
        shown=False,
    )

    examples: ClassVar = (
        "hafm retrieve vocal.wav --index index/ -o out/",
        "hafm retrieve vocal.wav --index index/ -o out/ --takes 4 --balance 0",
    )

    def run(self, shown: "Display", interrupts: Interrupts) -> RetrieveOutcome:
        began = time.monotonic()
        shown.step("getting ready")
        from hafm.device import one_thread
        from hafm.evaluate.retrieval.transform import check_stretcher

        self._check_folders()
        check_stretcher()
        with (
            one_thread(),
            interrupts.staged_folder(self.output, last=[RECORD_FILE], overwrite=self.overwrite) as folder,
        ):
            return self._make(folder, shown, began)

    def _make(self, folder: "StagedFolder", shown: "Display", began: float) -> RetrieveOutcome:
        """All that is done once the output folder is ours."""
        from hafm.audio.io import read_audio
        from hafm.evaluate.retrieval.retrieve import Retriever
        from hafm.files import check_output_folder

        retriever = Retriever.open(self.index, root=self.collection)
        vocal = read_audio(self.vocal, start_seconds=self.start, seconds=self.seconds)
        channels = 1 + vocal.num_channels  # the accompaniment is mono, the mix has the vocal's channels
        check_output_folder(
            self.output,
            overwrite=True,
            needed_bytes=self.takes * (channels * vocal.num_samples * _BYTES_PER_SAMPLE + _BYTES_BESIDE),
            largest_bytes=_BYTES_PER_SAMPLE * vocal.waveform.numel() if self.format == "wav" else 0,
        )
        ready = time.monotonic()

        shown.step("listening")
        excluded = tuple(self.exclude or ())
        ranking = retriever.rank(vocal.mono(), vocal.sample_rate, exclude_songs=excluded)
        ranking.match(self.rank - 1 + self.takes - 1)  # before any is made
        found = [retriever.render(ranking, self.rank - 1 + take) for take in range(self.takes)]
        made = time.monotonic()

        shown.step("writing")
        takes = []
        for number, each in enumerate(found, start=1):
            staging = folder.staging / f"take-{number}" if len(found) > 1 else folder.staging
            paths, output = self._write(each, vocal, staging, identity=retriever.identity())
            for path in paths.values():
                folder.finish(path)
            final = {name: folder.final(path) for name, path in paths.items()}
            takes.append(RetrievedTake(number=number, paths=final, levels=output.levels, found=each))
        written = time.monotonic()
        return RetrieveOutcome(
            takes=takes,
            vocal=vocal,
            folder=self.index,
            index=retriever.index,
            timings={
                "prepare_seconds": ready - began,
                "retrieve_seconds": made - ready,
                "write_seconds": written - made,
                "total_seconds": written - began,
            },
        )

    def _check_folders(self) -> None:
        """Refuses an output folder that cannot take results, or where one could replace vocal or index."""
        from hafm.files import check_output_folder

        names = [f"accompaniment.{self.format}", f"mix.{self.format}", RECORD_FILE]
        takes = options.take_folders(Path(), self.takes)[1:] or [Path()]
        results = [(folder / name).as_posix() for folder in takes for name in names]
        check_output_folder(self.output, overwrite=self.overwrite, files=results)
        options.require_elsewhere(self.output, {"vocal": self.vocal}, results=results)
        for folder in options.take_folders(self.output, self.takes):
            if self.index.resolve() == folder.resolve():
                raise OutputError(f"'{folder}' is the index; give another folder with -o")

    def _write(
        self, found: "Retrieved", vocal: "Audio", folder: Path, *, identity: Mapping[str, Any]
    ) -> "tuple[dict[str, Path], Output]":
        """Writes accompaniment, mix and record; the files by what they hold, and what the record says."""
        from hafm.files import write_whole
        from hafm.generate.accompaniment import write_mixed

        paths, output = write_mixed(
            folder,
            vocal=vocal,
            accompaniment=found.waveform[None],
            format=self.format,
            **options.levels(self.balance, self.loudness),
        )
        record = {
            "format": _FORMAT,
            "environment": _environment(),
            "retriever": dict(identity),
            "input": {
                "path": vocal.path,
                "sha256": vocal.sha256,
                "start_seconds": vocal.start_seconds,
                "sample_rate_hz": vocal.sample_rate,
                "num_samples": vocal.num_samples,
                "num_channels": vocal.num_channels,
            },
            "exclude_songs": sorted(self.exclude or ()),
            "match": found.to_dict(),
            "output": asdict(output),
        }
        paths["record"] = folder / RECORD_FILE
        write_whole(paths["record"], json.dumps(record, indent=2) + "\n")
        return paths, output


def _environment() -> dict[str, str | None]:
    return {
        "hafm": __version__,
        **{name: _version(name) for name in ("torch", "numpy", "soxr", "python-stretch")},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:  # not needed where nothing was transposed or stretched
        return None
