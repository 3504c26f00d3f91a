"""How well a stage predicts pairs that it was not trained on, and whether it uses its condition.

In: a stage and held-out crops. Out: nats per token, a codebook at a time, several times over:

    right         the true condition; and the share of tokens whose likeliest class is the true one
    wrong         the condition of another clip: what is lost is what the condition is worth
    wrong_vocal   only the vocal from another clip
    without       of a guided stage, the true condition without a part of it:
        beats, chords           without this group of the guide
        guide                   without any
        guide and right vocal   without any, and the vocal from another clip
    unigram       no model at all: the cross-entropy under the targets' own frequencies
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from hafm.data.crops import Batch, Crops, Pairs
from hafm.guide.frames import KNOWN
from hafm.stages.guide import drop_groups
from hafm.stages.spec import StageSpec
from hafm.stages.stage_model import StageModel, codebook_losses
from hafm.train.distributed import Ranks
from hafm.train.update import autocast

__all__ = ["HeldOut", "held_out_loss", "unigram_entropy"]

_ROWS = 8  # of a forward pass: an evaluation is the same on any number of ranks, and fits where training fits
_VOCAL = "vocal_semantic"


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Of every codebook, nats per token.

    Args:
        right: under the true condition.
        wrong: with every source, and the guide, taken from another clip.
        wrong_vocal: with the vocal alone taken from another clip; None for a stage without the vocal.
        accuracy: share of tokens whose likeliest class is right, under the true condition.
        without: of a guided stage, by what it went without.
    """

    right: tuple[float, ...]
    wrong: tuple[float, ...]
    wrong_vocal: tuple[float, ...] | None
    accuracy: tuple[float, ...]
    without: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

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
    """
    ranks = Ranks(device=model.heads.device) if ranks is None else ranks
    was_training, device = model.training, model.heads.device
    model.train()  # fused products; the stages have no dropout, so that nothing else changes
    spec = model.spec
    has_vocal = _VOCAL in (source.name for source in spec.sources)
    without = [] if spec.guide is None else ["beats", "chords", "guide", "guide and right vocal"]
    names = ["right", "wrong", *(["wrong_vocal"] if has_vocal else []), *without]
    sums = torch.zeros(len(names) + 1, spec.target.num_codebooks, dtype=torch.float64)
    groups = math.ceil(clips / _ROWS)
    for group in range(ranks.rank, groups, ranks.world):
        first, last = clips * group // groups, clips * (group + 1) // groups
        batch = _moved(crops.take(first, last - first), device)
        for row, name in enumerate(names):
            target, conditions, guide = _variant(spec, batch, name)
            with autocast(dtype, device):
                logits = model(target, conditions, guide=guide)
            sums[row] += codebook_losses(logits, target).double().cpu() * (last - first)
            if name == "right":
                hits = (logits.argmax(-1) == target).double().mean(dim=(0, 2))
                sums[-1] += hits.cpu() * (last - first)
    model.train(was_training)
    *losses, accuracy = [tuple(row.tolist()) for row in ranks.sum(sums) / clips]
    found = dict(zip(names, losses, strict=True))
    return HeldOut(
        right=found.pop("right"),
        wrong=found.pop("wrong"),
        wrong_vocal=found.pop("wrong_vocal", None),
        accuracy=accuracy,
        without=found,
    )


def _variant(spec: StageSpec, batch: Batch, name: str) -> Batch:
    """The batch as one of the losses is taken on it."""
    target, conditions, guide = batch
    if name == "wrong":
        conditions = tuple(ids.roll(1, 0) for ids in conditions)
        guide = None if guide is None else guide.roll(1, 0)
    elif name in ("wrong_vocal", "guide and right vocal"):
        conditions = tuple(
            ids.roll(1, 0) if source.name == _VOCAL else ids
            for source, ids in zip(spec.sources, conditions, strict=True)
        )
    if name in ("guide", "guide and right vocal"):
        guide = None
    elif name in KNOWN and guide is not None:
        lost = torch.tensor([group == name for group in KNOWN], device=guide.device)
        guide = drop_groups(guide, lost.expand(len(guide), -1))
    return Batch(target, conditions, guide)


def _moved(batch: Batch, device: torch.device) -> Batch:
    target, conditions, guide = batch
    return Batch(
        target.to(device),
        tuple(ids.to(device) for ids in conditions),
        None if guide is None else guide.to(device),
    )


def unigram_entropy(pairs: Pairs, name: str, *, cardinality: int) -> tuple[float, ...]:
    """Entropy in nats of every codebook of a stream: what a model scores that knows frequencies only."""
    streams = (pairs.stream(index, name, 0) for index in range(len(pairs)))
    counts: Any = sum(np.stack([np.bincount(row, minlength=cardinality) for row in ids]) for ids in streams)
    shares = counts / counts.sum(1, keepdims=True)
    return tuple(-(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(1))
