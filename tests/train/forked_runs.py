"""A process that has torch loaded and forks: a hundred killed runs, or ranks, for the price of one start.

    serve(tasks, results)                    reads one JSON line a task, writes one JSON line a result
    python -m tests.train.forked_runs        does that with the standard streams

It has no threads of its own, so forking is safe, and types are not checked in it, so that every random
generator is as it would be for a user (beartype draws from Python's).
"""

import functools
import json
import os
import random
import signal
import socket
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import torch._dynamo  # what the first optimiser would import in each child
from torch.nn.parallel import DistributedDataParallel

from hafm.errors import CheckpointDamaged
from hafm.train import update
from hafm.train.checkpoint import Checkpoints
from hafm.train.distributed import join_ranks
from hafm.train.metrics import Listener, StepReport
from hafm.train.pieces import Piece
from hafm.train.recipe import Recipe
from hafm.train.update import accumulate
from tests.forked import ended, forked
from tests.train.echo_pairs import RECIPE, SPECS, EchoPairs, losses, trainer

SMALL = replace(
    RECIPE,
    steps=16,
    batch=4,
    evaluate_every=9,
    evaluate_clips=4,
    save_every=2,
    ema_decay=0.9,
    optimizer="muon",
)


class Paced(Listener):
    """A step takes a few milliseconds more, so that kills fall on all parts of it."""

    def step(self, report: StepReport) -> None:
        time.sleep(0.002)


def noisy_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The loss, disturbed by numbers from every generator of the process."""
    noise = random.random() + np.random.random() + torch.rand(()).item()
    return EXACT_LOSS(logits, target) * (1 + 0.01 * noise)


EXACT_LOSS = update.stage_loss


def train(run: Path, recipe: Recipe) -> None:
    update.stage_loss = noisy_loss
    trainer(run, recipe, listener=Paced()).fit()


def kills(folder: str, count: int, seed: int) -> dict[str, Any]:
    """Kills runs at random moments, each going on where the one before was killed, until `count` are dead."""
    root, rng = Path(folder), random.Random(seed)
    began = time.monotonic()
    assert ended(forked(lambda: train(root / "whole", SMALL))) == 0
    seconds = time.monotonic() - began
    expected = losses(root / "whole")
    killed, finished, corrupt, backwards, wrong = 0, 0, 0, 0, 0
    newest, run = 0, root / "run-0"
    while killed < count:
        child = forked(functools.partial(train, run, SMALL))
        time.sleep(rng.uniform(0, 0.6 * seconds))
        alive = os.waitpid(child, os.WNOHANG)[0] == 0
        if alive:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            killed += 1
        checkpoints = Checkpoints(run)
        for step in checkpoints.steps():
            try:
                checkpoints.load(step)
            except CheckpointDamaged:
                corrupt += 1
        stands = max(checkpoints.steps(), default=0)
        backwards += stands < newest
        newest = stands
        if not alive or (run / "outcome.json").exists():
            wrong += losses(run) != expected
            finished += 1
            newest, run = 0, root / f"run-{finished}"
    if ended(forked(lambda: train(run, SMALL))) == 0:
        wrong += losses(run) != expected
        finished += 1
    return {
        "killed": killed,
        "finished": finished,
        "corrupt": corrupt,
        "backwards": backwards,
        "wrong": wrong,
    }


def ranks(folder: str, world: int, work: str, **arguments: Any) -> list[Any]:
    """What each of `world` ranks of a function of this file gives."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    children = []
    for rank in range(world):
        place = Path(folder) / f"{work}-{rank}.json"

        def as_rank(rank: int = rank, place: Path = place) -> None:
            os.environ.update(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(world),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(port),
            )
            place.write_text(json.dumps(TASKS[work](folder=folder, **arguments)))

        children.append(forked(as_rank))
    codes = [ended(child) for child in children]
    assert codes == [0] * world, codes
    return [json.loads((Path(folder) / f"{work}-{rank}.json").read_text()) for rank in range(world)]


def gradient(folder: str, stage: str, conditioning: str, batch: int, accumulation: int) -> list[float]:
    """The gradient of one step, as every rank has it, and the loss of the batch."""
    from tests.train.echo_pairs import small

    recipe = replace(
        RECIPE, spec=small(SPECS[stage], conditioning=conditioning), batch=batch, accumulation=accumulation
    )
    with join_ranks("cpu") as ranks_:
        run = trainer(Path(folder) / "unused", recipe, ranks=ranks_)
        loss = accumulate(run._shared, run.pieces(5), dtype=torch.float32, scaler=None, ranks=ranks_)
        total = ranks_.sum(torch.tensor([loss], dtype=torch.float64)).item()
        gradients = [parameter.grad for parameter in run.state.model.parameters()]
    assert all(value is not None for value in gradients)
    return [total, *torch.cat([value.flatten() for value in gradients if value is not None]).tolist()]


def reductions(folder: str, accumulation: int) -> list[bool]:
    """Of every piece of a step, whether its gradient was summed over the ranks."""
    summed: list[bool] = []
    with join_ranks("cpu") as ranks_:
        run = trainer(Path(folder) / "unused", replace(RECIPE, accumulation=accumulation), ranks=ranks_)
        shared = run._shared
        assert isinstance(shared, DistributedDataParallel)
        shared.register_forward_pre_hook(lambda *_: summed.append(shared.require_backward_grad_sync))
        accumulate(shared, run.pieces(0), dtype=torch.float32, scaler=None, ranks=ranks_)
    return summed


def fit(
    folder: str, name: str, stop_at: int = 0, allow: tuple[str, ...] = (), **changes: Any
) -> dict[str, Any]:
    """A run; rank 1 is sent SIGTERM after a step, if asked for. What each rank saw."""

    with join_ranks("cpu") as ranks_:
        update.stage_loss = noisy_loss
        run = trainer(Path(folder) / name, replace(SMALL, **changes), ranks=ranks_, allow=allow)
        pieces = run.pieces

        def counting(step: int) -> tuple[Piece, ...]:
            if ranks_.rank == 1 and step == stop_at > 0:
                os.kill(os.getpid(), signal.SIGTERM)
            return pieces(step)

        run.pieces = counting  # type: ignore[method-assign]
        pairs = run.crops._pairs
        assert isinstance(pairs, EchoPairs)
        try:
            run.fit()
            outcome = "finished"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        position = run.state.position
        weights = torch.cat([value.detach().flatten() for value in run.state.model.parameters()])
    return {
        "outcome": outcome,
        "step": position.step,
        "taken": pairs.taken,
        "weights": zlib.crc32(weights.numpy().tobytes()),
    }


TASKS: dict[str, Callable[..., Any]] = {
    "kills": kills,
    "ranks": ranks,
    "gradient": gradient,
    "reductions": reductions,
    "fit": fit,
}


def serve(tasks: Iterable[str], results: IO[str]) -> None:
    """Does one task after another."""
    torch.set_num_threads(1)
    for line in tasks:
        task = json.loads(line)
        try:
            result = {"result": TASKS[task.pop("task")](**task)}
        except Exception:
            result = {"error": traceback.format_exc()}
        print(json.dumps(result), file=results, flush=True)


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
