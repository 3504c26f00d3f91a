"""What a run leaves in its folder, for whoever comes after training.

In: a folder. Out: the trained weights and how good they are.

    RUN/recipe.json       the resolved recipe, and what the run was trained on
        checkpoints/      see `hafm.train.checkpoint`
        metrics.jsonl     see `hafm.train.metrics`
        tensorboard/      if it was asked for
        samples/          if they were asked for
        stopped-by/       batches that were not finite, if there were any
        outcome.json      how the last start ended: finished or stopped; missing while it runs or if it was
        killed
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hafm.errors import CheckpointDamaged, UsageError
from hafm.files import atomic_file
from hafm.train.checkpoint import Checkpoint, Checkpoints
from hafm.train.recipe import Recipe

__all__ = ["BATCH_FOLDER", "OUTCOME_FILE", "RECIPE_FILE", "TrainedStage", "load_trained", "write_json"]

RECIPE_FILE, OUTCOME_FILE = "recipe.json", "outcome.json"
BATCH_FOLDER = "stopped-by"


@dataclass(frozen=True, kw_only=True)
class TrainedStage:
    """A stage as a run left it.

    Args:
        recipe: how it was trained.
        weights: of the stage, float32 on the processor; the moving average if there is one.
        step, updates: batches taken and steps applied.
        held_out_loss: nats a token at the best evaluation so far; None if there was none.
        data: fingerprint of the shards.
        facts: everything that the checkpoint says.
    """

    recipe: Recipe
    weights: Mapping[str, Tensor]
    step: int
    updates: int
    held_out_loss: float | None
    data: str
    facts: Mapping[str, Any]


def load_trained(run: Path, *, newest: bool = False) -> TrainedStage:
    """The stage that a run made: the best by held-out loss, or the newest where none was evaluated.

    Args:
        run: its folder; it may still be running.
        newest: take the newest in any case.

    Raises:
        UsageError: there is no checkpoint.
        CheckpointDamaged: all are damaged.
    """
    checkpoints = Checkpoints(run)
    last = checkpoints.load_newest()
    if last is None:
        raise UsageError(f"'{run}' holds no checkpoint; name the folder that hafm train --run was given")
    best = last if newest else _best(checkpoints, last)
    weights = _below(best, "ema.") or _below(best, "model.")
    position = best.facts["position"]
    return TrainedStage(
        recipe=Recipe.from_dict(best.facts["run"]["recipe"]),
        weights=weights,
        step=best.step,
        updates=position["updates"],
        held_out_loss=position["best_loss"],
        data=best.facts["run"]["data"],
        facts=best.facts,
    )


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a file, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    with atomic_file(path) as file:
        file.write((json.dumps(values, indent=2) + "\n").encode())


def _best(checkpoints: Checkpoints, last: Checkpoint) -> Checkpoint:
    step = last.facts["position"]["best_step"]
    if step is None or step == last.step:
        return last
    try:
        return checkpoints.load(step)
    except CheckpointDamaged:
        return last


def _below(checkpoint: Checkpoint, prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in checkpoint.tensors.items()
        if name.startswith(prefix)
    }
