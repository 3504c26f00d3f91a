"""From three runs to what a bundle is made of.

In: folders of runs, one of each stage. Out: `TrainedRuns`, which belong together, and the `Ingredients` of a
bundle.

    RUN_semantic   best weights, figures -+-> same data? same parts? -> ingredients
    RUN_coarse     ...                    |
    RUN_fine       ...                   -'

Each run keeps the index and the parts of what it was trained on (`hafm.train.run_folder`), so that the
shards themselves need not be here.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from hafm.data.shards.index import Index
from hafm.errors import BundleMismatch, UsageError
from hafm.guide.analyser import Analyser
from hafm.stages.analysers import AnalyserName
from hafm.stages.bundle_config import STAGES
from hafm.stages.bundle_writer import Ingredients
from hafm.stages.model_card import model_card
from hafm.stages.stage_model import StageModel
from hafm.stages.token_parts import TokenParts
from hafm.stages.weights import Storage
from hafm.tokens.level import NOISE_SIGMA
from hafm.train.metrics import METRICS_FILE, read_metrics
from hafm.train.run_folder import OUTCOME_FILE, TrainedStage, load_trained, read_data

__all__ = ["TrainedRuns", "open_runs"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedRuns:
    """Runs of all three stages, on the same data with the same parts.

    Args:
        index: of the shards that all were trained on.
        figures: how each stage was trained and how good it is, by the names that the built-in bundle uses.
    """

    runs: Mapping[str, Path]
    stages: Mapping[str, TrainedStage]
    index: Index
    figures: Mapping[str, Mapping[str, Any]]

    @property
    def follows_sheets(self) -> bool:
        """Whether a stage was trained with lead sheets."""
        return any(stage.recipe.spec.guide is not None for stage in self.stages.values())

    def ingredients(
        self,
        *,
        name: str,
        version: str,
        licence: str,
        storage: Storage,
        analysers: Mapping[AnalyserName, Analyser] = MappingProxyType({}),
    ) -> Ingredients:
        """What a bundle of these runs is made of; see `Ingredients` for the arguments."""
        parts = TokenParts.load(read_data(self.runs["semantic"]).parts_folder)
        data = _data_figures(self.index)
        return Ingredients(
            name=name,
            version=version,
            licence=licence,
            data=f"{data['kept_hours']:.1f} hours of pairs of {data['tracks']} tracks.",
            features=parts.features,
            kmeans=parts.kmeans,
            codec=parts.codec,
            pinned=parts.pinned,
            stages={stage: _model(trained) for stage, trained in self.stages.items()},
            storage=storage,
            measured={"stages": self.figures, "data": data, "storage": {"kind": storage}},
            analysers=analysers,
            vocal_noise_sigma=float(self.index.made_by.get("noise_sigma", NOISE_SIGMA)),
            card=model_card,
        )

    def notes(self) -> Iterator[str]:
        """What a user should know of them."""
        for name, stage in self.stages.items():
            if stage.updates < stage.recipe.steps and not _has_finished(self.runs[name]):
                yield (
                    f"the {name} run has not finished: these are its weights after {stage.updates:,} of "
                    f"{stage.recipe.steps:,} steps"
                )
            if self.figures[name]["held_out_loss"] is None:
                yield f"the {name} run was not evaluated on held-out pairs, and the card says so"


def open_runs(folders: Sequence[Path], *, newest: bool = False) -> TrainedRuns:
    """Runs that a bundle can be made of.

    Args:
        newest: take the newest weights of each, not those of its best evaluation.

    Raises:
        UsageError: a folder holds no run, or they are not one of each stage.
        BundleMismatch: they were trained on different data, or with different parts.
    """
    trained = {run: load_trained(run, newest=newest) for run in folders}
    by_stage = {stage.recipe.spec.name: run for run, stage in trained.items()}
    if set(by_stage) != set(STAGES):
        found = ", ".join(f"'{run}' is {stage.recipe.spec.name}" for run, stage in trained.items())
        raise UsageError(f"a bundle needs a run of each stage ({', '.join(STAGES)}): {found}")
    runs = {name: by_stage[name] for name in STAGES}
    stages = {name: trained[run] for name, run in runs.items()}
    return TrainedRuns(
        runs=runs,
        stages=stages,
        index=_common_data(runs, stages),
        figures={name: _figures(runs[name], stages[name]) for name in STAGES},
    )


def _common_data(runs: Mapping[str, Path], stages: Mapping[str, TrainedStage]) -> Index:
    """The index of what all three were trained on."""
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
    """Fingerprints, one or several, with enough digits to distinguish them."""
    if isinstance(fingerprints, str):
        return fingerprints[:16]
    return ", ".join(f"{name} {digest[:8]}" for name, digest in sorted(fingerprints.items()))


def _model(stage: TrainedStage) -> StageModel:
    with torch.device("meta"):
        model = StageModel(stage.recipe.spec)
    model.load_state_dict(dict(stage.weights), strict=True, assign=True)
    return model.eval().requires_grad_(False)


def _figures(run: Path, stage: TrainedStage) -> dict[str, Any]:
    lines = read_metrics(run) if (run / METRICS_FILE).is_file() else []
    found = (line["held_out"] for line in lines if line["step"] == stage.step and "held_out" in line)
    held_out: dict[str, list[float] | None] = next(found, {})
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


def _data_figures(index: Index) -> dict[str, Any]:
    splits = {
        split: {
            "hours": round(counts["seconds"] / 3600, 3),
            "kept_hours": round(counts["kept_seconds"] / 3600, 3),
            "tracks": counts["tracks"],
        }
        for split, counts in index.counts.items()
    }
    training = {name: splits["train"][name] for name in ("kept_hours", "tracks")}
    return {"fingerprint": index.digest(), **training, "splits": splits}


def _has_finished(run: Path) -> bool:
    try:
        return bool(json.loads((run / OUTCOME_FILE).read_text(encoding="utf-8"))["outcome"] == "finished")
    except (OSError, ValueError, KeyError):
        return False


def _mean(values: Sequence[float] | None) -> float | None:
    return None if values is None else sum(values) / len(values)


def _rounded(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else [round(value, 4) for value in values]
