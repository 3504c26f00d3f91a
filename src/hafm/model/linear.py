"""A linear layer whose rows do not influence each other, bit for bit, once training is over.

A matrix product picks its order of summation by the number of rows, so that a row computed beside
three others differs from the same row alone in the last bits; now and then such a bit flips a
sampled token. In evaluation mode this layer multiplies every batch row by itself, and a take comes
out the same whatever it is batched with. In training mode it is the usual fused product.

The weight is stored ``[in, out]``, not ``[out, in]`` as in ``torch.nn.Linear``: a single row is then
multiplied by walking the weight in memory order, which made a decoding step's products a third faster.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Linear(nn.Module):
    """``x W`` without bias, W from N(0, 0.02).

    Shape: ``[B, S, D_in] -> [B, S, D_out]``.

    >>> layer = Linear(4, 6).eval()
    >>> x = torch.randn(3, 2, 4)
    >>> torch.equal(layer(x)[1:2], layer(x[1:2]))
    True
    """

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width_in, width_out).normal_(std=0.02))

    def forward(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S O"]:
        if self.training:
            return x @ self.weight
        return torch.bmm(x, self.weight.expand(x.shape[0], -1, -1))
