"""Requests that mean no good: each gets a clear 4xx, nothing outside the folder is read."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from hafm.web.api import make_app
from hafm.web.desk import Desk
from hafm.web.limits import Limits
from hafm.web.store import Project, Store
from tests.web.conftest import until
from tests.web.stub import StubStudio

SECRET = b"a secret outside of the folder"
NONE = "0123456789abcdef"
HOST = b"Host: 127.0.0.1:%d\r\n"


class Raw:
    """A server on a socket, and requests as bytes: clients would put them right."""

    def __init__(self, port: int, project: str, folder: Path) -> None:
        self.port, self.project, self.folder = port, project, folder

    def send(self, request: bytes, *, seconds: float = 20.0) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            connection.sendall(request.replace(b"PORT", str(self.port).encode()))
            answer = b""
            try:
                while part := connection.recv(65536):
                    answer += part
                    if _is_whole(answer):
                        break
            except (TimeoutError, ConnectionError):
                pass
            return answer

    def get(self, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
        lines = [f"{method} {path} HTTP/1.1", *headers]
        if not any(line.lower().startswith("host") for line in headers):
            lines.append(f"Host: 127.0.0.1:{self.port}")
        if body and not any(line.lower().startswith("content-length") for line in headers):
            lines.append(f"Content-Length: {len(body)}")
        return self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)


def _is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0].partition(b":")[2])


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:100]
    return int(answer[9:12])


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raw]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "secret.txt").write_bytes(SECRET)
    store = Store(folder / "studio")
    project = store.create("Mine")
    limits = Limits(upload_bytes=200_000, body_bytes=20_000, stall_seconds=0.5, upload_seconds=2.0)
    desk = Desk(store, limits=limits, opener=StubStudio)
    desk.start = lambda: None  # type: ignore[method-assign]  # no worker: nothing here gets so far
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(make_app(desk), log_level="error", lifespan="on")
        server = uvicorn.Server(config)
        server.capture_signals = _no_signals  # type: ignore[method-assign]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield Raw(listening.getsockname()[1], project.id, folder)
        server.should_exit = True
        thread.join()


def _no_signals() -> Any:
    import contextlib

    return contextlib.nullcontext()


TRAVERSAL = [
    "/page/../../../secret.txt",
    "/page/%2e%2e/%2e%2e/%2e%2e/secret.txt",
    "/page/..%2f..%2f..%2fsecret.txt",
    "/page/%252e%252e%252fsecret.txt",
    "/page//etc/passwd",
    "/page/..%5c..%5csecret.txt",
    "/page/%c0%ae%c0%ae/secret.txt",
    "/page/studio.js%00.txt",
    "/v1/projects/../../secret.txt",
    "/v1/projects/..%2f..%2fsecret.txt/vocal",
    "/v1/projects/%2e%2e/vocal",
    "/v1/projects/" + "a" * 5000 + "/vocal",
    f"/v1/projects/{NONE}%00/vocal",
    f"/v1/projects/{NONE.upper()}/vocal",
    f"/v1/projects/{NONE}/vocal",
    f"/v1/projects/{NONE}/takes/../../secret.txt/mix",
    f"/v1/projects/{NONE}/takes/1/..%2f..%2fproject.json",
    f"/v1/projects/{NONE}/takes/-1/mix",
    f"/v1/projects/{NONE}/takes/1e9/mix",
    f"/v1/projects/{NONE}/takes/1/take.json",
    "/v1/jobs/../../etc/passwd",
    "/v1/jobs/" + "f" * 16,
    "/docs",
    "/secret.txt",
]


@pytest.mark.parametrize("path", TRAVERSAL, ids=lambda path: path[:40])
def test_no_path_leads_out_of_the_folder(raw: Raw, path: str) -> None:
    answer = raw.get(path)
    assert 400 <= status(answer) < 500
    assert SECRET not in answer
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "header",
    [
        "Host: evil.example",
        "Host: evil.example:PORT",
        "Host: 192.168.1.5:PORT",
        "Host: localhost.evil.example",
        "Host: ",
    ],
)
def test_another_name_is_not_answered(raw: Raw, header: str) -> None:
    """DNS rebinding: a page's own name points to this machine."""
    assert status(raw.get("/v1/projects", header)) in (400, 403)


@pytest.mark.parametrize(
    "headers",
    [
        ["Origin: http://evil.example"],
        ["Origin: null"],
        ["Origin: http://127.0.0.1:1"],
        ["Origin: https://127.0.0.1:PORT"],
        ["Sec-Fetch-Site: cross-site"],
        ["Sec-Fetch-Site: same-site"],
        ["Origin: http://127.0.0.1:PORT", "Origin: http://evil.example"],
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_elsewhere_drives_nothing(raw: Raw, headers: list[str], method: str) -> None:
    path = "/v1/example" if method == "POST" else "/v1/projects"
    headers = [header.replace("PORT", str(raw.port)) for header in headers]
    assert status(raw.get(path, *headers, method=method)) in (400, 403)


def test_this_page_is_let_in(raw: Raw) -> None:
    """The control of the two tests before."""
    own = f"Origin: http://127.0.0.1:{raw.port}"
    assert status(raw.get("/v1/projects", own, "Sec-Fetch-Site: same-origin")) == 200
    assert status(raw.get("/v1/projects", f"Host: localhost:{raw.port}")) == 200


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "expected"),
    [
        ("POST", "/v1/projects", ["Content-Length: 999999999"], b"", 413),
        ("POST", "/v1/projects", ["Content-Length: -5"], b"", 400),
        ("POST", "/v1/projects", ["Content-Length: 12, 13"], b"", 400),
        ("POST", "/v1/projects", ["Content-Length: 9" + "9" * 40], b"", 400),
        ("POST", "/v1/projects", [], b"", 422),
        ("POST", "/v1/projects?name=" + "n" * 3000, [], b"x", 422),
        ("PATCH", "/v1/projects/ID", [], b'{"name": "' + b"n" * 5000 + b'"}', 422),
        ("PATCH", "/v1/projects/ID", [], b'{"id": "0000000000000000"}', 422),
        ("PATCH", "/v1/projects/ID", [], b'{"is_kept": "perhaps"}', 422),
        ("PATCH", "/v1/projects/ID", [], b"not json", 422),
        ("PATCH", "/v1/projects/ID", [], b"\xff\xfe\x00", 400),
        ("PATCH", "/v1/projects/ID", [], b"[" * 19_000, 400),
        ("PATCH", "/v1/projects/ID", [], b" " * 50_000, 413),
        ("PUT", "/v1/projects/ID/lead-sheet", [], b'{"sheet": {"format": "x"}}', 422),
        ("PUT", "/v1/projects/ID/lead-sheet", [], b'{"sheet": 3}', 422),
        ("POST", "/v1/projects/ID/takes", [], b'{"takes": 1000000}', 422),
        ("POST", "/v1/projects/ID/takes", [], b'{"seed": NaN}', 422),
        ("POST", "/v1/projects/ID/takes", [], b'{"temperature": 1e999}', 422),
        ("POST", "/v1/projects/ID/takes", [], b'{"vocal": "http://127.0.0.1/x.wav"}', 422),
        ("POST", "/v1/projects/ID/analyse", [], b'{"given": {"url": "file:///etc/passwd"}}', 422),
        ("TRACE", "/v1/projects", [], b"", 405),
        ("DELETE", "/v1/projects", [], b"", 405),
        ("GET", "/v1/projects", ["X-Long: " + "x" * 17_000], b"", 431),
    ],
)
def test_wrong_bodies_are_refused(
    raw: Raw, method: str, path: str, headers: list[str], body: bytes, expected: int
) -> None:
    if body:
        headers = [*headers, "Content-Type: application/json"]
    answer = raw.get(path.replace("ID", raw.project), *headers, method=method, body=body)
    assert status(answer) == expected
    text = answer.partition(b"\r\n\r\n")[2]
    if answer.lower().find(b"application/json") > 0:
        assert set(json.loads(text)) == {"error"}
    assert b"Traceback" not in answer


def test_a_body_that_is_longer_than_it_says_is_cut(raw: Raw) -> None:
    chunk = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    head = b"POST /v1/projects HTTP/1.1\r\n" + HOST % raw.port + b"Transfer-Encoding: chunked\r\n\r\n"
    assert status(raw.send(head + 5 * chunk)) in (400, 413)


@pytest.mark.long
@pytest.mark.parametrize("sent", [b"", b"RIFF"])
def test_a_slow_sender_is_sent_away(raw: Raw, sent: bytes) -> None:
    head = b"POST /v1/projects HTTP/1.1\r\n" + HOST % raw.port + b"Content-Length: 1000\r\n\r\n"
    assert status(raw.send(head + sent)) == 408


def test_a_sender_that_leaves_leaves_nothing(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Path] = []

    def create(store: Store, name: str, real: Callable[[Store, str], Project] = Store.create) -> Project:
        project = real(store, name)
        begun.append(store.path(project.id))
        return project

    monkeypatch.setattr(Store, "create", create)
    with socket.create_connection(("127.0.0.1", raw.port)) as connection:
        head = b"POST /v1/projects HTTP/1.1\r\n" + HOST % raw.port + b"Content-Length: 1000\r\n\r\nabc"
        connection.sendall(head)
        until(lambda: begun, seconds=20)
    until(lambda: not begun[0].exists(), seconds=20)


def test_garbage_is_no_request(raw: Raw) -> None:
    assert status(raw.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n")) == 400


def test_every_answer_says_what_a_browser_may_do(raw: Raw) -> None:
    for path in ("/", "/page/studio.js", "/v1/projects", "/nothing"):
        head = raw.get(path).partition(b"\r\n\r\n")[0].lower()
        assert b"content-security-policy: default-src 'none'; script-src 'self'" in head
        assert b"x-content-type-options: nosniff" in head
        assert b"access-control-allow" not in head


def test_the_studio_lives_on(raw: Raw) -> None:
    assert status(raw.get(f"/v1/projects/{raw.project}")) == 200


def test_others_in_the_network_need_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hafm.web.gate._WRONG_PASSWORD_SECONDS", 0.0)
    desk = Desk(Store(tmp_path), limits=Limits(), opener=StubStudio)
    desk.start = lambda: None  # type: ignore[method-assign]
    gate = make_app(desk, host="0.0.0.0", password="correct horse")
    with TestClient(gate, base_url="http://192.168.1.5:8642") as client:
        assert client.get("/v1/projects").status_code == 401
        assert client.get("/v1/projects", auth=("me", "wrong horse")).status_code == 401
        refused = client.get("/v1/projects", auth=("me", ""))
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic ")
        assert client.get("/v1/projects", auth=("me", "correct horse")).json() == []
        rebound = {"host": "evil.example:8642"}
        assert client.get("/v1/projects", auth=("me", "correct horse"), headers=rebound).status_code == 403
