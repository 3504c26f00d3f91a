"""A stage as both engines are tested with it."""

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch

from hafm.stages.spec import COARSE, FINE
from hafm.stages.stage_model import StageModel
from tests.stages.small_stages import small_spec


@pytest.fixture
def stage() -> Callable[[str, str], StageModel]:
    """Makes a stage: weights of a usual size, norms that are not ones, an inner width that fills no block."""

    def make(positions: str, pattern: str) -> StageModel:
        spec = small_spec(
            FINE if pattern == "parallel" else COARSE,
            "aligned",
            positions=positions,
            pattern=pattern,
            width=64,
            clip_seconds=Fraction(1),
        )
        torch.manual_seed(0)
        model = StageModel(spec).eval().requires_grad_(False)
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.normal_(std=0.1)
        return model

    return make
