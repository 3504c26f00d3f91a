"""`hafm separate`: from songs to their vocals and instrumentals.

In: a `SeparationRequest`. Out: a `SeparationOutcome`: where everything is, and what a user should know.

    options? folder? separator? songs (each is decoded once)? room on the disk?   ->   separate, song by song
    `------------------ refused before the first song is separated ------------'

    one song        OUT/vocal.wav, OUT/instrumental.wav
    several         OUT/NAME/vocal.wav, OUT/NAME/instrumental.wav, NAME being the song's without its ending

Each song's files take their place together when it is done. What stops the command later leaves them there.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hafm.app.delivery import Delivery, delivery
from hafm.app.estimate import Estimator, Phase
from hafm.app.interrupt import Interrupts
from hafm.app.progress import Display
from hafm.app.separate_model import separator_path, separator_threads
from hafm.app.separate_outcome import SeparatedSong, SeparationOutcome
from hafm.app.separate_request import SeparationRequest
from hafm.app.separate_workers import Job, separate_in_processes
from hafm.errors import OutputError

if TYPE_CHECKING:
    from hafm.app.separate_song import WrittenStems
    from hafm.audio.read_blocks import Survey
    from hafm.separate.separator import Separator

__all__ = ["run_separation"]

_PHASE = "separation"


def run_separation(
    request: SeparationRequest, *, shown: Display, interrupts: Interrupts
) -> SeparationOutcome:
    """Do what was asked for.

    Args:
        request: what to do.
        shown: told what is going on.
        interrupts: cleans up when the process must end.

    Raises:
        HafmError: it cannot be done. Songs that were done by then are complete; of others nothing is left.
    """
    began = time.monotonic()
    shown.step("getting ready")
    from hafm.audio.read_blocks import survey
    from hafm.separate.separator import Separator

    model = separator_path(request.model, option="--model")
    workers = min(request.workers, len(request.songs))
    threads = separator_threads(workers)
    separator = Separator.open(model, threads=threads)
    _check_folders(request)
    shown.step("reading")
    songs = [survey(path) for path in request.songs]
    _check_room(request, songs, workers)

    if len(songs) > 1:
        interrupts.left = f"songs that were done are in '{request.output}', of others nothing was written"
    report = _reporter(songs, shown)
    done: dict[int, SeparatedSong] = {}
    with contextlib.ExitStack() as stack:
        parcels = [_parcel(folder, interrupts, stack) for folder in request.folders]
        jobs = [
            Job(song=song, folder=parcel.staging, format=request.format)
            for song, (parcel, _) in zip(songs, parcels, strict=True)
        ]
        results = (
            _in_this_process(jobs, separator, report)
            if workers == 1
            else separate_in_processes(
                jobs, model=model, workers=workers, threads=threads, on_samples=report, interrupts=interrupts
            )
        )
        for number, stems in results:
            parcel, put_in_place = parcels[number]
            put_in_place()
            paths = {stem: parcel.target / name for stem, name in stems.files.items()}
            done[number] = SeparatedSong(song=songs[number], stems=stems, paths=paths)
    return SeparationOutcome(
        songs=[done[number] for number in range(len(songs))],
        model=model,
        fingerprint=separator.fingerprint(),
        seconds=time.monotonic() - began,
    )


def _in_this_process(
    jobs: Sequence[Job], separator: "Separator", report: Callable[[int, int], None]
) -> "Iterator[tuple[int, WrittenStems]]":
    from hafm.app.separate_song import separate_song
    from hafm.device import one_thread

    with one_thread():
        for number, job in enumerate(jobs):
            yield (
                number,
                separate_song(
                    job.song,
                    separator,
                    job.folder,
                    format=job.format,
                    on_samples=lambda samples, number=number: report(number, samples),  # type: ignore[misc]
                ),
            )


def _parcel(
    folder: Path, interrupts: Interrupts, stack: contextlib.ExitStack
) -> tuple[Delivery, Callable[[], None]]:
    """A delivery, and what puts it in place; `stack` clears away what was never put in place."""
    inner = contextlib.ExitStack()
    parcel = inner.enter_context(delivery(folder, interrupts))
    stack.push(inner)
    return parcel, inner.close


def _reporter(songs: "Sequence[Survey]", shown: Display) -> Callable[[int, int], None]:
    """Turns samples of songs at many rates into seconds of the whole job."""
    total = max(1, math.ceil(sum(song.seconds for song in songs)))
    tell = shown.generation(Estimator([Phase(name=_PHASE, frames=total, cost=1.0)]))
    tell(_PHASE, 0)
    done_seconds = 0.0

    def report(number: int, samples: int) -> None:
        nonlocal done_seconds
        done_seconds += samples / songs[number].sample_rate
        tell(_PHASE, min(total, int(done_seconds)))

    return report


def _check_folders(request: SeparationRequest) -> None:
    from hafm.files import check_output_folder

    for song, folder in zip(request.songs, request.folders, strict=True):
        check_output_folder(folder, overwrite=request.overwrite)
        if song.exists() and song.resolve().parent == folder.resolve():
            raise OutputError(
                f"'{folder}' holds the song itself ('{song}'), which must not be replaced; give another "
                "folder with -o"
            )


def _check_room(request: SeparationRequest, songs: "Sequence[Survey]", workers: int) -> None:
    from hafm.app.separate_song import DISK_BYTES_A_SAMPLE
    from hafm.files import check_output_folder

    most = sorted(song.num_channels * song.num_samples * DISK_BYTES_A_SAMPLE for song in songs)
    # Those that are under way need all of it, those that are done the half.
    needed = sum(most) // 2 + sum(most[-workers:]) // 2
    check_output_folder(request.output, overwrite=True, needed_bytes=needed)
