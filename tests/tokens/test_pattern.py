"""Patterns: the drawn matrices, naive loops, and the way back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hafm.tokens.pattern import Delay, Flat, Layout, layout_of

SIZES = st.integers(1, 5)
LAYOUTS = st.builds(
    lambda kind, num_codebooks: kind(num_codebooks=num_codebooks), st.sampled_from([Flat, Delay]), SIZES
)


def numbered(num_codebooks: int, num_frames: int) -> torch.Tensor:
    """Frame 3 of codebook 2 is 23, from 1."""
    codebook, frame = torch.arange(1, num_codebooks + 1), torch.arange(1, num_frames + 1)
    return (10 * codebook[:, None] + frame)[None]


def test_the_drawn_matrices() -> None:
    delayed = """
        a11 a12 a13  .   .   .
         .  a21 a22 a23  .   .
         .   .  a31 a32 a33  .
         .   .   .  a41 a42 a43
    """
    flat = "a11 a21 a31 a41 a12 a22 a32 a42 a13 a23 a33 a43"
    for layout, text in ((Delay(num_codebooks=4), delayed), (Flat(num_codebooks=4), flat)):
        grid = layout.spread(numbered(4, 3), fill=-1)
        assert grid[0].tolist() == [
            [-1 if cell == "." else int(cell[1:]) for cell in row.split()]
            for row in text.strip().splitlines()
        ]


@given(layout=LAYOUTS, batch=SIZES, num_frames=st.integers(1, 7), seed=st.integers(0, 99))
def test_a_grid_equals_the_naive_loop_and_comes_back(
    layout: Layout, batch: int, num_frames: int, seed: int
) -> None:
    K = layout.num_codebooks
    codes = torch.randint(0, 9, (batch, K, num_frames), generator=torch.Generator().manual_seed(seed))
    naive = torch.full((batch, layout.rows, layout.num_steps(num_frames)), -1)
    places = []
    for step in range(layout.num_steps(num_frames)):
        tokens = layout.tokens_of(step, num_frames=num_frames)
        assert tokens
        for token in tokens:
            naive[:, token.row, step] = codes[:, token.codebook, token.frame]
            places.append((token.codebook, token.frame))
    assert sorted(places) == [(k, f) for k in range(K) for f in range(num_frames)]  # each once
    grid = layout.spread(codes, fill=-1)
    assert torch.equal(grid, naive)
    assert torch.equal(layout.collect(grid), codes)


@given(layout=LAYOUTS, num_frames=st.integers(1, 7))
def test_steps_against_their_definitions(layout: Layout, num_frames: int) -> None:
    """Whose condition a step gets, where new frames begin, when one is complete, which step predicts what."""
    K, S = layout.num_codebooks, layout.num_steps(num_frames)
    columns = [layout.tokens_of(step, num_frames=num_frames) for step in range(S)]
    newest = layout.frame_of(torch.arange(S), num_frames=num_frames).tolist()
    assert newest == [max(token.frame for token in column) for column in columns]
    for known in range(num_frames):
        behind = [step for step in range(S) if any(token.frame >= known for token in columns[step])]
        assert layout.first_step(known) == behind[0]
        assert behind == list(range(behind[0], S))
        for step, column in enumerate(columns):
            codebooks = layout.codebooks_of(step, num_frames=num_frames, known=known)
            new = [token for token in column if token.frame >= known]
            assert list(codebooks) == [token.codebook for token in new]
            if new:
                assert list(range(layout.rows))[layout.rows_of(codebooks)] == [token.row for token in new]
            for token in new:
                assert layout.frame_of_code(step, codebook=token.codebook) == token.frame
    for steps in range(S + 1):
        there = {(token.codebook, token.frame) for column in columns[:steps] for token in column}
        whole = [f for f in range(num_frames) if all((k, f) in there for k in range(K))]
        assert layout.whole_frames(steps) == len(whole)
    of_step = layout.by_codebook(torch.arange(float(S))[None, :, None])[0, :, :, 0]
    for step, column in enumerate(columns):
        for token in column:
            assert of_step[token.frame, token.codebook] == step


@given(layout=LAYOUTS, num_frames=st.integers(1, 7))
def test_codes_below_of_a_frame_are_known_when_a_code_is_predicted(layout: Layout, num_frames: int) -> None:
    step_of = {
        (token.codebook, token.frame): step
        for step in range(layout.num_steps(num_frames))
        for token in layout.tokens_of(step, num_frames=num_frames)
    }
    for (codebook, frame), step in step_of.items():
        assert all(step_of[below, frame] < step for below in range(codebook))
        assert frame == 0 or step_of[codebook, frame - 1] < step


@pytest.mark.parametrize("num_codebooks", [1, 4])
def test_a_pass_has_the_positions_of_one_codebook(num_codebooks: int) -> None:
    layout = layout_of("parallel", num_codebooks=num_codebooks)
    assert layout.num_steps(9) == 9
    assert layout.frame_of(torch.arange(9), num_frames=9).tolist() == list(range(9))
