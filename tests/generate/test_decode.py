"""Decoding against the uncached model, position by position, and takes against themselves in company."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hafm.errors import BundleError
from hafm.generate.decode import Stepper
from hafm.generate.guidance import Guidance
from hafm.generate.sampling import SamplingSettings, sample
from hafm.progress import Progress
from hafm.stages.spec import COARSE, FINE, SEMANTIC, Conditioning, StageSpec
from hafm.stages.stage_model import StageModel
from hafm.tokens.pattern import Pattern
from tests.crossed import crossed
from tests.generate.decoding import decode
from tests.stages.small_stages import (
    CONDITIONINGS,
    STAGES,
    STEPWISE,
    guided,
    random_conditions,
    random_guide,
    random_target,
    small_model,
    with_large_weights,
)
from tests.unchecked import unchecked

ALL_STAGES = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
BOTH_WAYS = pytest.mark.parametrize("conditioning", CONDITIONINGS)
BOTH_PATTERNS = pytest.mark.parametrize("pattern", STEPWISE)


def takes(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def uncached_logits(
    model: StageModel,
    target: Tensor,
    conditions: tuple[Tensor, ...],
    *,
    guidance: float,
    guide: Tensor | None = None,
    guide_guidance: float | None = None,
) -> Tensor:
    """Guided logits of all tokens, `[B, K, F, V]`, by runs over the whole sequence."""
    everyone = torch.ones(target.shape[0], dtype=torch.bool)
    with torch.inference_mode():
        conditional = model(target, conditions, guide=guide)
        unconditional = model(target, conditions, drop=everyone)
        if guide_guidance is not None:
            alone = model(target, conditions)
            apart = guidance * (alone - unconditional) + guide_guidance * (conditional - alone)
            return unconditional + apart
    return unconditional + guidance * (conditional - unconditional)


def cached_logits(
    model: StageModel,
    target: Tensor,
    conditions: tuple[Tensor, ...],
    *,
    guidance: float,
    first: int = 0,
    guide: Tensor | None = None,
    guide_guidance: float | None = None,
) -> Tensor:
    """The same, step by step, after a prefill of ``first`` steps; NaN for the tokens of these."""
    shifted = model.target_embedding.shift(model.layout.spread(target, fill=model.target_embedding.bos))
    out = torch.full((*target.shape, model.spec.target.cardinality), torch.nan)
    with torch.inference_mode():
        settings = SamplingSettings(guidance=guidance, guide_guidance=guide_guidance)
        joined = Guidance.of(settings, has_guide=guide is not None)
        step = Stepper(model, conditions, target_frames=target.shape[2], guidance=joined, guide=guide)
        start = 0
        for position in range(first, shifted.shape[2]):
            tokens = model.layout.tokens_of(position, num_frames=target.shape[2])
            codebooks = [token.codebook for token in tokens]
            logits = step(shifted[:, :, start : position + 1], start=start, codebooks=codebooks)
            for place, token in enumerate(tokens):
                out[:, token.codebook, token.frame] = logits[:, place]
            start = position + 1
    return out


# ---- the cache


@crossed(stage=STAGES, conditioning=CONDITIONINGS, pattern=STEPWISE, guidance=(0.0, 1.0, 3.0))
@unchecked()
def test_cached_equals_uncached_everywhere(
    stage: StageSpec, conditioning: Conditioning, pattern: Pattern, guidance: float
) -> None:
    model = small_model(stage, conditioning, pattern=pattern)
    target, conditions = random_target(model.spec, batch=1), random_conditions(model.spec, batch=1)
    expected = uncached_logits(model, target, conditions, guidance=guidance)
    found = cached_logits(model, target, conditions, guidance=guidance)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    first = model.spec.target_steps - 3
    found = cached_logits(model, target, conditions, guidance=guidance, first=first)
    later = ~found.isnan()
    expected_later = sum(len(model.layout.tokens_of(first + n, num_frames=target.shape[2])) for n in range(3))
    assert later[0, :, :, 0].sum() == expected_later
    torch.testing.assert_close(found[later], expected[later], rtol=1e-3, atol=1e-3)


@pytest.mark.long
@pytest.mark.parametrize(("stage", "pattern"), [(SEMANTIC, "flat"), (COARSE, "flat"), (COARSE, "delay")])
def test_cached_equals_uncached_with_rotary_positions(stage: StageSpec, pattern: Pattern) -> None:
    model = small_model(stage, "aligned", positions="rotary", pattern=pattern)
    target, conditions = random_target(model.spec, batch=2), random_conditions(model.spec, batch=2)
    expected = uncached_logits(model, target, conditions, guidance=3.0)
    for first in (0, model.spec.target_steps - 3):
        found = cached_logits(model, target, conditions, guidance=3.0, first=first)
        later = ~found.isnan()
        assert later.any()
        torch.testing.assert_close(found[later], expected[later], rtol=1e-3, atol=1e-3)


@pytest.mark.long
@crossed(stage=STAGES, conditioning=CONDITIONINGS, pattern=STEPWISE)
@unchecked()
def test_decoding_equals_a_slow_loop(stage: StageSpec, conditioning: Conditioning, pattern: Pattern) -> None:
    """One token at a time, each from a run over the whole sequence with junk where nothing is known yet."""
    model = small_model(stage, conditioning, pattern=pattern)
    settings = SamplingSettings(top_k=5)
    K, F = model.spec.target.num_codebooks, 3
    conditions = random_conditions(model.spec, batch=2, target_frames=F)
    generators = takes(1, 2)
    # A number per token, frame by frame, whatever the order of the steps.
    uniform = torch.stack([torch.rand(F, K, generator=take, dtype=torch.float64) for take in generators])
    codes = torch.zeros(2, K, F, dtype=torch.long)
    for step in range(model.layout.num_steps(F)):
        for token in model.layout.tokens_of(step, num_frames=F):
            k, f = token.codebook, token.frame
            logits = uncached_logits(model, codes, conditions, guidance=3.0)[:, k, f]
            codes[:, k, f] = sample(logits, settings=settings, uniform=uniform[:, f, k])
    found = decode(model, conditions, target_frames=F, settings=settings, generators=takes(1, 2))
    assert torch.equal(found, codes)
    assert found.unique().numel() > 2


# ---- guidance


@ALL_STAGES
@BOTH_WAYS
def test_guidance_1_is_the_condition_alone(stage: StageSpec, conditioning: Conditioning) -> None:
    """One row per take, and the plain model's scores: nothing unconditional is computed."""
    model = small_model(stage, conditioning)
    target, conditions = random_target(model.spec, batch=2), random_conditions(model.spec, batch=2)
    with torch.inference_mode():
        rows = [
            Stepper(
                model, conditions, target_frames=target.shape[2], guidance=Guidance(sources=guidance)
            ).scores.cache.keys.shape[1]  # type: ignore[attr-defined]
            for guidance in (1.0, 3.0)
        ]
        expected = model(target, conditions)[:, -1, -1]
    assert rows == [2, 4]
    found = cached_logits(model, target, conditions, guidance=1.0, first=model.spec.target_steps - 1)
    torch.testing.assert_close(found[:, -1, -1], expected, rtol=1e-3, atol=1e-3)


def test_the_condition_matters_and_guidance_0_ignores_it() -> None:
    model = small_model(SEMANTIC, "aligned")
    one, other = (random_conditions(model.spec, batch=1) for _ in range(2))
    for guidance, same in ((0.0, True), (1.0, False), (3.0, False)):
        settings = SamplingSettings(guidance=guidance)
        a, b = (
            decode(model, conditions, target_frames=6, settings=settings, generators=takes(5))
            for conditions in (one, other)
        )
        assert torch.equal(a, b) == same


# ---- the guide

GUIDED = pytest.mark.parametrize(
    ("stage", "pattern"), [(SEMANTIC, "flat"), (COARSE, "flat"), (COARSE, "delay")]
)


@GUIDED
@pytest.mark.parametrize(
    ("guidance", "guide_guidance"),
    [
        (1.0, None),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in ((2.0, None), (1.0, 2.5), (2.0, 0.0))),
        (3.0, 1.5),
    ],
)
@unchecked()
def test_cached_equals_uncached_with_a_guide(
    stage: StageSpec, pattern: Pattern, guidance: float, guide_guidance: float | None
) -> None:
    model = with_large_weights(guided(stage, pattern=pattern))
    target, conditions = random_target(model.spec, batch=2), random_conditions(model.spec, batch=2)
    weights: dict[str, Any] = {
        "guide": random_guide(model.spec, batch=2),
        "guidance": guidance,
        "guide_guidance": guide_guidance,
    }
    expected = uncached_logits(model, target, conditions, **weights)
    found = cached_logits(model, target, conditions, **weights)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.long
@GUIDED
@pytest.mark.parametrize("guide_guidance", [pytest.param(None, marks=pytest.mark.slow), 1.5])
@unchecked()
def test_takes_with_guides_are_the_same_alone_and_in_company(
    stage: StageSpec, pattern: Pattern, guide_guidance: float | None
) -> None:
    """To the bit, each take with a guide of its own."""
    model = with_large_weights(guided(stage, pattern=pattern))
    F = model.spec.target_frames
    conditions, guide = random_conditions(model.spec, batch=3), random_guide(model.spec, batch=3)
    settings = SamplingSettings(guidance=2.0, guide_guidance=guide_guidance)

    def run(*rows: int) -> Tensor:
        which = list(rows)
        return decode(
            model,
            tuple(ids[which] for ids in conditions),
            target_frames=F,
            guide=guide[which],
            settings=settings,
            generators=takes(*rows),
        )

    together = run(0, 1, 2)
    for rows in ((0,), (1, 2), (2,)):
        assert torch.equal(run(*rows), together[list(rows)])


def test_the_guide_matters_and_weight_0_ignores_it() -> None:
    model = with_large_weights(guided(SEMANTIC))
    conditions = random_conditions(model.spec, batch=1)
    one, other = (random_guide(model.spec, batch=1) for _ in range(2))
    for weight, same in ((None, False), (0.0, True), (2.0, False)):
        settings = SamplingSettings(guidance=3.0, guide_guidance=weight)
        a, b = (
            decode(model, conditions, target_frames=6, guide=guide, settings=settings, generators=takes(5))
            for guide in (one, other)
        )
        assert torch.equal(a, b) == same


def test_a_guide_in_which_nothing_is_known_is_none() -> None:
    model = with_large_weights(guided(SEMANTIC))
    conditions = random_conditions(model.spec, batch=1)
    nothing = torch.zeros_like(random_guide(model.spec, batch=1))
    with_it, without = (
        decode(
            model,
            conditions,
            target_frames=6,
            guide=guide,
            settings=SamplingSettings(),
            generators=takes(5),
        )
        for guide in (nothing, None)
    )
    assert torch.equal(with_it, without)


# ---- takes


@crossed(stage=STAGES, conditioning=CONDITIONINGS, pattern=STEPWISE, guidance=(1.0, 3.0))
@unchecked()
def test_logits_of_a_take_are_the_same_alone_and_in_company(
    stage: StageSpec, conditioning: Conditioning, pattern: Pattern, guidance: float
) -> None:
    """To the bit: 2 to 5 takes, at their beginning, in their middle and at their end."""
    model = small_model(stage, conditioning, pattern=pattern)
    target, conditions = random_target(model.spec, batch=5), random_conditions(model.spec, batch=5)
    first = model.spec.target_steps - 3

    def logits(rows: slice) -> Tensor:
        some = tuple(ids[rows] for ids in conditions)
        found = cached_logits(model, target[rows], some, guidance=guidance, first=first)
        return found.masked_fill(found.isnan(), 0)

    together = logits(slice(0, 5))
    for rows in (slice(4, 5), slice(1, 3), slice(2, 5), slice(0, 4)):
        assert torch.equal(logits(rows), together[rows])


@pytest.mark.parametrize(
    ("pattern", "conditioning"),
    [
        ("flat", "prefix"),
        ("delay", "aligned"),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in (("flat", "aligned"), ("delay", "prefix"))),
    ],
)
def test_tokens_of_a_take_are_the_same_alone_and_in_company(
    conditioning: Conditioning, pattern: Pattern
) -> None:
    model = small_model(FINE, conditioning, pattern=pattern)
    settings = SamplingSettings()
    conditions = random_conditions(model.spec, batch=1)
    prompt = random_target(model.spec, batch=1)[:, :, :4]

    def run(*seeds: int) -> Tensor:
        return decode(
            model,
            tuple(ids.expand(len(seeds), -1, -1) for ids in conditions),
            target_frames=9,
            settings=settings,
            generators=takes(*seeds),
            prompt=prompt.expand(len(seeds), -1, -1),
        )

    together = run(1, 2, 3, 1)
    for b, seed in enumerate((1, 2, 3, 1)):
        assert torch.equal(run(seed)[0], together[b])
    assert not torch.equal(together[0], together[1])


@BOTH_PATTERNS
def test_a_generator_moves_on_by_one_number_a_token(pattern: Pattern) -> None:
    model = small_model(FINE, pattern=pattern)
    (used,), (fresh,) = takes(3), takes(3)
    prompt = random_target(model.spec, batch=1)[:, :, :4]
    decode(
        model,
        random_conditions(model.spec, batch=1),
        target_frames=9,
        settings=SamplingSettings(guidance=1.0),
        generators=[used],
        prompt=prompt,
    )
    torch.rand((9 - 4) * 4, generator=fresh, dtype=torch.float64)
    assert torch.equal(used.get_state(), fresh.get_state())


# ---- prompts


@pytest.mark.long
@crossed(stage=STAGES, conditioning=CONDITIONINGS, pattern=STEPWISE)
@unchecked()
def test_a_prompt_is_kept_and_continued_as_if_it_had_been_drawn(
    stage: StageSpec, conditioning: Conditioning, pattern: Pattern
) -> None:
    """Also where the codes that a delayed window drew after some of the prompt's are given with it."""
    model = small_model(stage, conditioning, pattern=pattern)
    K, F = model.spec.target.num_codebooks, model.spec.target_frames
    conditions = random_conditions(model.spec, batch=2)
    settings = SamplingSettings()
    whole = decode(model, conditions, target_frames=F, settings=settings, generators=takes(1, 2))
    for known in (1, F - 1, F):
        generators = takes(1, 2)
        for take in generators:
            torch.rand(known * K, generator=take, dtype=torch.float64)
        found = decode(
            model,
            conditions,
            target_frames=F,
            settings=settings,
            generators=generators,
            prompt=whole[:, :, :known],
        )
        assert torch.equal(found, whole)


# ---- progress and errors


@BOTH_PATTERNS
def test_progress_counts_new_frames(pattern: Pattern) -> None:
    model = small_model(COARSE, "aligned", pattern=pattern)
    seen: list[Progress] = []
    decode(
        model,
        random_conditions(model.spec, batch=1),
        target_frames=9,
        settings=SamplingSettings(guidance=1.0),
        generators=takes(0),
        prompt=random_target(model.spec, batch=1)[:, :, :6],
        on_step=seen.append,
    )
    assert seen == [Progress(step="coarse", done=done, total=3) for done in (1, 2, 3)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_the_callback_raises_passes_through_at_once(error: type[BaseException]) -> None:
    model = small_model(COARSE, "aligned")
    calls = 0

    def stop(_: Progress) -> None:
        nonlocal calls
        calls += 1
        raise error("enough")

    with pytest.raises(error, match="enough"):
        decode(
            model,
            random_conditions(model.spec, batch=1),
            target_frames=9,
            settings=SamplingSettings(),
            generators=takes(0),
            on_step=stop,
        )
    assert calls == 1


def test_damaged_weights_are_refused() -> None:
    model = small_model(SEMANTIC)
    with torch.no_grad():
        model.heads[0, 0, 0] = torch.nan
    with pytest.raises(BundleError, match="not finite"):
        decode(
            model,
            random_conditions(model.spec, batch=1),
            target_frames=6,
            settings=SamplingSettings(),
            generators=takes(0),
        )


def test_training_mode_is_refused() -> None:
    model = small_model(SEMANTIC).train()
    with pytest.raises(AssertionError, match=r"model\.eval\(\)"):
        decode(
            model,
            random_conditions(model.spec, batch=1),
            target_frames=6,
            settings=SamplingSettings(),
            generators=takes(0),
        )


def test_results_can_be_trained_on() -> None:
    """Tensors made in inference mode cannot; nothing of that must leak out."""
    model = small_model(SEMANTIC)
    conditions = random_conditions(model.spec, batch=1)
    codes = decode(model, conditions, target_frames=6, settings=SamplingSettings(), generators=takes(0))
    model.train()(codes, conditions).sum().backward()
    assert not codes.is_inference()
