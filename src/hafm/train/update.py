"""One optimiser step: forward and backward over the pieces of a batch, clip, apply or skip.

In: pieces. Out: the loss of the whole batch (the same number on every rank), and whether the step was
applied.

    piece 1..n-1   forward, backward                      gradients stay on the rank
    piece n        forward, backward                      and are summed over the ranks, once a step
    loss           summed over pieces and ranks
    float16        gradients unscaled
    all finite?    clip, apply      otherwise: no weight moves

Source: paper 3.5; eq. 6 is `hafm.stages.loss`.
"""

import contextlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from hafm.model.training_attention import AttentionKind
from hafm.stages.loss import stage_loss
from hafm.train.distributed import Ranks
from hafm.train.pieces import Piece
from hafm.train.precision import autocast

__all__ = ["Update", "accumulate", "apply_update", "shared_by"]


@dataclass(frozen=True, kw_only=True)
class Update:
    """What became of a step.

    Args:
        loss: nats a token, of the batch over all ranks, before the step.
        norm: of the gradient before clipping.
        finite: whether both are; only then was the step applied.
        stop: signal that some rank was sent; 0 if none was.
    """

    loss: float
    norm: float
    finite: bool
    stop: int = 0


def shared_by(model: nn.Module, ranks: Ranks) -> nn.Module:
    """The model as several ranks train it together; as it is for one."""
    if ranks.world == 1:
        return model
    # Of the strides of an axis of length 1, which say nothing: a stage with one codebook has such a gradient.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    ids = [ranks.device] if ranks.device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True)


def accumulate(
    model: nn.Module,
    pieces: Sequence[Piece],
    *,
    dtype: torch.dtype,
    scaler: torch.amp.GradScaler | None,
    ranks: Ranks,
    attention: AttentionKind = "auto",
) -> float:
    """Adds the gradient of the mean loss over the batch to the parameters.

    Args:
        model: of `shared_by`.
        pieces: of this rank.
        attention: see `hafm.model.training_attention`.

    Returns:
        This rank's part of the loss; the parts of all ranks sum to it.
    """
    total = torch.zeros((), device=ranks.device)
    for number, piece in enumerate(pieces, start=1):
        alone = number < len(pieces) and isinstance(model, DistributedDataParallel)
        piece = piece.to(ranks.device)
        with model.no_sync() if alone else contextlib.nullcontext():  # type: ignore[operator]
            with autocast(dtype, ranks.device):
                logits = model(
                    piece.target,
                    piece.conditions,
                    guide=piece.guide,
                    drop=piece.drop,
                    hide=piece.hide,
                    codebook=piece.codebook,
                    attention=attention,
                )
            loss = stage_loss(logits, piece.predicted) * piece.share
            # DistributedDataParallel divides by the number of ranks, and a share is of the whole batch.
            scaled = loss * ranks.world
            (scaled if scaler is None else scaler.scale(scaled)).backward()
        total += loss.detach()
    return total.item()


def apply_update(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    *,
    loss: float,
    clip_norm: float,
    scaler: torch.amp.GradScaler | None,
    ranks: Ranks,
    stop: int = 0,
) -> Update:
    """Applies the gradients if they and the loss are finite, and clears them.

    Args:
        loss: what `accumulate` gave on this rank.
        stop: the signal that this rank was sent.
    """
    total, stops = ranks.sum(torch.tensor([loss, stop], dtype=torch.float64)).tolist()
    if scaler is not None:
        for optimizer in optimizers:
            scaler.unscale_(optimizer)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm).item()
    finite = math.isfinite(total) and math.isfinite(norm)
    if finite:
        for optimizer in optimizers:
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
    if scaler is not None:
        scaler.update()
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    return Update(loss=total, norm=norm, finite=finite, stop=ranks.max(stop) if stops else 0)
