"""Multi-head attention with normalised queries and keys and an additive bias (paper eq. 3).

    softmax(RN(Q) RN(K)^T / sqrt(E) + B) V         RN: RMSNorm a head over its E = D / H dimensions

In: ``x [B, S, D]`` and the bias ``[H, Q, S]`` whose ``-inf`` entries hide keys. Out: ``[B, S, D]``.
One fused projection without bias gives Q, K and V.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hafm.model.cache import KVCache
from hafm.model.linear import Linear, by_rows
from hafm.model.norm import RMSNorm

_BLOCK = 128


def causal_attention_by_blocks(
    q: Float[Tensor, "B H S E"],
    k: Float[Tensor, "B H S E"],
    v: Float[Tensor, "B H S E"],
    bias: Float[Tensor, "H S S"],
) -> Float[Tensor, "B H S E"]:
    """Causal attention in blocks of queries, for training.

    A gradient of the bias rules the fused kernels out, and the plain formula works on the whole
    square. A block of queries needs only the keys up to its own end, which saves nearly half of
    the square and keeps the scores in the processor's cache.

        keys ->
        [x . . .]      block 0 looks at 1 block of keys
        [x x . .]      block 1 at 2
        [x x x .]      ...
        [x x x x]
    """
    num_positions, scale = q.shape[2], q.shape[3] ** -0.5
    out = []
    for start in range(0, num_positions, _BLOCK):
        end = min(start + _BLOCK, num_positions)
        scores = (q[:, :, start:end] * scale) @ k[:, :, :end].transpose(-1, -2)
        weights = (scores + bias[None, :, start:end, :end].to(scores.dtype)).softmax(-1)
        out.append(weights.to(v.dtype) @ v[:, :, :end])
    return torch.cat(out, dim=2)


class Attention(nn.Module):
    """One attention layer.

    Args:
        width: model width D.
        num_heads: heads H; divides D.
        layer: which layer this is, its place in the cache.
    """

    def __init__(self, width: int, *, num_heads: int, layer: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.layer = layer
        self.qkv = Linear(width, 3 * width)
        self.out = Linear(width, width)
        self.query_norm = RMSNorm(width // num_heads)
        self.key_norm = RMSNorm(width // num_heads)

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        bias: Float[Tensor, "H S L"],
        *,
        causal: bool,
        cache: KVCache | None = None,
        together: int = 1,
    ) -> Float[Tensor, "B S D"]:
        """L counts the cached positions and the S new ones; without a cache L = S."""
        if self.training:
            return self._attend(x, bias, causal=causal, cache=cache)
        return by_rows(
            lambda some, rows: self._attend(some, bias, causal=causal, cache=cache, rows=rows),
            x,
            together=together,
        )

    def _attend(
        self,
        x: Float[Tensor, "B S D"],
        bias: Float[Tensor, "H S L"],
        *,
        causal: bool,
        cache: KVCache | None = None,
        rows: slice = slice(None),
    ) -> Float[Tensor, "B S D"]:
        B, S, D = x.shape
        q, k, v = self.qkv(x).view(B, S, 3, self.num_heads, D // self.num_heads).permute(2, 0, 3, 1, 4)
        q, k = self.query_norm(q), self.key_norm(k)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v, rows=rows)
        if causal and cache is None and torch.is_grad_enabled() and S > _BLOCK:
            heads = causal_attention_by_blocks(q, k, v, bias)
        else:
            heads = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype)[None])
        out: Tensor = self.out(heads.transpose(1, 2).flatten(2))
        return out
