"""`hafm train`: from shards to a trained stage.

In: options. Out: a `TrainOutcome`; the run's folder holds the rest (`hafm.train.run_folder`).

    ranks? recipe? shards? classes? first weights?   ->   Trainer.fit   (or a dry run, which leaves nothing)

Under `torchrun` every rank comes through here; rank 0 alone writes and prints.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hafm.app.command import Command, argument, flag, option
from hafm.app.interrupt import Interrupts
from hafm.app.options import RUN
from hafm.errors import UsageError

if TYPE_CHECKING:
    from hafm.data.shards.reader import Shards
    from hafm.stages.stage_model import StageModel
    from hafm.train.distributed import Ranks
    from hafm.train.dry_run import DryRun
    from hafm.train.metrics import Listener
    from hafm.train.recipe import Recipe
    from hafm.train.sample import Sampler
    from hafm.train.trainer import Trainer

__all__ = ["Train", "TrainOutcome"]

_LOCK_FILE = ".hafm.lock"
_LEARNT, _KEPT = "What is learnt, and how", "What is written"


@dataclass(frozen=True, kw_only=True)
class TrainOutcome:
    """What was done.

    Args:
        step, updates: batches taken, steps applied; 0 after a dry run.
        best_loss: of the held-out pairs; None without any.
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
        if self.dry is not None:
            return "\n".join([*_lines(self.recipe.to_dict()), "", *self.dry.lines()])
        best = "" if self.best_loss is None else f", best held-out loss {self.best_loss:.4f} nats per token"
        return f"{self.recipe.spec.name}: {self.updates} steps done{best}\n{self.run}"

    def to_json(self) -> dict[str, Any]:
        return {
            "run": str(self.run),
            "recipe": self.recipe.to_dict(),
            "step": self.step,
            "updates": self.updates,
            "best_loss": self.best_loss,
            "dry_run": None if self.dry is None else asdict(self.dry),
        }


@dataclass(frozen=True, kw_only=True)
class Train(Command):
    """Train a stage on shards; the same command goes on after a stop.

    Ctrl-C, SIGTERM and SIGUSR1 finish the step and save; the last two exit with 75: start it again.
    """

    stage: str = argument("semantic, coarse or fine.", "STAGE")
    recipe: str = option("paper, builtin, tiny, or a YAML file.", "NAME", _LEARNT, default="paper")
    overrides: list[str] | None = option(
        "Change a field of the recipe, or of its stage: spec.FIELD. May be given again.",
        "FIELD=VALUE",
        _LEARNT,
        spelt=["--set"],
    )
    data: str = option(
        "What hafm prepare made: a folder or a URL. Required.",
        "SHARDS",
        _LEARNT,
        shown=False,
        required="give --data, what hafm prepare made",
    )
    init: str | None = option(
        "Start from the stage of a bundle: builtin, a folder, or a hub id.",
        "BUNDLE",
        _LEARNT,
        shown="a new stage",
    )
    run_folder: Path = option(
        "Folder of the run. If it holds one, that goes on. Required.",
        "RUN",
        _KEPT,
        shown=False,
        required="give --run, a folder for the run",
        spelt=["--run"],
    )
    tensorboard: bool = flag("Write TensorBoard's files too.", _KEPT)
    sample_every: int | None = option(
        "Play a held-out clip every N steps: RUN/samples/.", "N", _KEPT, shown="never"
    )
    sample_bundle: str | None = option(
        "Whose coarse and fine stages play what the semantic stage samples.", "BUNDLE", _KEPT, shown="none"
    )
    dry_run: bool = flag(
        "Show the recipe, size, memory and hours; try one step and a checkpoint; leave nothing.", RUN
    )
    allow: list[str] | None = option(
        "Go on though it differs: data, recipe, world (number of ranks), software. May be given again.",
        "WHAT",
        RUN,
        shown="none",
    )
    device: str | None = option("cpu, cuda, or cuda:1.", "NAME", RUN, shown="a GPU where there is one")
    threads: int | None = option("Threads on a processor.", "N", RUN, shown="as torch chooses")
    compile: bool = flag("Compile the stage (torch.compile).", RUN)

    examples: ClassVar = (
        "hafm train coarse --data shards/ --run runs/coarse --recipe builtin",
        "hafm train coarse --data shards/ --run runs/coarse --recipe builtin --dry-run",
        "hafm train fine --data shards/ --run runs/fine --set batch=70 --set spec.width=256",
        "torchrun --nproc-per-node 7 -m -- hafm train semantic --data shards/ --run runs/semantic",
    )

    def check(self) -> None:
        if self.allow:
            from hafm.train.state import ALLOWABLE

            for name in self.allow:
                if name not in ALLOWABLE:
                    raise UsageError(f"--allow {name}: there are {', '.join(ALLOWABLE)}")
        for spelling, value in (("--threads", self.threads), ("--sample-every", self.sample_every)):
            if value is not None and value < 1:
                raise UsageError(f"{spelling} {value}: give 1 or more")
        if self.sample_bundle is not None and self.sample_every is None:
            raise UsageError("--sample-bundle plays samples, and none are asked for; give --sample-every too")

    @property
    def results(self) -> Path | None:
        return self.run_folder

    def job(self, interrupts: Interrupts) -> None:
        """Trains. A display of its own shows figures of the steps, and rank 0 alone prints."""
        outcome = self._train()
        if not outcome.silent:
            self.print(outcome)

    def _train(self) -> TrainOutcome:
        import torch
        from rich.console import Console

        from hafm.app.train_display import training_display
        from hafm.device import device_errors
        from hafm.train.distributed import join_ranks
        from hafm.train.dry_run import dry_run
        from hafm.train.run_folder import record_data
        from hafm.train.state import Position
        from hafm.train.trainer import Trainer

        console = Console(stderr=True, markup=False, highlight=False)
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        with (
            join_ranks(self.device) as ranks,
            device_errors(ranks.device),
            training_display(console, quiet=self.quiet or not ranks.is_first) as listener,
            ExitStack() as stack,
        ):
            recipe, training, held_out = _materials(self, listener)
            if self.dry_run:
                folder = stack.enter_context(_temporary_run(self.run_folder, ranks))
            else:
                folder = self.run_folder
                stack.enter_context(_alone(self, ranks))
            trainer = Trainer(
                model=_first_weights(self, recipe, training),
                recipe=recipe,
                training=training,
                held_out=held_out,
                data=training.fingerprint(),
                run=folder,
                ranks=ranks,
                allow=tuple(self.allow or ()),
                tensorboard=self.tensorboard and not self.dry_run,
                compile=self.compile,
                sampler=_sampler(self, recipe, training, held_out),
                sample_every=1 if self.sample_every is None else self.sample_every,
                listener=listener,
            )
            if self.dry_run:
                _would_go_on(self, trainer, listener)
                position, found = Position(), dry_run(trainer)
            else:
                with ranks.first_alone(f"write to '{self.run_folder}'"):
                    if ranks.is_first:
                        record_data(self.run_folder, training, replace="data" in (self.allow or ()))
                trainer.fit()
                position, found = trainer.state.position, None
            return TrainOutcome(
                run=self.run_folder,
                recipe=recipe,
                step=position.step,
                updates=position.updates,
                best_loss=position.best_loss,
                dry=found,
                silent=not ranks.is_first,
            )


@contextmanager
def _alone(request: Train, ranks: "Ranks") -> Iterator[None]:
    """The run's folder is written by these ranks alone, and what is read is not written to."""
    from hafm.data.shards.folder import WRITER_LOCK
    from hafm.locks import locked_folder, reading_folder, remove_leftovers

    with ExitStack() as stack:
        with ranks.first_alone(f"train in '{request.run_folder}'"):
            if ranks.is_first:
                if "://" not in request.data:
                    stack.enter_context(reading_folder(Path(request.data), writer=WRITER_LOCK))
                locked = locked_folder(request.run_folder, name=_LOCK_FILE, elsewhere="--run", stays=False)
                stack.enter_context(locked)
                remove_leftovers(request.run_folder)
        yield


def _materials(request: Train, listener: "Listener") -> "tuple[Recipe, Shards, Shards | None]":
    """The recipe, with as many classes as the shards have ids; training and held-out pairs."""
    from hafm.data.shards.reader import Shards
    from hafm.stages.token_parts import fit_to_parts
    from hafm.train.checkpoint import CHECKPOINTS_FOLDER
    from hafm.train.recipe_file import open_recipe

    recipe = open_recipe(request.recipe, request.stage, request.overrides or ())
    training = Shards.open(request.data, "train")
    recipe = replace(recipe, spec=fit_to_parts(recipe.spec, training.parts_folder()))
    if recipe.spec.guide is not None:
        known, tracks = training.num_sheets(), training.index.counts["train"]["tracks"]
        begins = request.init is None and not (request.run_folder / CHECKPOINTS_FOLDER).exists()
        if begins and not known:
            raise UsageError(
                f"the {recipe.spec.name} stage of this recipe learns to follow lead sheets, and no track of "
                f"'{request.data}' has one; prepare it with --guide, or train without: --set spec.guide=null"
            )
        if known < tracks:
            listener.note(f"{known:,} of {tracks:,} tracks have a lead sheet; of the others none is followed")
    if "valid" not in training.index.counts:
        listener.note(
            "the shards have no split 'valid': nothing is evaluated, and the newest weights count as best"
        )
        return recipe, training, None
    return recipe, training, Shards.open(request.data, "valid")


def _first_weights(request: Train, recipe: "Recipe", training: "Shards") -> "StageModel":
    """The stage as a new run starts it. A run that goes on overwrites it."""
    import torch

    from hafm.stages.stage_model import StageModel

    torch.manual_seed(recipe.seed)
    model = StageModel(recipe.spec)
    if request.init is not None:
        from hafm.train.start import start_from_bundle

        start_from_bundle(model, request.init, training.index.fingerprints)
    elif recipe.warm_start:
        from hafm.stages.token_parts import TokenParts
        from hafm.train.start import points_of_parts, start_from_points

        parts = TokenParts.load(training.parts_folder())
        start_from_points(model, points_of_parts(parts), seed=recipe.seed)
    return model


def _sampler(
    request: Train, recipe: "Recipe", training: "Shards", held_out: "Shards | None"
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
        folder=request.run_folder / SAMPLES_FOLDER,
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


def _would_go_on(request: Train, trainer: "Trainer", listener: "Listener") -> None:
    """Whether the run's folder holds a run already, and lets this one go on."""
    from hafm.train.checkpoint import Checkpoints
    from hafm.train.state import require_same_run

    found = Checkpoints(request.run_folder).load_newest(lambda error: listener.note(str(error)))
    if found is not None:
        where = str(request.run_folder)
        require_same_run(found.facts["run"], trainer.identity, allow=tuple(request.allow or ()), where=where)
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
