"""A lane: jobs one after the other, in one worker process of their own.

In: tasks. Out: `Job`s that wait, run, and end in one of three ways; each is a line of `Job.state`.

    submit --> waiting --> running --> done
       |          |           |------> failed      what it could not do, its time is over, its process died
       `-> Full   `-----------`------> cancelled

Conventions: a lane has one thread here, which owns the process and its pipe. A job that is cancelled is asked
to end and, if it has not half a second later, ended with its process; a fresh one takes the next job. Jobs
live in memory; what they made lies in the project.
"""

import contextlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Literal, TypeAlias

from hafm.errors import HafmError
from hafm.web.problem import Problem
from hafm.web.tasks import Task
from hafm.web.work import Studio
from hafm.web.worker import Ended, Reported, serve_tasks
from hafm.worker_process import Failed
from hafm.workers import start_process

__all__ = ["Full", "Job", "Lane", "State"]

Kind: TypeAlias = Literal["listen", "play", "export"]
State: TypeAlias = Literal["waiting", "running", "done", "failed", "cancelled"]

_PATIENCE_SECONDS = 0.5
_LOOK_SECONDS = 0.05
_REMEMBERED = 200


class Full(Problem):
    """No job more can wait."""

    def __init__(self, retry_seconds: float) -> None:
        super().__init__(503, "Busy", "too many jobs wait already; try again", retry_seconds=retry_seconds)


@dataclass(eq=False, kw_only=True)
class Job:
    """A task and what becomes of it. Changed by its lane alone; `version` counts the changes.

    Args:
        project: its id.
        seconds: that it may run.
        done: called with the result in the lane's thread; what it returns is the job's result.
        failed: called with the error before the job has failed, if anybody wants to know.
    """

    id: str = field(default_factory=lambda: secrets.token_hex(8))
    kind: Kind
    project: str
    task: Task
    seconds: float
    done: Callable[[dict[str, Any]], dict[str, Any]]
    failed: Callable[[dict[str, str]], None] | None = None
    state: State = "waiting"
    step: str = "waiting"
    share: float = 0.0
    seconds_left: float | None = None
    error: dict[str, str] | None = None
    result: dict[str, Any] = field(default_factory=dict)
    created: float = field(default_factory=time.time)
    started: float | None = None
    version: int = 0
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def is_over(self) -> bool:
        """It will not change any more."""
        return self.state in ("done", "failed", "cancelled")

    def change(self, **values: Any) -> None:
        """Sets fields, and counts that as one change."""
        if values.get("state") == "failed" and self.failed is not None:
            self.failed(values["error"])
        for name, value in values.items():
            setattr(self, name, value)
        self.version += 1


class Lane:
    """One worker process, and the jobs for it.

    Args:
        name: of the process.
        opener: called in the process; gives what does the tasks. It can be pickled.
        waiting: jobs that may wait, 1 or more.
    """

    def __init__(self, name: str, opener: "Callable[[], Studio]", *, waiting: int) -> None:
        self.name = name
        self._opener = opener
        self._most_waiting = waiting
        self._changed = threading.Condition()
        self._queue: deque[Job] = deque()
        self._running: Job | None = None
        self._jobs: dict[str, Job] = {}
        self._closing = threading.Event()
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._usual_seconds = 20.0
        self._thread = threading.Thread(target=self._live, name=f"{name}-lane", daemon=True)

    def start(self) -> None:
        """Starts the process; it opens its bundle while nobody waits for it yet."""
        self._thread.start()

    def close(self) -> None:
        """Ends the process and everything that it does."""
        with self._changed:
            self._closing.set()
            for job in [*self._queue, *([self._running] if self._running else [])]:
                job.cancelled.set()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(5.0)
        self._end_process()

    @property
    def process_id(self) -> int | None:
        """Of the worker; None while there is none."""
        process = self._process
        return None if process is None else process.pid

    @property
    def num_waiting(self) -> int:
        """Jobs that wait."""
        return len(self._queue)

    def check_room(self) -> None:
        """Refuses what could only wait in vain.

        Raises:
            Full: as many jobs wait as may.
        """
        with self._changed:
            if len(self._queue) >= self._most_waiting:
                raise Full(self._usual_seconds)

    def submit(self, job: Job) -> Job:
        """Puts a job into the queue.

        Raises:
            Full: as many jobs wait as may.
        """
        with self._changed:
            self.check_room()
            self._queue.append(job)
            self._jobs[job.id] = job
            for old in [each for each in self._jobs.values() if each.is_over][:-_REMEMBERED]:
                del self._jobs[old.id]
            self._changed.notify_all()
        return job

    def job(self, job_id: str) -> Job | None:
        """A job that waits, runs, or ended not long ago."""
        return self._jobs.get(job_id)

    def jobs_of(self, project: str) -> list[Job]:
        """The jobs of a project that are not over."""
        return [job for job in list(self._jobs.values()) if job.project == project and not job.is_over]

    def busy_projects(self) -> set[str]:
        """Ids of the projects that jobs wait for or work on."""
        return {job.project for job in list(self._jobs.values()) if not job.is_over}

    def position(self, job: Job) -> int:
        """Jobs before it: 0 if it runs or is over."""
        with self._changed:
            if job not in self._queue:
                return 0
            return self._queue.index(job) + (self._running is not None)

    def seconds_before(self, job: Job) -> float | None:
        """About how long it waits still; None if it does not."""
        with self._changed:
            if job not in self._queue:
                return None
            running, left = self._running, 0.0
            if running is not None:
                left = self._usual_seconds if running.seconds_left is None else running.seconds_left
            return left + self._queue.index(job) * self._usual_seconds

    def cancel(self, job: Job) -> None:
        """Ends a job: at once if it waits, within a second if it runs."""
        with self._changed:
            job.cancelled.set()
            if job in self._queue:
                self._queue.remove(job)
                job.change(state="cancelled", step="cancelled")
            self._changed.notify_all()

    # ---- the thread

    def _live(self) -> None:
        while not self._closing.is_set():
            self._ensure_process()
            with self._changed:
                while not self._queue and not self._closing.is_set() and self._is_well():
                    self._changed.wait(1.0)
                if self._closing.is_set():
                    return
                if not self._queue:
                    continue  # the process died while it had nothing to do
                job = self._running = self._queue.popleft()
            try:
                self._run(job)
            except Exception as error:  # the lane goes on, whatever happened to one job
                job.change(state="failed", error=_about(Failed.of(error)))
            finally:
                with self._changed:
                    self._running = None

    def _is_well(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def _ensure_process(self) -> None:
        if not self._is_well():
            self._end_process()
            self._process, self._connection = start_process(serve_tasks, self._opener, name=self.name)

    def _run(self, job: Job) -> None:
        assert self._connection is not None, "there is a process"
        job.change(state="running", step="opening", started=time.time())
        began = time.monotonic()
        with contextlib.suppress(OSError):  # a process that has just died is noticed below
            self._connection.send(job.task)
        asked_at: float | None = None
        while True:
            now = time.monotonic()
            if job.cancelled.is_set() and asked_at is None:
                asked_at = now
                with contextlib.suppress(OSError):
                    self._connection.send(None)
            if asked_at is not None and now - asked_at > _PATIENCE_SECONDS:
                self._end_process()
                job.change(state="cancelled", step="cancelled", seconds_left=None)
                return
            if now - began > job.seconds:
                self._end_process()
                job.change(state="failed", error=_too_long(job.seconds), seconds_left=None)
                return
            try:
                message = self._connection.recv() if self._connection.poll(_LOOK_SECONDS) else None
            except (EOFError, OSError):
                how = "cancelled" if asked_at is not None else "failed"
                error = None if how == "cancelled" else self._death()
                self._end_process()
                job.change(state=how, error=error, seconds_left=None)
                return
            if self._take_message(job, message, began):
                return

    def _take_message(self, job: Job, message: object, began: float) -> bool:
        """Whether it was the last of the job."""
        if isinstance(message, Reported):
            job.change(step=message.step, share=message.share, seconds_left=message.seconds_left)
        elif isinstance(message, Ended):
            if message.failed is not None:
                job.change(state="failed", error=_about(message.failed), seconds_left=None)
            elif message.result is None:
                job.change(state="cancelled", step="cancelled", seconds_left=None)
            else:
                self._usual_seconds = 0.5 * (self._usual_seconds + time.monotonic() - began)
                result = job.done(dict(message.result))
                job.change(state="done", step="done", share=1.0, seconds_left=0.0, result=result)
            return True
        elif isinstance(message, Failed):  # it cannot open its bundle
            job.change(state="failed", error=_about(message), seconds_left=None)
            self._end_process()
            return True
        return False

    def _death(self) -> dict[str, str]:
        code = None
        if self._process is not None:
            self._process.join(1.0)
            code = self._process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return {
            "kind": "WorkerDied",
            "message": f"the process that worked on it ended ({how}), perhaps for want of memory; try again",
        }

    def _end_process(self) -> None:
        process, connection = self._process, self._connection
        self._process = self._connection = None
        if process is not None:
            process.kill()
            process.join()
        if connection is not None:
            connection.close()


def _about(failed: Failed) -> dict[str, str]:
    """What a person is told: our own errors whole, mistakes by their name."""
    error = failed.error
    if isinstance(error, HafmError):
        return {"kind": type(error).__name__, "message": str(error)}
    return {"kind": "InternalError", "message": f"{failed.what}; this is a mistake in hafm: please report it"}


def _too_long(seconds: float) -> dict[str, str]:
    return {
        "kind": "TimeOver",
        "message": f"it took longer than {seconds:g} s and was ended; give a shorter recording, or ask for "
        "fewer takes",
    }
