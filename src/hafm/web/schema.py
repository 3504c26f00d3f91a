"""The JSON that goes over HTTP, as classes: they check what comes in and are the OpenAPI description.

In: JSON. Out: pydantic models; and back. `docs/http.md` describes them for people.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "About",
    "AnalyseRequest",
    "ChartBody",
    "ChartRequest",
    "EditRequest",
    "ErrorBody",
    "ExportRequest",
    "JobBody",
    "ProjectBody",
    "ProjectChange",
    "SheetBody",
    "SheetRequest",
    "TakesRequest",
]

Json: TypeAlias = dict[str, Any]
Revision: TypeAlias = Annotated[
    int | None, Field(ge=0, le=2**53, description="of the sheet that is replaced; null for any")
]
TakeNumber: TypeAlias = Annotated[int, Field(ge=1, le=999)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorText(BaseModel):
    """What went wrong."""

    kind: str
    message: str


class ErrorBody(BaseModel):
    """Every answer of 400 and more."""

    error: ErrorText


class About(BaseModel):
    """What this studio is and takes."""

    hafm: str
    bundle: str
    styles: list[str]
    players: list[str]
    limits: dict[str, float]
    waiting: dict[str, int]


class JobBody(BaseModel):
    """A job. `position` and `seconds_before` say how long it waits."""

    id: str
    kind: Literal["listen", "play", "export"]
    project: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    step: str
    share: float
    seconds_left: float | None
    position: int
    seconds_before: float | None
    error: ErrorText | None
    result: Json


class ProjectBody(BaseModel):
    """A project; `takes` and `jobs` only where one is asked for."""

    id: str
    name: str
    created: float
    used: float
    is_kept: bool
    expires: float | None
    vocal: Json | None
    failure: dict[str, str] | None
    warnings: list[dict[str, str]]
    revision: int
    best_take: int | None
    takes: list[Json] = []
    jobs: list[JobBody] = []


class ProjectChange(_Request):
    """What can be changed about a project."""

    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    is_kept: bool | None = None
    best_take: TakeNumber | None = None


class SheetBody(BaseModel):
    """The lead sheet, and as a page draws it."""

    revision: int
    sheet: Json
    tempo_bpm: float | None
    meter: str | None
    key: str | None
    style: str | None
    chart: str | None
    unsure: list[str]
    chords: list[Json]
    bars: list[Json]


class SheetRequest(_Request):
    """A whole lead sheet."""

    sheet: Json
    revision: Revision = None


class EditRequest(_Request):
    """One edit; `hafm.web.edits` has them all."""

    edit: Json
    revision: Revision = None


class AnalyseRequest(_Request):
    """Hear the recording again.

    `given` is a lead sheet whose parts are kept, and `tempo_bpm` about how fast it goes.
    """

    given: Json | None = None
    tempo_bpm: Annotated[float, Field(ge=20, le=400, allow_inf_nan=False)] | None = None


class ChartRequest(_Request):
    """Chords to sing to, as a chart has them, and how fast they go."""

    chords: Annotated[str, Field(max_length=20_000)]
    tempo_bpm: Annotated[float, Field(ge=20, le=400, allow_inf_nan=False)]
    meter: Annotated[str, Field(max_length=30)] = "4/4"


class ChartBody(BaseModel):
    """A chart once through, from 0 s on; `sheet` is its lead sheet, `chords` have their notes."""

    seconds: float
    sheet: Json
    chords: list[Json]


class Again(_Request):
    """Bars of a take to be made again; all else of it stays as it is."""

    take: TakeNumber
    first_bar: Annotated[int, Field(ge=1, le=100_000)]
    last_bar: Annotated[int, Field(ge=1, le=100_000)]


class TakesRequest(_Request):
    """Takes to make. `watched`: they end when the page that watches the job has gone.

    With `samples` it is one take by a band of samples, which follows the chart and needs no model: it takes
    `seed` and `balance_db`.
    """

    takes: Annotated[int, Field(ge=1, le=32)] = 1
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    temperature: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = None
    guidance: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    guide_guidance: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    skip_fine: bool = False
    balance_db: Annotated[float, Field(ge=-60, le=60, allow_inf_nan=False)] = -3.0
    watched: bool = False
    samples: bool = False
    again: Again | None = None


class ExportRequest(_Request):
    """A zip to be packed; without a take, of the vocal and the lead sheet."""

    take: TakeNumber | None = None
    format: Literal["wav", "flac"] = "wav"
