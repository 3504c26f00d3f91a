"""SIGKILL at any moment: no checkpoint is corrupt or lost, and the losses are those of an unbroken run."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hafm.errors import CheckpointDamaged
from hafm.train.checkpoint import Checkpoint, Checkpoints


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 200])
def test_kills_at_random_moments_lose_nothing(forked_runs, tmp_path, count):
    found = forked_runs("kills", folder=str(tmp_path), count=count, seed=count)
    print(found)
    assert found["killed"] == count
    assert found["finished"] >= 1
    assert (found["corrupt"], found["backwards"], found["wrong"]) == (0, 0, 0)


def made(step: int) -> Checkpoint:
    tensors = {"w": torch.full((50_000,), float(step))}
    return Checkpoint(step=step, tensors=tensors, facts={"position": {"step": step}})


def save_safely(run: Path) -> None:
    Checkpoints(run).save(made(3))


def save_in_place(run: Path) -> None:
    """The control: the newest checkpoint is overwritten in its place, as `torch.save` does."""
    from safetensors.torch import save

    (path,) = list((run / "checkpoints").glob("*2"))
    data = save(dict(made(3).tensors))
    with (path / "state.safetensors").open("wb") as file:
        file.write(data[: len(data) // 2])
        os.stat(path)
        file.write(data[len(data) // 2 :])
    os.replace(path, path.with_name("00000003"))


def kill_at(event: int, work: Callable[[Path], None], run: Path) -> bool:
    """Does `work` in a child that is killed at its nth event on the disk; whether it came that far."""
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(name: str, args: tuple[object, ...]) -> None:
            nonlocal seen
            if name in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir") and str(run) in repr(args):
                seen += 1
                if seen == event:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(hook)
            work(run)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def outcomes(work: Callable[[Path], None], folder: Path) -> list[str]:
    """What is left after a kill at each event: the step of the newest, and whether one was damaged."""
    found: list[str] = []
    for event in range(1, 100):
        run = folder / str(event)
        for step in (1, 2):
            Checkpoints(run).save(made(step))
        if not kill_at(event, work, run):
            return found
        damaged: list[CheckpointDamaged] = []
        newest = Checkpoints(run).load_newest(damaged.append)
        assert newest is not None
        assert torch.equal(newest.tensors["w"], made(newest.step).tensors["w"])
        found.append(f"{newest.step}{'!' * len(damaged)}")
        Checkpoints(run).save(made(4))  # what was left half-done is in nobody's way
        assert Checkpoints(run).load_newest() is not None
        assert not [path for path in (run / "checkpoints").iterdir() if path.name.startswith(".")]
    raise AssertionError("the work never ended")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_kill_at_every_step_of_saving_leaves_the_old_or_the_new(tmp_path):
    found = outcomes(save_safely, tmp_path)
    assert set(found) == {"2", "3"}
    assert found == sorted(found)
    assert len(found) >= 8


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_writer_in_place_would_be_caught(tmp_path):
    assert "1!" in outcomes(save_in_place, tmp_path)
