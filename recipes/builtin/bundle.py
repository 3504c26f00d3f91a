r"""Put the built-in bundle together.

    python -m recipes.builtin.bundle --shards work/shards --stages work/stages --out src/hafm/assets/builtin

In: what the other steps left.

    SHARDS/index.json, parts/, and the held-out split                         hafm prepare
    STAGES/{semantic,coarse,fine}/{model.safetensors,spec.json,metrics.json}  train_stages
    CODEC_REPORT, where it is given                                           train_codec
    HEARING, where it is given                                                measure_hearing
    ANALYSERS/{vocal,band}.safetensors, where it is given                     train_analyser

Out: a bundle, with a model card that quotes all their figures.

    python -m recipes.builtin.bundle --from builtin --analysers work/analysers --version 3 --out DIR

takes stages, codec and k-means of a bundle that exists, to the byte, and gives it other analysers. With
``--shards`` and ``--stages`` as well, the stages are new and the rest is the bundle's: its parts made the
shards (``hafm prepare --parts``), and its analysers and the figures of its codec are kept; so is each stage
that has no folder in STAGES.

`measure_hearing` needs a bundle, so the full card takes two runs: bundle, measure_hearing, bundle --hearing.
The stages were trained on tokens; the parts that made these lie beside them, and that they are the ones is
read from the index. Over 48 MiB nothing is written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from hafm.data.crops import Crops
from hafm.data.shards.index import read_tracks
from hafm.data.shards.reader import Shards
from hafm.errors import HafmError
from hafm.guide.analyser import Analyser
from hafm.stages.analysers import ANALYSERS, AnalyserName, read_analyser
from hafm.stages.bundle import Bundle
from hafm.stages.bundle_config import STAGES, GenerationDefaults
from hafm.stages.bundle_writer import Ingredients, copy_bundle, write_bundle
from hafm.stages.parts import require_same_parts
from hafm.stages.spec import StageSpec
from hafm.stages.stage_model import StageModel
from hafm.stages.token_parts import TokenParts
from hafm.stages.weights import Storage, stored
from hafm.tokens.kmeans import KMeans
from hafm.train.heldout import held_out_loss
from recipes.builtin.model_card import model_card, table

__all__ = ["MAX_BYTES", "BundleRecipe", "gather", "main", "make_bundle"]

MAX_BYTES = 48 * 2**20
"""What the package may carry."""


@dataclass(frozen=True, kw_only=True)
class BundleRecipe:
    """One run of the command.

    Attributes:
        shards: folder of the tokens.
        stages: parent of the stages' run folders.
        out: the bundle's folder; a bundle that is there is replaced.
        weights: how the stages are stored.
        generation: defaults of generation.
        codec_report: of `train_codec`, where there is one.
        hearing: report of `measure_hearing`, where there is one.
        analysers: folder of what `train_analyser` wrote; those that are there go into the bundle.
        source: a bundle that gives analysers, stages and the figures of the codec, where they are not given.
        loss_batches: batches of held-out clips on which the stored weights are measured; 0 for none.
        name, version: of the bundle.
    """

    shards: Path
    stages: Path
    out: Path
    weights: Storage = "int8"
    generation: GenerationDefaults = field(default_factory=GenerationDefaults)
    codec_report: Path | None = None
    hearing: Path | None = None
    analysers: Path | None = None
    source: Bundle | None = None
    loss_batches: int = 4
    name: str = "builtin"
    version: str = "1"


def make_bundle(recipe: BundleRecipe) -> Bundle:
    """Gathers everything and writes the bundle.

    Raises:
        ValueError: something is missing or unreadable, or the bundle would be too large.
        BundleMismatch: the parts do not belong together.
    """
    ingredients = gather(recipe)
    recipe.out.parent.mkdir(parents=True, exist_ok=True)
    return write_bundle(recipe.out, ingredients, overwrite=True)


def with_analysers(source: str, analysers: Path | None, *, out: Path, version: str) -> Bundle:
    """Writes a bundle that exists again, with other analysers; `out` may be its own folder.

    Raises:
        ValueError: there is no analyser, or the bundle would be too large.
    """
    bundle, found = Bundle.open(source), _analysers(analysers)
    if not found:
        raise ValueError("--from needs --analysers, the folder of what train_analyser wrote")
    out.parent.mkdir(parents=True, exist_ok=True)
    return copy_bundle(
        bundle,
        out,
        analysers=found,
        version=version,
        card=lambda made: model_card(_small_enough(made)),
        overwrite=True,
    )


def gather(recipe: BundleRecipe) -> Ingredients:
    """The bundle's ingredients, with all figures.

    Raises:
        ValueError, BundleMismatch: as for `make_bundle`.
    """
    shards = Shards.open(recipe.shards)
    parts = TokenParts.load(shards.parts_folder())
    shards.require_parts(parts.fingerprints(), what=f"the parts in '{shards.parts_folder()}'")
    kept = _kept_stages(recipe)
    stages = {
        name: kept[name] if name in kept else _load_stage(recipe.stages / name, name) for name in STAGES
    }
    hearing = None if recipe.hearing is None else _read_json(recipe.hearing)
    analysers = _analysers(recipe.analysers)
    codec = {} if recipe.codec_report is None else _codec_figures(recipe.codec_report)
    if recipe.source is not None:
        require_same_parts(
            expected=recipe.source.config.fingerprints,
            found=parts.fingerprints(),
            what="--from and the shards",
        )
        analysers = {
            name: recipe.source.load_analyser(name) for name in recipe.source.config.analysers
        } | analysers
        codec = codec or {
            key: value for key, value in recipe.source.config.measured.items() if key == "codec"
        }
    measured = {
        "stages": {
            name: recipe.source.config.measured["stages"][name]
            if recipe.source is not None and name in kept
            else _stage_figures(recipe, name, stages[name])
            for name in STAGES
        },
        **({} if hearing is None else {"hearing": hearing}),
        **codec,
        "kmeans": {side: _kmeans_figures(kmeans) for side, kmeans in parts.kmeans.items()},
        "data": _data_figures(shards),
        "storage": {"kind": recipe.weights},
    }
    return Ingredients(
        name=recipe.name,
        version=recipe.version,
        licence="Apache-2.0",
        data=f"{measured['data']['hours']:.1f} hours of pairs rendered from POP909 scores; no recordings.",
        features=parts.features,
        kmeans=parts.kmeans,
        codec=parts.codec,
        stages=stages,
        storage=recipe.weights,
        generation=recipe.generation,
        measured=measured,
        analysers=analysers,
        vocal_noise_sigma=float(shards.index.made_by["noise_sigma"]),
        card=lambda bundle: model_card(_small_enough(bundle)),
    )


def _kept_stages(recipe: BundleRecipe) -> dict[str, StageModel]:
    """The stages of `source` that were not trained again."""
    if recipe.source is None:
        return {}
    return {name: recipe.source.load_stage(name) for name in STAGES if not (recipe.stages / name).exists()}


def _analysers(folder: Path | None) -> dict[AnalyserName, Analyser]:
    """The analysers of a folder.

    Raises:
        ValueError: there is no run.
    """
    if folder is None:
        return {}
    paths = {name: folder / f"{name}.safetensors" for name in ANALYSERS}
    found = {name: read_analyser(path) for name, path in paths.items() if path.is_file()}
    if not found:
        raise ValueError(
            f"there is no analyser in '{folder}'; train_analyser writes {' and '.join(ANALYSERS)}"
        )
    return found


def summary(bundle: Bundle) -> str:
    """The figures that matter most, for the terminal."""
    measured = bundle.config.measured
    rows = [
        [name, stage["unigram_entropy"], stage["held_out_loss"], stage["held_out_loss_as_stored"]]
        for name, stage in measured["stages"].items()
    ]
    return (
        table(["stage", "unigram entropy", "held-out loss", "as stored"], rows)
        + f"\n{bundle.folder}: {bundle.num_bytes / 2**20:.1f} of {MAX_BYTES >> 20} MiB, "
        + f"fingerprint {bundle.fingerprint}"
    )


def _small_enough(bundle: Bundle) -> Bundle:
    """The bundle itself. Called before it takes its place, so that one that is too large never does."""
    if bundle.num_bytes > MAX_BYTES:
        raise ValueError(
            f"the bundle has {bundle.num_bytes / 2**20:.1f} MiB, over the limit of {MAX_BYTES >> 20} MiB; "
            "store the weights as int8, or make the stages or the codec smaller"
        )
    return bundle


def _load_stage(folder: Path, name: str) -> StageModel:
    spec = StageSpec.from_dict(_read_json(folder / "spec.json"))
    if spec.name != name:
        raise ValueError(f"'{folder / 'spec.json'}' describes the {spec.name} stage, not the {name} stage")
    path = folder / "model.safetensors"
    with torch.device("meta"):
        model = StageModel(spec)
    try:
        model.load_state_dict(safetensors.torch.load_file(path), strict=True, assign=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ValueError(f"'{path}' cannot be used: {error}; has train_stages {name} ended?") from error
    return model.eval().requires_grad_(False)


def _stage_figures(recipe: BundleRecipe, name: str, model: StageModel) -> dict[str, Any]:
    """What `train_stages` measured, flat, and the loss with stored weights."""
    path = recipe.stages / name / "metrics.json"
    metrics = _read_json(path)
    try:
        held_out, settings = metrics["held_out"], metrics["settings"]
        wrong_vocal = held_out["wrong_vocal"]
        return {
            "parameters": model.num_parameters(),
            "held_out_loss": _mean(held_out["right"]),
            "unigram_entropy": _mean(metrics["unigram_entropy"]),
            "loss_with_wrong_conditions": _mean(held_out["wrong"]),
            "loss_with_wrong_vocal": None if wrong_vocal is None else _mean(wrong_vocal),
            "held_out_loss_as_stored": _loss_as_stored(recipe, model),
            "held_out_loss_by_codebook": [round(loss, 3) for loss in held_out["right"]],
            "unigram_entropy_by_codebook": [round(entropy, 3) for entropy in metrics["unigram_entropy"]],
            "training_pairs": metrics["training_pairs"],
            "held_out_pairs": metrics["held_out_pairs"],
            "target_tokens_seen": metrics["target_tokens_seen"],
            "init": metrics.get("init"),
            **{key: settings[key] for key in ("steps", "batch", "optimizer", "seed")},
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"'{path}' lacks {error}; it is not what train_stages writes") from error


def _loss_as_stored(recipe: BundleRecipe, model: StageModel) -> float | None:
    if recipe.loss_batches == 0:
        return None
    as_stored = StageModel(model.spec)
    as_stored.load_state_dict(stored(model.state_dict(), recipe.weights))
    crops = Crops(pairs=Shards.open(recipe.shards, "valid"), spec=model.spec, seed=1, views=False)
    return held_out_loss(as_stored, crops, clips=8 * recipe.loss_batches, dtype=torch.float32).mean_right


def _codec_figures(path: Path) -> dict[str, Any]:
    """What `train_codec` measured, cut down to what a reader of the card wants."""
    report = _read_json(path)
    try:
        figures = {
            "sounds": report["encoded_sounds"],
            "seconds": report["encoded_seconds"],
            "quality": {
                name: {key: round(row[key], 3) for key in ("mel_distance", "spectral_snr_db", "snr_db")}
                for name, row in report["quality"].items()
            },
            **{
                key: [round(row[key], digits) for row in report["codebooks"]]
                for key, digits in (("used", None), ("perplexity", None), ("repeats", 2))
            },
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"'{path}' lacks {error}; it is not what train_codec writes") from error
    return {"codec": figures}


def _kmeans_figures(kmeans: KMeans) -> dict[str, Any]:
    """What `hafm fit-kmeans` measured, on held-out tracks; the dead are counted where it fitted."""
    notes = kmeans.notes
    try:
        held_out = notes["held_out"]
        return {
            "data": notes["data"],
            "dead_clusters": notes["fit"]["dead"],
            **{key: held_out[key] for key in ("perplexity", "inertia", "variance")},
        }
    except KeyError:
        return dict(notes)  # of a version that measured on what it fitted, and noted the same figures flat


def _data_figures(shards: Shards) -> dict[str, Any]:
    """Of the tracks that training may use."""
    counts = shards.index.counts[shards.split]
    songs = {
        track.song_id
        for track in read_tracks(shards.folder, shards.index)
        if track.split == shards.split and track.kept
    }
    return {"hours": counts["kept_seconds"] / 3600, "pairs": counts["kept_tracks"], "songs": len(songs)}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"'{path}' cannot be read ({error}); has the step that writes it ended?") from error
    if not isinstance(values, Mapping):
        raise ValueError(f"'{path}' holds no JSON object")
    return dict(values)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status: 0, or 2 when it cannot be done."""
    default = GenerationDefaults()
    parser = argparse.ArgumentParser(
        prog="python -m recipes.builtin.bundle", description="Put the built-in bundle together."
    )
    parser.add_argument("--from", dest="source", help="a bundle: what is not given is taken from it")
    parser.add_argument("--shards", type=Path, help="folder that hafm prepare wrote")
    parser.add_argument("--stages", type=Path, help="parent of the stages' run folders")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    parser.add_argument("--weights", choices=("fp32", "fp16", "int8"), default=BundleRecipe.weights)
    parser.add_argument("--codec-report", type=Path, help="report.json of train_codec")
    parser.add_argument("--analysers", type=Path, help="folder of vocal.safetensors, band.safetensors")
    parser.add_argument("--hearing", type=Path, help="report of measure_hearing")
    parser.add_argument("--loss-batches", type=int, default=BundleRecipe.loss_batches, help="0 for none")
    parser.add_argument("--name", default=BundleRecipe.name)
    parser.add_argument("--version", default=BundleRecipe.version)
    parser.add_argument("--temperature", type=float, default=default.temperature)
    parser.add_argument("--top-k", type=int, default=default.top_k)
    parser.add_argument("--guidance", type=float, default=default.guidance)
    parser.add_argument("--coarse-guidance", type=float, help="if not that of the semantic stage")
    parser.add_argument("--level-lufs", type=float, default=default.level_lufs)
    parser.add_argument("--threads", type=int, default=1)
    values = vars(parser.parse_args(arguments))
    torch.set_num_threads(values.pop("threads"))
    source = values.pop("source")
    has_stages = values["stages"] is not None
    if has_stages != (values["shards"] is not None) or not (has_stages or source):
        parser.error("give --shards and --stages, or --from, or all three")
    try:
        if not has_stages:
            bundle = with_analysers(source, values["analysers"], out=values["out"], version=values["version"])
            print(summary(bundle))
            return 0
        generation = GenerationDefaults(
            **{
                name: values.pop(name)
                for name in ("temperature", "top_k", "guidance", "coarse_guidance", "level_lufs")
            }
        )
        values["source"] = None if source is None else Bundle.open(source)
        print(summary(make_bundle(BundleRecipe(generation=generation, **values))))
    except (ValueError, HafmError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
