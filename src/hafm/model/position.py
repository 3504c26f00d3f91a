"""Relative position bias after T5: the position signal of the paper's stages.

In: how many positions there are. Out: one number a head and pair (query, key), added to the
attention scores. It depends on the distance between query and key alone, falls into buckets
that are exact nearby and logarithmic far away, and is shared by all layers.

    causal,   32 buckets   0 1 2 ... 15 | 16 .................. 31     distance = query - key >= 0
                           exact        | log-spaced up to max_distance, then constant

    two-way,  32 buckets   the first 16 as above (8 exact + 8 log) for keys before the query,
                           the last 16 for keys after it

Source: paper 3.4 "T5 Relative Position Bias"; Raffel et al. 2020, section 2.1.
"""

import math
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hafm.device import exact_device
from hafm.model.linear import draw_normal

Positions: TypeAlias = Literal["t5", "rotary"]
"""How a Transformer learns where its positions are: by this bias, or by ``hafm.model.rotary``."""


def bucket_of(
    distance: Int[Tensor, "*N"], *, num_buckets: int, max_distance: int, causal: bool
) -> Int[Tensor, "*N"]:
    """The bucket of every distance ``query - key``.

    Args:
        distance: query position minus key position; negative when the key comes later.
        num_buckets: how many buckets in all, even, at least 4.
        max_distance: the distance from which on all fall into the last bucket.
        causal: later keys are never looked at, so that all buckets serve earlier ones.

    Shape: ``[*N] -> [*N]``, values in ``[0, num_buckets)``.

    >>> d = torch.tensor([0, 1, 15, 16, 127, 10_000])
    >>> bucket_of(d, num_buckets=32, max_distance=128, causal=True).tolist()
    [0, 1, 15, 16, 31, 31]
    """
    if causal:
        base = torch.zeros_like(distance)
        distance = distance.clamp_min(0)
    else:
        num_buckets //= 2
        base = (distance < 0).long() * num_buckets
        distance = distance.abs()
    num_exact = num_buckets // 2
    max_distance = max(max_distance, num_exact + 1)  # shorter sequences need no logarithmic part
    # Bucket e + (n - e) * log(d / e) / log(max / e): d = e gives e, d = max gives n.
    far = distance.clamp_min(num_exact).to(exact_device(distance.device)).double() / num_exact
    scale = (num_buckets - num_exact) / math.log(max_distance / num_exact)
    logarithmic = (num_exact + far.log() * scale).long().clamp_max(num_buckets - 1).to(distance.device)
    return base + torch.where(distance < num_exact, distance, logarithmic)


class RelativeBias(nn.Module):
    """A learned score a bucket and head.

    Args:
        num_heads: attention heads H.
        num_buckets: buckets, 32 in the paper.
        max_distance: where the logarithmic part ends; the trained sequence length.
        causal: whether keys after the query are hidden.

    >>> bias = RelativeBias(num_heads=2, num_buckets=32, max_distance=100, causal=True)
    >>> bias(3, 5).shape
    torch.Size([2, 3, 5])
    """

    def __init__(self, *, num_heads: int, num_buckets: int, max_distance: int, causal: bool) -> None:
        super().__init__()
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.causal = causal
        self.weight = nn.Parameter(draw_normal(torch.empty(num_buckets, num_heads), std=0.02))

    def by_distance(self, distance: Int[Tensor, " N"]) -> Float[Tensor, "H N"]:
        """The bias of every distance ``query - key``."""
        bucket = bucket_of(
            distance, num_buckets=self.num_buckets, max_distance=self.max_distance, causal=self.causal
        )
        return self.weight[bucket].T

    def forward(self, num_queries: int, num_keys: int) -> Float[Tensor, "H Q S"]:
        """The bias of the last ``num_queries`` positions against all ``num_keys``.

        Hidden keys (those after the query, when causal) get ``-inf``.
        """
        device = self.weight.device
        query = torch.arange(num_keys - num_queries, num_keys, device=device)
        key = torch.arange(num_keys, device=device)
        distance = query[:, None] - key[None, :]
        # The table of all distances is small; gathering from it keeps the backward pass small too.
        first = -(num_keys - 1)
        table = self.by_distance(torch.arange(first, num_keys, device=device))
        bias = table[:, distance - first]
        if self.causal:
            bias = bias.masked_fill(distance < 0, float("-inf"))
        return bias

    def tile(self, num_positions: int, *, num_queries: int) -> Float[Tensor, "H A M"]:
        """The bias of ``num_queries`` neighbouring queries against keys before and after them.

        Row a, column m is the bias of distance ``a - m + last``, where ``last`` is the last multiple of
        ``num_queries`` below ``num_positions``. So the bias of the queries from ``start`` on, a multiple of
        ``num_queries``, against the keys 0, 1, ... begins at column ``last - start``. Hidden keys get
        ``-inf``. See ``hafm.model.tiled_attention``.
        """
        last = (num_positions - 1) // num_queries * num_queries
        device = self.weight.device
        column = torch.arange(last + (num_queries if self.causal else num_positions), device=device)
        distance = torch.arange(num_queries, device=device)[:, None] - column[None, :] + last
        first = -(column.shape[0] - 1 - last)
        table = self.by_distance(torch.arange(first, last + num_queries, device=device))
        tile = table[:, distance - first]
        return tile.masked_fill(distance < 0, float("-inf")) if self.causal else tile


def causal_mask(
    num_queries: int, num_keys: int, *, device: torch.device | str = "cpu"
) -> Float[Tensor, "1 Q S"]:
    """What is left of a causal bias where positions are given by rotation, for all heads.

    >>> causal_mask(2, 3)
    tensor([[[0., 0., -inf],
             [0., 0., 0.]]])
    """
    hidden = torch.ones(1, num_queries, num_keys, dtype=torch.bool, device=device)
    hidden = hidden.triu(num_keys - num_queries + 1)
    return torch.zeros(hidden.shape, device=device).masked_fill(hidden, float("-inf"))
