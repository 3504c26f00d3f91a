"""`hafm bundle`: from three training runs to a bundle that plays.

In: options. Out: a bundle, with a model card; a `BundleOutcome` says where and what is missing.

    RUN_semantic   best weights, figures -+-> same data? same parts? -> hafm.stages.bundle_writer -> BUNDLE
    RUN_coarse     ...                    |
    RUN_fine       ...                   -'

Each run keeps the index and the parts of what it was trained on (`hafm.train.data_record`), so that the
shards themselves need not be here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from hafm.app import options
from hafm.app.command import Command, Required, option
from hafm.app.interrupt import Interrupts
from hafm.errors import BundleMismatch, UsageError

if TYPE_CHECKING:
    from hafm.app.display import Display
    from hafm.data.shards.index import Index
    from hafm.stages.bundle import Bundle
    from hafm.stages.stage_model import StageModel
    from hafm.train.run_folder import TrainedStage

__all__ = ["BundleOutcome", "MakeBundle"]

_SAID = "What it says of itself"


@dataclass(frozen=True, kw_only=True)
class BundleOutcome:
    """What was made.

    Args:
        folder: of the bundle.
        fingerprint: of it.
        num_bytes: its size.
        steps: that each stage was trained for, by name.
        held_out_loss: of each stage; None where it was not evaluated.
        notes: what a user should know.
    """

    folder: Path
    fingerprint: str
    num_bytes: int
    steps: Mapping[str, int]
    held_out_loss: Mapping[str, float | None]
    notes: tuple[str, ...]

    def summary(self) -> str:
        """For people."""
        lines = []
        for name, steps in self.steps.items():
            loss = self.held_out_loss[name]
            scored = "not evaluated" if loss is None else f"held-out loss {loss:.3f} nats a token"
            lines.append(f"{name}: {steps:,} steps, {scored}")
        lines.append(f"{self.num_bytes / 2**20:.1f} MiB; the card, README.md, has places to fill in")
        return "\n".join([*lines, str(self.folder)])

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "bundle": str(self.folder),
            "fingerprint": self.fingerprint,
            "bytes": self.num_bytes,
            "steps": dict(self.steps),
            "held_out_loss": dict(self.held_out_loss),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class MakeBundle(Command):
    """Make a bundle of three training runs, with a model card; hafm generate --bundle plays it."""

    runs: Annotated[
        list[Path],
        options.argument(
            "Folders of hafm train: one of the semantic, one of the coarse, one of the fine stage.", "RUN..."
        ),
    ]
    output: Annotated[
        Path,
        options.output("Folder of the bundle.", metavar="BUNDLE", panel=None),
        Required("no folder was given for the bundle; name one with -o, as in: -o my-bundle/"),
    ]
    overwrite: options.Overwrite = False
    weights: Annotated[
        Literal["fp16", "int8", "fp32"],
        option(
            "How the stages' weights are stored: fp16, int8 (half of that), fp32 (as trained).",
            metavar="KIND",
            panel=options.MADE,
        ),
    ] = "fp16"
    newest: Annotated[
        bool,
        option(
            "Take the newest weights of each run, not those of its best evaluation.",
            "--newest",
            panel=options.MADE,
        ),
    ] = False
    name: Annotated[
        str | None,
        option("What people call it.", metavar="TEXT", panel=_SAID, default="the folder's name"),
    ] = None
    version: Annotated[str, option("Of this bundle.", metavar="TEXT", panel=_SAID)] = "1"
    licence: Annotated[
        str, option("Of the weights, such as Apache-2.0 or CC-BY-4.0.", metavar="SPDX", panel=_SAID)
    ] = "unknown"

    examples: ClassVar = (
        "hafm bundle runs/semantic runs/coarse runs/fine -o my-bundle/",
        "hafm bundle runs/* -o my-bundle/ --weights int8 --name 'My band' --licence CC-BY-4.0",
        "hafm generate vocal.wav --bundle my-bundle/ -o out/",
    )

    def check(self) -> None:
        if len(self.runs) != 3:
            raise UsageError(
                f"{len(self.runs)} runs were given; name three: of the semantic, coarse and fine stage"
            )

    def run(self, shown: "Display", interrupts: Interrupts) -> BundleOutcome:
        from hafm.stages.bundle_config import STAGES
        from hafm.train.run_folder import load_trained

        trained = {run: load_trained(run, newest=self.newest) for run in self.runs}
        by_stage = {stage.recipe.spec.name: run for run, stage in trained.items()}
        if set(by_stage) != set(STAGES):
            found = ", ".join(f"'{run}' is {stage.recipe.spec.name}" for run, stage in trained.items())
            raise UsageError(f"a bundle needs a run of each stage ({', '.join(STAGES)}): {found}")
        runs = {name: by_stage[name] for name in STAGES}
        stages = {name: trained[run] for name, run in runs.items()}
        index = _common_data(runs, stages)
        figures = {name: _figures(runs[name], stages[name]) for name in STAGES}
        bundle = _write(self, runs["semantic"], stages, index, figures)
        return BundleOutcome(
            folder=bundle.folder,
            fingerprint=bundle.fingerprint,
            num_bytes=bundle.num_bytes,
            steps={name: stage.updates for name, stage in stages.items()},
            held_out_loss={name: each["held_out_loss"] for name, each in figures.items()},
            notes=tuple(_notes(runs, stages, figures)),
        )


def _common_data(runs: Mapping[str, Path], stages: "Mapping[str, TrainedStage]") -> "Index":
    """The index of what all three were trained on."""
    from hafm.train.data_record import read_data

    indices = {name: read_data(run).index for name, run in runs.items()}
    first = "semantic"
    for name, index in indices.items():
        for what, mine, others in (
            ("parts", index.fingerprints, indices[first].fingerprints),
            ("data", stages[name].data, stages[first].data),
        ):
            if mine != others:
                raise BundleMismatch(
                    f"the runs do not belong together: '{runs[first]}' ({first}) was trained on {what} "
                    f"{_brief(others)}, '{runs[name]}' ({name}) on {_brief(mine)}; train all stages on the "
                    "same shards"
                )
        if stages[name].data != index.digest():
            raise BundleMismatch(
                f"'{runs[name]}' was trained on data {stages[name].data} and keeps the index of "
                f"{index.digest()}; its folder was put together from several runs"
            )
    return indices[first]


def _brief(fingerprints: str | Mapping[str, str]) -> str:
    """Fingerprints, one or several, with enough digits to tell them apart."""
    if isinstance(fingerprints, str):
        return fingerprints[:16]
    return ", ".join(f"{name} {digest[:8]}" for name, digest in sorted(fingerprints.items()))


def _write(
    request: MakeBundle,
    run: Path,
    stages: "Mapping[str, TrainedStage]",
    index: "Index",
    figures: Mapping[str, Mapping[str, Any]],
) -> "Bundle":
    from hafm.stages.bundle_writer import Ingredients, write_bundle
    from hafm.stages.model_card import model_card
    from hafm.stages.token_parts import TokenParts
    from hafm.tokens.vocal_noise import NOISE_SIGMA
    from hafm.train.data_record import read_data

    parts = TokenParts.load(read_data(run).parts_folder)
    data = _data_figures(index)
    ingredients = Ingredients(
        name=request.output.absolute().name if request.name is None else request.name,
        version=request.version,
        licence=request.licence,
        data=f"{data['kept_hours']:.1f} hours of pairs of {data['tracks']} tracks.",
        features=parts.features,
        kmeans=parts.kmeans,
        codec=parts.codec,
        pinned=parts.pinned,
        stages={name: _model(stage) for name, stage in stages.items()},
        storage=request.weights,
        measured={"stages": figures, "data": data, "storage": {"kind": request.weights}},
        vocal_noise_sigma=float(index.made_by.get("noise_sigma", NOISE_SIGMA)),
        card=model_card,
    )
    request.output.absolute().parent.mkdir(parents=True, exist_ok=True)
    return write_bundle(request.output, ingredients, overwrite=request.overwrite)


def _model(stage: "TrainedStage") -> "StageModel":
    import torch

    from hafm.stages.stage_model import StageModel

    with torch.device("meta"):
        model = StageModel(stage.recipe.spec)
    model.load_state_dict(dict(stage.weights), strict=True, assign=True)
    return model.eval().requires_grad_(False)


def _figures(run: Path, stage: "TrainedStage") -> dict[str, Any]:
    """How a stage was trained and how good it became; by the names that the built-in bundle uses."""
    from hafm.train.metrics import METRICS_FILE, read_metrics

    lines = read_metrics(run) if (run / METRICS_FILE).is_file() else []
    held_out: dict[str, list[float] | None] = next(
        (line["held_out"] for line in lines if line["step"] == stage.step and "held_out" in line), {}
    )
    losses = [line["loss"] for line in lines if line["step"] <= stage.step and "loss" in line]
    recipe = stage.recipe
    return {
        "parameters": sum(weight.numel() for weight in stage.weights.values()),
        "held_out_loss": _mean(held_out.get("right")),
        "loss_with_wrong_conditions": _mean(held_out.get("wrong")),
        "loss_with_wrong_vocal": _mean(held_out.get("wrong_vocal")),
        "training_loss": losses[-1] if losses else None,
        "held_out_loss_by_codebook": _rounded(held_out.get("right")),
        "loss_with_wrong_conditions_by_codebook": _rounded(held_out.get("wrong")),
        "accuracy_by_codebook": _rounded(held_out.get("accuracy")),
        "steps": stage.updates,
        "planned_steps": recipe.steps,
        "batch": recipe.batch,
        "target_tokens_seen": stage.updates * recipe.batch * recipe.spec.target_slots,
        "optimizer": recipe.optimizer,
        "peak_rate": recipe.peak_rate,
        "precision": stage.facts["run"]["software"]["precision"],
        "ema_decay": recipe.ema_decay,
        "seed": recipe.seed,
    }


def _data_figures(index: "Index") -> dict[str, Any]:
    splits = {
        split: {
            "hours": round(counts["seconds"] / 3600, 3),
            "kept_hours": round(counts["kept_seconds"] / 3600, 3),
            "tracks": counts["tracks"],
        }
        for split, counts in index.counts.items()
    }
    training = splits["train"]
    return {
        "fingerprint": index.digest(),
        "kept_hours": training["kept_hours"],
        "tracks": training["tracks"],
        "splits": splits,
    }


def _notes(
    runs: Mapping[str, Path], stages: "Mapping[str, TrainedStage]", figures: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    notes = []
    for name, stage in stages.items():
        if stage.updates < stage.recipe.steps and not _has_finished(runs[name]):
            notes.append(
                f"the {name} run has not finished: these are its weights after {stage.updates:,} of "
                f"{stage.recipe.steps:,} steps"
            )
        if figures[name]["held_out_loss"] is None:
            notes.append(f"the {name} run was not evaluated on held-out pairs, and the card says so")
    return notes


def _has_finished(run: Path) -> bool:
    import json

    from hafm.train.run_folder import OUTCOME_FILE

    try:
        return bool(json.loads((run / OUTCOME_FILE).read_text(encoding="utf-8"))["outcome"] == "finished")
    except (OSError, ValueError, KeyError):
        return False


def _mean(values: Sequence[float] | None) -> float | None:
    return None if values is None else sum(values) / len(values)


def _rounded(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else [round(value, 4) for value in values]
