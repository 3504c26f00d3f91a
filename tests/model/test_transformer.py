"""The stack: cache against no cache, causality by gradient, rows alone against rows in company."""

import pytest
import torch

from hafm.model.cache import KVCache
from hafm.model.transformer import Transformer


def small_transformer(*, causal: bool = True, num_layers: int = 2) -> Transformer:
    model = Transformer(
        num_layers=num_layers,
        width=32,
        num_heads=2,
        feedforward_multiplier=4.0,
        num_buckets=8,
        max_distance=40,
        causal=causal,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


@pytest.mark.parametrize("chunks", [[1] * 20, [20], [7, 1, 1, 11], [19, 1]])
def test_cached_equals_uncached(chunks: list[int]) -> None:
    model = small_transformer()
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


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("num_positions", [10, 140])
def test_causality_by_gradient(num_positions: int, training: bool) -> None:
    """No output moves when a later input does; every output moves when an earlier one does."""
    model = small_transformer().train(training)
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
@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("num_positions", [1, 21])  # one position: products of a step; more: of a prefill
def test_rows_do_not_influence_each_other(causal: bool, together: int, num_positions: int) -> None:
    """To the bit; rows that come together always may."""
    model = small_transformer(causal=causal)
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
