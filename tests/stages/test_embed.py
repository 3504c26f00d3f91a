"""Embeddings against loops over single ids."""

import pytest
import torch

from hafm.stages.embed import ConditionEmbedding, TargetEmbedding
from hafm.stages.spec import COARSE, FINE, SEMANTIC, StageSpec
from hafm.tokens.interleave import interleave
from tests.stages.small_stages import STAGES, random_conditions, random_target, small_spec


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_condition_equals_a_loop(stage: StageSpec) -> None:
    """A frame is the sum of its codebooks' embeddings and its source's segment (3.3, 3.4)."""
    spec = small_spec(stage)
    module = ConditionEmbedding(spec)
    conditions = random_conditions(spec, batch=2)
    found = module(conditions)
    assert len(found) == len(spec.sources)
    for number, ids in enumerate(conditions):
        table = module.sources[number].weight
        B, K, F = ids.shape
        for b in range(B):
            for f in range(F):
                expected = module.segment[number].clone()
                for k in range(K):
                    expected = expected + table[k, ids[b, k, f]]
                torch.testing.assert_close(found[number][b, f], expected)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
@pytest.mark.parametrize("dropped", ["mask", "zeros"])
def test_a_dropped_condition(stage: StageSpec, dropped: str) -> None:
    """Mask: row V of every codebook's table (3.4). Zeros: no token part at all (3.5). The segment stays."""
    spec = small_spec(stage, dropped_condition=dropped)
    module = ConditionEmbedding(spec)
    conditions = random_conditions(spec, batch=3)
    kept, found = module(conditions), module(conditions, torch.tensor([False, True, False]))
    for number, source in enumerate(spec.sources):
        assert torch.equal(found[number][[0, 2]], kept[number][[0, 2]])
        expected = module.segment[number]
        if dropped == "mask":
            expected = module.sources[number].weight[:, source.cardinality].sum(0) + expected
        torch.testing.assert_close(found[number][1], expected.expand_as(found[number][1]))
        assert not torch.allclose(found[number][1], kept[number][1])


def test_no_row_of_the_mask_is_learned_without_drops() -> None:
    """The mask row is apart from all tokens: only a drop reaches it."""
    spec = small_spec(SEMANTIC)
    module = ConditionEmbedding(spec)
    every_id = torch.arange(spec.sources[0].cardinality)[None, None]
    module((every_id,))[0].sum().backward()
    grad = module.sources[0].weight.grad
    assert (grad[0, :-1] != 0).all()
    assert (grad[0, -1] == 0).all()


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_target_equals_a_loop(stage: StageSpec) -> None:
    """The token from the table it came from, the offset of the codebook that is predicted, BOS in front."""
    spec = small_spec(stage)
    module = TargetEmbedding(spec)
    codes = random_target(spec, batch=2)
    found = module(module.shift(interleave(codes)[:, None]))
    B, K, F = codes.shape
    assert found.shape == (B, K * F, spec.width)
    for b in range(B):
        previous, table = spec.target.cardinality, K - 1  # BOS: row V of the last table
        position = 0
        for f in range(F):
            for k in range(K):
                expected = module.weight[table, previous] + module.offset[k] + module.segment
                torch.testing.assert_close(found[b, position], expected)
                previous, table = int(codes[b, k, f]), k
                position += 1


@pytest.mark.parametrize("stage", [COARSE, FINE, SEMANTIC], ids=lambda stage: stage.name)
def test_a_part_of_the_target_equals_the_whole(stage: StageSpec) -> None:
    spec = small_spec(stage)
    module = TargetEmbedding(spec)
    shifted = module.shift(interleave(random_target(spec, batch=2))[:, None])
    whole = module(shifted)
    for start in range(shifted.shape[2]):
        stop = start + 1 + start % 3
        assert torch.equal(module(shifted[:, :, start:stop], start=start), whole[:, start:stop])


@pytest.mark.parametrize("stage", [COARSE, SEMANTIC], ids=lambda stage: stage.name)
def test_a_delayed_target_equals_a_loop(stage: StageSpec) -> None:
    """The sum of the column to the left, codebook k of frame s - 1 - k; row V outside the frames."""
    spec = small_spec(stage, "aligned", pattern="delay")
    module = TargetEmbedding(spec)
    assert module.offset is None
    codes = random_target(spec, batch=2)
    found = module(module.shift(spec.layout.spread(codes, fill=module.bos)))
    B, K, F = codes.shape
    assert found.shape == (B, F + K - 1, spec.width)
    for b in range(B):
        for s in range(F + K - 1):
            expected = module.segment.clone()
            for k in range(K):
                f = s - 1 - k
                expected = expected + module.weight[k, codes[b, k, f] if 0 <= f < F else module.bos]
            torch.testing.assert_close(found[b, s], expected)


def test_a_pass_equals_a_loop() -> None:
    """The sum of the codebooks below, row V for the others, and the offset of the one that is predicted."""
    spec = small_spec(FINE, "aligned", pattern="parallel")
    module = TargetEmbedding(spec)
    codes, codebook = random_target(spec, batch=4), torch.tensor([2, 0, 3, 1])
    found = module.below(codes, codebook=codebook)
    B, K, F = codes.shape
    for b in range(B):
        for f in range(F):
            expected = module.offset[codebook[b]] + module.segment
            for k in range(K):
                expected = expected + module.weight[k, codes[b, k, f] if k < codebook[b] else module.bos]
            torch.testing.assert_close(found[b, f], expected)
