"""Projects in a folder: what a person sang, what was heard in it, and what was made of it.

In: names and values. Out: files that are whole at any moment, so that a studio that was killed opens as it
was.

    FOLDER/studio.lock              one studio per folder
    FOLDER/<id>/project.json        name, times, what is kept, what was heard (`Project`)
               /upload              the recording as it came
               /vocal.wav           decoded: what is accompanied, and what the page plays
               /hearing.json        pitch curve and waveform
               /heard.json          the lead sheet as it was heard
               /lead-sheet.json     as it is now
               /takes/003/          accompaniment.wav, mix.wav, generation.json, take.json
               /export.zip          the last one that was asked for

Conventions: an id is 16 hexadecimal digits that we drew, and nothing else is ever joined to a path. A project
that is not kept goes when `lifetime_seconds` have passed since it was last used.
"""

import json
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hafm.errors import UsageError
from hafm.files import write_whole
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.sheet_json import lead_sheet_from_json, lead_sheet_to_json
from hafm.jsonfile import JsonFile

__all__ = ["ID_PATTERN", "Project", "Store", "Vocal", "Warning", "clean_name", "file_name"]

ID_PATTERN = r"^[0-9a-f]{16}$"
NAME_LENGTH = 80

_FILE = JsonFile(what="a project of the studio", fix="delete its folder", error=UsageError, format=1)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, kw_only=True)
class Vocal:
    """The recording, decoded."""

    seconds: float
    sample_rate_hz: int
    num_channels: int
    num_samples: int


@dataclass(frozen=True, kw_only=True)
class Warning:
    """Something that a singer should know about the recording.

    Args:
        code: which words the page has for it; `other` has none.
        message: what and what to do, in the words of `hafm.audio`.
    """

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project, without its sounds and its sheet.

    Args:
        id: see the top of this file.
        name: for people.
        created, used: seconds since 1970.
        is_kept: it has no lifetime.
        vocal: None until it was heard.
        failure: why it could not be heard; `code` is the kind of the error.
        warnings: about the recording.
        revision: counts the changes of the sheet.
        best_take: the take that the singer keeps.
    """

    id: str
    name: str
    created: float
    used: float
    is_kept: bool = False
    vocal: Vocal | None = None
    failure: Warning | None = None
    warnings: tuple[Warning, ...] = ()
    revision: int = 0
    best_take: int | None = None


class Store:
    """The projects of a folder.

    Args:
        folder: made if it is not there.
        now: the clock, in seconds since 1970.
    """

    def __init__(self, folder: Path, *, now: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._now = now
        self._lock = threading.RLock()
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".*.part"):  # of a studio that was killed while it wrote
            shutil.rmtree(left, ignore_errors=True)

    def path(self, project_id: str) -> Path:
        """The folder of a project, which need not be there."""
        assert re.fullmatch(ID_PATTERN, project_id), "ids are checked where they come in"
        return self.folder / project_id

    def create(self, name: str) -> Project:
        """An empty project."""
        now = self._now()
        project = Project(id=secrets.token_hex(8), name=clean_name(name), created=now, used=now)
        self.path(project.id).mkdir()
        self._write(project)
        return project

    def find(self, project_id: str) -> Project | None:
        """A project; None if there is none, or what is there is no project."""
        try:
            text = (self.path(project_id) / "project.json").read_bytes()
            return _FILE.read(Project, text, where="project.json")
        except (OSError, UsageError):
            return None

    def all(self) -> list[Project]:
        """All projects, the last used first."""
        projects = (self.find(path.name) for path in self._folders())
        return sorted((each for each in projects if each is not None), key=lambda each: -each.used)

    def update(self, project_id: str, **changes: Any) -> Project | None:
        """Changes fields of a project, and notes that it was used; None if it has gone."""
        with self._lock:
            project = self.find(project_id)
            if project is None:
                return None
            project = replace(project, used=self._now(), **changes)
            self._write(project)
            return project

    def delete(self, project_id: str) -> None:
        """Removes a project and all that is in it."""
        self._remove(self.path(project_id), f".{project_id}.part")

    def sweep(self, lifetime_seconds: float, *, busy: set[str]) -> list[str]:
        """Removes projects that nobody kept and nobody used for so long.

        Args:
            lifetime_seconds: since their last use.
            busy: ids of those that a job works on.

        Returns:
            The ids of what was removed.
        """
        oldest = self._now() - lifetime_seconds
        gone = []
        for path in self._folders():
            project = self.find(path.name)
            used = path.stat().st_mtime if project is None else project.used
            if path.name not in busy and used < oldest and not (project is not None and project.is_kept):
                self.delete(path.name)
                gone.append(path.name)
        return gone

    def num_bytes(self) -> int:
        """Of all files of all projects."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    # ---- the sheet

    def sheet(self, project_id: str) -> LeadSheet | None:
        """The lead sheet as it is now; None before the recording was heard."""
        try:
            text = (self.path(project_id) / "lead-sheet.json").read_bytes()
        except OSError:
            return None
        return lead_sheet_from_json(text, where="lead-sheet.json")

    def put_sheet(self, project_id: str, sheet: LeadSheet, *, revision: int | None = None) -> Project | None:
        """Replaces the lead sheet.

        Args:
            project_id: of a project that was heard.
            sheet: as long as its vocal.
            revision: of the sheet that it was made from; None to replace any.

        Returns:
            The project with its new revision; None if it has gone, or its sheet is of another revision.
        """
        with self._lock:
            project = self.find(project_id)
            if project is None or (revision is not None and revision != project.revision):
                return None
            write_whole(self.path(project_id) / "lead-sheet.json", lead_sheet_to_json(sheet))
            return self.update(project_id, revision=project.revision + 1)

    # ---- the takes

    def takes(self, project_id: str) -> list[dict[str, Any]]:
        """What `take.json` says of each, in order."""
        found = []
        for path in sorted((self.path(project_id) / "takes").glob("[0-9][0-9][0-9]/take.json")):
            try:
                found.append(json.loads(path.read_bytes()))
            except (OSError, ValueError):
                continue
        return found

    def next_take(self, project_id: str) -> int:
        """The number that no take has yet."""
        numbers = [int(path.name) for path in (self.path(project_id) / "takes").glob("[0-9][0-9][0-9]")]
        return max(numbers, default=0) + 1

    def delete_take(self, project_id: str, number: int) -> bool:
        """Removes a take; whether it was there."""
        place = self.path(project_id) / "takes" / f"{number:03d}"
        if not self._remove(place, f".{project_id}-{number}.part"):
            return False
        project = self.find(project_id)
        if project is not None:
            self.update(project_id, best_take=None if project.best_take == number else project.best_take)
        return True

    def _remove(self, place: Path, going: str) -> bool:
        with self._lock:
            try:
                gone = place.rename(self.folder / going)  # in one step: nobody sees half of it
            except OSError:
                return False
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def _folders(self) -> Iterator[Path]:
        for path in self.folder.iterdir():
            if re.fullmatch(ID_PATTERN, path.name) and path.is_dir():
                yield path

    def _write(self, project: Project) -> None:
        text = json.dumps({"format": 1, **asdict(project)}, indent=2)
        write_whole(self.path(project.id) / "project.json", text)


def clean_name(name: str) -> str:
    """A name as it is kept: one line, no more than 80 letters, no ending of a sound file.

    >>> clean_name("  My  song.final.wav "), clean_name("")
    ('My song.final', 'Untitled')
    """
    name = " ".join(_CONTROL.sub(" ", name).split())
    name = re.sub(r"\.(wav|wave|mp3|m4a|mp4|webm|flac|ogg|opus|aiff?|aac)$", "", name, flags=re.I)
    return name[:NAME_LENGTH].strip() or "Untitled"


def file_name(name: str) -> str:
    """A project's name as part of the names of files, on any system.

    >>> file_name("../My song: take/2?"), file_name("...")
    ('My song take 2', 'song')
    """
    kept = re.sub(r"[^\w \-+&'()]", " ", name)
    return " ".join(kept.split())[:60].strip() or "song"
