"""The order in which codes of K codebooks are predicted: one at a time, or K codebooks side by side.

In: codes `[B, K, F]`, codebook 0 first. Out: a grid `[B, R, S]` of S steps; the R tokens of a column are
predicted together, from the columns before it. K = 4 and F = 3, `a23` being frame 3 of codebook 2:

    flat, R = 1, S = F*K                                  delay, R = K, S = F+K-1

    step   0   1   2   3   4   5  ...  10  11             step   0   1   2   3   4   5
          a11 a21 a31 a41 a12 a22 ... a33 a43                   a11 a12 a13  .   .   .
                                                                 .  a21 a22 a23  .   .
                                                                 .   .  a31 a32 a33  .
                                                                 .   .   .  a41 a42 a43

`flat` is the paper's: every code sees all codes before it, at K steps per frame. In `delay`, codebook k lags
k frames behind codebook 0, so that within a frame the codes below are still known when a code is predicted;
it takes one step per frame and K - 1 at the end. Places outside the frames (the dots) hold a filler.

Source: paper 3.3 (flat); MusicGen (Copet et al. 2023), section 2.2 (delay).
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from hafm.tokens.interleave import codebook_of, deinterleave, frame_of, interleave

__all__ = ["Delay", "Flat", "Layout", "Pattern", "Token", "layout_of"]

Pattern: TypeAlias = Literal["flat", "delay", "parallel"]
"""`parallel` is no order of steps: see `layout_of`."""


@dataclass(frozen=True, kw_only=True)
class Token:
    """One code and its place in a column of the grid."""

    row: int
    codebook: int
    frame: int


@dataclass(frozen=True, kw_only=True)
class Flat:
    """One code per step, frame by frame, as `hafm.tokens.interleave` has them.

    Args:
        num_codebooks: K, 1 or more.

    >>> Flat(num_codebooks=2).spread(torch.tensor([[[11, 12, 13], [21, 22, 23]]]), fill=0).tolist()
    [[[11, 21, 12, 22, 13, 23]]]
    """

    num_codebooks: int

    @property
    def rows(self) -> int:
        """R, codes that a step predicts."""
        return 1

    def num_steps(self, num_frames: int) -> int:
        """S, columns for F frames."""
        return num_frames * self.num_codebooks

    def spread(self, codes: Num[Tensor, "B K F"], *, fill: int) -> Num[Tensor, "B 1 S"]:
        """The grid of the codes; here no place is left to fill."""
        return interleave(codes)[:, None]

    def collect(self, grid: Int[Tensor, "B 1 S"]) -> Int[Tensor, "B K F"]:
        """The codes of a grid: the inverse of `spread`."""
        return deinterleave(grid[:, 0], num_codebooks=self.num_codebooks)

    def by_codebook(self, hidden: Float[Tensor, "B S D"]) -> Float[Tensor, "B F K D"]:
        """The vector of the step that predicts each code: code (k, f) comes from step `f K + k`."""
        by_frame: Tensor = hidden.unflatten(1, (-1, self.num_codebooks))
        return by_frame

    def tokens_of(self, step: int, *, num_frames: int) -> tuple[Token, ...]:
        """The codes of a column, in the order of codebooks."""
        K = self.num_codebooks
        return (
            Token(row=0, codebook=codebook_of(step, num_codebooks=K), frame=frame_of(step, num_codebooks=K)),
        )

    def codebooks_of(self, step: int, *, num_frames: int, known: int) -> range:
        """The codebooks of a column's codes that lie behind the first `known` frames."""
        codebook = step % self.num_codebooks
        return range(codebook, codebook + (known <= step // self.num_codebooks < num_frames))

    def rows_of(self, codebooks: range) -> slice:
        """The rows of a column that hold codes of neighbouring codebooks."""
        return slice(0, len(codebooks))

    def frame_of_code(self, step: int, *, codebook: int) -> int:
        """The frame of a column's code of that codebook."""
        return (step - codebook) // self.num_codebooks

    def frame_of(self, step: Int[Tensor, " S"], *, num_frames: int) -> Int[Tensor, " S"]:
        """The newest frame of each column: its condition is what the step is given."""
        return frame_of(step, num_codebooks=self.num_codebooks)

    def whole_frames(self, num_steps: int) -> int:
        """How many frames have all their codes in the first columns."""
        return num_steps // self.num_codebooks

    def first_step(self, num_frames: int) -> int:
        """The first column that holds a code behind the first frames."""
        return num_frames * self.num_codebooks


@dataclass(frozen=True, kw_only=True)
class Delay:
    """Every codebook one step behind the one below it.

    Args:
        num_codebooks: K, 1 or more.

    >>> Delay(num_codebooks=2).spread(torch.tensor([[[11, 12, 13], [21, 22, 23]]]), fill=0).tolist()
    [[[11, 12, 13, 0], [0, 21, 22, 23]]]
    """

    num_codebooks: int

    @property
    def rows(self) -> int:
        """One a codebook."""
        return self.num_codebooks

    def num_steps(self, num_frames: int) -> int:
        """F + K - 1."""
        return num_frames + self.num_codebooks - 1

    def spread(self, codes: Num[Tensor, "B K F"], *, fill: int) -> Num[Tensor, "B K S"]:
        """Codebook k moved right by k."""
        B, K, F = codes.shape
        grid = codes.new_full((B, K, self.num_steps(F)), fill)
        for k in range(K):
            grid[:, k, k : k + F] = codes[:, k]
        return grid

    def collect(self, grid: Int[Tensor, "B K S"]) -> Int[Tensor, "B K F"]:
        """The inverse of `spread`; what lies outside the frames is not looked at."""
        F = grid.shape[2] - self.num_codebooks + 1
        return torch.stack([grid[:, k, k : k + F] for k in range(self.num_codebooks)], dim=1)

    def by_codebook(self, hidden: Float[Tensor, "B S D"]) -> Float[Tensor, "B F K D"]:
        """Code (k, f) comes from step `f + k`."""
        F = hidden.shape[1] - self.num_codebooks + 1
        return torch.stack([hidden[:, k : k + F] for k in range(self.num_codebooks)], dim=2)

    def tokens_of(self, step: int, *, num_frames: int) -> tuple[Token, ...]:
        """Codebook k of frame `step - k`, where there is such a frame."""
        return tuple(
            Token(row=k, codebook=k, frame=step - k)
            for k in range(self.num_codebooks)
            if 0 <= step - k < num_frames
        )

    def codebooks_of(self, step: int, *, num_frames: int, known: int) -> range:
        """The codebooks of a column's codes that lie behind the first `known` frames."""
        return range(max(0, step - num_frames + 1), max(0, min(self.num_codebooks, step - known + 1)))

    def rows_of(self, codebooks: range) -> slice:
        """The rows of a column that hold codes of neighbouring codebooks."""
        return slice(codebooks.start, codebooks.stop)

    def frame_of_code(self, step: int, *, codebook: int) -> int:
        """The frame of a column's code of that codebook."""
        return step - codebook

    def frame_of(self, step: Int[Tensor, " S"], *, num_frames: int) -> Int[Tensor, " S"]:
        """The frame of codebook 0, which the others then fill in; the last one when there are no more."""
        return step.clamp_max(num_frames - 1)

    def whole_frames(self, num_steps: int) -> int:
        """All but those whose last codebook is still to come."""
        return max(0, num_steps - self.num_codebooks + 1)

    def first_step(self, num_frames: int) -> int:
        """F: that of codebook 0."""
        return num_frames


Layout: TypeAlias = Flat | Delay
"""The steps of a pattern for K codebooks."""


def layout_of(pattern: Pattern, *, num_codebooks: int) -> Layout:
    """The steps of a pattern.

    A stage of pattern `parallel` predicts one codebook in all frames at once, pass by pass, from the
    codebooks below (VALL-E, Wang et al. 2023, section 4.2.2); a pass has the positions of a single codebook.
    MusicGen gives the name to something else: all codebooks of a frame in one step.

    >>> layout_of("delay", num_codebooks=4).num_steps(375), layout_of("flat", num_codebooks=4).num_steps(375)
    (378, 1500)
    """
    if pattern == "delay":
        return Delay(num_codebooks=num_codebooks)
    return Flat(num_codebooks=num_codebooks if pattern == "flat" else 1)
