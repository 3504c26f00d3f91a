"""How well a stage predicts pairs that it was not trained on, and whether it uses its condition.

In: a stage and held-out crops. Out: nats a token, a codebook at a time, several times over:

    right         the true condition; and the share of tokens whose likeliest class is the true one
    wrong         the condition of another clip: what is lost is what the condition is worth
    wrong_vocal   only the vocal from another clip
    unigram       no model at all: the cross-entropy under the targets' own frequencies
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.data.crops import Crops, Pairs
from hafm.stages.loss import codebook_losses
from hafm.stages.stage_model import StageModel
from hafm.train.distributed import Ranks
from hafm.train.precision import autocast

__all__ = ["HeldOut", "held_out_loss", "unigram_entropy"]

_ROWS = (
    8  # of one forward pass: an evaluation is the same on any number of ranks and fits where training fits
)
_VOCAL = "vocal_semantic"


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Of every codebook, nats a token.

    Args:
        right: under the true condition.
        wrong: with every source taken from another clip.
        wrong_vocal: with the vocal alone taken from another clip; None for a stage without the vocal.
        accuracy: share of tokens whose likeliest class is right, under the true condition.
    """

    right: tuple[float, ...]
    wrong: tuple[float, ...]
    wrong_vocal: tuple[float, ...] | None
    accuracy: tuple[float, ...]

    @property
    def mean_right(self) -> float:
        """Eq. 6 on held-out pairs."""
        return float(np.mean(self.right))

    @property
    def mean_wrong(self) -> float:
        """Eq. 6 under other conditions."""
        return float(np.mean(self.wrong))


@torch.no_grad()
def held_out_loss(
    model: StageModel, crops: Crops, *, clips: int, dtype: torch.dtype, ranks: Ranks | None = None
) -> HeldOut:
    """Losses over the same clips at every call.

    The wrong condition of a clip is that of the next one in its group of `_ROWS` (they come from different
    pairs, but for rare draws of the same one).

    Args:
        crops: of held-out pairs, one view; its seed decides which clips.
        clips: how many, 2 or more.
        dtype: of the matrix products.
        ranks: that share the work; None is this process alone.
    """
    ranks = Ranks(device=model.heads.device) if ranks is None else ranks
    was_training, device = model.training, model.heads.device
    model.train()  # fused products; the stages have no dropout, so that nothing else changes
    K = model.spec.target.num_codebooks
    sums = torch.zeros(4, K, dtype=torch.float64)
    groups = math.ceil(clips / _ROWS)
    for group in range(ranks.rank, groups, ranks.world):
        first, last = clips * group // groups, clips * (group + 1) // groups
        target, conditions = crops.take(first, last - first)
        target, conditions = target.to(device), tuple(ids.to(device) for ids in conditions)
        for row, variant in enumerate(_variants(model, conditions)):
            if variant is None:
                continue
            with autocast(dtype, device):
                logits = model(target, variant)
            sums[row] += codebook_losses(logits, target).double().cpu() * (last - first)
            if row == 0:
                hits = (logits.argmax(-1) == target).double().mean(dim=(0, 2))
                sums[3] += hits.cpu() * (last - first)
    model.train(was_training)
    means = [tuple(row.tolist()) for row in ranks.sum(sums) / clips]
    has_vocal = _VOCAL in (source.name for source in model.spec.sources)
    return HeldOut(
        right=means[0], wrong=means[1], wrong_vocal=means[2] if has_vocal else None, accuracy=means[3]
    )


def _variants(
    model: StageModel, conditions: tuple[Tensor, ...]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...] | None]:
    """The right condition, the wrong one, and the one with a wrong vocal."""
    names = [source.name for source in model.spec.sources]
    wrong = tuple(ids.roll(1, 0) for ids in conditions)
    if _VOCAL not in names:
        return conditions, wrong, None
    if names == [_VOCAL]:
        return conditions, wrong, wrong
    mixed = tuple(
        other if name == _VOCAL else own for name, own, other in zip(names, conditions, wrong, strict=True)
    )
    return conditions, wrong, mixed


def unigram_entropy(pairs: Pairs, name: str, *, cardinality: int) -> tuple[float, ...]:
    """Entropy in nats of every codebook of a stream: what a model scores that knows frequencies only."""
    counts: Float[np.ndarray, "K V"] | None = None
    for index in range(len(pairs)):
        ids = pairs.stream(index, name, 0)
        if counts is None:
            counts = np.zeros((ids.shape[0], cardinality))
        for codebook, row in enumerate(ids):
            counts[codebook] += np.bincount(row, minlength=cardinality)
    assert counts is not None, "no pairs"
    shares = counts / counts.sum(1, keepdims=True)
    return tuple(-(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(1))
