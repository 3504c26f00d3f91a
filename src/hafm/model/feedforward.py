"""GEGLU feed-forward (paper eq. 4): ``(GELU(x W1) * x W2) W3``, inner width ``floor(2/3 * D * mult)``."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hafm.model.linear import Linear, by_rows


def inner_width(width: int, multiplier: float) -> int:
    """The inner width: two thirds of ``width * multiplier``, rounded down (paper 3.4).

    >>> inner_width(512, 4.0)
    1365
    """
    return int(2 * width * multiplier / 3)


class FeedForward(nn.Module):
    """Gated GELU. Gate and value share one projection.

    Shape: ``[B, S, D] -> [B, S, D]``.
    """

    def __init__(self, width: int, *, multiplier: float) -> None:
        super().__init__()
        inner = inner_width(width, multiplier)
        self.into = Linear(width, 2 * inner)
        self.out = Linear(inner, width)

    def forward(self, x: Float[Tensor, "B S D"], *, together: int = 1) -> Float[Tensor, "B S D"]:
        if self.training:
            return self._gated(x)
        return by_rows(lambda rows, _: self._gated(rows), x, together=together)

    def _gated(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        gate, value = self.into(x).chunk(2, dim=-1)
        out: Tensor = self.out(F.gelu(gate) * value)
        return out
