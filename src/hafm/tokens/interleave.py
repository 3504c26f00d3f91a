"""Codes of K codebooks as one flat sequence, and back.

In:  codes `[B, K, T]`, codebook 0 first. Out: a sequence `[B, T*K]`, frame by frame.

    codes [K=4, T=3]                   sequence [T*K = 12]

             t=0  t=1  t=2
    k=0      a11  a12  a13             position  0   1   2   3   4   5   6   7   8   9  10  11
    k=1      a21  a22  a23     <-->    code     a11 a21 a31 a41 a12 a22 a32 a42 a13 a23 a33 a43
    k=2      a31  a32  a33             codebook  0   1   2   3   0   1   2   3   0   1   2   3
    k=3      a41  a42  a43             frame     0   0   0   0   1   1   1   1   2   2   2   2

Position p holds codebook `p mod K` of frame `p div K`; nothing is delayed, so each frame is complete before
the next one begins.

Source: section 3.3 of the paper (the sequence of stage 2), section 3.4 (heads routed by `t mod Q`).
"""

from typing import TypeVar

from jaxtyping import Int, Num
from torch import Tensor

__all__ = ["codebook_of", "deinterleave", "frame_of", "interleave"]

Position = TypeVar("Position", int, Tensor)
"""One position, or a tensor of them."""


def interleave(codes: Num[Tensor, "B K T"]) -> Num[Tensor, "B T*K"]:
    """The flat sequence of the codes, frame by frame.

    Args:
        codes: ids, codebook 0 first.

    Shape: `[B, K, T] -> [B, T*K]`

    Raises:
        ValueError: the codes do not have three dimensions.

    >>> import torch
    >>> interleave(torch.tensor([[[11, 12, 13], [21, 22, 23]]])).tolist()
    [[11, 21, 12, 22, 13, 23]]
    """
    if codes.ndim != 3:
        raise ValueError(f"codes must be [B, K, T], got shape {tuple(codes.shape)}")
    return codes.transpose(1, 2).flatten(1)


def deinterleave(sequence: Int[Tensor, "B S"], *, num_codebooks: int) -> Int[Tensor, "B K T"]:
    """The codes of a flat sequence: the inverse of `interleave`.

    Args:
        sequence: whole frames of `num_codebooks` ids each, S = T*K.
        num_codebooks: K, 1 or more.

    Shape: `[B, T*K] -> [B, K, T]`

    Raises:
        ValueError: the sequence is not `[B, S]`, or S does not hold whole frames.

    >>> import torch
    >>> deinterleave(torch.tensor([[11, 21, 12, 22, 13, 23]]), num_codebooks=2).tolist()
    [[[11, 12, 13], [21, 22, 23]]]
    """
    if num_codebooks < 1:
        raise ValueError(f"num_codebooks must be 1 or more, got {num_codebooks}")
    if sequence.ndim != 2 or sequence.shape[1] % num_codebooks:
        raise ValueError(
            f"a sequence of {num_codebooks} codebooks must be [B, T*{num_codebooks}], "
            f"got shape {tuple(sequence.shape)}"
        )
    return sequence.reshape(len(sequence), -1, num_codebooks).transpose(1, 2)


def codebook_of(position: Position, *, num_codebooks: int) -> Position:
    """The codebook at a position of the sequence: which head predicts it.

    >>> [codebook_of(p, num_codebooks=4) for p in range(6)]
    [0, 1, 2, 3, 0, 1]
    """
    return position % num_codebooks


def frame_of(position: Position, *, num_codebooks: int) -> Position:
    """The frame at a position of the sequence: when it sounds.

    >>> [frame_of(p, num_codebooks=4) for p in range(6)]
    [0, 0, 0, 0, 1, 1]
    """
    return position // num_codebooks
