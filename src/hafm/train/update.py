"""One optimiser step: its precision, forward and backward over the pieces of a batch, clip, apply or skip.

In: pieces. Out: the loss of the whole batch (the same number on every rank), and whether the step was
applied.

    piece 1..n-1   forward, backward                      gradients stay on the rank
    piece n        forward, backward                      and are summed over the ranks, once per step
    loss           summed over pieces and ranks
    float16        gradients unscaled
    all finite?    clip, apply      otherwise: no weight moves

Weights, gradients, optimiser and loss are float32 always; matrix products may have another type. bfloat16
has float32's range and needs no scaling.

| precision | GPU with bfloat16 | other GPU | processor with bfloat16 | other processor |
|---|---|---|---|---|
| `half` (paper 3.5: fp16) | bfloat16 | float16 | bfloat16 | float32 |
| the others | as they say | | | |

What happens when a loss or a gradient is not finite:

    float16             the step is skipped and counted, the schedule stays where it is, the loss scale is
                        halved: too large a scale is the usual cause. `PATIENCE` in a row: no scale helps.
    float32, bfloat16   stopped at once: there is no scale to blame, so a weight, a rate or the data is wrong,
                        and every further step would hide which.

When training stops, the step has changed no weight, the last checkpoint is intact, and the batch lies in the
run's folder, for whoever wants to see what was in it.

Source: paper 3.5; eq. 6 is `hafm.stages.stage_model`.
"""

import contextlib
import math
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hafm.device import half_dtype
from hafm.files import write_whole
from hafm.model.training_attention import AttentionKind
from hafm.stages.stage_model import stage_loss
from hafm.train.distributed import Ranks
from hafm.train.pieces import Piece
from hafm.train.recipe import Precision

__all__ = [
    "PATIENCE",
    "Skips",
    "Update",
    "accumulate",
    "apply_update",
    "autocast",
    "make_scaler",
    "resolve_precision",
    "save_batch",
    "shared_by",
]


@dataclass(frozen=True, kw_only=True)
class Update:
    """What a step did.

    Args:
        loss: nats per token, of the batch over all ranks, before the step.
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
    """Adds the gradient of the mean loss over the batch to the parameters of a model of `shared_by`.

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


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype that a precision means on a device.

    >>> resolve_precision("float16", torch.device("cpu"))
    torch.float16
    """
    dtype: torch.dtype = half_dtype(device) if precision == "half" else getattr(torch, precision)
    return dtype


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """A block whose matrix products are computed in `dtype`."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def make_scaler(dtype: torch.dtype, device: torch.device) -> torch.amp.GradScaler | None:
    """The gradient scaling of float16; None for the others."""
    return torch.amp.GradScaler(device.type) if dtype == torch.float16 else None


PATIENCE = 20
"""Skipped steps in a row that float16 may take."""


@dataclass
class Skips:
    """How many steps were skipped.

    Args:
        total: in the whole run.
        in_a_row: since the last step that was applied.

    >>> skips = Skips()
    >>> for finite in (False, False, True, False): skips.count(finite)
    >>> skips
    Skips(total=3, in_a_row=1)
    """

    total: int = 0
    in_a_row: int = 0

    def count(self, finite: bool) -> None:
        """Takes one step in."""
        self.total += not finite
        self.in_a_row = 0 if finite else self.in_a_row + 1

    def is_hopeless(self, dtype: torch.dtype) -> bool:
        """Whether training must stop."""
        return self.in_a_row >= (PATIENCE if dtype == torch.float16 else 1)


def save_batch(folder: Path, pieces: tuple[Piece, ...], *, step: int, rank: int) -> Path:
    """Writes what this rank was given in a step: the tensors of each `Piece`, conditions by number."""
    tensors: dict[str, Tensor] = {}
    for number, piece in enumerate(pieces):
        named = {**vars(piece), **{f"condition.{place}": ids for place, ids in enumerate(piece.conditions)}}
        tensors.update(
            {
                f"{number}.{name}": value.cpu().contiguous()
                for name, value in named.items()
                if isinstance(value, Tensor)
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:08d}-rank-{rank}.safetensors"
    write_whole(path, safetensors.torch.save(tensors))
    return path
