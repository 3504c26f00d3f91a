"""The pool: workers that die, fail or are left alone, and the results of their tracks."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hafm import workers as pool
from hafm.data.preparing.track_preparer import TrackEngine, quarantine
from hafm.data.result import Prepared, Quarantined, TrackResult
from hafm.errors import DeviceError, UsageError
from hafm.worker_process import WorkerError
from hafm.workers import Pool, SameProcess, in_batches
from tests.data.stub_preparers import Counting, OpenNames, Trouble, die, fail, track

NAMES = [f"{number:02d}" for number in range(12)]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def run(
    engine: TrackEngine, opener: OpenNames, names: Sequence[str] = NAMES, *, size: int = 1
) -> list[TrackResult]:
    with contextlib.closing(engine.run(in_batches(map(track, names), size), opener)) as results:
        return [result for batch in results for result in batch]


def outcomes(results: Sequence[TrackResult]) -> dict[str, Any]:
    """By id: the bytes of the tokens, or the reason; each id once."""
    assert max(Counter(result.track_id for result in results).values()) == 1
    return {
        result.track_id: result.tokens.to_bytes() if isinstance(result, Prepared) else result.reason
        for result in results
    }


def trouble(**values: Any) -> OpenNames:
    return OpenNames(trouble=Trouble(**{key: frozenset(value) for key, value in values.items()}))


def workers_of(pid: int) -> set[int]:
    """Worker processes that a process started, as the system sees them."""
    command = ["ps", "-e", "-ww", "-o", "pid=", "-o", "ppid=", "-o", "stat=", "-o", "args="]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 3) for line in found.splitlines()]
    return {
        int(each)
        for each, parent, state, words in lines
        if int(parent) == pid and "spawn_main" in words and not state.startswith("Z")
    }


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie, which nobody may fetch."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return bool(state) and not state.startswith("Z")


def children() -> set[int]:
    return workers_of(os.getpid())


@pytest.mark.long
@pytest.mark.parametrize(("workers", "size"), [pytest.param(1, 1, marks=pytest.mark.slow), (2, 5)])
def test_results_do_not_depend_on_workers_and_batches(workers: int, size: int) -> None:
    expected = outcomes(run(SameProcess(), OpenNames()))
    assert outcomes(run(Pool(workers=workers, give_up=quarantine), OpenNames(), size=size)) == expected
    assert list(expected) == NAMES


@pytest.mark.long
def test_one_track_needs_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = pool._Run._start
    monkeypatch.setattr(pool._Run, "_start", lambda self, queue: started.append(1) or start(self, queue))
    assert len(run(Pool(workers=8, give_up=quarantine), OpenNames(), NAMES[:1])) == 1
    assert len(started) == 1
    assert run(Pool(workers=8, give_up=quarantine), OpenNames(), []) == []
    assert len(started) == 1


@pytest.mark.long
@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_a_track_that_kills_its_worker_is_quarantined_alone(size: int) -> None:
    expected = outcomes(run(SameProcess(), OpenNames()))
    found = outcomes(run(Pool(workers=1, give_up=quarantine), trouble(dies_on=["05"]), size=size))
    assert found.pop("05") == "the worker process died twice on it, signal 9"
    del expected["05"]
    assert found == expected


@pytest.mark.long
def test_a_track_whose_worker_died_once_is_done(tmp_path: Path) -> None:
    """The system was short of memory for a moment: the track is not to blame."""
    opener = OpenNames(trouble=Trouble(dies_on=frozenset({"03"}), only_once=str(tmp_path)))
    assert outcomes(run(Pool(workers=1, give_up=quarantine), opener, size=2)) == outcomes(
        run(SameProcess(), OpenNames())
    )


def test_a_mistake_of_ours_stops_the_run_with_its_traceback() -> None:
    with pytest.raises(WorkerError, match="ZeroDivisionError: a mistake on 05") as raised:
        run(Pool(workers=1, give_up=quarantine), trouble(fails_on=["05"]))
    assert "in strike" in str(raised.value.__cause__)
    assert children() == set()


@pytest.mark.long
def test_workers_that_cannot_start_stop_the_run() -> None:
    with pytest.raises(WorkerError, match="no models"):
        run(Pool(workers=1, give_up=quarantine), OpenNames(start=fail))
    with pytest.raises(DeviceError, match=r"end while they load their models \(signal 9\)"):
        run(Pool(workers=1, give_up=quarantine), OpenNames(start=die))
    assert children() == set()


@pytest.mark.long
def test_a_worker_waits_until_its_result_is_committed() -> None:
    """What is not asked past is not committed; so at most one batch a worker is lost with the process."""
    given: list[str] = []

    def batches() -> Any:
        for name in NAMES:
            given.append(name)
            yield [track(name)]

    with contextlib.closing(Pool(workers=2, give_up=quarantine).run(batches(), OpenNames())) as results:
        for number, _ in enumerate(results):
            time.sleep(0.05)  # a slow disk: workers could run ahead meanwhile
            assert len(given) <= number + 2


@pytest.mark.long
def test_a_run_that_is_given_up_leaves_no_process() -> None:
    results = Pool(workers=2, give_up=quarantine).run(
        in_batches(map(track, NAMES), 1), OpenNames(trouble=Trouble(wait_seconds=0.2))
    )
    next(results)
    assert len(children()) == 2
    results.close()
    assert children() == set()


def test_a_pool_of_nobody_is_refused() -> None:
    with pytest.raises(UsageError, match="give 1 or more"):
        Pool(workers=0, give_up=quarantine)


PROGRAM = """
import signal
import sys
from hafm.data.preparing.track_preparer import quarantine
from hafm.workers import Pool
from tests.data.stub_preparers import Counting, OpenNames, Trouble, track
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
    batches = ([track(str(number))] for number in range(1000))
    opener = OpenNames(trouble=Trouble(wait_seconds=float(sys.argv[1])))
    for results in Pool(workers=2, give_up=quarantine).run(batches, opener):
        print(*[result.track_id for result in results], flush=True)
"""


def start(tmp_path: Path, *, wait: float) -> "tuple[subprocess.Popen[str], set[int]]":
    """A process with a pool of two, once both are at work, and the two."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, program, str(wait)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    deadline = time.monotonic() + 20
    while len(workers_of(process.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.5)  # their benches are open
    return process, workers_of(process.pid)


@pytest.mark.long
@pytest.mark.parametrize(
    "wait",
    [pytest.param(0.01, id="between tracks", marks=pytest.mark.slow), pytest.param(60.0, id="in a track")],
)
def test_workers_end_with_their_parent(tmp_path: Path, wait: float) -> None:
    """Also where the parent gets no chance to end them."""
    process, workers = start(tmp_path, wait=wait)
    assert len(workers) == 2
    process.kill()
    process.communicate(timeout=20)  # their ends of stderr are closed when they are gone
    assert not any(map(runs, workers))


@pytest.mark.long
def test_ctrl_c_is_the_parents_affair(tmp_path: Path) -> None:
    """A terminal sends SIGINT to the whole group: one traceback, the parent's, and no worker is left."""
    process, workers = start(tmp_path, wait=90.0)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)  # the interpreter starts slowly on a busy machine
    assert errors.count("Traceback") == 1
    assert errors.strip().endswith("KeyboardInterrupt")
    assert not any(map(runs, workers))


@pytest.mark.long
def test_ctrl_c_works_in_the_parent_while_workers_start() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    run(Pool(workers=1, give_up=quarantine), OpenNames(), NAMES[:1])
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    assert os.environ.get("OMP_NUM_THREADS") == "1"  # of the conftest


def test_a_worker_computes_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with pool._single_thread():
        seen = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout.splitlines()
        assert {"OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1"} <= set(seen)
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


@pytest.mark.slow
def test_the_reason_names_how_a_process_ended() -> None:
    (result,) = run(
        Pool(workers=1, give_up=quarantine), OpenNames(trouble=Trouble(dies_on=frozenset({"00"}))), ["00"]
    )
    assert isinstance(result, Quarantined)
    assert "signal 9" in result.reason


@pytest.mark.long
def test_results_of_an_item_may_come_one_by_one() -> None:
    pool_of_one = Pool(workers=1, give_up=lambda item, reason: item)
    assert list(pool_of_one.run([[2, 3], [1]], Counting)) == [[1], [2], [1], [2], [3], [1]]
    assert list(SameProcess().run([[2, 3], [1]], Counting)) == [[1], [2], [1], [2], [3], [1]]


@pytest.mark.long
def test_an_item_can_be_given_up_at_the_first_death_and_end_the_run() -> None:
    def refuse(item: int, reason: str) -> int:
        raise UsageError(f"{item}: {reason}")

    impatient = Pool(workers=1, give_up=refuse, max_deaths=1)
    with pytest.raises(UsageError, match=r"^13: the worker process died once on it, signal 9$"):
        list(impatient.run([[1], [13], [1]], Counting))
    assert children() == set()
    patient = Pool(workers=1, give_up=lambda item, reason: -item)
    assert list(patient.run([[13], [2]], Counting))[-3:] == [[-13], [1], [2]]


@pytest.mark.long
def test_processes_can_be_ended_from_outside_while_a_run_goes_on() -> None:
    """As a watcher does that ends this process: they must not write after the clean-up."""
    enders: list[Callable[[], None]] = []

    @contextlib.contextmanager
    def cleaning(end: Callable[[], None]) -> Iterator[None]:
        enders.append(end)
        try:
            yield
        finally:
            enders.clear()

    results = Pool(workers=1, give_up=quarantine, cleaning=cleaning).run(
        in_batches(map(track, NAMES), 1), OpenNames(trouble=Trouble(wait_seconds=0.2))
    )
    next(results)
    (victim,) = children()
    enders[0]()
    deadline = time.monotonic() + 10
    while runs(victim) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not runs(victim)
    results.close()
    assert enders == []
