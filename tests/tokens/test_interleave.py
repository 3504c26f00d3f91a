"""Interleaving against a naive loop, and its round trip."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hafm.tokens.interleave import codebook_of, deinterleave, frame_of, interleave

SIZES = st.integers(1, 5)


def naive(codes: torch.Tensor) -> torch.Tensor:
    batch, num_codebooks, num_frames = codes.shape
    sequence = torch.full((batch, num_codebooks * num_frames), -1, dtype=codes.dtype)
    for b in range(batch):
        position = 0
        for t in range(num_frames):
            for k in range(num_codebooks):
                sequence[b, position] = codes[b, k, t]
                position += 1
    return sequence


@given(batch=SIZES, num_codebooks=SIZES, num_frames=st.integers(0, 7), seed=st.integers(0, 99))
def test_equals_the_naive_loop_and_comes_back(
    batch: int, num_codebooks: int, num_frames: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 1024, (batch, num_codebooks, num_frames), generator=generator)
    sequence = interleave(codes)
    assert torch.equal(sequence, naive(codes))
    assert torch.equal(deinterleave(sequence, num_codebooks=num_codebooks), codes)


@given(num_codebooks=SIZES, num_frames=SIZES)
def test_positions_name_codebook_and_frame(num_codebooks: int, num_frames: int) -> None:
    frames = torch.arange(num_frames).expand(num_codebooks, num_frames)
    codebooks = torch.arange(num_codebooks)[:, None].expand(num_codebooks, num_frames)
    by_frame, by_codebook = interleave(frames[None])[0], interleave(codebooks[None])[0]
    for position in range(num_frames * num_codebooks):
        assert frame_of(position, num_codebooks=num_codebooks) == by_frame[position]
        assert codebook_of(position, num_codebooks=num_codebooks) == by_codebook[position]


def test_part_of_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[B, T\*4\]"):
        deinterleave(torch.zeros(1, 6, dtype=torch.int64), num_codebooks=4)
    with pytest.raises(ValueError, match="num_codebooks must be 1 or more"):
        deinterleave(torch.zeros(1, 6, dtype=torch.int64), num_codebooks=0)
