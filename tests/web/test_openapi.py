"""The OpenAPI description, fuzzed with schemathesis: what it says is what comes back, and nothing is a 500.

`make test-web` installs schemathesis and runs this; without it the test is skipped.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hafm.web.api import make_app, make_service
from hafm.web.desk import Desk
from hafm.web.limits import Limits
from hafm.web.store import Store
from tests.web.conftest import sung_wav, until
from tests.web.stub import StubStudio

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Do not use the `random` module"),  # schemathesis does
]

EXAMPLES = 25


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Desk]]:
    limits = Limits(stall_seconds=2.0, uploads=4, waiting=4)
    desk = Desk(Store(tmp_path_factory.mktemp("fuzzed")), limits=limits, opener=StubStudio)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(make_app(desk), log_level="error", lifespan="on"))
        server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", desk
        server.should_exit = True
        thread.join()


def test_the_service_does_what_its_description_says(served: tuple[str, Desk]) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

    address, desk = served
    schema = schemathesis.openapi.from_dict(make_service(desk).openapi())
    wanted = schemathesis.checks.CHECKS.get_by_names(
        [
            "not_a_server_error",
            "status_code_conformance",
            "content_type_conformance",
            "response_headers_conformance",
            "response_schema_conformance",
            "negative_data_rejection",
            "unsupported_method",
        ]
    )
    project = heard(desk)
    failures = []
    operations = [found.ok() for found in schema.get_all_operations()]
    for operation in operations:
        try:
            fuzz(operation, address, project, wanted)
        except schemathesis.errors.FailureGroup as group:
            failures.append(f"{operation.label}: {group}")
    assert len(operations) > 15
    assert failures == []
    assert desk.store.find(project) is not None


def fuzz(operation: Any, address: str, project: str, checks: list[Any]) -> None:
    """Asks for one thing in many ways, half of them for a project that there is."""

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(), is_real=st.booleans())
    def ask(case: Any, is_real: bool) -> None:
        if is_real and "project_id" in (case.path_parameters or {}) and operation.label != DELETE:
            case.path_parameters["project_id"] = project
        answer = case.call(base_url=address, timeout=60)
        if answer.status_code == 503:  # the queue is full, which it says
            assert int(answer.headers["retry-after"][0]) >= 1
            return
        case.validate_response(answer, checks=checks)

    ask()


DELETE = "DELETE /v1/projects/{project_id}"


def heard(desk: Desk) -> str:
    project = desk.store.create("Fuzzed")
    (desk.store.path(project.id) / "upload").write_bytes(sung_wav())
    job = desk.listen(project)
    until(lambda: job.is_over)
    assert job.state == "done", job.error
    return project.id
