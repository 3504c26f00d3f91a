"""Warm start: embeddings keep the neighbourhoods of the points, at the size the stage expects."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from hafm.stages.spec import FINE
from hafm.stages.stage_model import StageModel
from hafm.train.start import HEAD_STD, start_from_points

SPEC = replace(FINE, width=64, num_heads=2, num_layers=1, clip_seconds=Fraction(1), embedding_std=0.2)


def points(seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(
        torch.randn(4, 1024, 8, generator=torch.Generator().manual_seed(seed)), dim=-1
    )


def started(seed: int = 0) -> StageModel:
    torch.manual_seed(1)
    model = StageModel(SPEC)
    start_from_points(model, {"coarse_codes": points(1), "fine_codes": points(2)}, seed=seed)
    return model


def test_neighbours_stay_neighbours():
    model, entries = started(), points(2)
    for codebook in range(4):
        near = (entries[codebook] @ entries[codebook, 0]).argsort(descending=True)[1]
        rows = model.target_embedding.weight[codebook, :1024]
        ranked = torch.nn.functional.cosine_similarity(rows, rows[:1]).argsort(descending=True)
        assert int((ranked == near).nonzero()) <= 30


def test_embeddings_and_heads_have_their_sizes_and_agree():
    model = started()
    embedding = model.target_embedding.weight[:, :1024]
    assert embedding.std().item() == pytest.approx(0.2, rel=0.1)
    assert model.heads.std().item() == pytest.approx(HEAD_STD, rel=0.1)
    torch.testing.assert_close(model.heads.transpose(1, 2) / HEAD_STD, embedding / 0.2)


def test_special_rows_stay_and_the_seed_decides():
    torch.manual_seed(1)
    before = StageModel(SPEC)
    model = started()
    assert torch.equal(model.target_embedding.weight[:, 1024], before.target_embedding.weight[:, 1024])
    assert torch.equal(model.heads, started().heads)
    assert not torch.equal(model.heads, started(seed=1).heads)
