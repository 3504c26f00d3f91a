"""The service: JSON over HTTP under `/v1`, and the page that uses nothing else. Start to read here.

In: a `Desk`. Out: an ASGI application.

    browser, curl --> Gate (who asks, how much) --> routes --> Desk --+--> Store    projects in a folder
                                                                      +--> ear      reads, analyses, packs
                                                                      `--> band     owns the model

| resource | what |
|---|---|
| `/v1` | what this studio is and takes |
| `/v1/projects`, `/v1/projects/ID` | a recording and all that is made of it |
| `.../vocal`, `.../hearing` | its sound; its waveform and pitch |
| `.../lead-sheet`, `.../lead-sheet/edits` | beats, bars, chords, key: to be read, replaced, corrected |
| `.../takes`, `.../takes/N/accompaniment`, `/mix`, `/generation.json` | what was made |
| `.../exports`, `.../export.zip` | to carry home |
| `/v1/charts` | chords as text to notes, to sing to |
| `/v1/jobs/ID`, `/events` | how far it is; cancel |

Conventions: every error is `{"error": {"kind", "message"}}`. Sounds are files, with range requests. What
takes long is a job: the answer is 202 and the job. `docs/http.md` shows each with curl.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path as FilePath
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect

from hafm.errors import HafmError
from hafm.guide.lead_sheet import PLAYERS, STYLES
from hafm.version import __version__
from hafm.web import schema
from hafm.web.desk import Desk
from hafm.web.edits import Edit, edited, sheet_of_chart
from hafm.web.gate import Gate, TooSlowError
from hafm.web.lane import Job
from hafm.web.problem import Problem, add_errors, first_complaint
from hafm.web.store import ID_PATTERN, Project, file_name
from hafm.web.view import view

__all__ = ["make_app", "make_service"]

PAGE = FilePath(__file__).parent / "page"

ProjectId: TypeAlias = Annotated[str, InPath(pattern=ID_PATTERN)]
JobId: TypeAlias = Annotated[str, InPath(pattern=ID_PATTERN)]
TakeId: TypeAlias = Annotated[int, InPath(ge=1, le=999)]

_EDITS: TypeAdapter[Any] = TypeAdapter(Edit)
_LOOKS_APART_SECONDS = 0.1
_LOOKS_PER_NEWS = 10
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": schema.ErrorBody} for status in (400, 401, 403, 404, 408, 409, 413, 422, 503, 507)
}


def make_app(desk: Desk, *, host: str = "127.0.0.1", password: str | None = None) -> Gate:
    """The whole application: the gate, the service, the page.

    Args:
        desk: not started yet; it starts and ends with the application.
        host: that the server listens on.
        password: that is asked for.
    """
    return Gate(make_service(desk), limits=desk.limits, host=host, password=password)


def make_service(desk: Desk) -> FastAPI:
    """The routes without the gate; its OpenAPI description is at `/v1/openapi.json`."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        desk.start()
        try:
            yield
        finally:
            desk.close()

    app = FastAPI(
        title="HAFM studio",
        version=__version__,
        description="Sing, see the lead sheet, correct it, and get the band.",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # they would be fetched from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    add_errors(app)
    router = APIRouter(prefix="/v1", responses=_ERRORS)
    _add_projects(router, desk)
    _add_sheet(router, desk)
    _add_takes(router, desk)
    _add_jobs(router, desk)
    app.include_router(router)
    _add_page(app)
    return app


# ---- projects


def _add_projects(router: APIRouter, desk: Desk) -> None:
    def values(project: Project, *, whole: bool = False) -> schema.ProjectBody:
        expires = None if project.is_kept else project.used + desk.limits.lifetime_seconds
        body = schema.ProjectBody(**asdict(project), expires=expires)
        if whole:
            body.takes = desk.store.takes(project.id)
            body.jobs = [job_body(desk, job) for job in desk.jobs_of(project.id)]
        return body

    def arrived(project: Project, job: Job | None) -> schema.ProjectBody:
        """With the job that hears it, though it may be over already."""
        body = values(project, whole=True)
        body.jobs = [] if job is None else [job_body(desk, job)]
        return body

    @router.get("")
    def about() -> schema.About:
        """What this studio is and takes."""
        return schema.About(
            hafm=__version__,
            bundle=desk.bundle,
            styles=list(STYLES),
            players=list(PLAYERS),
            limits={name: float(value) for name, value in asdict(desk.limits).items()},
            waiting={lane.name: lane.num_waiting for lane in (desk.ear, desk.band)},
        )

    @router.get("/projects")
    def list_projects() -> list[schema.ProjectBody]:
        """All projects, the last used first."""
        return [values(project) for project in desk.store.all()]

    @router.post(
        "/projects",
        status_code=201,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def upload(
        request: Request, name: Annotated[str, Query(max_length=200)] = "", wait: bool = False
    ) -> schema.ProjectBody:
        """A new project of a recording, which is the body of the request.

        It is heard at once, by a job of the project; with `wait`, only when its lead sheet or metronome is
        known: ask for `/analyse` then.
        """
        with desk.upload():
            project = desk.store.create(name)
            try:
                await _receive(request, desk.store.path(project.id) / "upload", desk.limits.upload_seconds)
                job = None if wait else desk.listen(project)
            except BaseException:
                desk.store.delete(project.id)
                raise
        return arrived(project, job)

    @router.post("/example", status_code=201)
    def example() -> schema.ProjectBody:
        """A new project of the recording that comes with hafm."""
        project, job = desk.add_example()
        return arrived(project, job)

    @router.get("/projects/{project_id}")
    def show(project_id: ProjectId) -> schema.ProjectBody:
        """A project with its takes and the jobs that are not over."""
        return values(desk.project(project_id), whole=True)

    @router.patch("/projects/{project_id}")
    def change(project_id: ProjectId, change: schema.ProjectChange) -> schema.ProjectBody:
        """Renames or keeps a project, or chooses its best take."""
        desk.project(project_id)
        if change.best_take is not None:
            desk.take_path(project_id, change.best_take)
        return values(desk.touch(project_id, **desk.changes_of(change)), whole=True)

    @router.delete("/projects/{project_id}", status_code=204)
    def delete(project_id: ProjectId) -> None:
        """Removes a project, its sounds and its jobs."""
        desk.delete(project_id)

    @router.get("/projects/{project_id}/vocal", response_class=FileResponse)
    def vocal(project_id: ProjectId) -> FileResponse:
        """The recording, decoded: WAV."""
        return _file(desk, project_id, desk.store.path(project_id) / "vocal.wav", "audio/wav")

    @router.get("/projects/{project_id}/hearing", response_class=FileResponse)
    def hearing(project_id: ProjectId) -> FileResponse:
        """Waveform and pitch of the recording, for a picture."""
        return _file(desk, project_id, desk.store.path(project_id) / "hearing.json", "application/json")

    @router.post("/projects/{project_id}/analyse", status_code=202)
    def analyse(project_id: ProjectId, wanted: schema.AnalyseRequest) -> schema.JobBody:
        """Hears the recording again, with what is known already."""
        project = desk.project(project_id)
        given = None if wanted.given is None else desk.read_sheet(project_id, wanted.given)
        return job_body(desk, desk.listen(project, given=given, bpm=wanted.tempo_bpm))


async def _receive(request: Request, path: FilePath, most_seconds: float) -> None:
    """Writes a body to a file as it comes."""
    size = 0
    try:
        async with asyncio.timeout(most_seconds):
            with open(path, "wb") as file:
                async for chunk in request.stream():
                    size += len(chunk)
                    await asyncio.to_thread(file.write, chunk)
    except TimeoutError:
        raise TooSlowError from None
    except ClientDisconnect:
        raise HTTPException(400, "the recording did not come whole; send it again") from None
    if not size:
        raise Problem(422, "AudioReadError", "the recording is empty; send the bytes of a sound file")


def _file(desk: Desk, project_id: str, path: FilePath, kind: str) -> FileResponse:
    desk.project(project_id)
    if not path.is_file():
        raise Problem(404, "NotFound", "that was not made yet")
    return FileResponse(path, media_type=kind, headers={"cache-control": "private, no-cache"})


# ---- the lead sheet


def _add_sheet(router: APIRouter, desk: Desk) -> None:
    @router.get("/projects/{project_id}/lead-sheet")
    def sheet(project_id: ProjectId) -> schema.SheetBody:
        """The lead sheet as it is now, and as a page draws it."""
        revision, found = desk.sheet(project_id)
        return schema.SheetBody(revision=revision, **view(found))

    @router.put("/projects/{project_id}/lead-sheet")
    def put_sheet(project_id: ProjectId, wanted: schema.SheetRequest) -> schema.SheetBody:
        """Replaces the lead sheet by another of the same recording (`docs/lead-sheet.md`)."""
        new = desk.read_sheet(project_id, wanted.sheet)
        revision = desk.put_sheet(project_id, new, wanted.revision)
        return schema.SheetBody(revision=revision, **view(new))

    @router.post("/projects/{project_id}/lead-sheet/edits")
    def edit_sheet(project_id: ProjectId, wanted: schema.EditRequest) -> schema.SheetBody:
        """Corrects the lead sheet: tempo, first beat, a beat, meter, key, chords, players, style."""
        with desk.editing:
            revision, old = desk.sheet(project_id)
            try:
                new = edited(old, _EDITS.validate_python(wanted.edit))
            except ValidationError as error:
                raise Problem(422, "UsageError", first_complaint(error.errors())) from error
            except HafmError as error:
                raise Problem.of(error) from error
            revision = desk.put_sheet(
                project_id, new, revision if wanted.revision is None else wanted.revision
            )
        return schema.SheetBody(revision=revision, **view(new))

    @router.post("/charts")
    def chart(wanted: schema.ChartRequest) -> schema.ChartBody:
        """Chords with their notes, to sing to before there is a recording."""
        try:
            sheet = sheet_of_chart(wanted.chords, bpm=wanted.tempo_bpm, meter=wanted.meter)
        except HafmError as error:
            raise Problem.of(error) from error
        drawn = view(sheet)
        return schema.ChartBody(seconds=sheet.duration_seconds, sheet=drawn["sheet"], chords=drawn["chords"])


# ---- takes


def _add_takes(router: APIRouter, desk: Desk) -> None:
    @router.get("/projects/{project_id}/takes")
    def takes(project_id: ProjectId) -> list[dict[str, Any]]:
        """The takes of a project."""
        desk.project(project_id)
        return desk.store.takes(project_id)

    @router.post("/projects/{project_id}/takes", status_code=202)
    def play(project_id: ProjectId, wanted: schema.TakesRequest) -> schema.JobBody:
        """Makes takes from the lead sheet as it is now."""
        return job_body(desk, desk.play(project_id, wanted))

    @router.delete("/projects/{project_id}/takes/{number}", status_code=204)
    def delete_take(project_id: ProjectId, number: TakeId) -> None:
        """Removes a take."""
        desk.project(project_id)
        desk.take_path(project_id, number)
        desk.store.delete_take(project_id, number)

    @router.get("/projects/{project_id}/takes/{number}/{what}", response_class=FileResponse)
    def take_file(
        project_id: ProjectId,
        number: TakeId,
        what: Annotated[
            str,
            InPath(pattern="^(accompaniment|mix|generation\\.json|arrangement\\.json|arrangement\\.mid)$"),
        ],
    ) -> FileResponse:
        """A take's sound, or how it was made."""
        path = desk.take_path(project_id, number) / (what if "." in what else f"{what}.wav")
        kinds = {".json": "application/json", ".mid": "audio/midi", "": "audio/wav"}
        return _file(desk, project_id, path, kinds[FilePath(what).suffix])

    @router.post("/projects/{project_id}/exports", status_code=202)
    def export(project_id: ProjectId, wanted: schema.ExportRequest) -> schema.JobBody:
        """Packs a zip; when the job is done it is at `export.zip`."""
        return job_body(desk, desk.export(project_id, wanted.take, wanted.format))

    @router.get("/projects/{project_id}/export.zip", response_class=FileResponse)
    def download(project_id: ProjectId) -> FileResponse:
        """The zip that was packed last."""
        answer = _file(desk, project_id, desk.store.path(project_id) / "export.zip", "application/zip")
        name = file_name(desk.project(project_id).name)
        return FileResponse(answer.path, media_type="application/zip", filename=f"{name}.zip")


# ---- jobs


def job_body(desk: Desk, job: Job) -> schema.JobBody:
    """A job as JSON."""
    _, lane = desk.job(job.id)
    return schema.JobBody(
        id=job.id,
        kind=job.kind,
        project=job.project,
        state=job.state,
        step=job.step,
        share=job.share,
        seconds_left=job.seconds_left,
        position=lane.position(job),
        seconds_before=lane.seconds_before(job),
        error=None if job.error is None else schema.ErrorText(**job.error),
        result=job.result,
    )


def _add_jobs(router: APIRouter, desk: Desk) -> None:
    @router.get("/jobs/{job_id}")
    def show(job_id: JobId) -> schema.JobBody:
        """How far a job is."""
        return job_body(desk, desk.job(job_id)[0])

    @router.delete("/jobs/{job_id}", status_code=202)
    def cancel(job_id: JobId) -> schema.JobBody:
        """Ends a job within a second."""
        job, _ = desk.job(job_id)
        desk.cancel(job)
        return job_body(desk, job)

    @router.get("/jobs/{job_id}/events", response_class=StreamingResponse)
    async def events(job_id: JobId, request: Request) -> StreamingResponse:
        """How far a job is, again and again, as server-sent events, until it is over."""
        job, _ = desk.job(job_id)

        async def news() -> AsyncIterator[str]:
            with desk.watching(job):
                version, looks = -1, 0
                while not await request.is_disconnected():
                    is_over = job.is_over  # before its values are taken
                    if job.version != version or looks % _LOOKS_PER_NEWS == 0:
                        version = job.version
                        yield f"data: {json.dumps(job_body(desk, job).model_dump())}\n\n"
                    if is_over:
                        return
                    looks += 1
                    await asyncio.sleep(_LOOKS_APART_SECONDS)

        return StreamingResponse(
            news(), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )


# ---- the page


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def index(request: Request) -> Response:
        text = (PAGE / "index.html").read_text(encoding="utf-8")
        nonce = getattr(request.state, "nonce", "")
        return HTMLResponse(text.replace("{{nonce}}", nonce), headers={"cache-control": "no-store"})

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
