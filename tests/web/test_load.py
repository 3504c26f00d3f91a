"""A studio in its own process: many uploads at once, and what is left when it is killed."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.web.conftest import sung_wav, until
from tests.web.stub import SLOW

pytestmark = pytest.mark.slow

SENDERS = 50
UPLOAD_BYTES = 20_000_000
MOST_GROWTH_BYTES = 300_000_000


class Served:
    """A server, and requests to it."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    def ask(
        self, method: str, path: str, body: bytes | dict[str, Any] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        headers = {"content-type": "application/json"} if isinstance(body, dict) else {}
        connection.request(method, f"/v1{path}", content, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        values = json.loads(data) if data and answer.headers["content-type"] == "application/json" else data
        return answer.status, values, {name.lower(): value for name, value in answer.getheaders()}

    def heard(self, project: str) -> Any:
        return until(lambda: self.ask("GET", f"/projects/{project}")[1]["vocal"])

    def sing(self, sound: bytes) -> str:
        status, project, _ = self.ask("POST", "/projects?name=Song", sound)
        assert status == 201, project
        self.heard(project["id"])
        return str(project["id"])

    def resident_bytes(self) -> int:
        """Of the server and its workers."""
        pids = [self.process.pid]
        for pid in pids:
            with suppress(OSError):
                for children in Path(f"/proc/{pid}/task").glob("*/children"):
                    pids += [int(each) for each in children.read_text().split()]
        total = 0
        for pid in pids:
            with suppress(OSError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return total


@contextmanager
def served(folder: Path, **limits: float) -> Iterator[Served]:
    command = [sys.executable, "-m", "tests.web.served", str(folder), json.dumps(limits)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Served(process, int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_many_large_recordings_at_once(tmp_path: Path) -> None:
    sound = sung_wav((UPLOAD_BYTES - 44) / 2 / 48_000, rate=48_000)
    assert UPLOAD_BYTES - 10 < len(sound) <= UPLOAD_BYTES
    folder = tmp_path / "studio"
    with served(folder, waiting=3, lifetime_seconds=4) as studio:
        studio.sing(sound)  # torch and what decodes are loaded
        before = studio.resident_bytes()
        most = [before]
        answers: list[tuple[int, Any, dict[str, str]]] = []
        start = threading.Barrier(SENDERS + 1)

        def send() -> None:
            start.wait()
            answers.append(studio.ask("POST", "/projects", sound))

        senders = [threading.Thread(target=send) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        start.wait()
        while any(sender.is_alive() for sender in senders) or busy(studio):
            most.append(studio.resident_bytes())
            waiting = studio.ask("GET", "")[1]["waiting"]["hafm-ear"]
            assert waiting <= 3
            time.sleep(0.02)
        assert len(answers) == SENDERS
        statuses = Counter(status for status, _, _ in answers)
        assert set(statuses) == {201, 503}, statuses
        assert statuses[201] >= 4, statuses
        for status, body, headers in answers:
            if status == 503:
                assert int(headers["retry-after"]) >= 1
                assert "try again" in body["error"]["message"]
        growth = max(most) - before
        print(f"{statuses}, {growth / 1e6:.0f} MB more than {before / 1e6:.0f}, {len(most)} looks")
        assert growth <= MOST_GROWTH_BYTES, f"{growth / 1e6:.0f} MB"
        until(lambda: list(folder.iterdir()) == [], seconds=60)


def busy(studio: Served) -> bool:
    return any(
        project["vocal"] is None and studio.ask("GET", f"/projects/{project['id']}")[1].get("jobs")
        for project in studio.ask("GET", "/projects")[1]
    )


def test_a_studio_that_was_killed_opens_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "studio"
    with served(folder) as studio:
        project = studio.sing(sung_wav())
        edit = {"edit": {"edit": "bar", "bar": 2, "chords": "Dm G"}}
        assert studio.ask("POST", f"/projects/{project}/lead-sheet/edits", edit)[0] == 200
        job = studio.ask("POST", f"/projects/{project}/takes", {"takes": 2, "seed": 3})[1]
        until(lambda: studio.ask("GET", f"/jobs/{job['id']}")[1]["state"] == "done")
        studio.ask("PATCH", f"/projects/{project}", {"best_take": 2, "is_kept": True})
        before = everything(studio, project)
        job = studio.ask("POST", f"/projects/{project}/takes", {"seed": SLOW})[1]
        until(lambda: studio.ask("GET", f"/jobs/{job['id']}")[1]["state"] == "running")
        studio.process.send_signal(signal.SIGKILL)
        studio.process.wait()
    with served(folder) as studio:
        assert everything(studio, project) == before
        assert studio.ask("GET", f"/jobs/{job['id']}")[0] == 404
        job = studio.ask("POST", f"/projects/{project}/takes", {"seed": 4})[1]
        until(lambda: studio.ask("GET", f"/jobs/{job['id']}")[1]["state"] == "done")
        numbers = [take["number"] for take in studio.ask("GET", f"/projects/{project}/takes")[1]]
        assert numbers == [1, 2, 3]


def everything(studio: Served, project: str) -> list[Any]:
    shown = studio.ask("GET", f"/projects/{project}")[1]
    parts = ["vocal", "hearing", "lead-sheet", "takes/1/mix", "takes/2/accompaniment"]
    return [
        {name: value for name, value in shown.items() if name not in ("jobs", "used")},
        *(studio.ask("GET", f"/projects/{project}/{part}")[1] for part in parts),
    ]


def test_the_command_serves_until_ctrl_c(tmp_path: Path) -> None:
    folder = tmp_path / "studio"
    command = [sys.executable, "-m", "hafm", "web", "--port", "0", "--no-browser", "--folder", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        address = next(line for line in lines if "the studio is at http://127.0.0.1:" in line)
        studio = Served(process, int(address.rpartition(":")[2].split()[0]))
        status, example, _ = until(lambda: answered(studio))
        assert status == 201
        assert studio.heard(example["id"])["seconds"] > 10
        second = subprocess.run(command, capture_output=True, text=True)
        assert second.returncode == 2, "one studio per folder"
        assert str(folder) in second.stderr
        process.send_signal(signal.SIGINT)
        rest = "".join(lines)
        assert process.wait(60) == 130
        assert f"its projects are in '{folder}'" in rest
        assert "Traceback" not in rest
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
    assert (folder / example["id"] / "lead-sheet.json").is_file()


def answered(studio: Served) -> tuple[int, Any, dict[str, str]] | None:
    try:
        return studio.ask("POST", "/example")
    except OSError:  # it is not there yet
        return None
