"""Tokens to vectors: the sources of a stage, and what is known of its target (paper 3.4 "Input Embeddings").

    target a1_1 a2_1 a3_1 a4_1 a1_2 ...  ->  input   BOS  a1_1 a2_1 a3_1 a4_1 ...      (shifted right)
                                             table    4    1    2    3    4            whose token it is
                                             offset   1    2    3    4    1            what is predicted

The token at input position p came from codebook (p - 1) mod K and is looked up in that codebook's
table; BOS is row V of the last table, which keeps the rule for p = 0. The offset embedding names the
codebook that position p predicts. Every source has a row V as well, the mask of guidance dropout.

With ``pattern="delay"`` an input is the sum over the codebooks of the column before, row V where that lies
outside the frames; no offset is needed. With ``"parallel"``, the input of a frame in the pass for codebook k
is the sum over its codebooks, row V for k and those above it, plus the offset of k.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from hafm.model.linear import draw_normal
from hafm.stages.spec import DroppedCondition, StageSpec, TokenStream
from hafm.tokens.interleave import codebook_of


def _embedding(*shape: int, std: float) -> nn.Parameter:
    return nn.Parameter(draw_normal(torch.empty(*shape), std=std))


class SourceEmbedding(nn.Module):
    """One source to one vector per frame; the embeddings of several codebooks are summed (3.3, stage 3).

    Shape: ids ``[B, K, F] -> [B, F, D]``.
    """

    def __init__(self, stream: TokenStream, *, width: int, std: float) -> None:
        super().__init__()
        self.mask = stream.cardinality
        self.weight = _embedding(stream.num_codebooks, stream.cardinality + 1, width, std=std)

    def forward(self, ids: Int[Tensor, "B K F"]) -> Float[Tensor, "B F D"]:
        K = ids.shape[1]
        codebook = torch.arange(K, device=ids.device)[None, :, None]
        return self.weight[codebook, ids].sum(1)


class ConditionEmbedding(nn.Module):
    """All sources, each with its segment embedding; some rows dropped.

    Args:
        spec: the stage.
    """

    def __init__(self, spec: StageSpec) -> None:
        super().__init__()
        self.dropped: DroppedCondition = spec.dropped_condition
        self.sources = nn.ModuleList(
            SourceEmbedding(source, width=spec.width, std=spec.embedding_std) for source in spec.sources
        )
        self.segment = _embedding(len(spec.sources), spec.width, std=spec.embedding_std)

    def forward(
        self, conditions: tuple[Int[Tensor, "B _K _F"], ...], drop: Bool[Tensor, " B"] | None = None
    ) -> list[Float[Tensor, "B _F D"]]:
        """One ``[B, F, D]`` a source. Rows marked in ``drop`` carry no condition:
        every id is the mask row and the segment stays (3.4), or the token part is zero (3.5)."""
        embedded = []
        for source, ids, segment in zip(self.sources, conditions, self.segment, strict=True):
            assert isinstance(source, SourceEmbedding)
            if drop is not None and self.dropped == "mask":
                ids = torch.where(drop[:, None, None], source.mask, ids)
            x = source(ids)
            if drop is not None and self.dropped == "zeros":
                x = x.masked_fill(drop[:, None, None], 0.0)
            embedded.append(x + segment)
        return embedded


class TargetEmbedding(nn.Module):
    """What is known of the target, to vectors.

    Args:
        spec: the stage.
    """

    def __init__(self, spec: StageSpec) -> None:
        super().__init__()
        self.pattern = spec.pattern
        self.num_codebooks = spec.target.num_codebooks
        self.bos = spec.target.cardinality
        std = spec.embedding_std
        self.weight = _embedding(self.num_codebooks, spec.target.cardinality + 1, spec.width, std=std)
        self.offset: nn.Parameter | None = None
        if spec.pattern != "delay":  # which predicts all codebooks at every step
            self.offset = _embedding(self.num_codebooks, spec.width, std=std)
        self.segment = _embedding(spec.width, std=std)

    def shift(self, grid: Int[Tensor, "B R S"]) -> Int[Tensor, "B R S"]:
        """The target's steps, shifted right behind a column of BOS."""
        return torch.cat([torch.full_like(grid[:, :, :1], self.bos), grid[:, :, :-1]], dim=2)

    def forward(self, shifted: Int[Tensor, "B R S"], *, start: int = 0) -> Float[Tensor, "B S D"]:
        """Embeds the inputs of the steps ``start ... start + S - 1``, flat or with delay."""
        if self.offset is None:
            return self._sum(shifted)
        if self.num_codebooks == 1 and not self.training:
            return functional.embedding(shifted[:, 0], self.weight[0]) + self.offset[0] + self.segment
        position = torch.arange(start, start + shifted.shape[2], device=shifted.device)
        predicted = codebook_of(position, num_codebooks=self.num_codebooks)
        came_from = (predicted - 1) % self.num_codebooks
        return self.weight[came_from, shifted[:, 0]] + self.offset[predicted] + self.segment

    def below(self, codes: Int[Tensor, "B K F"], *, codebook: Int[Tensor, " B"]) -> Float[Tensor, "B F D"]:
        """Embeds the inputs of a pass: codes below each row's ``codebook``, whatever the others hold."""
        assert self.offset is not None, "a pass is of a parallel stage"
        number = torch.arange(self.num_codebooks, device=codes.device)
        known = number[None, :, None] < codebook[:, None, None]
        return self._sum(torch.where(known, codes, self.bos)) + self.offset[codebook][:, None]

    def _sum(self, ids: Int[Tensor, "B K S"]) -> Float[Tensor, "B S D"]:
        if (
            not self.training
        ):  # the same numbers in fewer calls, which count in a step; its gradient is slower
            first = torch.arange(0, self.num_codebooks * (self.bos + 1), self.bos + 1, device=ids.device)
            rows = functional.embedding(ids + first[None, :, None], self.weight.flatten(0, 1))
            return rows.sum(1) + self.segment
        codebook = torch.arange(self.num_codebooks, device=ids.device)[None, :, None]
        return self.weight[codebook, ids].sum(1) + self.segment
