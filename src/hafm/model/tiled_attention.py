"""Attention for training, a tile of queries at a time, with the bias kept as one small table.

In: queries, keys and values ``[B, H, S, E]`` and the bias of a tile ``[H, A, M]``. Out: ``[B, H, S, E]``,
with gradients of all four. Any device; the fastest on a processor.

The bias depends on the distance ``query - key`` alone, so every tile of A queries needs the end of one and
the same tile, that of the last A queries:

    keys         0   A   2A  3A
    queries 0    d   .   .   .
            A    c   d   .   .           d: distances around 0, c: around A, ...
            2A   b   c   d   .
            3A   a   b   c   d           the shared tile

So ``[H, S, S]`` is never in memory, neither the bias nor its gradient, and all layers add their gradients
into the same tile. A causal tile of queries needs only the keys up to its own end, which saves nearly half of
the square. The backward pass computes the weights again, so that none are kept.

Source: paper eq. 3; weights computed again as in Dao et al. 2022 (FlashAttention), section 3.1.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ["QUERIES_PER_TILE", "tiled_attention"]

QUERIES_PER_TILE = 128
"""A: one tile of scores stays in a processor's cache."""

_softmax_backward = torch.ops.aten._softmax_backward_data  # of P and dP: P * (dP - rowsum(P * dP))


def tiled_attention(
    q: Float[Tensor, "B H S E"],
    k: Float[Tensor, "B H S E"],
    v: Float[Tensor, "B H S E"],
    tile: Float[Tensor, "H A M"],
    *,
    causal: bool,
) -> Float[Tensor, "B H S E"]:
    """``softmax(q k^T / sqrt(E) + bias) v``.

    Args:
        q, k, v: of one dtype; autocast does not apply in here.
        tile: ``RelativeBias.tile(S, num_queries=QUERIES_PER_TILE)``.
        causal: later keys are hidden by the tile, so that they need not be looked at.

    >>> from hafm.model.position import RelativeBias
    >>> bias = RelativeBias(num_heads=2, num_buckets=8, max_distance=9, causal=True)
    >>> q = k = v = torch.randn(1, 2, 5, 4)
    >>> found = tiled_attention(q, k, v, bias.tile(5, num_queries=QUERIES_PER_TILE), causal=True)
    >>> torch.allclose(found, F.scaled_dot_product_attention(q, k, v, attn_mask=bias(5, 5)), atol=1e-6)
    True
    """
    out: Tensor = _TiledAttention.apply(q, k, v, tile, causal)  # type: ignore[no-untyped-call]
    return out


class _TiledAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, tile: Tensor, causal: bool) -> Tensor:
        out = torch.empty_like(v)
        detached = tile.detach()  # a mask that wants a gradient rules the fused kernels out, even in here
        with torch.autocast(q.device.type, enabled=False):
            for queries, keys, columns in _tiles(q.shape[2], tile, causal=causal):
                bias = detached[None, :, : queries.stop - queries.start, columns]
                out[:, :, queries] = F.scaled_dot_product_attention(
                    q[:, :, queries], k[:, :, keys], v[:, :, keys], attn_mask=bias
                )
        ctx.save_for_backward(q, k, v, tile)
        ctx.causal = causal
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        q, k, v, tile = ctx.saved_tensors
        (grad,) = grads
        scale, dtype = q.shape[3] ** -0.5, tile.dtype
        grad_q = torch.empty_like(q)
        grad_k, grad_v = (torch.zeros(x.shape, dtype=dtype, device=x.device) for x in (k, v))
        grad_tile = torch.zeros_like(tile)
        with torch.autocast(q.device.type, enabled=False):
            for queries, keys, columns in _tiles(q.shape[2], tile, causal=ctx.causal):
                rows = queries.stop - queries.start
                grad_here, scaled = grad[:, :, queries], q[:, :, queries] * scale
                scores = scaled @ k[:, :, keys].transpose(-1, -2) + tile[:, :rows, columns]
                weights = scores.softmax(-1)
                grad_v[:, :, keys] += weights.to(v.dtype).transpose(-1, -2) @ grad_here
                grad_weights = (grad_here @ v[:, :, keys].transpose(-1, -2)).to(weights.dtype)
                grad_scores = _softmax_backward(grad_weights, weights, -1, weights.dtype)
                grad_tile[:, :rows, columns] += grad_scores.sum(0)
                grad_scores = grad_scores.to(q.dtype)
                grad_q[:, :, queries] = grad_scores @ k[:, :, keys] * scale
                grad_k[:, :, keys] += grad_scores.transpose(-1, -2) @ scaled
        return grad_q, grad_k.to(k.dtype), grad_v.to(v.dtype), grad_tile, None


def _tiles(num_positions: int, tile: Tensor, *, causal: bool) -> list[tuple[slice, slice, slice]]:
    """Of every tile: its queries, the keys it looks at, and the columns of the shared tile."""
    height = tile.shape[1]
    last_start = (num_positions - 1) // height * height
    out = []
    for start in range(0, num_positions, height):
        queries = slice(start, min(start + height, num_positions))
        num_keys = queries.stop if causal else num_positions
        shift = last_start - start
        out.append((queries, slice(0, num_keys), slice(shift, shift + num_keys)))
    return out
