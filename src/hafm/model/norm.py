"""RMSNorm (paper eq. 2): divides by the root mean square over the last axis, then scales.

    y = n w,   n = x r,   r = 1 / sqrt(mean(x^2) + eps)
    dL/dw = sum of g n over all rows,   dL/dx = r (h - n mean(h n)),   h = g w          g: dL/dy

On a processor, PyTorch puts the gradient together from the steps of ``y`` and walks the memory thrice as
often. In training the formula above is used there; evaluation keeps PyTorch's own.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """``x / sqrt(mean(x ** 2) + eps) * weight`` over the last axis.

    Shape: ``[*, D] -> [*, D]``.

    >>> RMSNorm(2)(torch.tensor([[3.0, 4.0]])).detach().round(decimals=3)
    tensor([[0.8490, 1.1310]])
    """

    def __init__(self, width: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        weight = self.weight.to(x.dtype)
        if self.training and x.device.type == "cpu":
            out: Tensor = _TrainingNorm.apply(x, weight, self.eps)  # type: ignore[no-untyped-call]
            return out
        return F.rms_norm(x, weight.shape, weight, self.eps)


class _TrainingNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        exact = torch.promote_types(x.dtype, torch.float32)
        root = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=exact)
        reciprocal = (root.square() / x.shape[-1] + eps).rsqrt().to(x.dtype)
        normed = x * reciprocal
        ctx.save_for_backward(normed, weight, reciprocal)
        out: Tensor = normed * weight
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        normed, weight, reciprocal = ctx.saved_tensors
        (grad,) = grads
        grad_weight = (grad * normed).reshape(-1, grad.shape[-1]).sum(0)
        scaled = grad * weight
        along = (scaled * normed).mean(-1, keepdim=True)
        return torch.addcmul(scaled, normed, along, value=-1).mul_(reciprocal), grad_weight, None
