"""Rotary positions: queries and keys are turned by an angle that grows with their position.

In: queries or keys ``[B, H, S, E]``, and the rotation of their positions. Out: the same, turned. Dimensions e
and e + E/2 are the two coordinates of a point, which turns by

    angle(position, e) = position * 10000^(-2 e / E)            e = 0 ... E/2 - 1

The product of a query and a key then depends on their distance alone, and nothing is learned. Keys are kept
turned in the cache, so that a step of decoding turns only its own position.

Source: Su et al. 2021 (RoFormer), section 3.2. Ours, in the place of the bias of paper 3.4.
"""

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Rotation", "rotate", "rotation_of"]

Rotation: TypeAlias = Float[Tensor, "2 S half"]
"""Cosines and sines of every position's angles."""

_LONGEST_PERIOD = 10_000.0  # over 2 pi, in positions


def rotation_of(
    start: int, *, num_positions: int, head_width: int, device: torch.device | str = "cpu"
) -> Rotation:
    """The rotation of the positions ``start ... start + num_positions - 1``.

    >>> rotation_of(3, num_positions=5, head_width=8).shape
    torch.Size([2, 5, 4])
    """
    frequency = _LONGEST_PERIOD ** -(torch.arange(0, head_width, 2, device=device) / head_width)
    angle = torch.arange(start, start + num_positions, device=device)[:, None] * frequency
    return torch.stack([angle.cos(), angle.sin()])


def rotate(x: Float[Tensor, "*B H S E"], rotation: Rotation) -> Float[Tensor, "*B H S E"]:
    """Every position turned by its angles; lengths stay.

    >>> turned = rotate(torch.tensor([[[[1.0, 0.0]]]]), rotation_of(1, num_positions=1, head_width=2))
    >>> turned.flatten()  # cos 1, sin 1
    tensor([0.5403, 0.8415])
    """
    cosine, sine = rotation.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)
