"""Steps against the Transformer and its cache, bit by bit, and takes against themselves alone."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from hafm.engine.torch_steps import TorchSteps
from hafm.stages.stage_model import StageModel
from tests.crossed import crossed

PROMPT, LENGTH = 5, 30
MakeStage: TypeAlias = Callable[[str, str], StageModel]


def by_the_transformer(model: StageModel, x: Tensor, *, together: int) -> Tensor:
    """Logits behind the prompt and of all steps that follow."""
    transformer, length = model.transformer, x.shape[1]
    cache = transformer.new_cache(batch=len(x), capacity=length)
    found = []
    for start, end in [(0, PROMPT), *((at, at + 1) for at in range(PROMPT, length))]:
        bias = rotation = None
        if transformer.bias is None:
            rotation = transformer.rotation(0, num_positions=length)[:, start:end]
        elif start:
            bias = transformer.bias.by_distance(torch.arange(start, -1, -1))[:, None]
        hidden = transformer(x[:, start:end], cache=cache, bias=bias, rotation=rotation, together=together)[
            :, -1
        ]
        scores = [model.logits(hidden, codebook=each, together=together) for each in range(len(model.heads))]
        found.append(torch.stack(scores, dim=1))
    return torch.stack(found, dim=1)


def stepped(model: StageModel, x: Tensor, *, together: int) -> Tensor:
    steps = TorchSteps(model, batch=len(x), capacity=x.shape[1], together=together)
    codebooks = range(len(model.heads))
    found = [steps(x[:, :PROMPT], codebooks)]
    found += [steps(x[:, at : at + 1], codebooks) for at in range(PROMPT, x.shape[1])]
    return torch.stack(found, dim=1)


@torch.inference_mode()
@crossed(
    positions=["t5", "rotary"],
    rows=[(1, 1), (2, 2), (6, 2), (3, 3)],  # of a batch, and of those the ones that go together
    dtype=[torch.float32, torch.bfloat16],
)
def test_a_step_is_the_transformers(
    stage: MakeStage, positions: str, rows: tuple[int, int], dtype: torch.dtype
) -> None:
    batch, together = rows
    model = stage(positions, "delay").to(dtype)
    x = 0.3 * torch.randn(batch, LENGTH, model.spec.width, dtype=dtype)
    assert torch.equal(stepped(model, x, together=together), by_the_transformer(model, x, together=together))


@torch.inference_mode()
def test_a_take_alone_is_the_take_in_company(stage: MakeStage) -> None:
    model = stage("rotary", "delay")
    x = 0.3 * torch.randn(6, LENGTH, model.spec.width)
    assert torch.equal(stepped(model, x, together=2)[2:4], stepped(model, x[2:4].clone(), together=2))
