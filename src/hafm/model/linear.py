"""Linear layers, and how rows of a batch are kept from influencing each other, bit for bit.

A matrix product picks its order of summation by the number of rows, and vectorised functions treat the end
of an array unlike its middle. So a row computed beside three others
differs from the same row alone in the last bits, and now and then such a bit flips a sampled token. Once
training is over, the layers therefore work through :func:`by_rows`, and a take comes out the same whatever
it is batched with. The rows of one take (with its condition and without) always come together, and may
share a product. Training is free of all this and uses the usual fused products.

The weight is stored ``[in, out]``, not ``[out, in]`` as in ``torch.nn.Linear``: a single row is then
multiplied by walking the weight in memory order, which makes the products of a decoding step 1.4 times
as fast.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn


def by_rows(
    function: Callable[[Tensor, slice], Tensor], x: Float[Tensor, "B ..."], *, together: int = 1
) -> Float[Tensor, "B ..."]:
    """``function(x)``, every batch row, or every few, by themselves and in memory of their own.

    Args:
        function: gets some rows, batch axis kept, and which ones they are; returns their results.
        together: how many neighbouring rows are passed at a time; divides the batch.

    >>> layer = Linear(4, 6)
    >>> x = torch.randn(3, 2, 4)
    >>> whole = by_rows(lambda rows, _: layer(rows), x)
    >>> torch.equal(whole[1:2], by_rows(lambda rows, _: layer(rows), x[1:2]))
    True
    """
    # Math libraries promise equal bits for equally aligned arrays only. A copy starts on the allocator's
    # alignment, as does a tensor of its own; a slice starts anywhere.
    if x.shape[0] == together and x.storage_offset() == 0 and x.is_contiguous():
        return function(x, slice(0, together))
    starts = range(0, x.shape[0], together)
    return torch.cat(
        [
            function(rows.clone(), slice(b, b + together))
            for b, rows in zip(starts, x.split(together), strict=True)
        ]
    )


def draw_normal(weight: Tensor, *, std: float) -> Tensor:
    """Fills ``weight`` from N(0, std²), in place; one on the meta device, which holds no numbers, stays so.

    PyTorch would load 800 modules of its compiler to draw nothing: a second and a half, and 100 MB.

    >>> draw_normal(torch.empty(2, 3, device="meta"), std=0.02).shape
    torch.Size([2, 3])
    """
    with torch.no_grad():
        return weight if weight.is_meta else weight.normal_(std=std)


class Linear(nn.Module):
    """``x W`` without bias, W from N(0, 0.02).

    Shape: ``[B, S, D] -> [B, S, O]``.
    """

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(draw_normal(torch.empty(width_in, width_out), std=0.02))

    def forward(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S O"]:
        return x @ self.weight
