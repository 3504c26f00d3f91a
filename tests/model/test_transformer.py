"""The stack: cache against no cache, causality by gradient, rows alone against rows in company."""

import math

import pytest
import torch

from hafm.errors import UsageError
from hafm.model.cache import KVCache
from hafm.model.position import Positions
from hafm.model.rotary import rotate, rotation_of
from hafm.model.training_attention import AttentionKind
from hafm.model.transformer import Transformer

POSITIONS: tuple[Positions, ...] = ("t5", "rotary")


def small_transformer(
    *, causal: bool = True, num_layers: int = 2, num_heads: int = 2, positions: Positions = "t5"
) -> Transformer:
    model = Transformer(
        num_layers=num_layers,
        width=32,
        num_heads=num_heads,
        feedforward_multiplier=4.0,
        num_buckets=8,
        max_distance=40,
        causal=causal,
        positions=positions,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("chunks", [[1] * 20, [20], [7, 1, 1, 11], [19, 1]])
def test_cached_equals_uncached(chunks: list[int], positions: Positions) -> None:
    model = small_transformer(positions=positions)
    x = torch.randn(3, 20, 32)
    cache = model.new_cache(batch=3, capacity=24)
    with torch.inference_mode():
        parts = [model(part, cache=cache) for part in x.split(chunks, dim=1)]
        torch.testing.assert_close(torch.cat(parts, 1), model(x), rtol=1e-4, atol=1e-4)
    assert cache.length == 20


def test_a_given_bias_is_used_and_equals_the_own_one() -> None:
    model = small_transformer()
    x = torch.randn(1, 5, 32)
    bias = model.bias(5, 5)
    assert torch.equal(model(x, bias=bias), model(x))
    assert not torch.allclose(model(x, bias=bias + torch.randn_like(bias)), model(x))


def test_unused_slots_of_the_cache_stay_poisoned_and_are_never_read() -> None:
    model = small_transformer()
    cache = model.new_cache(batch=2, capacity=50)
    with torch.inference_mode():
        for part in torch.randn(2, 9, 32).split([6, 1, 1, 1], dim=1):
            assert model(part, cache=cache).isfinite().all()
    for memory in (cache.keys, cache.values):
        assert memory[..., :9, :].isfinite().all()
        assert memory[..., 9:, :].isnan().all()


def test_a_read_past_the_end_of_the_cache_would_show() -> None:
    """The control of the test above: one position too many, and everything is NaN."""
    model = small_transformer()
    cache = model.new_cache(batch=1, capacity=50)
    cache.advance(1)
    with torch.inference_mode():
        assert model(torch.randn(1, 2, 32), cache=cache).isnan().all()


def test_a_full_cache_refuses() -> None:
    cache = KVCache(num_layers=1, batch=1, num_heads=1, capacity=2, head_width=4)
    with pytest.raises(AssertionError, match="cache of 2 positions asked for 3"):
        cache.extend(0, torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 3, 4))


def test_the_cache_keeps_rows_and_layers_apart() -> None:
    cache = KVCache(num_layers=2, batch=3, num_heads=1, capacity=2, head_width=1)
    cache.extend(1, torch.full((1, 1, 1, 1), 5.0), torch.full((1, 1, 1, 1), 6.0), rows=slice(2, 3))
    written = torch.zeros(2, 3, 1, 2, 1, dtype=torch.bool)
    written[1, 2, 0, 0, 0] = True
    assert torch.equal(cache.keys.isfinite(), written)
    assert cache.keys[1, 2, 0, 0, 0] == 5
    assert cache.values[1, 2, 0, 0, 0] == 6


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("num_positions", [10, 140])
def test_causality_by_gradient(num_positions: int, training: bool, positions: Positions) -> None:
    """No output moves when a later input does; every output moves when an earlier one does."""
    model = small_transformer(positions=positions).train(training)
    for position in (0, num_positions // 2, num_positions - 1):
        x = torch.randn(1, num_positions, 32, requires_grad=True)
        model(x)[0, position].sum().backward()
        moved = x.grad[0].abs().sum(-1) > 0
        assert moved.tolist() == [i <= position for i in range(num_positions)]


def test_two_way_sees_everything() -> None:
    x = torch.randn(1, 10, 32, requires_grad=True)
    small_transformer(causal=False)(x)[0, 4].sum().backward()
    assert (x.grad[0].abs().sum(-1) > 0).all()


@pytest.mark.parametrize("causal", [True, False])
def test_rotary_attention_equals_angles_worked_out_one_by_one(causal: bool) -> None:
    """One layer, one head, against loops over positions and pairs of coordinates; and the training path."""
    model = small_transformer(causal=causal, num_layers=1, num_heads=1, positions="rotary")
    block = model.blocks[0]
    attention = block.attention
    x = torch.randn(1, 7, 32)
    with torch.no_grad():
        q, k, v = attention.qkv(block.attention_norm(x))[0].chunk(3, dim=-1)
        q, k = attention.query_norm(q), attention.key_norm(k)
        turned = []
        for rows in (q, k):
            out = torch.empty_like(rows)
            for position in range(7):
                for e in range(16):
                    angle = position / 10_000 ** (2 * e / 32)
                    a, b = rows[position, e], rows[position, e + 16]
                    out[position, e] = a * math.cos(angle) - b * math.sin(angle)
                    out[position, e + 16] = a * math.sin(angle) + b * math.cos(angle)
            turned.append(out)
        scores = turned[0] @ turned[1].T / math.sqrt(32)
        if causal:
            scores = scores.masked_fill(torch.ones(7, 7, dtype=torch.bool).triu(1), -math.inf)
        hidden = x + attention.out((scores.softmax(-1) @ v)[None])
        hidden = hidden + block.feedforward(block.feedforward_norm(hidden))
        torch.testing.assert_close(model(x), model.norm(hidden), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model.train()(x), model.norm(hidden), rtol=1e-4, atol=1e-4)


def test_turned_queries_and_keys_meet_by_their_distance_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 16, dtype=torch.float64).expand(2, 1, 1, 900, 16)
    turns = rotation_of(0, num_positions=900, head_width=16).double()
    scores = (rotate(q, turns) @ rotate(k, turns).transpose(-1, -2))[0, 0]
    for distance in (-500, -3, 0, 7, 300):
        along = scores.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), rtol=0, atol=1e-3)
    assert scores.std() > 1


def test_a_later_start_gives_the_later_turns() -> None:
    whole = rotation_of(0, num_positions=30, head_width=8)
    assert torch.equal(rotation_of(12, num_positions=18, head_width=8), whole[:, 12:])


@pytest.mark.parametrize("kind", ["tiles", "flex"])
def test_ways_to_add_a_bias_are_refused_where_there_is_none(kind: AttentionKind) -> None:
    with pytest.raises(UsageError, match="is for positions='t5'"):
        small_transformer(positions="rotary").train()(torch.randn(1, 5, 32), attention=kind)


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("num_positions", [1, 21])  # one position: products of a step; more: of a prefill
def test_rows_do_not_influence_each_other(
    causal: bool, together: int, num_positions: int, positions: Positions
) -> None:
    """To the bit; rows that come together always may."""
    model = small_transformer(causal=causal, positions=positions)
    x = torch.randn(6, num_positions, 32)
    with torch.inference_mode():
        whole = model(x, together=together)
        torch.testing.assert_close(whole, model(x), rtol=1e-4, atol=1e-4)
        for start in range(0, 6, together):
            for stop in {start + together, 6}:
                assert torch.equal(model(x[start:stop], together=together), whole[start:stop])


def test_initialisation() -> None:
    """N(0, 0.02) throughout, norms from one (paper 3.4)."""
    model = Transformer(
        num_layers=2,
        width=128,
        num_heads=4,
        feedforward_multiplier=4.0,
        num_buckets=32,
        max_distance=100,
        causal=True,
    )
    for name, parameter in model.named_parameters():
        if "norm" in name:
            assert (parameter == 1).all()
        else:
            error = 5 * 0.02 / parameter.numel() ** 0.5  # five standard errors
            assert abs(parameter.mean().item()) < error
            assert abs(parameter.std().item() - 0.02) < error
