"""The local engine: one worker process a core, each with its own models.

In: batches of tracks. Out: their results. `engine.py` has the contract, `pool_worker.py` what a worker does.

Why processes of our own and not `concurrent.futures`: there, one worker that dies (a decoder that crashes,
the system short of memory) breaks the whole pool, and nobody learns which item it was. Here

    a worker dies on a batch ----> a fresh one takes its tracks, each alone
    it dies again on one ---------> that track is quarantined: "the worker process died twice on it, signal 9"
    it dies while it starts ------> three times in a row stop the run

Conventions: processes are spawned, never forked (torch's threads do not survive a fork). Each computes on one
thread. Ctrl-C reaches this process alone.
"""

import contextlib
import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from hafm.data.collection.track import Track
from hafm.data.preparing.engine import Results
from hafm.data.preparing.pool_worker import Failed, Ready, serve
from hafm.data.preparing.workbench import Opener
from hafm.data.result import Quarantined, TrackResult
from hafm.errors import DeviceError, UsageError

__all__ = ["Pool"]

_MAX_DEATHS = 2
_MAX_FALSE_STARTS = 3
_LEAVE_SECONDS = 2.0
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(eq=False)
class _Worker:
    """A process, and what it has to do.

    Args:
        process: that was started.
        connection: our end of its pipe.
        queue: batches that it must take before others.
        batch: that it works on; None while it waits or starts.
        ready: it has opened its workbench.
    """

    process: SpawnProcess
    connection: Connection
    queue: deque[Sequence[Track]] = field(default_factory=deque)
    batch: Sequence[Track] | None = None
    ready: bool = False


class Pool:
    """Worker processes on this machine.

    Args:
        workers: how many, 1 or more; no more are started than there are batches.

    Raises:
        UsageError: fewer than 1.
    """

    def __init__(self, *, workers: int) -> None:
        if workers < 1:
            raise UsageError(f"a pool of {workers} workers does nothing; give 1 or more")
        self.workers = workers

    def run(self, batches: Iterable[Sequence[Track]], opener: Opener) -> Results:
        """See `Engine.run`.

        Raises:
            DeviceError: workers die while they start.
        """
        run = _Run(iter(batches), opener)
        try:
            run.start(self.workers)
            yield from run.results()
        except BaseException:
            run.kill()
            raise
        run.leave()


class _Run:
    """One run of a pool."""

    def __init__(self, batches: Iterator[Sequence[Track]], opener: Opener) -> None:
        self._batches = batches
        self._opener = opener
        self._workers: list[_Worker] = []
        self._deaths: Counter[str] = Counter()
        self._false_starts = 0

    def start(self, workers: int) -> None:
        """Starts processes as long as there is work for them."""
        while len(self._workers) < workers and (batch := next(self._batches, None)) is not None:
            self._workers.append(self._start([batch]))

    def results(self) -> Results:
        """What comes back, as it comes."""
        while busy := [
            worker for worker in self._workers if worker.batch or worker.queue or not worker.ready
        ]:
            for connection in wait([worker.connection for worker in busy]):
                worker = next(each for each in busy if each.connection is connection)
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    yield from self._buried(worker)
                    continue
                if isinstance(message, Failed):
                    raise message.to_error()
                if not isinstance(message, Ready):
                    yield message  # the caller commits before it comes back
                worker.ready, worker.batch = True, None
                self._false_starts = 0
                self._feed(worker)

    def _feed(self, worker: _Worker) -> None:
        batch = worker.queue.popleft() if worker.queue else next(self._batches, None)
        if batch is not None:
            worker.batch = batch
            # A worker that has just died is noticed at its end of the pipe, with the batch still its own.
            with contextlib.suppress(OSError):
                worker.connection.send(batch)

    def _buried(self, worker: _Worker) -> Iterator[list[TrackResult]]:
        """A process died: another takes its place and its work. Yields what is given up."""
        worker.connection.close()
        worker.process.join()
        how = _how(worker.process.exitcode)
        self._workers.remove(worker)
        if not worker.ready:
            self._false_starts += 1
            if self._false_starts >= _MAX_FALSE_STARTS:
                raise DeviceError(
                    f"worker processes end while they load their models ({how}); if memory is short, "
                    "use fewer --workers"
                )
        alone: list[Track] = []
        given_up: list[Track] = []
        for track in worker.batch or ():
            self._deaths[track.id] += 1
            (alone if self._deaths[track.id] < _MAX_DEATHS else given_up).append(track)
        queue: list[Sequence[Track]] = [*([track] for track in alone), *worker.queue]
        if not queue:
            queue = [batch for batch in [next(self._batches, None)] if batch is not None]
        if queue:
            self._workers.append(self._start(queue))
        if given_up:
            yield [
                Quarantined(track_id=track.id, reason=f"the worker process died twice on it, {how}")
                for track in given_up
            ]

    def _start(self, queue: Sequence[Sequence[Track]]) -> _Worker:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(theirs, self._opener), name="hafm-prepare", daemon=True
        )
        with _one_thread(), _sigint_blocked():
            process.start()
        theirs.close()  # so that the end of the process ends the pipe
        return _Worker(process, ours, deque(queue))

    def kill(self) -> None:
        """Ends all processes at once; what they work on is lost, and pending."""
        for worker in self._workers:
            worker.process.kill()
        self._bury_all()

    def leave(self) -> None:
        """Lets idle processes go."""
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.connection.send(None)
        for worker in self._workers:
            worker.process.join(_LEAVE_SECONDS)
            worker.process.kill()
        self._bury_all()

    def _bury_all(self) -> None:
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """What a process started in this block computes on: read when numpy and torch are imported there."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    """A process started in this block never sees Ctrl-C; this one sees it when the block ends.

    A process inherits the mask and keeps it. Ignoring SIGINT over there would come too late: imports take
    seconds, and a Ctrl-C meanwhile prints a traceback for each worker.
    """
    resource_tracker.ensure_running()  # the first process starts it, which unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _how(exit_code: int | None) -> str:
    """How a process ended.

    >>> _how(-9), _how(1)
    ('signal 9', 'exit code 1')
    """
    code = exit_code or 0
    return f"signal {-code}" if code < 0 else f"exit code {code}"
