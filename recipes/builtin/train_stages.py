"""Trains one stage of the built-in model on the shards of ``hafm prepare``.

    python -m recipes.builtin.train_stages semantic --shards work/shards --run work/stages/semantic

Run it again with the same options and it goes on where it stopped. It needs numpy and torch alone, and runs
on a processor or, with ``--device cuda``, on a GPU. At the end the run folder holds, for
``recipes.builtin.bundle``:

    model.safetensors   the weights, float32
    spec.json           the stage's shapes
    metrics.json        held-out loss with the right and with wrong conditions, unigram entropy, steps, data
"""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import save_file

from hafm.app.train_display import training_display
from hafm.data.crops import Crops
from hafm.data.shards.reader import Shards
from hafm.stages.bundle import Bundle
from hafm.stages.stage_model import StageModel
from hafm.stages.token_parts import TokenParts
from hafm.train.distributed import join_ranks
from hafm.train.heldout import held_out_loss, unigram_entropy
from hafm.train.recipe import STAGES, builtin
from hafm.train.run_folder import load_trained
from hafm.train.start import points_of_parts, start_from_bundle, start_from_points
from hafm.train.trainer import Trainer


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=sorted(STAGES))
    parser.add_argument("--shards", required=True, help="folder that hafm prepare wrote")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="optimiser steps in all; a third of them cool down")
    parser.add_argument("--cooldown-steps", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--peak-rate", type=float)
    parser.add_argument("--embedding-rate", type=float)
    parser.add_argument("--optimizer", choices=("adamw", "muon"))
    parser.add_argument(
        "--cold-start", action="store_true", help="start embeddings from noise, not from what ids stand for"
    )
    parser.add_argument("--init", help="start from this bundle's stage: builtin, or a folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    recipe = builtin(options.stage)
    changed: dict[str, Any] = {
        key: value
        for key in ("steps", "cooldown_steps", "batch", "peak_rate", "embedding_rate", "optimizer", "seed")
        if (value := getattr(options, key)) is not None
    }
    if "steps" in changed:
        changed.setdefault("cooldown_steps", changed["steps"] // 3)
    recipe = replace(recipe, **changed, warm_start=not options.cold_start)

    training, held_out = (Shards.open(options.shards, split) for split in ("train", "valid"))
    torch.manual_seed(recipe.seed)
    model = StageModel(recipe.spec)
    if options.init is not None:
        start_from_bundle(model, options.init, training.index.fingerprints)
    elif recipe.warm_start:
        parts = TokenParts.load(training.parts_folder())
        start_from_points(model, points_of_parts(parts), seed=recipe.seed)
    with (
        join_ranks(options.device) as ranks,
        training_display(Console(stderr=True), quiet=not ranks.is_first) as listener,
    ):
        trainer = Trainer(
            model=model,
            recipe=recipe,
            training=training,
            held_out=held_out,
            data=training.fingerprint(),
            run=options.run,
            ranks=ranks,
            listener=listener,
        )
        trainer.fit()
        if not ranks.is_first:
            return 0
    # The last weights, not the best by held-out loss: a cooled-down trapezoid ends at its best.
    model = StageModel(recipe.spec)
    model.load_state_dict(dict(load_trained(options.run, newest=True).weights))
    save_file(model.state_dict(), options.run / "model.safetensors")
    (options.run / "spec.json").write_text(json.dumps(recipe.spec.to_dict(), indent=2))
    crops = Crops(pairs=held_out, spec=recipe.spec, seed=1, views=False)
    scores = held_out_loss(model, crops, clips=24 * recipe.batch, dtype=torch.float32)
    target = recipe.spec.target
    metrics = {
        "stage": recipe.spec.name,
        "held_out": asdict(scores),
        "unigram_entropy": unigram_entropy(training, target.name, cardinality=target.cardinality),
        "parameters": model.num_parameters(),
        "settings": recipe.to_dict(),
        "cold_start": options.cold_start,
        "init": None if options.init is None else Bundle.open(options.init).fingerprint,
        "training_pairs": len(training),
        "held_out_pairs": len(held_out),
        "target_tokens_seen": recipe.steps * recipe.batch * recipe.spec.target_slots,
    }
    (options.run / "metrics.json").write_text(json.dumps(metrics, indent=2))
    print(json.dumps(metrics), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
