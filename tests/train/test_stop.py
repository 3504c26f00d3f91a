"""Signals: the step is finished and saved, and the exit code says whether to start again."""

import json
import signal
import threading
from dataclasses import replace

import pytest

from hafm.errors import Stopped
from hafm.train.checkpoint import Checkpoints
from hafm.train.metrics import Listener, StepReport
from hafm.train.stop import StopFlag
from tests.train.echo_pairs import RECIPE, losses, trainer
from tests.unchecked import unchecked


@pytest.fixture(autouse=True)
def without_type_checks():
    with unchecked():
        yield


SHORT = replace(RECIPE, steps=6, batch=4, evaluate_every=100, evaluate_clips=4, save_every=5)


class SignalAt(Listener):
    def __init__(self, step: int, number: int) -> None:
        self.at, self.number = step, number

    def step(self, report: StepReport) -> None:
        if report.position.step == self.at:
            signal.raise_signal(self.number)


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "exit_code"),
    [
        (signal.SIGTERM, 75),
        pytest.param(signal.SIGUSR1, 75, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_and_the_same_command_goes_on(tmp_path, number, exit_code):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    trainer(whole, SHORT).fit()
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=f"{signal.Signals(number).name} after step 3") as caught:
        trainer(parts, SHORT, listener=SignalAt(2, number)).fit()
    assert caught.value.exit_code == exit_code
    assert signal.getsignal(number) == before
    assert Checkpoints(parts).steps() == [0, 3]
    outcome = json.loads((parts / "outcome.json").read_text())
    assert (outcome["outcome"], outcome["exit_code"], outcome["step"]) == ("stopped", exit_code, 3)
    trainer(parts, SHORT).fit()
    assert losses(parts) == losses(whole)
    assert json.loads((parts / "outcome.json").read_text())["outcome"] == "finished"


def test_the_code_is_that_of_a_temporary_failure():
    import os

    assert Stopped(15, "stopped").exit_code == os.EX_TEMPFAIL


def test_only_an_impatient_ctrl_c_breaks_off(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("hafm.train.stop.time.monotonic", lambda: now[0])
    with StopFlag() as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # torchrun passes on what the terminal has sent already
        assert stop.number == signal.SIGINT
        signal.raise_signal(signal.SIGTERM)
        assert stop.number == signal.SIGINT
        now[0] = 5.0
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_command_lines_watcher_does_not_end_the_process():
    """It is woken through a descriptor, which must be silent meanwhile and there again afterwards."""
    import socket

    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    before = signal.set_wakeup_fd(theirs.fileno())
    try:
        with StopFlag():
            signal.raise_signal(signal.SIGTERM)
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.recv(1)
        assert signal.set_wakeup_fd(theirs.fileno()) == theirs.fileno()
    finally:
        signal.set_wakeup_fd(before)
        ours.close()
        theirs.close()


def test_outside_the_main_thread_it_does_nothing():
    found = []

    def work() -> None:
        with StopFlag() as stop:
            found.append(stop.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [0]
