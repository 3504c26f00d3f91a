"""`hafm separate`: from songs to their vocals and instrumentals.

In: options. Out: a `SeparationOutcome`: where everything is, and what a user should know.

    options? folder? separator? songs (each is decoded once)? room on the disk?   ->   separate, song by song
    `------------------ refused before the first song is separated ------------'

    one song        OUT/vocal.wav, OUT/instrumental.wav
    several         OUT/NAME/vocal.wav, OUT/NAME/instrumental.wav, NAME being the song's without its ending

Each song's files take their place together when it is done. What stops the command later leaves them there.
As JSON:

    {"songs": [{"song", "sha256", "seconds", "sample_rate_hz", "num_samples", "num_channels",
                "vocal", "instrumental", "encoding", "peaks": {"vocal", "instrumental"}, "notes"}],
     "separator": {"model", "fingerprint"}, "timings": {"total_seconds"}, "notes": [...]}
"""

import contextlib
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from hafm.app import options
from hafm.app.command import Command, Range, argument, option
from hafm.app.interrupt import Interrupts
from hafm.errors import UsageError
from hafm.estimate import Estimator, Phase

if TYPE_CHECKING:
    from hafm.app.display import Display
    from hafm.audio.read_blocks import Survey
    from hafm.files import StagedFolder
    from hafm.separate.files import SongJob, WrittenStems
    from hafm.separate.separator import Separator

__all__ = ["Separate", "SeparatedSong", "SeparationOutcome"]

_MAX_WORKERS = 64
_PHASE = "separation"


@dataclass(frozen=True, kw_only=True)
class SeparatedSong:
    """A song that is done."""

    song: "Survey"
    stems: "WrittenStems"
    paths: dict[str, Path]

    def to_json(self) -> dict[str, Any]:
        return {
            "song": str(self.song.path),
            "sha256": self.song.sha256,
            "seconds": self.song.seconds,
            "sample_rate_hz": self.song.sample_rate,
            "num_samples": self.song.num_samples,
            "num_channels": self.song.num_channels,
            **{stem: str(path) for stem, path in self.paths.items()},
            "encoding": self.stems.encoding,
            "peaks": self.stems.peaks,
            "notes": list(self.stems.notes),
        }


@dataclass(frozen=True, kw_only=True)
class SeparationOutcome:
    """What was done.

    Args:
        songs: in the order in which they were given.
    """

    songs: Sequence[SeparatedSong]
    model: Path
    fingerprint: str
    seconds: float

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know."""
        several = len(self.songs) > 1
        return tuple(
            f"{each.song.path}: {note}" if several else note
            for each in self.songs
            for note in each.stems.notes
        )

    def summary(self) -> str:
        """For people: where the files are, and how long it took."""
        lines = [f"{stem:<14} {path}" for each in self.songs for stem, path in each.paths.items()]
        audio = sum(each.song.seconds for each in self.songs)
        what = f"{len(self.songs)} songs, " if len(self.songs) > 1 else ""
        lines.append(f"{'':<14} {what}{audio:.1f} s, separated in {self.seconds:.1f} s")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        return {
            "songs": [each.to_json() for each in self.songs],
            "separator": {"model": str(self.model), "fingerprint": self.fingerprint},
            "timings": {"total_seconds": self.seconds},
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class Separate(Command):
    """Take songs apart: the vocal, and the instrumental.

    Writes vocal.wav and instrumental.wav, as long as the song and at its sample rate. Their sum is the song.

    The separator is an MDX-Net that you bring: MODEL.onnx, and MODEL.json beside it.
    """

    songs: list[Path] = argument(
        "Whole songs: wav, flac, mp3, ogg, opus, and with ffmpeg m4a, mp4, webm.", "SONG..."
    )
    model: Path | None = option(
        "The separator, an MDX-Net; MODEL.json beside it says what its numbers mean.",
        "MODEL.onnx",
        options.MADE,
        shown=f"that of {options.VARIABLE}",
    )
    output: Path = options.output(
        "Where the results go; of several songs, into a folder each.", example="out/"
    )
    overwrite: bool = options.overwrite()
    format: options.SoundFormat = options.sound_format()
    workers: int = option(
        f"Separate N songs at a time, 1 to {_MAX_WORKERS}; each needs its own memory.",
        "N",
        options.RUN,
        default=1,
        within=Range(1, _MAX_WORKERS),
    )

    examples: ClassVar = (
        "hafm separate song.mp3 --model vocals.onnx -o out/",
        "hafm separate album/*.flac --model vocals.onnx -o out/ --workers 2",
    )

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where each song's stems go."""
        if len(self.songs) == 1:
            return (self.output,)
        return tuple(self.output / song.stem for song in self.songs)

    def check(self) -> None:
        """Refuses two songs that would go to one folder.

        >>> Separate(songs=[Path("a/song.wav"), Path("b/song.mp3")], output=Path("out"))
        Traceback (most recent call last):
        ...
        hafm.errors.UsageError: 'a/song.wav' and 'b/song.mp3' would both go to 'out/song'; separate ...
        """
        seen: dict[Path, Path] = {}
        for song, folder in zip(self.songs, self.folders, strict=True):
            if len(self.songs) > 1 and song.stem in ("", ".", ".."):
                raise UsageError(f"'{song}' has no name to call a folder by; separate it by itself")
            if folder in seen:
                raise UsageError(
                    f"'{seen[folder]}' and '{song}' would both go to '{folder}'; separate them one by one"
                )
            seen[folder] = song

    def run(self, shown: "Display", interrupts: Interrupts) -> SeparationOutcome:
        began = time.monotonic()
        shown.step("getting ready")
        from hafm.audio.read_blocks import survey
        from hafm.device import one_thread
        from hafm.separate.files import SongJob
        from hafm.separate.separator import Separator

        model = options.separator_path(self.model, spelling="--model")
        workers = min(self.workers, len(self.songs))
        separator = Separator.open(model, threads=options.separator_threads(workers))
        self._check_folders()
        shown.step("reading")
        songs = [survey(path) for path in self.songs]
        self._check_room(songs, workers)

        if len(songs) > 1:
            interrupts.left = f"songs that were done are in '{self.output}', of others nothing was written"
        report = _reporter(songs, shown)
        done: dict[int, SeparatedSong] = {}
        with contextlib.ExitStack() as stack:
            staged = [_staged(folder, interrupts, stack, overwrite=self.overwrite) for folder in self.folders]
            jobs = [
                SongJob(number=number, song=song, folder=folder.staging, format=self.format)
                for number, (song, (folder, _)) in enumerate(zip(songs, staged, strict=True))
            ]
            stack.enter_context(one_thread())
            for number, result in self._results(jobs, separator, workers, stack, interrupts):
                if isinstance(result, int):
                    report(number, result)
                    continue
                folder, put_in_place = staged[number]
                put_in_place()
                paths = {stem: folder.target / name for stem, name in result.files.items()}
                done[number] = SeparatedSong(song=songs[number], stems=result, paths=paths)
        return SeparationOutcome(
            songs=[done[number] for number in range(len(songs))],
            model=model,
            fingerprint=separator.fingerprint(),
            seconds=time.monotonic() - began,
        )

    def _results(
        self,
        jobs: "Sequence[SongJob]",
        separator: "Separator",
        workers: int,
        stack: contextlib.ExitStack,
        interrupts: Interrupts,
    ) -> "Iterator[tuple[int, int | WrittenStems]]":
        """What comes of the songs, in this process or in several, which end with `stack`."""
        from hafm.separate.files import SongPreparer, open_song_preparer
        from hafm.workers import Pool, SameProcess

        batches = [[job] for job in jobs]
        if workers == 1:
            here: SameProcess[SongJob, tuple[int, int | WrittenStems]] = SameProcess()
            results = here.run(batches, lambda: SongPreparer(separator))
        else:
            pool: Pool[SongJob, tuple[int, int | WrittenStems]] = Pool(
                workers=workers,
                give_up=_process_ended,
                max_deaths=1,
                name="hafm-separate",
                cleaning=interrupts.cleaning,
            )
            threads = options.separator_threads(workers)
            results = pool.run(batches, functools.partial(open_song_preparer, separator.path, threads))
        stack.enter_context(contextlib.closing(results))
        return itertools.chain.from_iterable(results)

    def _check_folders(self) -> None:
        from hafm.files import check_output_folder
        from hafm.separate.files import STEMS

        for song, folder in zip(self.songs, self.folders, strict=True):
            endings = {self.format, "wav"}
            names = [f"{stem}.{ending}" for stem in STEMS for ending in endings]
            check_output_folder(folder, overwrite=self.overwrite, files=names)
            options.require_elsewhere(folder, {"song": song}, results=names)

    def _check_room(self, songs: "Sequence[Survey]", workers: int) -> None:
        from hafm.files import check_output_folder
        from hafm.separate.files import DISK_BYTES_PER_SAMPLE

        most = sorted(song.num_channels * song.num_samples * DISK_BYTES_PER_SAMPLE for song in songs)
        # Those that are under way need all of it, those that are done the half.
        needed = sum(most) // 2 + sum(most[-workers:]) // 2
        check_output_folder(self.output, overwrite=True, needed_bytes=needed)


def _process_ended(job: "SongJob", reason: str) -> NoReturn:
    raise UsageError(
        f"the process that separated '{job.song.path}' was ended from outside, perhaps because the memory "
        "was full; ask for fewer --workers"
    )


def _staged(
    folder: Path, interrupts: Interrupts, stack: contextlib.ExitStack, *, overwrite: bool
) -> "tuple[StagedFolder, Callable[[], None]]":
    """A folder to fill, and what puts it in place; `stack` clears away what was never put in place."""

    inner = contextlib.ExitStack()
    staged = inner.enter_context(interrupts.staged_folder(folder, overwrite=overwrite))
    stack.push(inner)
    return staged, inner.close


def _reporter(songs: "Sequence[Survey]", shown: "Display") -> Callable[[int, int], None]:
    """Turns samples of songs at many rates into seconds of the whole job."""
    total = max(1, math.ceil(sum(song.seconds for song in songs)))
    show = shown.generation(Estimator([Phase(name=_PHASE, frames=total, cost=1.0)]))
    show(_PHASE, 0)
    done_seconds = 0.0

    def report(number: int, samples: int) -> None:
        nonlocal done_seconds
        done_seconds += samples / songs[number].sample_rate
        show(_PHASE, min(total, int(done_seconds)))

    return report
