"""A studio over HTTP, without a model and without a socket."""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from hafm.web.api import make_app
from hafm.web.desk import Desk
from hafm.web.limits import Limits
from hafm.web.store import Store
from tests.web.stub import StubStudio

RATE = 16_000
BASE = "http://127.0.0.1:8642"


def sung_wav(seconds: float = 6.0, *, rate: int = RATE, level: float = 0.3) -> bytes:
    """A WAV of a tone with vibrato."""
    time_axis = np.arange(int(seconds * rate)) / rate
    voice = level * np.sin(2 * np.pi * 220 * time_axis + 2 * np.sin(30 * time_axis))
    file = io.BytesIO()
    soundfile.write(file, voice, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def until(met: Callable[[], Any], *, seconds: float = 300.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := met()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
    return found


class Singer:
    """Somebody who uses the service."""

    def __init__(self, client: TestClient, desk: Desk) -> None:
        self.client, self.desk = client, desk

    def ask(self, method: str, path: str, *, status: int = 200, **more: Any) -> Any:
        answer = self.client.request(method, f"/v1{path}", **more)
        assert answer.status_code == status, (answer.status_code, answer.text)
        is_json = answer.headers.get("content-type") == "application/json" and answer.content
        return answer.json() if is_json else answer

    def finished(self, job: dict[str, Any]) -> dict[str, Any]:
        def look() -> Any:
            found = self.ask("GET", f"/jobs/{job['id']}")
            return found if found["state"] in ("done", "failed", "cancelled") else None

        return until(look)

    def sing(self, sound: bytes | None = None, name: str = "My song") -> str:
        """A project that was heard; its id."""
        project = self.ask(
            "POST",
            "/projects",
            status=201,
            params={"name": name},
            content=sung_wav() if sound is None else sound,
        )
        job = self.finished(project["jobs"][0])
        assert job["state"] == "done", job
        return str(project["id"])

    def play(self, project: str, *, status: int = 202, **wanted: Any) -> Any:
        return self.ask("POST", f"/projects/{project}/takes", status=status, json=wanted)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Singer]:
    """One for all tests of a module: its processes take a while to start."""
    desk = Desk(Store(tmp_path_factory.mktemp("studio")), limits=Limits(waiting=3), opener=StubStudio)
    with TestClient(make_app(desk), base_url=BASE) as client:
        yield Singer(client, desk)


@pytest.fixture(scope="module")
def project(studio: Singer) -> str:
    return studio.sing()


def reopened(folder: Path) -> Desk:
    """Another studio on the same folder."""
    return Desk(Store(folder), limits=Limits(), opener=StubStudio)
