"""Multi-head attention with normalised queries and keys and an additive bias (paper eq. 3).

    softmax(RN(Q) RN(K)^T / sqrt(E) + B) V         RN: RMSNorm a head over its E = D / H dimensions

With rotary positions (ours), RN(Q) and RN(K) are turned by the angles of their positions, and B only hides
keys.

In: ``x [B, S, D]``, and either the bias ``[H, S, L]``, whose ``-inf`` entries hide keys (None adds and hides
nothing), or a function that attends with the bias inside. Out: ``[B, S, D]``. One fused projection without
bias gives Q, K and V.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hafm.model.cache import KVCache
from hafm.model.linear import Linear, by_rows
from hafm.model.norm import RMSNorm
from hafm.model.rotary import Rotation, rotate
from hafm.model.training_attention import Attend


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
        bias: Float[Tensor, "_H S L"] | Attend | None,
        *,
        rotation: Rotation | None = None,
        cache: KVCache | None = None,
        together: int = 1,
    ) -> Float[Tensor, "B S D"]:
        """L counts the cached positions and the S new ones; without a cache L = S.

        Args:
            bias: a bias that rows attend with one by one (see model/linear.py), or a function of
                ``hafm.model.training_attention`` that takes all at once.
            rotation: of the S new positions; cached keys are turned already. None turns nothing.
        """
        if bias is not None and not isinstance(bias, Tensor):
            q, k, v = self._project(x, rotation)
            return self._join(bias(q, k, v))
        return by_rows(
            lambda some, rows: self._attend(some, bias, rotation=rotation, cache=cache, rows=rows),
            x,
            together=together,
        )

    def _attend(
        self,
        x: Float[Tensor, "B S D"],
        bias: Float[Tensor, "_H S L"] | None,
        *,
        rotation: Rotation | None,
        cache: KVCache | None,
        rows: slice,
    ) -> Float[Tensor, "B S D"]:
        q, k, v = self._project(x, rotation)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v, rows=rows)
        mask = None if bias is None else bias.to(q.dtype)[None]
        return self._join(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))

    def _project(self, x: Float[Tensor, "B S D"], rotation: Rotation | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``[B, H, S, E]``, the first two normalised and turned."""
        B, S, D = x.shape
        E = D // self.num_heads
        joint = self.qkv(x).view(B, S, 3, self.num_heads, E)
        if not self.training:  # both norms and both turns in one go: half the calls of a step, the same bits
            both = F.rms_norm(joint[:, :, :2], (E,), eps=self.query_norm.eps)
            both = both * torch.stack([self.query_norm.weight, self.key_norm.weight])[:, None]
            both = both.to(joint.dtype).permute(2, 0, 3, 1, 4)
            q, k = both if rotation is None else rotate(both, rotation)
            return q, k, joint[:, :, 2].transpose(1, 2)
        q, k, v = joint.permute(2, 0, 3, 1, 4)
        # Autocast may lift a norm to float32; attention wants one dtype.
        q, k = self.query_norm(q).to(v.dtype), self.key_norm(k).to(v.dtype)
        return (q, k, v) if rotation is None else (rotate(q, rotation), rotate(k, rotation), v)

    def _join(self, heads: Float[Tensor, "B H S E"]) -> Float[Tensor, "B S D"]:
        out: Tensor = self.out(heads.transpose(1, 2).flatten(2))
        return out
