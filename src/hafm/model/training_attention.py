"""Which attention a model is trained with: the fastest exact one of its device, or the one asked for.

    name     what it does                                       works on           auto takes it on
    tiles    a tile of queries at a time, see tiled_attention   everything         processors
    flex     FlexAttention, see flex                            CUDA with Triton   CUDA, heads 16 wide or more
    sdpa     PyTorch's own, on one [H, S, S] bias               everything         everything else

All three compute eq. 3 with gradients of everything, and none keeps a bias a layer. They differ in the last
bits, so a run stays with one of them. What is asked for and is not there is an error, never another one.
Where positions are rotary there is no bias, and PyTorch's own is the fastest everywhere. Generation uses none
of these: see ``hafm.model.attention``.
"""

import importlib.util
from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from hafm.errors import DeviceError, UsageError
from hafm.model.position import RelativeBias
from hafm.model.tiled_attention import QUERIES_PER_TILE, tiled_attention

__all__ = [
    "Attend",
    "AttentionKind",
    "AttentionPath",
    "choose_attention",
    "training_attention",
    "unbiased_attention",
]

AttentionPath = Literal["tiles", "flex", "sdpa"]
AttentionKind = Literal["auto", "tiles", "flex", "sdpa"]

Attend: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries, keys and values ``[B, H, S, E]`` to the heads' results ``[B, H, S, E]``; the bias is inside."""

_LEAST_FLEX_HEAD = 16  # of FlexAttention's matrix instructions


def choose_attention(
    kind: AttentionKind, *, device: torch.device | str, head_width: int, biased: bool = True
) -> AttentionPath:
    """The attention that a model is trained with.

    Args:
        kind: ``auto``, or the one to use.
        biased: whether there is a bias at all; without one, PyTorch's own is the fastest everywhere.

    Raises:
        DeviceError: it does not work on this device.
        UsageError: it is a way to add a bias, and this attention has no bias.

    >>> choose_attention("auto", device="cpu", head_width=64)
    'tiles'
    """
    if not biased:
        if kind in ("tiles", "flex"):
            raise UsageError(f"attention={kind!r} is for positions='t5'; take 'sdpa' or 'auto' with 'rotary'")
        return "sdpa"
    device = torch.device(device)
    obstacle = _why_no_flex(device, head_width)
    if kind == "flex" and obstacle:
        raise DeviceError(f"attention='flex' does not work here: {obstacle}; take 'tiles', 'sdpa' or 'auto'")
    if kind != "auto":
        return kind
    if device.type == "cpu":
        return "tiles"
    return "sdpa" if obstacle else "flex"


def unbiased_attention(*, causal: bool) -> Attend:
    """The attention of all layers where queries and keys carry their positions themselves."""
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal)


def training_attention(bias: RelativeBias, *, num_positions: int, path: AttentionPath) -> Attend:
    """The attention of one forward pass over ``num_positions`` positions, for all layers.

    Args:
        bias: the shared bias; it also knows whether later keys are hidden.
    """
    if path == "tiles":
        tile = bias.tile(num_positions, num_queries=QUERIES_PER_TILE)
        return lambda q, k, v: tiled_attention(q, k, v, tile, causal=bias.causal)
    if path == "flex":
        from hafm.model.flex import FlexAttention  # loads a compiler

        distance = torch.arange(1 - num_positions, num_positions, device=bias.weight.device)
        return FlexAttention(bias.by_distance(distance), causal=bias.causal)
    square = bias(num_positions, num_positions)[None]
    if torch.is_autocast_enabled(square.device.type):
        square = square.to(torch.get_autocast_dtype(square.device.type))
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=square)


def _why_no_flex(device: torch.device, head_width: int) -> str | None:
    if device.type != "cuda":
        return f"FlexAttention has no backward pass on {device.type}"
    if importlib.util.find_spec("triton") is None:
        return "FlexAttention needs Triton, and this PyTorch has none"
    if head_width < _LEAST_FLEX_HEAD:
        return f"FlexAttention needs heads {_LEAST_FLEX_HEAD} wide or more, and these are {head_width}"
    return None
