"""The training loop of one stage on one device.

In: a stage, training and held-out pairs, settings. Out: a run folder with checkpoints, a line a
report in ``metrics.jsonl``, and at the end the weights. A run stopped at any moment and started
again goes on with the same losses, because batch and dropout depend on (seed, step) alone.

Source: paper 3.5; the optimiser and the schedule are choices of the settings.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from hafm.data.crops import Pairs, crop_batch
from hafm.errors import HafmError, UsageError
from hafm.stages.loss import stage_loss
from hafm.stages.spec import StageSpec
from hafm.stages.stage_model import StageModel
from hafm.train.checkpoint import load_latest, save_checkpoint
from hafm.train.heldout import held_out_loss
from hafm.train.optim import OptimizerKind, build_optimizers, set_rate_share
from hafm.train.schedule import cosine, trapezoid


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What a run does.

    Args:
        steps: optimiser steps in all.
        batch: clips a step.
        peak_rate: highest learning rate.
        warmup_steps: linear warm-up.
        schedule: ``cosine`` (paper) or ``trapezoid``.
        cooldown_steps: length of the last, falling part; trapezoid only.
        floor: lowest rate as a share of the peak.
        optimizer: ``adamw`` (paper) or ``muon``.
        embedding_rate: with ``muon``, the highest rate of all that is no matrix inside a block; None is
            ``peak_rate``.
        weight_decay: decoupled weight decay.
        clip_norm: gradients are scaled down to this norm.
        history_dropout: share of rows in which tokens so far are hidden: all of them in half of these rows,
            a random share of them in the other half. Most tokens follow from the one before; a stage that
            is never without it learns to listen to itself and not to its condition
            (docs/experiments.md). 0 in the paper.
        seed: of batches and dropout.
        precision: ``float32`` or ``bfloat16`` for the matrix products.
        evaluate_every, save_every: in steps.
        evaluate_batches: held-out batches an evaluation.
    """

    steps: int
    batch: int
    peak_rate: float
    warmup_steps: int
    schedule: Literal["cosine", "trapezoid"] = "cosine"
    cooldown_steps: int = 0
    floor: float = 0.0
    optimizer: OptimizerKind = "adamw"
    embedding_rate: float | None = None
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    history_dropout: float = 0.0
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    evaluate_every: int = 500
    evaluate_batches: int = 8
    save_every: int = 200

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "evaluate_every", "save_every", "evaluate_batches"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more, not {getattr(self, name)}.")
        if not 0 <= self.history_dropout <= 1:
            raise UsageError(f"history_dropout must be from 0 to 1, not {self.history_dropout}.")
        for name in ("peak_rate", "embedding_rate"):
            rate = getattr(self, name)
            if rate is not None and not rate > 0:
                raise UsageError(f"{name} must be positive, not {rate}.")

    def rate_share(self, step: int) -> float:
        """The share of the peak rate at a step."""
        if self.schedule == "cosine":
            return cosine(step, warmup=self.warmup_steps, total=self.steps, floor=self.floor)
        return trapezoid(
            step,
            warmup=self.warmup_steps,
            total=self.steps,
            cooldown=self.cooldown_steps,
            floor=self.floor,
        )


class NonFiniteLoss(HafmError):
    """The loss became NaN or infinite; the last checkpoint is untouched."""


# What may change between a stop and a resume without changing what a step computes.
_MAY_CHANGE = ("steps", "cooldown_steps", "evaluate_every", "evaluate_batches", "save_every")


def train_stage(
    model: StageModel,
    *,
    settings: TrainSettings,
    training: Pairs,
    held_out: Pairs,
    run: Path,
    device: str = "cpu",
    on_report: Callable[[dict[str, Any]], None] | None = None,
    report_every: int = 20,
) -> StageModel:
    """Trains to ``settings.steps``, going on from the newest checkpoint in ``run``.

    Args:
        on_report: called with every line that goes into ``metrics.jsonl``.

    Raises:
        UsageError: ``run`` was made with other settings.
        NonFiniteLoss: training diverged.
    """
    run.mkdir(parents=True, exist_ok=True)
    model.to(device).train()
    precision = getattr(torch, settings.precision)
    optimizers = build_optimizers(
        model,
        kind=settings.optimizer,
        peak_rate=settings.peak_rate,
        embedding_rate=settings.peak_rate if settings.embedding_rate is None else settings.embedding_rate,
        weight_decay=settings.weight_decay,
    )
    frozen = {key: value for key, value in asdict(settings).items() if key not in _MAY_CHANGE}
    frozen["spec"] = model.spec.to_dict()
    step = load_latest(run, model=model, optimizers=optimizers, settings=frozen)
    report = _Reporter(run / "metrics.jsonl", on_report)
    started, first, running = time.monotonic(), step, 0.0

    while step < settings.steps:
        set_rate_share(optimizers, settings.rate_share(step))
        target, conditions = crop_batch(
            training, model.spec, batch=settings.batch, seed=settings.seed, step=step
        )
        drop, hide = _dropouts(settings, model.spec, step)
        with torch.autocast(device.split(":")[0], precision, enabled=precision != torch.float32):
            logits = model(
                target.to(device),
                tuple(ids.to(device) for ids in conditions),
                drop=drop.to(device),
                hide=None if hide is None else hide.to(device),
            )
            loss = stage_loss(logits, target.to(device))
        if not torch.isfinite(loss):
            raise NonFiniteLoss(
                f"The loss became {loss.item()} at step {step}; the last checkpoint in {run} is untouched. "
                "Lower peak_rate or clip_norm and start again from it."
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        running += loss.item()
        if step % report_every == 0 or step == settings.steps:
            taken = time.monotonic() - started
            remaining = taken / (step - first) * (settings.steps - step)
            count = (step - 1) % report_every + 1
            report({"step": step, "loss": running / count, "seconds": taken, "remaining": remaining})
            running = 0.0
        if step % settings.evaluate_every == 0 or step == settings.steps:
            scores = held_out_loss(
                model,
                held_out,
                batches=settings.evaluate_batches,
                batch=settings.batch,
                precision=precision,
            )
            report({"step": step, "held_out": asdict(scores)})
        if step % settings.save_every == 0 or step == settings.steps:
            save_checkpoint(run, step=step, model=model, optimizers=optimizers, settings=frozen)
    return model


def _dropouts(
    settings: TrainSettings, spec: StageSpec, step: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Rows that lose their condition (3.5), and input positions that lose their token."""
    generator = torch.Generator().manual_seed((settings.seed << 32) + step)
    drop = torch.rand(settings.batch, generator=generator) < spec.guidance_dropout
    if settings.history_dropout == 0:
        return drop, None
    chosen = torch.rand(settings.batch, 1, generator=generator) < settings.history_dropout
    share = (2 * torch.rand(settings.batch, 1, generator=generator)).clamp_max(1)
    return drop, chosen & (torch.rand(settings.batch, spec.target_slots, generator=generator) < share)


class _Reporter:
    """Appends a line a report and passes it on."""

    def __init__(self, path: Path, listener: Callable[[dict[str, Any]], None] | None) -> None:
        self.path = path
        self.listener = listener

    def __call__(self, line: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self.listener is not None:
            self.listener(line)
