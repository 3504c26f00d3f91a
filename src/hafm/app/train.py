"""`hafm train`: from shards to a trained stage.

In: a `TrainRequest`. Out: a `TrainOutcome`; the run's folder holds the rest (`hafm.train.run_folder`).

    ranks? recipe? shards? classes? first weights?   ->   Trainer.fit   (or a dry run, which leaves nothing)

Under `torchrun` every rank comes through here; rank 0 alone writes and prints.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hafm.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from hafm.data.shards.reader import Shards
    from hafm.stages.stage_model import StageModel
    from hafm.train.distributed import Ranks
    from hafm.train.dry_run import DryRun
    from hafm.train.listener import Listener
    from hafm.train.recipe import Recipe
    from hafm.train.sample import Sampler
    from hafm.train.trainer import Trainer

__all__ = ["TrainOutcome", "TrainRequest", "run_training"]

ALLOWABLE = ("data", "recipe", "world", "software")


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What the command line asked for.

    Args:
        stage: semantic, coarse or fine.
        data: folder or URL of shards.
        run: folder of the run.
        recipe: name or YAML file.
        overrides: `field=value`.
        init: bundle to start from; None starts anew.
        allow: in what a run that goes on may differ.
        device: None takes a GPU where there is one.
        threads: on a processor; None leaves it to torch.
        compile: the stage.
        tensorboard: write its files.
        sample_every: steps between two samples; None makes none.
        sample_bundle: whose other stages play semantic samples.
        dry_run: try everything and leave nothing.

    Raises:
        UsageError: a number or name is out of range.
    """

    stage: str
    data: str
    run: Path
    recipe: str = "paper"
    overrides: tuple[str, ...] = ()
    init: str | None = None
    allow: tuple[str, ...] = ()
    device: str | None = None
    threads: int | None = None
    compile: bool = False
    tensorboard: bool = False
    sample_every: int | None = None
    sample_bundle: str | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name in self.allow:
            if name not in ALLOWABLE:
                raise UsageError(f"--allow {name}: there are {', '.join(ALLOWABLE)}")
        for option, value in (("--threads", self.threads), ("--sample-every", self.sample_every)):
            if value is not None and value < 1:
                raise UsageError(f"{option} {value}: give 1 or more")
        if self.sample_bundle is not None and self.sample_every is None:
            raise UsageError("--sample-bundle plays samples, and none are asked for; give --sample-every too")


@dataclass(frozen=True, kw_only=True)
class TrainOutcome:
    """What was done.

    Args:
        run: folder of the run.
        recipe: as resolved.
        step, updates: batches taken, steps applied; 0 after a dry run.
        best_loss: of the held-out pairs; None without any.
        dry: what a dry run found; None otherwise.
        silent: this is not rank 0, and prints nothing.
    """

    run: Path
    recipe: "Recipe"
    step: int
    updates: int
    best_loss: float | None
    dry: "DryRun | None" = None
    silent: bool = False

    def summary(self) -> str:
        """For people."""
        if self.dry is not None:
            return "\n".join([*_lines(self.recipe.to_dict()), "", *self.dry.lines()])
        best = "" if self.best_loss is None else f", best held-out loss {self.best_loss:.4f} nats a token"
        return f"{self.recipe.spec.name}: {self.updates} steps done{best}\n{self.run}"

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "run": str(self.run),
            "recipe": self.recipe.to_dict(),
            "step": self.step,
            "updates": self.updates,
            "best_loss": self.best_loss,
            "dry_run": None if self.dry is None else asdict(self.dry),
        }


def run_training(request: TrainRequest, *, console: "Console", quiet: bool) -> TrainOutcome:
    """Do what was asked for.

    Args:
        request: what to do.
        console: on stderr.
        quiet: tell what must be known alone.

    Raises:
        HafmError: it cannot be done, or it was stopped; what was saved stands.
    """
    import torch

    from hafm.app.train_progress import training_display
    from hafm.device import device_errors
    from hafm.train.data_record import record_data
    from hafm.train.distributed import join_ranks

    if request.threads is not None:
        torch.set_num_threads(request.threads)
    with (
        join_ranks(request.device) as ranks,
        device_errors(ranks.device),
        training_display(console, quiet=quiet or not ranks.is_first) as listener,
    ):
        recipe, training, held_out = _materials(request, listener)
        if not request.dry_run:
            trainer = _trainer(request, recipe, training, held_out, ranks, listener, run=request.run)
            with ranks.first_alone(f"write to '{request.run}'"):
                if ranks.is_first:
                    record_data(request.run, training, replace="data" in request.allow)
            trainer.fit()
            position = trainer.state.position
            return TrainOutcome(
                run=request.run,
                recipe=recipe,
                step=position.step,
                updates=position.updates,
                best_loss=position.best_loss,
                silent=not ranks.is_first,
            )
        from hafm.train.dry_run import dry_run

        with _temporary_run(request.run, ranks) as folder:
            trainer = _trainer(request, recipe, training, held_out, ranks, listener, run=folder)
            _would_go_on(request, trainer, listener)
            found = dry_run(trainer)
        return TrainOutcome(
            run=request.run,
            recipe=recipe,
            step=0,
            updates=0,
            best_loss=None,
            dry=found,
            silent=not ranks.is_first,
        )


def _materials(request: TrainRequest, listener: "Listener") -> "tuple[Recipe, Shards, Shards | None]":
    """The recipe, with as many classes as the shards have ids; training and held-out pairs."""
    from dataclasses import replace

    from hafm.data.shards.reader import Shards
    from hafm.train.recipe_file import open_recipe
    from hafm.train.vocabulary import fit_to_parts

    recipe = open_recipe(request.recipe, request.stage, request.overrides)
    training = Shards.open(request.data, "train")
    recipe = replace(recipe, spec=fit_to_parts(recipe.spec, training.parts_folder()))
    if "valid" not in training.index.counts:
        listener.note(
            "the shards have no split 'valid': nothing is evaluated, and the newest weights count as best"
        )
        return recipe, training, None
    return recipe, training, Shards.open(request.data, "valid")


def _trainer(
    request: TrainRequest,
    recipe: "Recipe",
    training: "Shards",
    held_out: "Shards | None",
    ranks: "Ranks",
    listener: "Listener",
    *,
    run: Path,
) -> "Trainer":
    from hafm.train.trainer import Trainer

    return Trainer(
        model=_first_weights(request, recipe, training),
        recipe=recipe,
        training=training,
        held_out=held_out,
        data=training.fingerprint(),
        run=run,
        ranks=ranks,
        allow=request.allow,
        tensorboard=request.tensorboard and not request.dry_run,
        compile=request.compile,
        sampler=_sampler(request, recipe, training, held_out),
        sample_every=1 if request.sample_every is None else request.sample_every,
        listener=listener,
    )


def _first_weights(request: TrainRequest, recipe: "Recipe", training: "Shards") -> "StageModel":
    """The stage as a new run starts it. A run that goes on overwrites it."""
    import torch

    from hafm.stages.stage_model import StageModel

    torch.manual_seed(recipe.seed)
    model = StageModel(recipe.spec)
    if request.init is not None:
        from hafm.train.init import start_from_bundle

        start_from_bundle(model, request.init, training.index.fingerprints)
    elif recipe.warm_start:
        from hafm.stages.token_parts import TokenParts
        from hafm.train.warm_start import points_of_parts, start_from_points

        parts = TokenParts.load(training.parts_folder())
        start_from_points(model, points_of_parts(parts), seed=recipe.seed)
    return model


def _sampler(
    request: TrainRequest, recipe: "Recipe", training: "Shards", held_out: "Shards | None"
) -> "Sampler | None":
    if request.sample_every is None:
        return None
    from hafm.stages.bundle import Bundle
    from hafm.stages.token_parts import TokenParts
    from hafm.train.sample import SAMPLES_FOLDER, Sampler

    if held_out is None:
        raise UsageError("--sample-every plays a held-out clip, and the shards have no split 'valid'")
    bundle = None
    if request.sample_bundle is not None:
        bundle = Bundle.open(request.sample_bundle)
        training.require_parts(bundle.config.fingerprints, what=f"the bundle '{request.sample_bundle}'")
    return Sampler(
        spec=recipe.spec,
        held_out=held_out,
        parts=TokenParts.load(training.parts_folder()),
        folder=request.run / SAMPLES_FOLDER,
        bundle=bundle,
    )


@contextmanager
def _temporary_run(run: Path, ranks: "Ranks") -> Iterator[Path]:
    """A folder on the disk of the run, which is gone afterwards."""
    standing = next(place for place in run.absolute().parents if place.is_dir())
    folder = standing / f".hafm-dry-run-{run.name}"

    def remove() -> None:
        with ranks.first_alone(f"remove '{folder}'"):
            if ranks.is_first and folder.exists():
                shutil.rmtree(folder)

    remove()
    try:
        yield folder
    finally:
        remove()


def _would_go_on(request: TrainRequest, trainer: "Trainer", listener: "Listener") -> None:
    """Whether the run's folder holds a run already, and lets this one go on."""
    from hafm.train.checkpoint import Checkpoints
    from hafm.train.state import require_same_run

    found = Checkpoints(request.run).load_newest(lambda error: listener.note(str(error)))
    if found is not None:
        where = str(request.run)
        require_same_run(found.facts["run"], trainer.identity, allow=request.allow, where=where)
        listener.note(
            f"'{where}' holds this run after step {found.step}; without --dry-run it goes on from there"
        )


def _lines(values: dict[str, Any], indent: str = "") -> list[str]:
    """A recipe as YAML would write it.

    >>> _lines({"batch": 4, "spec": {"width": 64}})
    ['batch: 4', 'spec:', '  width: 64']
    """
    out = []
    for name, value in values.items():
        if isinstance(value, dict):
            out += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        elif isinstance(value, list):
            out += [f"{indent}{name}: {', '.join(_stream(item) for item in value)}"]
        else:
            out.append(f"{indent}{name}: {value if isinstance(value, str) else json.dumps(value)}")
    return out


def _stream(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    return f"{item['name']} ({item['num_codebooks']} x {item['cardinality']} at {item['frame_rate']} Hz)"
