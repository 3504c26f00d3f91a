"""How well a stage predicts pairs that it was not trained on, and whether it uses its condition.

In: a stage and held-out pairs. Out: nats a token, a codebook at a time, three times over:

    right       the true condition
    wrong       the condition of another song: what is lost is what the condition is worth
    unigram     no model at all: the cross-entropy under the targets' own frequencies
"""

from dataclasses import dataclass

import numpy as np
import torch

from hafm.data.crops import Pairs, crop_batch
from hafm.stages.loss import codebook_losses
from hafm.stages.stage_model import StageModel


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Nats a token of every codebook."""

    right: tuple[float, ...]
    wrong: tuple[float, ...]
    """With every source taken from another pair."""
    wrong_vocal: tuple[float, ...] | None
    """With the vocal alone taken from another pair; None for a stage without the vocal."""

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
    model: StageModel, pairs: Pairs, *, batches: int, batch: int, seed: int = 0, precision: torch.dtype
) -> HeldOut:
    """Losses over the same ``batches * batch`` crops at every call, view 0 of the vocal.

    The wrong condition of a row is that of the next row of its batch (rows of one batch come from
    different pairs, but for rare draws of the same one).
    """
    was_training, device = model.training, model.heads.device
    model.train()  # fused products; the stages have no dropout, so that nothing else changes
    sums: dict[str, list[np.ndarray]] = {"right": [], "wrong": [], "wrong_vocal": []}
    names = [source.name for source in model.spec.sources]
    for step in range(batches):
        target, conditions = crop_batch(pairs, model.spec, batch=batch, seed=seed, step=step, views=False)
        target, conditions = target.to(device), tuple(ids.to(device) for ids in conditions)
        variants = {"right": conditions, "wrong": tuple(ids.roll(1, 0) for ids in conditions)}
        if "vocal_semantic" in names:
            variants["wrong_vocal"] = tuple(
                ids.roll(1, 0) if name == "vocal_semantic" else ids
                for name, ids in zip(names, conditions, strict=True)
            )
        for name, variant in variants.items():
            with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                logits = model(target, variant)
            sums[name].append(codebook_losses(logits, target).cpu().numpy())
    model.train(was_training)
    means = {name: tuple(np.mean(rows, axis=0).tolist()) for name, rows in sums.items() if rows}
    return HeldOut(right=means["right"], wrong=means["wrong"], wrong_vocal=means.get("wrong_vocal"))


def unigram_entropy(pairs: Pairs, name: str, *, cardinality: int) -> tuple[float, ...]:
    """Entropy in nats of every codebook of a stream: what a model scores that knows frequencies only."""
    counts: np.ndarray | None = None
    for index in range(len(pairs)):
        ids = pairs.stream(index, name, 0)
        if counts is None:
            counts = np.zeros((ids.shape[0], cardinality))
        for codebook, row in enumerate(ids):
            counts[codebook] += np.bincount(row, minlength=cardinality)
    assert counts is not None, "no pairs"
    shares = counts / counts.sum(1, keepdims=True)
    return tuple(-(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(1))
