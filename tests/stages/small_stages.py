"""The paper's three stages, shrunk so that oracles can afford loops: rates, codebooks and sources stay."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from hafm.guide.frames import GUIDE_CHANNELS
from hafm.stages.guide import GuideSpec
from hafm.stages.spec import COARSE, FINE, SEMANTIC, Conditioning, StageSpec
from hafm.stages.stage_model import StageModel
from hafm.tokens.pattern import Pattern

STAGES = (SEMANTIC, COARSE, FINE)
CONDITIONINGS: tuple[Conditioning, ...] = ("prefix", "aligned")
STEPWISE: tuple[Pattern, ...] = ("flat", "delay")


def small_spec(spec: StageSpec, conditioning: Conditioning = "prefix", **changes: Any) -> StageSpec:
    """6 frames at 50 Hz, 9 at 75 Hz; cardinalities differ, so that no table can stand in for another."""
    small = replace(
        spec,
        sources=tuple(replace(source, cardinality=7 + i) for i, source in enumerate(spec.sources)),
        target=replace(spec.target, cardinality=13),
        clip_seconds=Fraction(12, 100),
        num_layers=2,
        width=32,
        num_heads=2,
        num_buckets=8,
        conditioning=conditioning,
        encoder_layers=1 if conditioning == "aligned" else 0,
    )
    return replace(small, **changes)


def guided(spec: StageSpec, **changes: Any) -> StageSpec:
    """A small aligned stage with a guide and rotary positions."""
    return small_spec(spec, "aligned", guide=GuideSpec(), positions="rotary", **changes)


def random_guide(spec: StageSpec, *, batch: int, target_frames: int | None = None) -> Tensor:
    """Noise for so many target frames, a whole clip unless told."""
    frames = spec.source_frames(spec.target_frames if target_frames is None else target_frames)
    return torch.randn(batch, frames[0], GUIDE_CHANNELS)


def small_model(spec: StageSpec, conditioning: Conditioning = "prefix", **changes: Any) -> StageModel:
    """A random stage, in evaluation mode, with weights so large that everything in it matters."""
    return with_large_weights(small_spec(spec, conditioning, **changes))


def with_large_weights(spec: StageSpec) -> StageModel:
    """The same of a spec as it is."""
    model = StageModel(spec).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


def random_conditions(spec: StageSpec, *, batch: int, target_frames: int | None = None) -> tuple[Tensor, ...]:
    """Sources for so many target frames, a whole clip unless told."""
    frames = spec.source_frames(spec.target_frames if target_frames is None else target_frames)
    return tuple(
        torch.randint(source.cardinality, (batch, source.num_codebooks, length))
        for source, length in zip(spec.sources, frames, strict=True)
    )


def random_target(spec: StageSpec, *, batch: int) -> Tensor:
    return torch.randint(spec.target.cardinality, (batch, spec.target.num_codebooks, spec.target_frames))
