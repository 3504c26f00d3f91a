"""One process for all tests that need other processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from tests.forked import ended, forked

ROOT = Path(__file__).parents[2]

Ended = Callable[[], object]


def _forked() -> tuple[IO[str], IO[str], Ended]:
    """A child of this process, where torch is loaded."""
    from tests.train import forked_runs

    (tasks, to), (back, results) = os.pipe(), os.pipe()

    def work() -> None:
        os.close(to)
        os.close(back)
        with open(tasks) as lines, open(results, "w") as answers:
            forked_runs.serve(lines, answers)

    child = forked(work)
    os.close(tasks)
    os.close(results)
    return open(to, "w"), open(back), lambda: ended(child, seconds=30)


def _started() -> tuple[IO[str], IO[str], Ended]:
    """A Python of its own: where there is a GPU, torch differentiates in threads, which no fork survives."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.train.forked_runs"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout, lambda: process.wait(timeout=30)


@pytest.fixture(scope="session")
def forked_runs() -> Iterator[Callable[..., Any]]:
    """Calls a task of `tests.train.forked_runs`; it starts with the first call."""
    started: list[tuple[IO[str], IO[str], Ended]] = []

    def call(task: str, **arguments: Any) -> Any:
        if not started:
            started.append(_started() if torch.accelerator.is_available() else _forked())
        tasks, results, _ = started[0]
        tasks.write(json.dumps({"task": task, **arguments}) + "\n")
        tasks.flush()
        answer = json.loads(results.readline())
        assert "error" not in answer, answer["error"]
        return answer["result"]

    yield call
    for tasks, results, wait in started:
        tasks.close()
        wait()
        results.close()
