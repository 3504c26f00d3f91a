"""Attention for training on CUDA: FlexAttention, the bias read from a table inside the kernel.

In: queries, keys and values ``[B, H, S, E]``. Out: ``[B, H, S, E]``, with gradients, also of the bias.

    scores[i, j] = q_i k_j / sqrt(E) + table[h, i - j]        inside the kernel: no [H, S, S] in memory
    blocks of 128 x 128 above the diagonal are not computed

The table is ``[H, 2 S - 1]``, one number a head and distance, and comes from the 32 buckets once a forward
pass; its gradient is added up by the kernel in float32. FlexAttention needs Triton, is compiled at its first
call, and has no backward pass on a processor.

Source: https://pytorch.org/blog/flexattention/; paper eq. 3.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

__all__ = ["FlexAttention"]


class FlexAttention:
    """What all layers of one forward pass share.

    Args:
        table: bias of the distances ``1 - S ... S - 1``.
        causal: whether later keys are hidden.

    Shape: ``table [H, 2 S - 1]``.
    """

    def __init__(self, table: Float[Tensor, "H N"], *, causal: bool) -> None:
        # Compiled, a table of other strides gets no gradient, and nothing says so (torch 2.13).
        self.table = table.contiguous()
        self.num_positions = (table.shape[1] + 1) // 2
        self.mask = _causal_mask(self.num_positions, str(table.device)) if causal else None
        self.kernel = _kernel()  # here, and not in a compiled block, which would compile it again

    def __call__(
        self, q: Float[Tensor, "B H S E"], k: Float[Tensor, "B H S E"], v: Float[Tensor, "B H S E"]
    ) -> Float[Tensor, "B H S E"]:
        table, last = self.table, self.num_positions - 1
        out: Tensor = self.kernel(
            q,
            k,
            v,
            score_mod=lambda score, b, h, query, key: score + table[h, query - key + last],
            block_mask=self.mask,
        )
        return out


@functools.cache
def _kernel() -> Callable[..., Any]:
    # Uncompiled, FlexAttention works in Python on the whole square.
    return torch.compile(flex_attention, dynamic=False)


@functools.lru_cache(maxsize=8)
def _causal_mask(num_positions: int, device: str) -> BlockMask:
    return create_block_mask(
        lambda b, h, query, key: query >= key, None, None, num_positions, num_positions, device=device
    )
