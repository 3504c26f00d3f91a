"""The Transformer that every stage and every condition encoder is made of (paper 3.4, Fig. 4).

In: embeddings ``[B, S, D]``. Out: normalised hidden states ``[B, S, D]``.

    x -> [ x + Attention(RMSNorm(x)) -> x + FeedForward(RMSNorm(x)) ] x L -> RMSNorm

Where a position is, a relative bias says that all layers share (``t5``, the paper's), or the angle by which
queries and keys are turned (``rotary``). With a cache the S positions are the newest ones and the result
equals the uncached run at these positions.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hafm.model.attention import Attention
from hafm.model.cache import KVCache
from hafm.model.linear import Linear, by_rows
from hafm.model.norm import RMSNorm
from hafm.model.position import Positions, RelativeBias, causal_mask
from hafm.model.rotary import Rotation, rotation_of
from hafm.model.training_attention import (
    Attend,
    AttentionKind,
    choose_attention,
    training_attention,
    unbiased_attention,
)


def inner_width(width: int, multiplier: float) -> int:
    """The inner width: two thirds of ``width * multiplier``, rounded down (paper 3.4).

    >>> inner_width(512, 4.0)
    1365
    """
    return int(2 * width * multiplier / 3)


class FeedForward(nn.Module):
    """Gated GELU (paper eq. 4): ``(GELU(x W1) * x W2) W3``. Gate and value share one projection.

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


class Block(nn.Module):
    """Pre-norm attention and feed-forward with residual connections."""

    def __init__(self, width: int, *, num_heads: int, multiplier: float, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(width)
        self.attention = Attention(width, num_heads=num_heads, layer=layer)
        self.feedforward_norm = RMSNorm(width)
        self.feedforward = FeedForward(width, multiplier=multiplier)

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        bias: Float[Tensor, "_H S L"] | Attend | None,
        *,
        rotation: Rotation | None = None,
        cache: KVCache | None = None,
        together: int = 1,
    ) -> Float[Tensor, "B S D"]:
        x = x + self.attention(
            self.attention_norm(x), bias, rotation=rotation, cache=cache, together=together
        )
        out: Tensor = x + self.feedforward(self.feedforward_norm(x), together=together)
        return out


class Transformer(nn.Module):
    """L blocks, one signal of position that they share, a final norm.

    Args:
        num_layers: blocks L.
        width: model width D.
        num_heads: heads H; divides D.
        feedforward_multiplier: inner width over D before the two-thirds rule.
        num_buckets: buckets of the relative bias.
        max_distance: where its logarithmic part ends.
        causal: whether later positions are hidden.
        positions: ``t5``, a learned bias by distance, or ``rotary``, which learns nothing and uses neither
            ``num_buckets`` nor ``max_distance``.

    All weights start from N(0, 0.02), norms from one (paper 3.4).

    >>> import torch
    >>> model = Transformer(num_layers=1, width=8, num_heads=2, feedforward_multiplier=4.0,
    ...                     num_buckets=32, max_distance=64, causal=True)
    >>> model(torch.zeros(1, 5, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(
        self,
        *,
        num_layers: int,
        width: int,
        num_heads: int,
        feedforward_multiplier: float,
        num_buckets: int,
        max_distance: int,
        causal: bool,
        positions: Positions = "t5",
    ) -> None:
        super().__init__()
        self.width = width
        self.num_heads = num_heads
        self.causal = causal
        self.bias: RelativeBias | None = None
        if positions == "t5":
            self.bias = RelativeBias(
                num_heads=num_heads, num_buckets=num_buckets, max_distance=max_distance, causal=causal
            )
        self.blocks = nn.ModuleList(
            Block(width, num_heads=num_heads, multiplier=feedforward_multiplier, layer=layer)
            for layer in range(num_layers)
        )
        self.norm = RMSNorm(width)

    @property
    def _head_width(self) -> int:
        return self.width // self.num_heads

    def new_cache(self, *, batch: int, capacity: int) -> KVCache:
        """An empty cache that fits this model."""
        weight = self.norm.weight
        return KVCache(
            num_layers=len(self.blocks),
            batch=batch,
            num_heads=self.num_heads,
            capacity=capacity,
            head_width=self._head_width,
            dtype=weight.dtype,
            device=weight.device,
        )

    def rotation(self, start: int, *, num_positions: int) -> Rotation:
        """How queries and keys of these positions are turned, where positions are rotary."""
        return rotation_of(
            start, num_positions=num_positions, head_width=self._head_width, device=self.norm.weight.device
        )

    def compile_blocks(self) -> None:
        """Compiles the blocks when they next train, for a GPU: a norm or a gate becomes one kernel.

        All blocks share one compiled code, so that this costs a minute and not one a layer.
        """
        for block in self.blocks:
            block.compile(dynamic=False)

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        *,
        cache: KVCache | None = None,
        bias: Float[Tensor, "H S L"] | None = None,
        rotation: Rotation | None = None,
        together: int = 1,
        attention: AttentionKind = "auto",
    ) -> Float[Tensor, "B S D"]:
        """Runs the S positions, after those in ``cache`` if there is one.

        Args:
            bias, rotation: of these positions, where the caller has it already (decoding step by
                step computes it once for a whole window).
            together: how many neighbouring rows may share a product once training is over (see
                model/linear.py); these rows must come together always.
            attention: in training mode, how the bias joins the scores (model/training_attention.py). There
                is no cache in training.
        """
        S = x.shape[1]
        start = 0 if cache is None else cache.length
        if self.bias is None and rotation is None:
            rotation = self.rotation(start, num_positions=S)
        shared: Tensor | Attend | None
        if self.training:
            assert cache is None, "training runs whole sequences"
            assert bias is None, "training makes its own bias"
            path = choose_attention(
                attention, device=x.device, head_width=self._head_width, biased=self.bias is not None
            )
            if self.bias is None:
                shared = unbiased_attention(causal=self.causal)
            else:
                shared = training_attention(self.bias, num_positions=S, path=path)
        elif bias is not None:
            shared = bias
        elif self.bias is not None:
            shared = self.bias(S, start + S)
        else:
            shared = causal_mask(S, start + S, device=x.device) if self.causal and S > 1 else None
        for block in self.blocks:
            # What is compiled is training: every step of decoding has another length, and would compile anew.
            run = block if self.training else block.forward
            x = run(x, shared, rotation=rotation, cache=cache, together=together)
        if cache is not None:
            cache.advance(S)
        out: Tensor = self.norm(x)
        return out
