"""Attention, norm and feed-forward against their formulas, written with loops in float64."""

import math

import pytest
import torch
from torch import Tensor

from hafm.model.attention import Attention
from hafm.model.linear import Linear, by_rows
from hafm.model.norm import RMSNorm
from hafm.model.position import RelativeBias
from hafm.model.training_attention import training_attention
from hafm.model.transformer import FeedForward


def naive_norm(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def naive_attention(module: Attention, x: Tensor, bias: Tensor) -> Tensor:
    """Eq. 3, one row and one head at a time."""
    B, _, D = x.shape
    E = D // module.num_heads
    qkv, out = module.qkv.weight.double(), module.out.weight.double()
    result = torch.zeros_like(x)
    for b in range(B):
        heads = []
        for h in range(module.num_heads):
            columns = slice(h * E, (h + 1) * E)
            q = naive_norm(x[b] @ qkv[:, :D][:, columns], module.query_norm.weight.double())
            k = naive_norm(x[b] @ qkv[:, D : 2 * D][:, columns], module.key_norm.weight.double())
            v = x[b] @ qkv[:, 2 * D :][:, columns]
            scores = q @ k.T / math.sqrt(E) + bias[h].double()
            heads.append(scores.softmax(-1) @ v)
        result[b] = torch.cat(heads, -1) @ out
    return result


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("how", ["alone", "tiles", "sdpa"])
@pytest.mark.parametrize("num_positions", [9, 150])  # 150: more than one tile of queries
def test_attention_equals_equation_3(causal: bool, how: str, num_positions: int) -> None:
    module = Attention(12, num_heads=3, layer=0)
    relative = RelativeBias(num_heads=3, num_buckets=8, max_distance=20, causal=causal)
    with torch.no_grad():
        for parameter in (*module.parameters(), *relative.parameters()):
            parameter.normal_()
    x = torch.randn(2, num_positions, 12)
    bias = relative(num_positions, num_positions)
    if how == "alone":
        found = module(x, bias)
    else:
        found = module(x, training_attention(relative, num_positions=num_positions, path=how))
    torch.testing.assert_close(
        found.double(), naive_attention(module, x.double(), bias), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("training", [True, False])
def test_norm_equals_equation_2(training: bool) -> None:
    norm = RMSNorm(5).train(training)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(3, 4, 5)
    torch.testing.assert_close(norm(x), naive_norm(x, norm.weight))


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 4, 5)])
def test_gradients_of_the_norm_are_those_of_equation_2(shape: tuple[int, ...]) -> None:
    norm = RMSNorm(5, eps=0.1).double().train()
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    grad = torch.randn_like(x)
    found = torch.autograd.grad(norm(x), [x, norm.weight], grad)
    expected = torch.autograd.grad(norm.eval()(x), [x, norm.weight], grad)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert norm.train()(x).grad_fn.name() != norm.eval()(x).grad_fn.name()  # two ways were compared


def test_the_norm_of_half_precision_is_as_close_as_its_rounding() -> None:
    norm = RMSNorm(64).train()
    torch.nn.init.normal_(norm.weight)
    low = torch.randn(200, 64).bfloat16().requires_grad_()
    exact = low.detach().double().requires_grad_()
    grad = torch.randn(200, 64).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        out = norm(low)
    found = [out.detach(), *torch.autograd.grad(out, [low, norm.weight], grad)]
    out = norm.double()(exact)
    expected = [out.detach(), *torch.autograd.grad(out, [exact, norm.weight], grad.double())]
    for one, other in zip(found, expected, strict=True):
        assert (one.double() - other).norm() / other.norm() < 2**-6


@pytest.mark.parametrize("training", [True, False])
def test_feedforward_equals_equation_4(training: bool) -> None:
    module = FeedForward(8, multiplier=3.0).train(training)
    inner = 16
    w1, w2 = module.into.weight[:, :inner], module.into.weight[:, inner:]
    assert module.into.weight.shape == (8, 2 * inner)
    torch.nn.init.normal_(module.into.weight)
    torch.nn.init.normal_(module.out.weight)
    x = torch.randn(2, 3, 8)
    gelu = 0.5 * (x @ w1) * (1 + torch.erf(x @ w1 / math.sqrt(2)))
    torch.testing.assert_close(module(x), (gelu * (x @ w2)) @ module.out.weight, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("together", [1, 2, 3])
def test_rows_are_the_same_alone_and_in_company(together: int) -> None:
    layer = Linear(85, 33)  # odd sizes: rows lie at odd addresses, vectors end in the middle
    x = torch.randn(6, 1, 85)

    def run(rows: Tensor) -> Tensor:
        return by_rows(lambda some, _: layer(some), rows, together=together)

    whole = run(x)
    torch.testing.assert_close(whole, layer(x))
    for start in range(0, 6, together):
        for stop in range(start + together, 7, together):
            assert torch.equal(run(x[start:stop]), whole[start:stop])


@pytest.mark.parametrize(
    ("together", "expected"), [(1, [(0, 1), (1, 2), (2, 3), (3, 4)]), (2, [(0, 2), (2, 4)])]
)
def test_by_rows_says_which_rows_they_are(together: int, expected: list[tuple[int, int]]) -> None:
    seen: list[tuple[int, int]] = []

    def note(some: Tensor, rows: slice) -> Tensor:
        assert torch.equal(some, x[rows])
        assert some.data_ptr() % 64 == 0  # not where the row lies in x, but on the allocator's alignment
        seen.append((rows.start, rows.stop))
        return some

    x = torch.randn(4, 2)
    assert torch.equal(by_rows(note, x, together=together), x)
    assert seen == expected
