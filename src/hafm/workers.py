"""Work on many items in processes of their own, where one that dies costs its item and nothing else.

In: batches of items, and what opens a preparer for them. Out: their results, in the order in which they are
ready.

    batches --pull--> engine --> preparer --> results --yield--> caller commits --next()--> ...

| engine | preparers |
|---|---|
| `SameProcess` | one, here |
| `Pool` | one in each worker process of this machine |

Convention: `run` is a generator, and who asks it for more has committed what it gave. A worker of a `Pool`
gets its next batch only then, so a crash loses one batch per worker.

Why processes of our own and not `concurrent.futures`: there, one worker that dies (a decoder that crashes,
the system short of memory) breaks the whole pool, and nobody learns which item it was. Here

    a worker dies on a batch ----> a fresh one takes its items, each alone
    it dies again on one ---------> that item is given up: "the worker process died twice on it, signal 9"
    it dies while it starts ------> three times in a row stop the run

Processes are spawned, never forked (torch's threads do not survive a fork), and each computes on one thread.
They share nothing but a pipe
with this one, for semaphores would outlive a process that is ended. Ctrl-C reaches this process alone.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import connection as pipes
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Generic, Protocol, TypeVar, runtime_checkable

from hafm.errors import DeviceError, UsageError
from hafm.worker_process import Failed, Part, Preparer, parts_of, serve

__all__ = ["Engine", "Pool", "SameProcess", "in_batches", "start_process"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAX_DEATHS = 2
_MAX_FALSE_STARTS = 3
_LEAVE_SECONDS = 2.0
_STARTING = threading.Lock()
"""Held while a process starts: it inherits the environment of this one."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@runtime_checkable
class Engine(Protocol[Item, Result]):
    """Runs batches."""

    def run(
        self, batches: Iterable[Sequence[Item]], opener: Callable[[], Preparer[Item, Result]]
    ) -> Generator[Sequence[Result], None, None]:
        """A generator of results; closing it ends what it started.

        Args:
            batches: taken one by one, as they are needed.
            opener: called once in each worker; it can be pickled.

        Yields:
            Results of one batch or a part of one.

        Raises:
            HafmError: a worker cannot start, or says that the run must stop.
            WorkerError: a mistake of ours in a worker.
        """
        ...


class SameProcess(Generic[Item, Result]):
    """Works in this process, on one batch after the other.

    >>> class Doubling:
    ...     def prepare(self, items):
    ...         return [2 * item for item in items]
    >>> list(SameProcess().run(in_batches([1, 2, 3], 2), Doubling))
    [[2, 4], [6]]
    """

    def run(
        self, batches: Iterable[Sequence[Item]], opener: Callable[[], Preparer[Item, Result]]
    ) -> Generator[Sequence[Result], None, None]:
        """See `Engine.run`."""
        preparer = opener()
        for batch in batches:
            yield from parts_of(preparer.prepare(batch))


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Items in groups of `size`; the last may be smaller.

    >>> list(in_batches("abc", 2))
    [['a', 'b'], ['c']]
    """
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


@dataclass(frozen=True)
class _Batch(Generic[Item]):
    """Items that are sent together, and how many processes died on them."""

    items: Sequence[Item]
    deaths: int = 0


@dataclass(eq=False)
class _Worker(Generic[Item]):
    """A process, and what it has to do.

    Args:
        process: that was started.
        connection: our end of its pipe.
        queue: batches that it must take before others.
        batch: that it works on; None while it waits or starts.
        ready: it has opened its preparer.
    """

    process: SpawnProcess
    connection: Connection
    queue: deque[_Batch[Item]] = field(default_factory=deque)
    batch: _Batch[Item] | None = None
    ready: bool = False


class Pool(Generic[Item, Result]):
    """Worker processes on this machine.

    Args:
        workers: how many, 1 or more; no more are started than there are batches.
        give_up: the result of an item on which processes died, given the reason; it may raise.
        max_deaths: processes that may die on an item before it is given up.
        name: of the processes.
        cleaning: entered with what kills the processes, for those who must be able to at any moment.

    Raises:
        UsageError: fewer than 1 worker.
    """

    def __init__(
        self,
        *,
        workers: int,
        give_up: Callable[[Item, str], Result],
        max_deaths: int = _MAX_DEATHS,
        name: str = "hafm-worker",
        cleaning: Callable[[Callable[[], None]], AbstractContextManager[None]] | None = None,
    ) -> None:
        if workers < 1:
            raise UsageError(f"a pool of {workers} workers does nothing; give 1 or more")
        self.workers = workers
        self.give_up = give_up
        self.max_deaths = max_deaths
        self.name = name
        self.cleaning = cleaning

    def run(
        self, batches: Iterable[Sequence[Item]], opener: Callable[[], Preparer[Item, Result]]
    ) -> Generator[Sequence[Result], None, None]:
        """See `Engine.run`.

        Raises:
            DeviceError: workers die while they start.
        """
        run = _Run(self, (_Batch(batch) for batch in batches), opener)
        with self.cleaning(run.end) if self.cleaning is not None else contextlib.nullcontext():
            try:
                run.start(self.workers)
                yield from run.results()
            except BaseException:
                run.kill()
                raise
            run.leave()


class _Run(Generic[Item, Result]):
    """One run of a pool."""

    def __init__(
        self,
        pool: Pool[Item, Result],
        batches: Iterator[_Batch[Item]],
        opener: Callable[[], Preparer[Item, Result]],
    ) -> None:
        self._pool = pool
        self._batches = batches
        self._opener = opener
        self._workers: list[_Worker[Item]] = []
        self._false_starts = 0

    def start(self, workers: int) -> None:
        """Starts processes as long as there is work for them."""
        while len(self._workers) < workers and (batch := next(self._batches, None)) is not None:
            self._start([batch])

    def results(self) -> Iterator[Sequence[Result]]:
        """What comes back, as it comes."""
        while busy := [
            worker for worker in self._workers if worker.batch or worker.queue or not worker.ready
        ]:
            for connection in pipes.wait([worker.connection for worker in busy]):
                worker = next(each for each in busy if each.connection is connection)
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    yield from self._replace(worker)
                    continue
                if isinstance(message, Failed):
                    raise message.to_error()
                if isinstance(message, Part):
                    yield message.results
                    continue
                # The caller has committed the results: it came back for more.
                worker.ready, worker.batch = True, None
                self._false_starts = 0
                self._feed(worker)

    def _feed(self, worker: _Worker[Item]) -> None:
        batch = worker.queue.popleft() if worker.queue else next(self._batches, None)
        if batch is not None:
            worker.batch = batch
            # A worker that has just died is noticed at its end of the pipe, with the batch still its own.
            with contextlib.suppress(OSError):
                worker.connection.send(batch.items)

    def _replace(self, worker: _Worker[Item]) -> Iterator[Sequence[Result]]:
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
        queue = [*worker.queue]
        given_up: Sequence[Item] = ()
        if worker.batch is not None:
            deaths = worker.batch.deaths + 1
            if deaths < self._pool.max_deaths:
                queue = [*(_Batch([item], deaths) for item in worker.batch.items), *queue]
            else:
                given_up = worker.batch.items
        if not queue:
            queue = [batch for batch in [next(self._batches, None)] if batch is not None]
        if queue:
            self._start(queue)
        if given_up:
            times = {1: "once", 2: "twice"}.get(self._pool.max_deaths, f"{self._pool.max_deaths} times")
            reason = f"the worker process died {times} on it, {how}"
            yield [self._pool.give_up(item, reason) for item in given_up]

    def _start(self, queue: Sequence[_Batch[Item]]) -> None:
        def listed(process: SpawnProcess, connection: Connection) -> None:
            self._workers.append(_Worker(process, connection, deque(queue)))

        start_process(serve, self._opener, name=self._pool.name, listed=listed)

    def end(self) -> None:
        """Ends all processes at once; what they work on is lost."""
        for worker in self._workers:
            worker.process.kill()

    def kill(self) -> None:
        """Ends all processes at once, and waits for that."""
        self.end()
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


def start_process(
    target: Callable[..., None],
    *args: object,
    name: str,
    listed: Callable[[SpawnProcess, Connection], None] | None = None,
) -> tuple[SpawnProcess, Connection]:
    """Starts a process at the other end of a pipe, which computes on one thread and never sees Ctrl-C.

    Args:
        target: called in the process with its end of the pipe, and `args`.
        args: they can be pickled.
        name: of the process.
        listed: called with the process and our end before Ctrl-C can come: a process that is not listed
            would not be killed.

    Returns:
        The process, and our end of the pipe.
    """
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=target, args=(theirs, *args), name=name, daemon=True
    )
    with _STARTING, _single_thread(), _sigint_blocked():
        process.start()
        if listed is not None:
            listed(process, ours)
    theirs.close()  # so that the end of the process ends the pipe
    return process, ours


@contextlib.contextmanager
def _single_thread() -> Iterator[None]:
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
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
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
