"""Eq. 6 against a loop."""

import math

import pytest
import torch

from hafm.stages.stage_model import codebook_losses, stage_loss


@pytest.mark.parametrize("num_codebooks", [1, 4])
def test_loss_equals_equation_6(num_codebooks: int) -> None:
    B, K, F, V = 2, num_codebooks, 5, 7
    logits, target = 3 * torch.randn(B, K, F, V), torch.randint(V, (B, K, F))
    means = []
    for k in range(K):
        total = 0.0
        for b in range(B):
            for f in range(F):
                exps = [math.exp(x) for x in logits[b, k, f].tolist()]
                total -= math.log(exps[int(target[b, k, f])] / sum(exps))
        means.append(total / (B * F))
    torch.testing.assert_close(codebook_losses(logits, target), torch.tensor(means))
    torch.testing.assert_close(stage_loss(logits, target), torch.tensor(sum(means) / K))


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits = torch.randn(2, 4, 300, 50)
    target = torch.randint(50, (2, 4, 300))
    half = codebook_losses(logits.half(), target)
    assert half.dtype == torch.float32
    assert torch.equal(half, codebook_losses(logits.half().float(), target))
