"""The tiny recipe learns eight clips by heart: nothing in the loop is broken for any stage or layout."""

import time
from dataclasses import replace

import numpy as np
import pytest

from hafm.stages.stage_model import StageModel
from hafm.train.metrics import read_metrics
from hafm.train.recipe import STAGES, tiny
from tests.train.echo_pairs import EchoPairs, trainer
from tests.unchecked import unchecked

NEAR_ZERO = 0.05
"""Nats a token. Chance is ln 500 = 6.2 and ln 1024 = 6.9."""


class EightClips(EchoPairs):
    """Random ids of the real cardinalities: nothing about them can be known, only remembered."""

    def __init__(self) -> None:
        super().__init__(count=8, seconds=tiny("fine").spec.clip_seconds)

    def stream(self, index: int, name: str, view: int) -> np.ndarray:
        frames, rng = int(self.frames(name)[0]), np.random.default_rng((index, len(name)))
        return (
            rng.integers(1024, size=(4, frames))
            if name.endswith("codes")
            else rng.integers(500, size=(1, frames))
        )


@unchecked()
@pytest.mark.parametrize(
    ("stage", "conditioning", "pattern", "steps"),
    [
        # Enough for so few tokens, if everything works; by default test_parts.py has a stage learn.
        pytest.param("semantic", "aligned", "flat", 80, marks=pytest.mark.slow),
        *(
            pytest.param(stage, conditioning, "flat", tiny(stage).steps, marks=pytest.mark.slow)
            for stage in STAGES
            for conditioning in ("aligned", "prefix")
        ),
        pytest.param("coarse", "aligned", "delay", tiny("coarse").steps, marks=pytest.mark.slow),
        pytest.param("fine", "aligned", "parallel", 2 * tiny("fine").steps, marks=pytest.mark.slow),
    ],
)
def test_eight_clips_are_learnt_by_heart(tmp_path, stage, conditioning, pattern, steps):
    recipe = replace(tiny(stage), steps=steps)
    recipe = replace(recipe, spec=replace(recipe.spec, pattern=pattern))
    if pattern == "parallel":  # a clip without condition leaves a pass nothing to tell codebook 0 from
        recipe = replace(recipe, spec=replace(recipe.spec, guidance_dropout=0.0))
    if conditioning == "prefix":
        recipe = replace(recipe, spec=replace(recipe.spec, conditioning="prefix", encoder_layers=0))
    began = time.monotonic()
    trainer(
        tmp_path,
        recipe,
        model=StageModel(recipe.spec),
        training=EightClips(),
        held_out=EightClips(),
        data="eight",
    ).fit()
    last = read_metrics(tmp_path)[-2]
    print(f"{stage} {conditioning} {pattern}: {last['loss']:.4f} nats in {time.monotonic() - began:.0f} s")
    assert last["loss"] < NEAR_ZERO
