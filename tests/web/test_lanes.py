"""Jobs wait, run and end; whatever happens to one of them, the next one works."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hafm.web.lane import Full, Job, Lane
from hafm.web.tasks import Export
from tests.web.conftest import until
from tests.web.quick import Broken, Quick


@pytest.fixture(scope="module")
def lane() -> Iterator[Lane]:
    lane = Lane("hafm-test", Quick, waiting=2)  # type: ignore[arg-type]
    lane.start()
    yield lane
    lane.close()


def put(lane: Lane, what: str, *, seconds: float = 120.0, project: str = "p") -> Job:
    task = Export(folder=Path(), name=what, take=None, format="hello")

    def done(result: dict[str, Any]) -> dict[str, Any]:
        return {**result, "seen": True}

    return lane.submit(Job(task=task, kind="play", project=project, seconds=seconds, done=done))


def ended(job: Job) -> Job:
    until(lambda: job.is_over)
    return job


def running(job: Job) -> Job:
    until(lambda: job.step == "working")
    return job


def test_a_job_is_done_and_seen(lane: Lane) -> None:
    job = ended(put(lane, "say"))
    assert (job.state, job.share, job.result["said"], job.result["seen"]) == ("done", 1.0, "hello", True)
    assert lane.job(job.id) is job
    assert lane.busy_projects() == set()


@pytest.mark.parametrize(
    ("what", "kind", "said"),
    [
        ("refused", "UsageError", "this cannot be done; do something else"),
        ("wrong", "InternalError", "a mistake in hafm: please report it"),
        ("die", "WorkerDied", "signal 9"),
    ],
)
def test_a_job_that_fails_says_why_and_the_next_one_works(
    lane: Lane, what: str, kind: str, said: str
) -> None:
    job = ended(put(lane, what))
    assert job.state == "failed"
    assert job.error is not None
    assert job.error["kind"] == kind
    assert said in job.error["message"]
    assert "Traceback" not in job.error["message"]
    assert ended(put(lane, "say")).state == "done"


def test_a_worker_that_is_killed_meanwhile_is_replaced(lane: Lane) -> None:
    job = running(put(lane, "slow"))
    assert lane.process_id is not None
    os.kill(lane.process_id, signal.SIGKILL)
    assert ended(job).state == "failed"
    assert job.error is not None
    assert job.error["kind"] == "WorkerDied"
    assert ended(put(lane, "say")).state == "done"


def test_a_running_job_is_cancelled_within_a_second_and_its_process_stays(lane: Lane) -> None:
    before = ended(put(lane, "say")).result["pid"]
    job = running(put(lane, "slow"))
    began = time.monotonic()
    lane.cancel(job)
    assert ended(job).state == "cancelled"
    assert time.monotonic() - began < 1.0
    assert ended(put(lane, "say")).result["pid"] == before


@pytest.mark.long
def test_a_job_that_does_not_listen_is_ended_within_a_second(lane: Lane) -> None:
    job = put(lane, "deaf")
    until(lambda: job.state == "running")
    began = time.monotonic()
    lane.cancel(job)
    assert ended(job).state == "cancelled"
    assert time.monotonic() - began < 1.5
    assert ended(put(lane, "say")).state == "done"


@pytest.mark.long
def test_time_runs_out(lane: Lane) -> None:
    job = ended(put(lane, "deaf", seconds=0.3))
    assert job.state == "failed"
    assert job.error is not None
    assert "longer than 0.3 s" in job.error["message"]
    assert ended(put(lane, "say")).state == "done"


def test_a_full_queue_says_when_to_come_back(lane: Lane) -> None:
    first = running(put(lane, "slow"))
    waiting = [put(lane, "say", project="q") for _ in range(2)]
    with pytest.raises(Full) as full:
        put(lane, "say")
    assert full.value.retry_seconds > 0
    assert [lane.position(job) for job in (first, *waiting)] == [0, 1, 2]
    before = [lane.seconds_before(job) for job in waiting]
    assert before[0] is not None
    assert before[1] is not None
    assert before[0] < before[1]
    assert lane.jobs_of("q") == waiting
    lane.cancel(waiting[0])
    assert waiting[0].state == "cancelled"
    assert lane.position(waiting[1]) == 1
    lane.cancel(first)
    assert ended(waiting[1]).state == "done"


def test_a_bundle_that_cannot_be_opened_is_said_to_every_job() -> None:
    lane = Lane("hafm-broken", Broken, waiting=2)  # type: ignore[arg-type]
    lane.start()
    try:
        for _ in range(2):
            job = ended(put(lane, "say"))
            assert job.error == {"kind": "UsageError", "message": "there is no such bundle; name another"}
    finally:
        lane.close()
