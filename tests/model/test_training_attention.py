"""Every way of training attention against eq. 3 written with loops: result, gradients, what is seen."""

import math
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
import torch.nn.attention.flex_attention as flex_module
from torch import Tensor

from hafm.errors import DeviceError
from hafm.model.flex import FlexAttention
from hafm.model.position import RelativeBias
from hafm.model.tiled_attention import QUERIES_PER_TILE, tiled_attention
from hafm.model.training_attention import AttentionPath, choose_attention, training_attention
from hafm.model.transformer import Transformer
from tests.crossed import crossed

PATHS: list[AttentionPath] = ["tiles", "sdpa"]


def naive_attention(q: Tensor, k: Tensor, v: Tensor, relative: RelativeBias) -> Tensor:
    """Eq. 3, the bias taken position by position from the table of buckets."""
    S = q.shape[2]
    bias = torch.stack(
        [
            torch.stack([relative.by_distance(torch.tensor([i - j]))[:, 0] for j in range(S)], dim=-1)
            for i in range(S)
        ],
        dim=-2,
    )
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias
    if relative.causal:
        later = torch.ones(S, S, dtype=torch.bool).triu(1)
        scores = scores.masked_fill(later, -math.inf)
    return scores.exp() / scores.exp().sum(-1, keepdim=True) @ v


def problem(
    num_positions: int, *, causal: bool, dtype: torch.dtype = torch.float64, heads: int = 2, width: int = 4
) -> tuple[list[Tensor], RelativeBias]:
    """Queries, keys and values that want gradients, and a bias that is not small."""
    relative = RelativeBias(num_heads=heads, num_buckets=8, max_distance=20, causal=causal).to(dtype)
    torch.nn.init.normal_(relative.weight)
    rows = [torch.randn(3, heads, num_positions, width, dtype=dtype, requires_grad=True) for _ in range(3)]
    return rows, relative


def small_stack(*, num_layers: int = 2) -> Transformer:
    return Transformer(
        num_layers=num_layers,
        width=32,
        num_heads=2,
        feedforward_multiplier=4.0,
        num_buckets=8,
        max_distance=40,
        causal=True,
    )


def results(out: Tensor, leaves: list[Tensor], grad: Tensor) -> list[Tensor]:
    """The result and the gradients of all leaves."""
    return [out.detach(), *torch.autograd.grad(out, leaves, grad)]


@pytest.mark.long
@crossed(causal=[True, False], path=PATHS, num_positions=[1, 5, 33])
def test_result_and_all_gradients_equal_the_loops(
    path: AttentionPath, num_positions: int, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "hafm.model.training_attention.QUERIES_PER_TILE", 8
    )  # 33: five tiles, the last of one
    rows, relative = problem(num_positions, causal=causal)
    leaves = [*rows, relative.weight]
    grad = torch.randn_like(rows[0])
    attend = training_attention(relative, num_positions=num_positions, path=path)
    found = results(attend(*rows), leaves, grad)
    expected = results(naive_attention(*rows, relative), leaves, grad)
    for name, one, other in zip(("out", "q", "k", "v", "bias"), found, expected, strict=True):
        torch.testing.assert_close(one, other, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("num_positions", [QUERIES_PER_TILE, QUERIES_PER_TILE + 1, 300])
def test_tiles_of_the_real_size_equal_one_square(num_positions: int, causal: bool) -> None:
    rows, relative = problem(num_positions, causal=causal)
    leaves, grad = [*rows, relative.weight], torch.randn_like(rows[0])
    found, expected = (
        results(training_attention(relative, num_positions=num_positions, path=path)(*rows), leaves, grad)
        for path in PATHS
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("causal", [True, False])
def test_half_precision_is_as_close_as_its_rounding(causal: bool) -> None:
    """bfloat16 rows, float32 bias: the error is that of a few roundings to eight bits."""
    rows, relative = problem(200, causal=causal, width=16)
    low = [row.detach().bfloat16().requires_grad_() for row in rows]
    exact = [row.detach().double().requires_grad_() for row in low]
    grad = torch.randn_like(low[0])
    attend = training_attention(relative, num_positions=200, path="sdpa")
    expected = results(attend(*exact), [*exact, relative.weight], grad.double())
    attend = training_attention(relative.float(), num_positions=200, path="tiles")
    found = results(attend(*low), [*low, relative.weight], grad)
    assert [x.dtype for x in found] == [torch.bfloat16] * 4 + [torch.float32]
    for one, other in zip(found, expected, strict=True):
        assert (one.double() - other).norm() / other.norm() < 2**-6


def test_autocast_does_not_round_the_bias() -> None:
    rows, relative = problem(40, causal=True, dtype=torch.float32)
    with torch.no_grad():
        relative.weight += 100  # rounded to bfloat16 this would be lost, and so would the differences
    plain = training_attention(relative, num_positions=40, path="tiles")(*rows)
    with torch.autocast("cpu", torch.bfloat16):
        same = training_attention(relative, num_positions=40, path="tiles")(*rows)
    assert torch.equal(plain, same)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("causal", [True, False])
def test_who_sees_whom_by_gradient(path: AttentionPath, causal: bool) -> None:
    (q, k, v), relative = problem(150, causal=causal)
    out = training_attention(relative, num_positions=150, path=path)(q, k, v)
    for position in (0, 70, 149):
        seen = (
            torch.autograd.grad(out[:, :, position].sum(), v, retain_graph=True)[0].abs().sum((0, 1, 3)) > 0
        )
        assert seen.tolist() == [not causal or i <= position for i in range(150)]


@pytest.mark.long
def test_no_square_of_positions_is_made() -> None:
    """The largest tensor that the tiles make is a tile of scores, not ``[H, S, S]``."""
    sizes: list[int] = []

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            sizes.extend(
                x.numel() for x in (out if isinstance(out, tuple) else (out,)) if isinstance(x, Tensor)
            )
            return out

    S, H = 400, 2
    relative = RelativeBias(num_heads=H, num_buckets=8, max_distance=20, causal=True)
    q, k, v = (torch.randn(1, H, S, 4, requires_grad=True) for _ in range(3))
    with Sizes():
        training_attention(relative, num_positions=S, path="tiles")(q, k, v).sum().backward()
    assert max(sizes) <= H * QUERIES_PER_TILE * (S + QUERIES_PER_TILE) < H * S * S


@pytest.fixture
def flex_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """FlexAttention traced as on a GPU and run by PyTorch: its kernels do not exist on a processor."""
    monkeypatch.setattr(flex_module, "_validate_device", lambda query, key, value: None)
    kernel = torch.compile(flex_module.flex_attention, backend="aot_eager", dynamic=False)
    monkeypatch.setattr("hafm.model.flex._kernel", lambda: kernel)


def of_tracing(test: Callable[..., None]) -> Callable[..., None]:
    """Slow, and PyTorch's compiler warns of its own doings."""
    for message in ("The .grad attribute of a Tensor that is not a leaf", ".*torch.jit.* is deprecated"):
        test = pytest.mark.filterwarnings(f"ignore:{message}")(test)
    return pytest.mark.slow(pytest.mark.usefixtures("flex_in_python")(test))


@of_tracing
@pytest.mark.parametrize("causal", [True, False])
def test_flex_equals_one_square(causal: bool) -> None:
    """Its bias and mask, and the gradient of its table."""
    rows, relative = problem(140, causal=causal, dtype=torch.float32, width=16)
    leaves, grad = [*rows, relative.weight], torch.randn_like(rows[0])
    table = relative.by_distance(torch.arange(-139, 140))
    found = results(FlexAttention(table, causal=causal)(*rows), leaves, grad)
    square = training_attention(relative, num_positions=140, path="sdpa")
    for one, other in zip(found, results(square(*rows), leaves, grad), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


COMPILED = """
import torch, torch.nn.attention.flex_attention as flex_module
import hafm.model.flex, hafm.model.transformer
from hafm.model.transformer import Transformer

flex_module._validate_device = lambda *_: None
hafm.model.transformer.choose_attention = lambda kind, **_: kind
kernel = torch.compile(flex_module.flex_attention, backend="aot_eager", dynamic=False)
hafm.model.flex._kernel = lambda: kernel
model = Transformer(num_layers=3, width=32, num_heads=2, feedforward_multiplier=4.0, num_buckets=8,
                    max_distance=40, causal=True)
x, grad = torch.randn(2, 140, 32, requires_grad=True), torch.randn(2, 140, 32)
found = []
for attention in ("sdpa", "flex"):
    out = model(x, attention=attention)
    found.append([out.detach(), *torch.autograd.grad(out, list(model.parameters()), grad)])
    for block in model.blocks:
        block.compile(backend="aot_eager", dynamic=False, fullgraph=True)
assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
for one, other in zip(*found, strict=True):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
"""


@pytest.mark.slow
def test_compiled_blocks_with_flex_equal_the_plain_stack() -> None:
    """Traced whole, once for all layers, with the gradient of the shared bias. In a process of its own: the
    shape checks of the tests cannot be traced."""
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_training_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding would compile anew at every length."""
    model = small_stack()

    def compiled(*args: object, **kwargs: object) -> None:
        raise AssertionError("the compiled block ran")

    for block in model.blocks:
        monkeypatch.setattr(
            block, "compile", lambda block=block, **_: setattr(block, "_compiled_call_impl", compiled)
        )
    model.compile_blocks()
    x = torch.randn(1, 5, 32)
    assert model.eval()(x).shape == x.shape
    with pytest.raises(AssertionError, match="the compiled block ran"):
        model.train()(x)


@pytest.mark.parametrize(
    ("kind", "device", "expected"),
    [("auto", "cpu", "tiles"), ("auto", "mps", "sdpa"), ("tiles", "cuda", "tiles"), ("sdpa", "cpu", "sdpa")],
)
def test_the_choice(kind: str, device: str, expected: str) -> None:
    assert choose_attention(kind, device=device, head_width=64) == expected


def test_the_choice_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    found: object = object()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
    assert choose_attention("auto", device="cuda:1", head_width=64) == "flex"
    assert choose_attention("auto", device="cuda", head_width=8) == "sdpa"
    with pytest.raises(DeviceError, match="16 wide or more, and these are 8"):
        choose_attention("flex", device="cuda", head_width=8)
    found = None
    assert choose_attention("auto", device="cuda", head_width=64) == "sdpa"
    with pytest.raises(DeviceError, match="needs Triton"):
        choose_attention("flex", device="cuda", head_width=64)


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(DeviceError, match="no backward pass on cpu"):
        choose_attention("flex", device="cpu", head_width=64)


def test_the_stack_trains_the_same_on_every_path() -> None:
    model = small_stack()
    x, grad = torch.randn(2, 140, 32), torch.randn(2, 140, 32)
    found = [results(model(x, attention=path), list(model.parameters()), grad) for path in PATHS]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), found[0][0], rtol=1e-4, atol=1e-4)


def test_tiled_attention_needs_no_gradient_to_run() -> None:
    rows, relative = problem(20, causal=True)
    tile = relative.tile(20, num_queries=QUERIES_PER_TILE)
    with torch.inference_mode():
        alone = tiled_attention(*rows, tile, causal=True)
    torch.testing.assert_close(alone, tiled_attention(*rows, tile, causal=True).detach())
