"""Trains one stage of the built-in model on the tokens of ``recipes.builtin.tokenise``.

    python -m recipes.builtin.train_stages semantic --tokens work/tokens --codec work/codec/export \
        --run work/stages/semantic

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
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from hafm.stages.stage_model import StageModel
from hafm.train.heldout import held_out_loss, unigram_entropy
from hafm.train.loop import train_stage
from recipes.builtin.stages.recipes import SETTINGS, SPECS
from recipes.builtin.stages.warm_start import points_of_tokens, start_from_points
from recipes.builtin.tokens.token_store import TokenStore


class StorePairs:
    """A ``TokenStore`` as the training loop wants it: streams by name."""

    def __init__(self, store: TokenStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def num_views(self) -> int:
        return int(self.store.vocal[0].shape[0])

    def stream(self, index: int, name: str, view: int) -> np.ndarray:
        if name == "vocal_semantic":
            return self.store.vocal[index][view][None]
        if name == "instrumental_semantic":
            return self.store.instrumental[index][None]
        codes = self.store.codes[index]
        return codes[:4] if name == "coarse_codes" else codes[4:]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=sorted(SPECS))
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument(
        "--codec", type=Path, required=True, help="folder of the codec; the k-means files are in --tokens"
    )
    parser.add_argument("--steps", type=int, help="optimiser steps in all; a third of them cool down")
    parser.add_argument("--cooldown-steps", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--peak-rate", type=float)
    parser.add_argument("--optimizer", choices=("adamw", "muon"))
    parser.add_argument(
        "--cold-start", action="store_true", help="start embeddings from noise, not from what ids stand for"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    spec, settings = SPECS[options.stage], SETTINGS[options.stage]
    changed: dict[str, Any] = {
        key: value
        for key in ("steps", "cooldown_steps", "batch", "peak_rate", "optimizer", "seed")
        if (value := getattr(options, key)) is not None
    }
    if "steps" in changed:
        changed.setdefault("cooldown_steps", changed["steps"] // 3)
    settings = replace(settings, **changed)

    training, held_out = (StorePairs(TokenStore(options.tokens, split)) for split in ("train", "valid"))
    torch.manual_seed(settings.seed)
    model = StageModel(spec)
    if not options.cold_start:
        start_from_points(model, points_of_tokens(options.tokens, options.codec), seed=settings.seed)
    print(
        f"{spec.name}: {model.num_parameters() / 1e6:.2f} M parameters, {len(training)} training pairs, "
        f"{len(held_out)} held-out pairs, {settings.steps} steps",
        flush=True,
    )
    train_stage(
        model,
        settings=settings,
        training=training,
        held_out=held_out,
        run=options.run,
        device=options.device,
        on_report=_print,
    )
    model.to("cpu")
    save_file(model.state_dict(), options.run / "model.safetensors")
    (options.run / "spec.json").write_text(json.dumps(spec.to_dict(), indent=2))
    scores = held_out_loss(model, held_out, batches=24, batch=settings.batch, seed=1, precision=torch.float32)
    entropy = unigram_entropy(training, spec.target.name, cardinality=spec.target.cardinality)
    metrics = {
        "stage": spec.name,
        "held_out": asdict(scores),
        "unigram_entropy": entropy,
        "parameters": model.num_parameters(),
        "settings": asdict(settings),
        "cold_start": options.cold_start,
        "training_pairs": len(training),
        "held_out_pairs": len(held_out),
        "target_tokens_seen": settings.steps * settings.batch * spec.target_slots,
    }
    (options.run / "metrics.json").write_text(json.dumps(metrics, indent=2))
    print(json.dumps(metrics), flush=True)
    return 0


def _print(line: dict[str, Any]) -> None:
    clock = time.strftime("%H:%M:%S")
    if "held_out" in line:
        parts = {
            name: " ".join(f"{loss:.3f}" for loss in losses)
            for name, losses in line["held_out"].items()
            if losses is not None
        }
        print(f"{clock} step {line['step']} held-out {parts}", flush=True)
    else:
        print(
            f"{clock} step {line['step']} loss {line['loss']:.4f} "
            f"({line['seconds']:.0f} s, {line['remaining'] / 60:.1f} min left)",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
