"""The training loss (paper eq. 6): cross-entropy, the mean over frames per codebook, then over codebooks.

L = - 1/Q sum_q 1/T_q sum_t log P(y_q,t | y_<t, x)
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def codebook_losses(logits: Float[Tensor, "B K F V"], target: Int[Tensor, "B K F"]) -> Float[Tensor, " K"]:
    """Mean cross-entropy of every codebook, in nats per token.

    >>> import torch
    >>> codebook_losses(torch.zeros(1, 2, 3, 8), torch.zeros(1, 2, 3, dtype=torch.long)).exp()
    tensor([8., 8.])
    """
    # A codebook at a time, classes last: with the classes moved forward, a processor takes twice as long.
    losses = [
        F.cross_entropy(of_one.float().flatten(0, 1), ids.flatten())
        for of_one, ids in zip(logits.unbind(1), target.unbind(1), strict=True)
    ]
    return torch.stack(losses)


def stage_loss(logits: Float[Tensor, "B K F V"], target: Int[Tensor, "B K F"]) -> Float[Tensor, ""]:
    """Eq. 6: the codebooks' means, averaged. Nats a token."""
    return codebook_losses(logits, target).mean()
