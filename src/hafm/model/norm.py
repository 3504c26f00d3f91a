"""RMSNorm (paper eq. 2): divides by the root mean square over the last axis, then scales."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch import ones as torch_ones


class RMSNorm(nn.Module):
    """``x / sqrt(mean(x ** 2) + eps) * weight`` over the last axis.

    Shape: ``[*, D] -> [*, D]``.

    >>> import torch
    >>> RMSNorm(2)(torch.tensor([[3.0, 4.0]])).round(decimals=3)
    tensor([[0.8490, 1.1310]], grad_fn=<RoundBackward1>)
    """

    def __init__(self, width: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch_ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)
