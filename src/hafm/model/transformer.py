"""The Transformer that every stage and every condition encoder is made of (paper 3.4, Fig. 4).

In: embeddings ``[B, S, D]``. Out: normalised hidden states ``[B, S, D]``.

    x -> [ x + Attention(RMSNorm(x)) -> x + FeedForward(RMSNorm(x)) ] x L -> RMSNorm

One relative bias serves all layers. With a cache the S positions are the newest ones and the
result equals the uncached run at these positions.
"""

from jaxtyping import Float
from torch import Tensor, nn

from hafm.model.attention import Attention
from hafm.model.cache import KVCache
from hafm.model.feedforward import FeedForward
from hafm.model.norm import RMSNorm
from hafm.model.position import RelativeBias
from hafm.model.training_attention import Attend, AttentionKind, choose_attention, training_attention


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
        bias: Float[Tensor, "H S L"] | Attend,
        *,
        cache: KVCache | None = None,
        together: int = 1,
    ) -> Float[Tensor, "B S D"]:
        x = x + self.attention(self.attention_norm(x), bias, cache=cache, together=together)
        out: Tensor = x + self.feedforward(self.feedforward_norm(x), together=together)
        return out


class Transformer(nn.Module):
    """L blocks, one shared relative bias, a final norm.

    Args:
        num_layers: blocks L.
        width: model width D.
        num_heads: heads H; divides D.
        feedforward_multiplier: inner width over D before the two-thirds rule.
        num_buckets: buckets of the relative bias.
        max_distance: where its logarithmic part ends.
        causal: whether a position sees later ones.

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
    ) -> None:
        super().__init__()
        self.width = width
        self.num_heads = num_heads
        self.causal = causal
        self.bias = RelativeBias(
            num_heads=num_heads, num_buckets=num_buckets, max_distance=max_distance, causal=causal
        )
        self.blocks = nn.ModuleList(
            Block(width, num_heads=num_heads, multiplier=feedforward_multiplier, layer=layer)
            for layer in range(num_layers)
        )
        self.norm = RMSNorm(width)

    def new_cache(self, *, batch: int, capacity: int) -> KVCache:
        """An empty cache that fits this model."""
        weight = self.norm.weight
        return KVCache(
            num_layers=len(self.blocks),
            batch=batch,
            num_heads=self.num_heads,
            capacity=capacity,
            head_width=self.width // self.num_heads,
            dtype=weight.dtype,
            device=weight.device,
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
        together: int = 1,
        attention: AttentionKind = "auto",
    ) -> Float[Tensor, "B S D"]:
        """Runs the S positions, after those in ``cache`` if there is one.

        Args:
            bias: the bias of these positions, where the caller has it already (decoding step by
                step computes it once for a whole window).
            together: how many neighbouring rows may share a product once training is over (see
                model/linear.py); these rows must come together always.
            attention: in training mode, how the bias joins the scores (model/training_attention.py). There
                is no cache in training.
        """
        S = x.shape[1]
        shared: Tensor | Attend
        if self.training:
            assert cache is None, "training runs whole sequences"
            assert bias is None, "training makes its own bias"
            path = choose_attention(attention, device=x.device, head_width=self.width // self.num_heads)
            shared = training_attention(self.bias, num_positions=S, path=path)
        elif bias is None:
            shared = self.bias(S, S + (cache.length if cache is not None else 0))
        else:
            shared = bias
        for block in self.blocks:
            # What is compiled is training: every step of decoding has another length, and would compile anew.
            run = block if self.training else block.forward
            x = run(x, shared, cache=cache, together=together)
        if cache is not None:
            cache.advance(S)
        out: Tensor = self.norm(x)
        return out
