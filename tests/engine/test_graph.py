"""Graphs against the Transformers that they are made of, and rows of a batch against rows alone."""

from collections.abc import Callable
from typing import TypeAlias

import pytest
import torch
from torch import Tensor

pytest.importorskip("onnx", reason="the extra `fast` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `fast` is not installed")

from hafm.engine.graph import KeyValueRange, stage_graph
from hafm.engine.session import StageSession
from hafm.errors import UsageError
from hafm.stages.stage_model import StageModel

KINDS = [("t5", "flat"), ("t5", "delay"), ("rotary", "flat"), ("rotary", "delay")]
PROMPT, LENGTH = 20, 36
MakeStage: TypeAlias = Callable[[str, str], StageModel]


def whole(model: StageModel, x: Tensor) -> tuple[Tensor, KeyValueRange]:
    """PyTorch's logits of all positions, and how large keys and values are."""
    with torch.inference_mode():
        cache = model.transformer.new_cache(batch=x.shape[0], capacity=x.shape[1])
        hidden = model.transformer(x, cache=cache)
        keys = torch.hypot(*cache.keys.chunk(2, dim=-1)).repeat(1, 1, 1, 1, 2)
        ranges = KeyValueRange(keys=keys.amax((1, 3)), values=cache.values.abs().amax((1, 3)))
        return torch.einsum("bsd,kdv->bskv", hidden, model.heads), ranges


def stepped(session: StageSession, x: Tensor, *, prompt: int) -> Tensor:
    """Logits of the last position of the prompt and of all that follow, step by step."""
    codebooks = range(session.model.heads.shape[0])
    steps = session.start(batch=len(x), capacity=x.shape[1])
    found = [steps(x[:, :prompt], codebooks)]
    found += [steps(x[:, at : at + 1], codebooks) for at in range(prompt, x.shape[1])]
    return torch.stack(found, dim=1)


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize(("positions", "pattern"), KINDS)
@pytest.mark.parametrize("prompt", [1, PROMPT])
def test_logits_are_those_of_pytorch(stage: MakeStage, positions: str, pattern: str, prompt: int) -> None:
    model = stage(positions, pattern)
    x = torch.randn(4, LENGTH, 64)
    expected, ranges = whole(model, x)
    found = stepped(StageSession(stage_graph(model, ranges), model), x, prompt=prompt)
    assert error(found, expected[:, prompt - 1 :]) < 0.02
    # The control: with keys and values that are cut off, the test would see it.
    cut = KeyValueRange(keys=ranges.keys / 20, values=ranges.values / 20)
    found = stepped(StageSession(stage_graph(model, cut), model), x, prompt=prompt)
    assert error(found, expected[:, prompt - 1 :]) > 0.05


@pytest.mark.parametrize(("positions", "pattern"), KINDS)
def test_a_row_has_the_same_bits_whatever_it_is_batched_with(
    stage: MakeStage, positions: str, pattern: str
) -> None:
    model = stage(positions, pattern)
    x = torch.randn(6, LENGTH, 64)
    session = StageSession(stage_graph(model, whole(model, x)[1]), model)
    together = stepped(session, x, prompt=PROMPT)
    for rows in ([0], [1, 2], [3, 4, 5], [0, 1, 2, 3, 4]):
        assert torch.equal(stepped(session, x[rows], prompt=PROMPT), together[rows]), rows


@pytest.mark.parametrize("positions", ["t5", "rotary"])
def test_a_parallel_stage_gives_the_hidden_states_of_pytorch_row_by_row(
    stage: MakeStage, positions: str
) -> None:
    model = stage(positions, "parallel")
    x = torch.randn(3, LENGTH, 64)
    session = StageSession(stage_graph(model, None), model)
    found = session.hidden(x)
    with torch.inference_mode():
        assert error(found, model.transformer(x)) < 1e-5  # its weights are not rounded
    assert torch.equal(session.hidden(x[1:2]), found[1:2])


def test_a_graph_that_onnxruntime_cannot_run_is_refused_in_our_words(stage: MakeStage) -> None:
    with pytest.raises(UsageError, match=r"cannot run the stages .*; use engine torch"):
        StageSession(b"no graph", stage("rotary", "delay"))


def test_the_same_stage_gives_the_same_bytes(stage: MakeStage) -> None:
    model = stage("rotary", "delay")
    _, ranges = whole(model, torch.randn(1, LENGTH, 64))
    assert stage_graph(model, ranges) == stage_graph(model, ranges)
