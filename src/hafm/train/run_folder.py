"""What a run leaves in its folder, for whoever comes after training.

In: a folder. Out: the trained weights, how good they are, and what they were trained on.

    RUN/recipe.json       the resolved recipe, and what the run was trained on
        data/index.json   that of the shards, byte for byte: settings, counts, the hash of every shard
             parts/       features, k-means and codec that made the ids
        checkpoints/      see `hafm.train.checkpoint`
        metrics.jsonl     see `hafm.train.metrics`
        tensorboard/      if it was asked for
        samples/          if they were asked for
        stopped-by/       batches that were not finite, if there were any
        outcome.json      how the last start ended: finished or stopped; missing while it runs or if it was
                          killed

Index and parts are kept so that a bundle can be made when the shards are elsewhere. Tokens are not copied.
"""

import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hafm.data.shards.index import INDEX_FILE, PARTS_FOLDER, Index
from hafm.data.shards.reader import Shards
from hafm.errors import CheckpointDamaged, UsageError
from hafm.files import replaced_folder, write_whole
from hafm.train.checkpoint import Checkpoints
from hafm.train.recipe import Recipe

__all__ = [
    "BATCH_FOLDER",
    "OUTCOME_FILE",
    "RECIPE_FILE",
    "TrainedStage",
    "load_trained",
    "read_data",
    "record_data",
]

RECIPE_FILE, OUTCOME_FILE = "recipe.json", "outcome.json"
BATCH_FOLDER, DATA_FOLDER = "stopped-by", "data"


@dataclass(frozen=True, kw_only=True)
class TrainedStage:
    """A stage as a run left it.

    Args:
        weights: of the stage, float32 on the processor; the moving average if there is one.
        step, updates: batches taken and steps applied.
        held_out_loss: nats per token at the best evaluation so far; None if there was none.
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
    best, best_step = last, last.facts["position"]["best_step"]
    if not newest and best_step not in (None, last.step):
        with contextlib.suppress(CheckpointDamaged):
            best = checkpoints.load(best_step)
    position = best.facts["position"]
    return TrainedStage(
        recipe=Recipe.from_dict(best.facts["run"]["recipe"]),
        weights=best.below("ema.") or best.below("model."),
        step=best.step,
        updates=position["updates"],
        held_out_loss=position["best_loss"],
        data=best.facts["run"]["data"],
        facts=best.facts,
    )


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a run was trained on: the index of the shards, and the folder for `TokenParts.load`."""

    index: Index
    parts_folder: Path


def record_data(run: Path, shards: Shards, *, replace: bool = False) -> None:
    """Keeps index and parts of the shards in a run's folder, whole or not at all.

    Args:
        run: its folder; made if it is not there.
        replace: put them in place of others; otherwise what is there stays, and the run that is there decides
            whether it goes on with these shards.

    Raises:
        OutputError: the folder cannot be written to.
    """
    folder = run / DATA_FOLDER
    if folder.is_dir() and not (replace and read_data(run).index.digest() != shards.fingerprint()):
        return
    with replaced_folder(folder, parents=True) as staging:
        _copy_files(shards.parts_folder(), staging / PARTS_FOLDER)
        write_whole(staging / INDEX_FILE, shards.index.to_json())


def _copy_files(source: Path, target: Path) -> None:
    """A folder's files, one by one: the first that fails says why, and `shutil.copytree` would list all."""
    target.mkdir()
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir(exist_ok=True)
        else:
            shutil.copyfile(path, copy)


def read_data(run: Path) -> TrainingData:
    """What `record_data` kept.

    Raises:
        UsageError: the folder holds no run, or one that was begun without it.
        ShardsDamaged: the index was changed.
    """
    path = run / DATA_FOLDER / INDEX_FILE
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"'{run}' does not say what it was trained on ({error.strerror or error}); name the folder that "
            "hafm train --run was given"
        ) from error
    return TrainingData(
        index=Index.from_json(text, where=str(path)), parts_folder=run / DATA_FOLDER / PARTS_FOLDER
    )
