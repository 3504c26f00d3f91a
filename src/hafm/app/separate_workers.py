"""Several songs at a time, each in a process of its own.

In: songs and the folders that their stems go to. Out: what was written, song by song, as each is done.

    parent                         worker
      |--- start ------------------->| opens the separator
      |--- number of a job --------->|
      |<-- number, samples done -----| ...
      |<-- number, WrittenStems -----| or an error, which ends all

Conventions: processes are spawned, for forking one that has threads can hang; and they share nothing but a
pipe with the parent, for semaphores would outlive a process that is ended. Ctrl-C, which reaches all
processes of a terminal, is the parent's affair: it ends the workers. A result depends on its song alone, so
it is the same in however many processes.
"""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING

from hafm.app.interrupt import Interrupts
from hafm.app.options import SoundFormat
from hafm.errors import HafmError, UsageError

if TYPE_CHECKING:
    from hafm.app.separate_song import WrittenStems
    from hafm.audio.read_blocks import Survey

__all__ = ["Job", "separate_in_processes"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A song and where its stems go."""

    song: "Survey"
    folder: Path
    format: SoundFormat


def separate_in_processes(
    jobs: Sequence[Job],
    *,
    model: Path,
    workers: int,
    threads: int,
    on_samples: Callable[[int, int], None],
    interrupts: Interrupts,
) -> "Iterator[tuple[int, WrittenStems]]":
    """Separate songs in `workers` processes.

    Args:
        jobs: the songs.
        model: the separator's `.onnx`.
        workers: processes, 1 or more.
        threads: of each, for its separator.
        on_samples: told the number of a job and how many of its samples more are done.
        interrupts: ends the processes if this one must end.

    Yields:
        The number of a job and what was written for it, in the order in which they are done.

    Raises:
        HafmError: of a job; the others are ended.
        UsageError: a process was ended from outside.
    """
    running: dict[Connection, int] = {}
    started: list[tuple[SpawnProcess, Connection]] = []

    def end() -> None:
        for process, _ in started:
            process.kill()

    def bury() -> None:
        for process, connection in started:
            process.join()
            connection.close()

    to_do = iter(range(len(jobs)))
    with contextlib.ExitStack() as stack:
        stack.callback(bury)
        stack.enter_context(interrupts.cleaning(end))
        for number in (next(to_do) for _ in range(min(workers, len(jobs)))):
            started.append(_start(jobs, model, threads))
            connection = started[-1][1]
            running[connection] = number
            connection.send(number)
        while running:
            told = wait(list(running))
            for connection in [each for each in running if each in told]:
                number = running[connection]
                try:
                    message = connection.recv()
                except (EOFError, OSError) as error:
                    raise UsageError(
                        f"the process that separated '{jobs[number].song.path}' was ended from outside, "
                        "perhaps because the memory was full; ask for fewer --workers"
                    ) from error
                if isinstance(message, Exception):
                    raise message
                if isinstance(message, int):
                    on_samples(number, message)
                    continue
                yield number, message
                if (following := next(to_do, None)) is None:
                    del running[connection]
                else:
                    running[connection] = following
                    connection.send(following)


def _start(jobs: Sequence[Job], model: Path, threads: int) -> tuple[SpawnProcess, Connection]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(theirs, jobs, model, threads), name="hafm-separate", daemon=True
    )
    # Blocked here, and so in the process from its first instruction on.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()  # so that the end of the process ends the pipe
    return process, ours


def _serve(connection: Connection, jobs: Sequence[Job], model: Path, threads: int) -> None:
    """The life of a worker: it ends with the parent, or when it is ended."""
    import torch

    from hafm.app.separate_song import separate_song
    from hafm.separate.separator import Separator

    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        try:
            separator = Separator.open(model, threads=threads)
            while True:
                job = jobs[connection.recv()]
                stems = separate_song(
                    job.song, separator, job.folder, format=job.format, on_samples=connection.send
                )
                connection.send(stems)
        except HafmError as error:
            connection.send(error)
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:  # ours, or the disk's: it may not survive the pipe as it is
            connection.send(
                error if isinstance(error, OSError) else RuntimeError(f"{type(error).__name__}: {error}")
            )
