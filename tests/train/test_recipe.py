"""Recipes: the paper's numbers, one by one; the built-in model's; and what is refused."""

import json
from dataclasses import replace
from fractions import Fraction

import pytest

from hafm.errors import UsageError
from hafm.stages.guide import GuideSpec
from hafm.stages.spec import COARSE, FINE, SEMANTIC
from hafm.stages.stage_model import StageModel
from hafm.train.optim import build_optimizers
from hafm.train.recipe import RECIPES, STAGES, Recipe, builtin, paper, recipe_of, tiny


@pytest.mark.parametrize(
    ("stage", "batch", "clip_seconds", "steps", "accumulation", "segments", "positions"),
    [
        ("semantic", 210, 10, 100_000, 1, 2, 1000),
        ("coarse", 42, 5, 200_000, 2, 3, 2000),  # Table 1 says 1500, without the prefix
        ("fine", 140, 3, 150_000, 1, 2, 1125),  # 900 likewise
    ],
)
def test_paper_is_table_1(stage, batch, clip_seconds, steps, accumulation, segments, positions):
    recipe = paper(stage)
    assert recipe.batch == batch
    assert recipe.spec.clip_seconds == clip_seconds
    assert recipe.steps == steps
    assert recipe.accumulation == accumulation
    assert recipe.spec.num_segments == segments
    assert recipe.spec.sequence_length == positions
    assert batch % (7 * accumulation) == 0  # seven A40 share it evenly


@pytest.mark.parametrize("stage", STAGES)
def test_paper_is_section_3_5(stage):
    recipe = paper(stage)
    assert recipe.spec is STAGES[stage]
    assert recipe.optimizer == "adamw"
    assert (recipe.beta1, recipe.beta2) == (0.9, 0.98)
    assert recipe.weight_decay == 0.01
    assert recipe.schedule == "cosine"
    assert recipe.warmup_steps == 4000
    assert recipe.peak_rate == 3e-4
    assert recipe.final_rate == 1e-6
    assert recipe.clip_norm == 1.0
    assert recipe.precision == "half"
    assert recipe.spec.guidance_dropout == 0.1
    assert (recipe.history_dropout, recipe.warm_start, recipe.ema_decay) == (0.0, False, None)


@pytest.mark.parametrize("stage", STAGES)
def test_paper_rates_reach_their_peak_and_their_end(stage):
    recipe = paper(stage)
    rates = [recipe.peak_rate * recipe.rate_share(n) for n in (0, 1999, 3999, 4000, recipe.steps)]
    assert rates == pytest.approx([3e-4 / 4000, 1.5e-4, 3e-4, 3e-4, 1e-6])


def test_paper_decays_every_parameter():
    model = StageModel(replace(SEMANTIC, width=32, num_heads=2, num_layers=1))
    (optimizer,) = build_optimizers(model, kind="adamw", peak_rate=3e-4, weight_decay=0.01)
    (group,) = optimizer.param_groups
    assert group["weight_decay"] == 0.01
    assert group["betas"] == (0.9, 0.98)
    assert sum(parameter.numel() for parameter in group["params"]) == model.num_parameters()


def test_builtin_is_what_the_package_was_trained_with():
    semantic, coarse, fine = (builtin(stage) for stage in STAGES)
    assert [r.spec.width for r in (semantic, coarse, fine)] == [256, 256, 192]
    assert [r.spec.num_layers for r in (semantic, coarse, fine)] == [6, 6, 6]
    assert [r.spec.encoder_layers for r in (semantic, coarse, fine)] == [2, 2, 0]
    assert [r.spec.clip_seconds for r in (semantic, coarse, fine)] == [10, 5, 3]
    assert [r.batch for r in (semantic, coarse, fine)] == [8, 8, 16]
    assert [r.history_dropout for r in (semantic, coarse, fine)] == [0.6, 0.0, 0.0]
    assert [r.spec.pattern for r in (semantic, coarse, fine)] == ["flat", "delay", "parallel"]
    assert {(r.optimizer, r.peak_rate, r.embedding_rate) for r in (semantic, coarse, fine)} == {
        ("muon", 2e-3, 2e-2)
    }
    assert [r.spec.positions for r in (semantic, coarse, fine)] == ["rotary"] * 3
    assert [r.spec.guide for r in (semantic, coarse, fine)] == [
        GuideSpec(style=0.3),
        GuideSpec(style=0.3, sources=0.0),
        None,
    ]
    assert coarse.rate_share(10_000) == pytest.approx(0.06)


def test_a_parallel_stage_has_no_history_to_hide():
    with pytest.raises(UsageError, match="history_dropout must be 0 with pattern 'parallel'"):
        replace(builtin("fine"), history_dropout=0.1)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("stage", STAGES)
def test_a_recipe_survives_json(name, stage):
    recipe = recipe_of(name, stage)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert recipe.spec.sources == STAGES[stage].sources
    assert recipe.spec.target == STAGES[stage].target


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("batch", 0),
        ("accumulation", 9),
        ("peak_rate", 0.0),
        ("peak_rate", float("nan")),
        ("final_rate", 1.0),
        ("embedding_rate", -1.0),
        ("beta2", 1.0),
        ("weight_decay", -0.1),
        ("warmup_steps", -1),
        ("clip_norm", 0.0),
        ("history_dropout", 1.1),
        ("ema_decay", 1.0),
        ("seed", -1),
        ("evaluate_clips", 1),
        ("save_every", 0),
    ],
)
def test_a_field_out_of_range_is_named(field, value):
    with pytest.raises(UsageError, match=field):
        replace(tiny("fine"), **{field: value})


def test_a_clip_of_broken_frames_is_refused():
    recipe = tiny("coarse")
    with pytest.raises(UsageError, match="whole frames of every stream, not 1/2"):
        replace(recipe, spec=replace(recipe.spec, clip_seconds=Fraction(1, 2)))


def test_what_is_not_there_is_refused():
    with pytest.raises(UsageError, match="semantic, coarse, fine"):
        paper("drums")
    with pytest.raises(UsageError, match="paper, builtin, tiny"):
        recipe_of("papers", "fine")
    values = paper("fine").to_dict()
    with pytest.raises(UsageError, match="no recipe"):
        Recipe.from_dict({**values, "warp": 1})
    del values["steps"]
    with pytest.raises(UsageError, match="no recipe"):
        Recipe.from_dict(values)


def test_paper_stages_have_the_papers_clips():
    assert (SEMANTIC.clip_seconds, COARSE.clip_seconds, FINE.clip_seconds) == (10, 5, 3)
    assert tiny("fine").spec.clip_seconds == Fraction(1)
