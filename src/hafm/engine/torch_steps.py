"""Runs a stage step by step in PyTorch, in memory that is taken once.

In: embeddings. Out: logits. The counterpart of `hafm.engine.session`:

    TorchSteps(model, ...)               once per window: keys and values
      (x [B, S, D]) -> [B, N, V]         the prompt first, then one position each

A step is what `hafm.model.transformer` computes of one more position, bit by bit, in fewer calls, which take
as long as the products of so few rows. So whatever is the same in all steps is prepared once, and nothing is
called that a single position does not need:

- Both norms of queries and keys, and both turns, are one. With the angles of all dimensions side by side, a
  turn is `x * [cos, cos] + swapped(x) * [-sin, sin]`.
- The rows of a take go through a layer by themselves (`hafm.model.linear`), take after take.
"""

from collections.abc import Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from hafm.model.cache import KVCache
from hafm.model.transformer import Block
from hafm.stages.stage_model import StageModel

__all__ = ["TorchSteps"]


class TorchSteps:
    """The logits after some positions, and the keys and values of those.

    Args:
        together: how many neighbouring rows share a product, see `hafm.model.linear`.
    """

    def __init__(self, model: StageModel, *, batch: int, capacity: int, together: int) -> None:
        transformer = model.transformer
        self.model, self.together = model, together
        self.cache = transformer.new_cache(batch=batch, capacity=capacity)
        takes = [slice(first, first + together) for first in range(0, batch, together)]
        self.layers = [
            [_Layer(block, self.cache, layer=layer, rows=rows) for rows in takes]
            for layer, block in enumerate(transformer.blocks)
            if isinstance(block, Block)
        ]
        self.heads = list(model.heads)
        # Bias depends on distance only. In the order of the keys, distances fall to 0 at the query, so
        # that the bias of any single query is the end of one table:  [capacity-1 ... 2 1 0]
        self.bias: Tensor | None = None
        self.rotation: Tensor | None = None
        self.turns: list[_Turn] | None = None
        if transformer.bias is None:
            self.rotation = transformer.rotation(0, num_positions=capacity)
            cosine, sine = self.rotation.to(model.heads.dtype)
            cosines, sines = torch.cat([cosine, cosine], dim=-1), torch.stack([-sine, sine], dim=1)
            self.turns = list(zip(cosines, sines, strict=True))
        else:
            distance = torch.arange(capacity - 1, -1, -1, device=model.heads.device)
            self.bias = transformer.bias.by_distance(distance).contiguous()[None, :, None]

    def __call__(self, x: Float[Tensor, "B S D"], codebooks: Sequence[int]) -> Float[Tensor, "B N V"]:
        """Logits of some codebooks at the last of S new positions: the prompt, then one each."""
        if self.cache.length:
            assert x.shape[1] == 1, "after the prompt come single positions"
            takes = self._step([rows.clone() for rows in x[:, 0].split(self.together)])
        else:
            rotation = None if self.rotation is None else self.rotation[:, : x.shape[1]]
            hidden = self.model.transformer(x, cache=self.cache, rotation=rotation, together=self.together)
            takes = [rows.clone() for rows in hidden[:, -1].split(self.together)]
        logits = [torch.stack([rows @ self.heads[each] for each in codebooks], dim=1) for rows in takes]
        return logits[0] if len(logits) == 1 else torch.cat(logits)

    def _step(self, takes: list[Float[Tensor, "R D"]]) -> list[Float[Tensor, "R D"]]:
        position = self.cache.length
        turn = None if self.turns is None else self.turns[position]
        bias = None if self.bias is None else self.bias[..., -(position + 1) :].to(takes[0].dtype)
        for layer in self.layers:
            takes = [one(rows, position, turn, bias) for one, rows in zip(layer, takes, strict=True)]
        self.cache.advance(1)
        norm = self.model.transformer.norm
        return [torch.rms_norm(rows, norm.weight.shape, norm.weight, norm.eps) for rows in takes]


class _Layer:
    """A block of `hafm.model.transformer` and the keys and values of a take in it."""

    def __init__(self, block: Block, cache: KVCache, *, layer: int, rows: slice) -> None:
        attention, feedforward = block.attention, block.feedforward
        self.keys, self.values = cache.keys[layer, rows], cache.values[layer, rows]
        R, H, _, E = self.keys.shape
        self.queries, self.shape, self.pairs = H * E, (R, 2 * H, E), (R, 2 * H, 2, E // 2)
        self.attention_norm = block.attention_norm.weight
        self.feedforward_norm = block.feedforward_norm.weight
        both = torch.stack([attention.query_norm.weight, attention.key_norm.weight])
        self.both_norms = both.repeat_interleave(H, dim=0)
        self.eps = attention.query_norm.eps
        self.qkv, self.out = attention.qkv.weight, attention.out.weight
        self.into, self.back = feedforward.into.weight, feedforward.out.weight

    def __call__(
        self,
        x: Float[Tensor, "R D"],
        position: int,
        turn: "_Turn | None",
        bias: Float[Tensor, "1 H 1 L"] | None,
    ) -> Float[Tensor, "R D"]:
        (R, both, E), end = self.shape, position + 1
        normed = torch.rms_norm(x, self.attention_norm.shape, self.attention_norm, self.eps)
        joint = normed @ self.qkv
        heads = torch.rms_norm(joint[:, : 2 * self.queries].view(self.shape), (E,), None, self.eps)
        heads *= self.both_norms
        if turn is not None:
            cosines, sines = turn
            swapped = heads.view(self.pairs).flip(2).mul_(sines).view(self.shape)
            heads.mul_(cosines).add_(swapped)
        self.keys[:, :, position] = heads[:, both // 2 :]
        self.values[:, :, position] = joint[:, 2 * self.queries :].view(R, both // 2, E)
        attended = F.scaled_dot_product_attention(
            heads[:, : both // 2, None], self.keys[:, :, :end], self.values[:, :, :end], attn_mask=bias
        )
        x = x + attended.view(R, -1) @ self.out
        normed = torch.rms_norm(x, self.feedforward_norm.shape, self.feedforward_norm, self.eps)
        gate, value = (normed @ self.into).chunk(2, dim=1)
        return x + F.gelu(gate).mul_(value) @ self.back


_Turn: TypeAlias = tuple[Float[Tensor, " E"], Float[Tensor, "2 half"]]
"""Cosines of all dimensions of a head, and sines of both halves."""
