"""What the matrix products are computed in, and the scaling that float16 needs.

In: a recipe's `precision` and a device. Out: a dtype; and what `torch.autocast` and `GradScaler` are given.

| precision | GPU with bfloat16 | other GPU | processor with bfloat16 | other processor |
|---|---|---|---|---|
| `half` (paper 3.5: fp16) | bfloat16 | float16 | bfloat16 | float32 |
| the others | as they say | | | |

Weights, gradients, optimiser and loss are float32 always. bfloat16 has float32's range and needs no scaling.
"""

import contextlib
from contextlib import AbstractContextManager

import torch

from hafm.train.recipe import Precision

__all__ = ["autocast", "make_scaler", "resolve_precision"]


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype that a precision means on a device.

    >>> resolve_precision("float16", torch.device("cpu"))
    torch.float16
    """
    if precision != "half":
        dtype: torch.dtype = getattr(torch, precision)
        return dtype
    if device.type == "cuda":
        with_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if with_bfloat16 else torch.float16
    if device.type == "cpu":
        known = torch.cpu.get_capabilities()
        return torch.bfloat16 if known.get("avx512_bf16") or known.get("amx_bf16") else torch.float32
    return torch.float32


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """A block whose matrix products are computed in `dtype`."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def make_scaler(dtype: torch.dtype, device: torch.device) -> torch.amp.GradScaler | None:
    """The gradient scaling of float16; None for the others."""
    return torch.amp.GradScaler(device.type) if dtype == torch.float16 else None
