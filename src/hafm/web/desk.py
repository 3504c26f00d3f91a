"""The desk of the studio: it hands requests to the store and the lanes, and sweeps up.

In: what the routes of `api.py` ask for. Out: projects, jobs, and a `Problem` where it cannot be done.

Two lanes, so that a recording is heard while the band plays: `ear` reads, analyses, packs and plays samples,
`band` owns the model that makes takes.
"""

import contextlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from hafm.errors import HafmError
from hafm.guide.bars import bars_of
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.sheet_files import fitted
from hafm.guide.sheet_json import lead_sheet_from_json, lead_sheet_to_json
from hafm.web.lane import Job, Lane
from hafm.web.limits import Limits
from hafm.web.problem import Problem
from hafm.web.schema import ProjectChange, TakesRequest
from hafm.web.store import Project, Store, Warning, clean_name
from hafm.web.tasks import Export, Listen, Play, Sketch
from hafm.web.work import Studio

__all__ = ["Desk"]

_SWEEPS_PER_LIFETIME = 20
_SWEEP_SECONDS = (0.2, 60.0)


class Desk:
    """The studio without its HTTP.

    Args:
        store: of projects.
        limits: of everything.
        bundle, device: of the model.
        opener: of what the workers do; None for a `Studio` of the bundle.
    """

    def __init__(
        self,
        store: Store,
        *,
        limits: Limits,
        bundle: str = "builtin",
        device: str = "cpu",
        opener: Callable[[], Studio] | None = None,
    ) -> None:
        self.store, self.limits, self.bundle = store, limits, bundle
        opener = partial(Studio, bundle, device) if opener is None else opener
        self.ear = Lane("hafm-ear", opener, waiting=limits.waiting)
        self.band = Lane("hafm-band", opener, waiting=limits.waiting)
        self.editing = threading.Lock()
        """Held from when a sheet is read for an edit until the edited one is written."""
        self._numbering = threading.Lock()
        self._uploads = threading.Semaphore(limits.uploads)
        self._closed = threading.Event()
        self._watched: dict[str, tuple[int, threading.Timer | None]] = {}
        self._watching = threading.Lock()

    def start(self) -> None:
        """Starts the workers and the sweeper."""
        self.ear.start()
        self.band.start()
        threading.Thread(target=self._sweep_now_and_then, name="hafm-sweeper", daemon=True).start()

    def close(self) -> None:
        """Ends all work."""
        self._closed.set()
        self.ear.close()
        self.band.close()

    # ---- projects

    def project(self, project_id: str) -> Project:
        """A project.

        Raises:
            Problem: there is none.
        """
        return _there(self.store.find(project_id))

    def touch(self, project_id: str, **changes: Any) -> Project:
        """Changes a project, and notes that it was used."""
        return _there(self.store.update(project_id, **changes))

    def changes_of(self, change: ProjectChange) -> dict[str, Any]:
        """The fields that a client wants to change."""
        changes = change.model_dump(exclude_unset=True)
        if changes.get("name") is not None:
            changes["name"] = clean_name(changes["name"])
        return {name: value for name, value in changes.items() if value is not None or name == "best_take"}

    def delete(self, project_id: str) -> None:
        """Ends a project's jobs, and removes it."""
        self.project(project_id)
        for job in self.jobs_of(project_id):
            self.cancel(job)
        self.store.delete(project_id)

    @contextlib.contextmanager
    def upload(self) -> Iterator[None]:
        """Room for one recording that comes in.

        Raises:
            Problem: too many come in or wait, or the folder is full.
        """
        if not self._uploads.acquire(blocking=False):
            raise Problem(503, "Busy", "too many recordings come in at once; try again", retry_seconds=2.0)
        try:
            self._check_room()
            yield
        finally:
            self._uploads.release()

    def _check_room(self) -> None:
        self.ear.check_room()
        most = self.limits.upload_bytes
        free = shutil.disk_usage(self.store.folder).free
        if self.store.num_bytes() + most > self.limits.folder_bytes or free < 20 * most:
            raise Problem(507, "NoRoom", "there is no room for another recording; delete projects")

    def add_example(self) -> tuple[Project, Job]:
        """A project of the vocal that comes with hafm."""
        with self.upload():
            project = self.store.create("Londonderry Air")
            with as_file(files("hafm") / "assets" / "demo_vocal.flac") as path:
                shutil.copyfile(path, self.store.path(project.id) / "upload")
            return project, self.listen(project)

    def listen(self, project: Project, *, given: LeadSheet | None = None, bpm: float | None = None) -> Job:
        """Hears a recording."""
        text = None if given is None else lead_sheet_to_json(given, compact=True)
        task = Listen(
            folder=self.store.path(project.id),
            name=project.name,
            sound_seconds=self.limits.sound_seconds,
            given=text,
            tempo_bpm=bpm,
        )

        def done(found: dict[str, Any]) -> dict[str, Any]:
            current = self.store.find(project.id)
            revision = 0 if current is None else current.revision + 1
            self.store.update(project.id, revision=revision, failure=None, **found)
            return {"revision": revision}

        def failed(error: dict[str, str]) -> None:
            with contextlib.suppress(HafmError):  # a full disk; the job knows, too
                self.store.update(project.id, failure=Warning(code=error["kind"], message=error["message"]))

        seconds = self.limits.listen_seconds
        return self.ear.submit(
            Job(task=task, kind="listen", project=project.id, seconds=seconds, done=done, failed=failed)
        )

    # ---- the sheet

    def sheet(self, project_id: str) -> tuple[int, LeadSheet]:
        """The lead sheet and its revision.

        Raises:
            Problem: the recording was not heard yet, or cannot be.
        """
        project = self.project(project_id)
        sheet = self.store.sheet(project_id)
        if sheet is None or project.vocal is None:
            if self.ear.jobs_of(project_id):
                raise Problem(409, "NotHeard", "the recording was not heard yet; wait for its job")
            if project.failure is not None:
                raise Problem(409, project.failure.code, project.failure.message)
            raise Problem(409, "NotHeard", "the recording was not heard yet; ask for that with /analyse")
        return project.revision, sheet

    def read_sheet(self, project_id: str, values: dict[str, Any]) -> LeadSheet:
        """The lead sheet that a client sent, fitted to the recording.

        Raises:
            Problem: it is not one, or not of this recording.
        """
        vocal = self.project(project_id).vocal
        try:
            sheet = lead_sheet_from_json(json.dumps(values), where="the lead sheet")
            return sheet if vocal is None else fitted(sheet, vocal.seconds, where="the lead sheet")
        except HafmError as error:
            raise Problem.of(error) from error

    def put_sheet(self, project_id: str, sheet: LeadSheet, revision: int | None) -> int:
        """Replaces the sheet; its new revision.

        Raises:
            Problem: it was changed meanwhile, or the recording was not heard yet.
        """
        self.sheet(project_id)
        project = self.store.put_sheet(project_id, sheet, revision=revision)
        if project is None:
            raise Problem(409, "Changed", "the lead sheet was changed meanwhile; get it again")
        return project.revision

    # ---- takes

    def play(self, project_id: str, wanted: TakesRequest) -> Job:
        """Makes takes.

        Raises:
            Problem: too many are asked for or kept, or too many jobs wait.
        """
        _, sheet = self.sheet(project_id)
        if wanted.takes > self.limits.takes:
            raise Problem(422, "UsageError", f"at most {self.limits.takes} takes are made at once")
        with self._numbering:  # two requests at once must not get one number
            number = self.store.next_take(project_id)
            for job in self.jobs_of(project_id):
                if isinstance(job.task, Play | Sketch):
                    number += job.task.takes if isinstance(job.task, Play) else 1
            if number + wanted.takes - 1 > self.limits.takes_kept:
                raise Problem(
                    409, "TooManyTakes", "this project has as many takes as it can keep; delete some"
                )
            task: Play | Sketch
            if wanted.samples:
                if wanted.takes != 1 or wanted.again is not None:
                    raise Problem(422, "UsageError", "a band of samples makes one take, and a whole one")
                lane, seconds = self.ear, self.limits.listen_seconds
                task = Sketch(
                    folder=self.store.path(project_id),
                    sheet=lead_sheet_to_json(sheet),
                    first_number=number,
                    seed=wanted.seed,
                    balance_db=wanted.balance_db,
                )
            else:
                lane, seconds = self.band, self.limits.generate_seconds
                task = Play(
                    folder=self.store.path(project_id),
                    sheet=lead_sheet_to_json(sheet),
                    first_number=number,
                    again=self._region(project_id, sheet, wanted),
                    **wanted.model_dump(exclude={"watched", "again", "samples"}),
                )
            done = partial(self._used, project_id)
            job = lane.submit(Job(task=task, kind="play", project=project_id, seconds=seconds, done=done))
        if wanted.watched:
            self._expect_watcher(job)
        return job

    def _region(
        self, project_id: str, sheet: LeadSheet, wanted: TakesRequest
    ) -> tuple[int, tuple[int, int], tuple[float, float]] | None:
        """What is made again, in bars and in seconds."""
        again = wanted.again
        if again is None:
            return None
        if not (self.take_path(project_id, again.take) / "generation.json").is_file():
            raise Problem(
                422, "UsageError", f"samples play take {again.take}; bars are made again in the model's takes"
            )
        try:
            bars = bars_of(sheet)
        except HafmError as error:
            raise Problem.of(error) from error
        if wanted.takes != 1 or not again.first_bar <= again.last_bar <= len(bars):
            raise Problem(
                422,
                "UsageError",
                f"bars {again.first_bar} to {again.last_bar} were asked for; give one take, and bars from 1 "
                f"to {len(bars)}",
            )
        seconds = (bars[again.first_bar - 1].beats[0], bars[again.last_bar - 1].end_seconds)
        return again.take, (again.first_bar, again.last_bar), seconds

    def export(self, project_id: str, take: int | None, format: str) -> Job:
        """Packs a zip.

        Raises:
            Problem: there is no such take, or too many jobs wait.
        """
        self.sheet(project_id)
        if take is not None:
            self.take_path(project_id, take)
        task = Export(
            folder=self.store.path(project_id), name=self.project(project_id).name, take=take, format=format
        )
        seconds, done = self.limits.listen_seconds, partial(self._used, project_id)
        return self.ear.submit(Job(task=task, kind="export", project=project_id, seconds=seconds, done=done))

    def take_path(self, project_id: str, number: int) -> Path:
        """The folder of a take.

        Raises:
            Problem: there is no such take.
        """
        path = self.store.path(project_id) / "takes" / f"{number:03d}"
        if not (path / "take.json").is_file():
            raise Problem(404, "NotFound", f"there is no take {number}")
        return path

    def _used(self, project_id: str, result: dict[str, Any]) -> dict[str, Any]:
        self.store.update(project_id)
        return result

    # ---- jobs

    def job(self, job_id: str) -> tuple[Job, Lane]:
        """A job and its lane.

        Raises:
            Problem: there is none.
        """
        for lane in (self.ear, self.band):
            job = lane.job(job_id)
            if job is not None:
                return job, lane
        raise Problem(404, "NotFound", "there is no such job; jobs do not outlive the studio")

    def jobs_of(self, project_id: str) -> list[Job]:
        """The jobs of a project that are not over."""
        return [*self.ear.jobs_of(project_id), *self.band.jobs_of(project_id)]

    def cancel(self, job: Job) -> None:
        """Ends a job within a second."""
        _, lane = self.job(job.id)
        lane.cancel(job)

    @contextlib.contextmanager
    def watching(self, job: Job) -> Iterator[None]:
        """A page looks at a job while the block lasts. A watched job ends when nobody does."""
        with self._watching:
            if job.id in self._watched:
                number, timer = self._watched[job.id]
                if timer is not None:
                    timer.cancel()
                self._watched[job.id] = (number + 1, None)
        try:
            yield
        finally:
            with self._watching:
                if job.id in self._watched:
                    number, _ = self._watched[job.id]
                    self._watched[job.id] = (number - 1, None)
                    if number == 1:
                        self._start_timer(job, self.limits.closed_page_seconds)

    def _expect_watcher(self, job: Job) -> None:
        with self._watching:
            self._watched[job.id] = (0, None)
            self._start_timer(job, 10 * self.limits.closed_page_seconds)

    def _start_timer(self, job: Job, seconds: float) -> None:
        timer = threading.Timer(seconds, self._page_has_gone, [job])
        timer.daemon = True
        self._watched[job.id] = (0, timer)
        timer.start()

    def _page_has_gone(self, job: Job) -> None:
        with self._watching:
            number, _ = self._watched.get(job.id, (1, None))
            if number == 0:
                del self._watched[job.id]
        if number == 0 and not job.is_over:
            self.cancel(job)

    # ---- sweeping

    def sweep(self) -> list[str]:
        """Removes what has outlived its use."""
        busy = self.ear.busy_projects() | self.band.busy_projects()
        return self.store.sweep(self.limits.lifetime_seconds, busy=busy)

    def _sweep_now_and_then(self) -> None:
        low, high = _SWEEP_SECONDS
        pause = min(max(self.limits.lifetime_seconds / _SWEEPS_PER_LIFETIME, low), high)
        while not self._closed.wait(pause):
            self.sweep()


def _there(project: Project | None) -> Project:
    if project is None:
        raise Problem(404, "NotFound", "there is no such project; it may have been deleted")
    return project
