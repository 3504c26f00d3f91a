"""The optimisers: AdamW alone (paper 3.5), or Muon for the matrices inside the Transformer.

Muon orthogonalises the update of a matrix; in our runs it needs fewer steps for the same held-out
loss (docs/experiments.md). Embeddings, heads, norms and the position bias stay with AdamW.
"""

from typing import Literal

import torch
from torch import nn

OptimizerKind = Literal["adamw", "muon"]


def build_optimizers(
    model: nn.Module,
    *,
    kind: OptimizerKind,
    peak_rate: float,
    embedding_rate: float | None = None,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.98),
) -> list[torch.optim.Optimizer]:
    """One or two optimisers that together hold every parameter once.

    Args:
        model: what is trained.
        kind: ``adamw`` is the paper's: one rate and one weight decay for everything.
        peak_rate: highest learning rate; with ``muon`` that of the matrices, scaled as if for AdamW.
        embedding_rate: with ``muon``, the highest rate of everything else. A row of an embedding is
            touched only when its token occurs, and can take larger steps. None is ``peak_rate``.
        weight_decay: decoupled weight decay, on matrices only with ``muon``.
        betas: of AdamW.
    """
    fused = all(parameter.is_cuda for parameter in model.parameters()) or None  # one kernel for all of them
    if kind == "adamw":
        adamw = torch.optim.AdamW(
            model.parameters(), lr=peak_rate, betas=betas, weight_decay=weight_decay, fused=fused
        )
        return [_remember_peak(adamw)]
    matrices = [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and ".blocks." in f".{name}"
    ]
    inside = {id(parameter) for parameter in matrices}
    others = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    muon = torch.optim.Muon(matrices, lr=peak_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
    other_rate = peak_rate if embedding_rate is None else embedding_rate
    adamw = torch.optim.AdamW(others, lr=other_rate, betas=betas, weight_decay=0.0, fused=fused)
    return [_remember_peak(muon), _remember_peak(adamw)]


def set_rate_share(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Sets every rate to a share of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * share


def _remember_peak(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
    return optimizer
