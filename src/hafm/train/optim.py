"""The optimisers: AdamW alone (paper 3.5), or Muon for the matrices inside the Transformer.

Muon orthogonalises the update of a matrix; in our runs it needs fewer steps for the same held-out
loss (docs/experiments.md). Embeddings, heads, norms and the position bias stay with AdamW.
"""

from typing import Literal

import torch
from torch import nn

OptimizerKind = Literal["adamw", "muon"]


def build_optimizers(
    model: nn.Module, *, kind: OptimizerKind, peak_rate: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """One or two optimisers that together hold every parameter once.

    Args:
        model: what is trained.
        kind: ``adamw`` is the paper's: betas (0.9, 0.98), one rate for everything.
        peak_rate: highest learning rate. With ``muon`` the update of a matrix is scaled so that the
            same rate suits both.
        weight_decay: decoupled weight decay, on matrices only with ``muon``.
    """
    betas = (0.9, 0.98)
    if kind == "adamw":
        return [
            torch.optim.AdamW(model.parameters(), lr=peak_rate, betas=betas, weight_decay=weight_decay)
        ]
    matrices = [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and ".blocks." in f".{name}"
    ]
    inside = {id(parameter) for parameter in matrices}
    others = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    return [
        torch.optim.Muon(
            matrices, lr=peak_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, lr=peak_rate, betas=betas, weight_decay=0.0),
    ]
