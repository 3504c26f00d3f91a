"""Windows: plans for every length, exact slices, and generation that carries on what was generated."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hafm.errors import UsageError
from hafm.generate import windows as windows_module
from hafm.generate.decode import decode_frames
from hafm.generate.plan import frames_between_starts, plan_windows
from hafm.generate.sampling import SamplingSettings
from hafm.generate.windows import OVERLAP, generate_long
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
    small_model,
    with_large_weights,
)
from tests.unchecked import unchecked

ALL_STAGES = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
BOTH_PATTERNS = pytest.mark.parametrize("pattern", STEPWISE)


# ---- plans


def check_plan(total: int, *, window: int, overlap: int, grid: int) -> None:
    plan = plan_windows(total, window_frames=window, overlap_frames=overlap, grid_frames=grid)
    generated = [frame for each in plan for frame in range(each.start + each.prompt, each.stop)]
    assert generated == list(range(total))  # all, in order, once
    assert plan[0].prompt == 0
    for previous, each in pairwise(plan):
        assert each.start > previous.start
        assert each.start % grid == 0
        assert each.start + each.prompt == previous.stop  # the prompt is what there is
        assert each.prompt >= overlap
        assert each.stop - each.start <= window
    for each in plan[:-1]:
        assert each.stop - each.start == window
    if total <= window:
        assert [(each.start, each.stop) for each in plan] == [(0, total)]
    else:
        assert plan[-1].stop - plan[-1].start > window - grid


@ALL_STAGES
def test_plans_of_the_paper_stages_from_one_frame_to_ten_minutes(stage: StageSpec) -> None:
    window, grid = stage.target_frames, frames_between_starts(stage)
    ten_minutes = int(600 * stage.target.frame_rate)
    for total in (*range(1, 3 * window, 7), window - 1, window, window + 1, ten_minutes - 1, ten_minutes):
        check_plan(total, window=window, overlap=-int(-window * OVERLAP // 1), grid=grid)


@given(
    total=st.integers(1, 400),
    grid=st.integers(1, 6),
    overlap=st.integers(0, 30),
    more=st.integers(0, 30),
)
def test_plans_of_any_kind(total: int, grid: int, overlap: int, more: int) -> None:
    check_plan(total, window=overlap + grid + more, overlap=overlap, grid=grid)


def test_half_of_ten_minutes_is_prompt() -> None:
    plan = plan_windows(45_000, window_frames=225, overlap_frames=113)
    assert len(plan) == 1 + -(-(45_000 - 225) // 112)


@pytest.mark.parametrize(("overlap", "grid"), [(10, 1), (8, 3), (11, 1), (-1, 1)])
def test_overlaps_that_do_not_move_on_are_refused(overlap: int, grid: int) -> None:
    with pytest.raises(UsageError, match=f"overlap of {overlap} frames"):
        plan_windows(100, window_frames=10, overlap_frames=overlap, grid_frames=grid)


# ---- the grid


@pytest.mark.parametrize(
    ("target_hz", "source_hz", "expected"),
    [
        (75, [50], 3),
        (75, [50, 50], 3),
        (50, [75], 2),
        (50, [50], 1),
        (75, [75], 1),
        (75, [25], 3),
        (50, [25, 75], 2),
        (75, [Fraction(75, 2)], 2),
        (Fraction(75, 2), [50], 3),
        (Fraction(44_100, 512), [50], 441),
    ],
)
def test_the_grid_against_a_search(target_hz: Any, source_hz: list[Any], expected: int) -> None:
    """The first frame after 0 that begins together with a frame of every source."""
    sources = tuple(replace(SEMANTIC.sources[0], frame_rate=Fraction(rate)) for rate in source_hz)
    spec = replace(FINE, target=replace(FINE.target, frame_rate=Fraction(target_hz)), sources=sources)
    meets = (
        n
        for n in range(1, 1000)
        if all((n / Fraction(target_hz) * rate).denominator == 1 for rate in source_hz)
    )
    assert frames_between_starts(spec) == next(meets) == expected


# ---- generation


SETTINGS = SamplingSettings(guidance=1.0)  # half the work


def run(model: StageModel, conditions: tuple[Tensor, ...], target_frames: int, **more: Any) -> Tensor:
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    return generate_long(
        model,
        conditions,
        target_frames=target_frames,
        settings=SETTINGS,
        generators=generators,
        **more,
    )


@crossed(stage=STAGES, conditioning=CONDITIONINGS, pattern=STEPWISE, missing=(0, 1, 5))
@unchecked()
def test_windowed_equals_whole_where_one_window_covers_it(
    stage: StageSpec, conditioning: Conditioning, pattern: Pattern, missing: int
) -> None:
    model = small_model(stage, conditioning, pattern=pattern)
    frames = model.spec.target_frames - missing
    conditions = random_conditions(model.spec, batch=2, target_frames=frames)
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    whole = decode(model, conditions, target_frames=frames, settings=SETTINGS, generators=generators)
    assert torch.equal(run(model, conditions, frames), whole)


@pytest.mark.long
@crossed(stage=STAGES, pattern=STEPWISE, frames=(23, 24))
@unchecked()
def test_every_window_gets_its_slice_and_what_was_generated(
    stage: StageSpec, pattern: Pattern, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model(stage, "aligned", pattern=pattern)
    spec = model.spec
    calls: list[dict[str, Any]] = []

    def spy(
        model: StageModel, conditions: tuple[Tensor, ...], *, codes: Tensor, known: int, **arguments: Any
    ) -> Iterator[int]:
        prompt = codes[:, :, :known].clone()
        yield from decode_frames(model, conditions, codes=codes, known=known, **arguments)
        calls.append({"conditions": conditions, "prompt": prompt, "out": codes.clone()})

    monkeypatch.setattr(windows_module, "decode_frames", spy)
    conditions = random_conditions(spec, batch=2, target_frames=frames)
    codes = run(model, conditions, frames)
    assert len(calls) > 2
    start = generated = 0
    for number, call in enumerate(calls):
        prompt, length = call["prompt"], call["out"].shape[2]
        if number:
            start = generated - prompt.shape[2]
            assert prompt.shape[2] >= OVERLAP * spec.target_frames
        stop = start + length
        assert torch.equal(prompt, codes[:, :, start:generated])
        assert torch.equal(call["out"], codes[:, :, start:stop])
        generated = stop
        # Exact times: the slice begins when the window begins, and covers it with no frame to spare.
        begins, ends = start / spec.target.frame_rate, stop / spec.target.frame_rate
        for found, ids, source in zip(call["conditions"], conditions, spec.sources, strict=True):
            first = begins * source.frame_rate
            assert first.denominator == 1
            last = -(-ends * source.frame_rate // 1)
            assert torch.equal(found, ids[:, :, int(first) : int(last)])
            assert found.shape[2] == last - first
    assert generated == frames


@pytest.mark.parametrize(
    "stage",
    [SEMANTIC, pytest.param(COARSE, marks=pytest.mark.slow)],
    ids=lambda stage: stage.name,
)
def test_every_window_gets_its_part_of_the_guide(stage: StageSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against exact times; where one window covers everything, it gets all of it."""
    model = with_large_weights(guided(stage))
    spec, frames = model.spec, 23
    calls: list[dict[str, Any]] = []

    def spy(model: StageModel, conditions: tuple[Tensor, ...], **arguments: Any) -> Iterator[int]:
        calls.append(arguments)
        return decode_frames(model, conditions, **arguments)

    monkeypatch.setattr(windows_module, "decode_frames", spy)
    conditions = random_conditions(spec, batch=2, target_frames=frames)
    guide = random_guide(spec, batch=2, target_frames=frames)
    codes = run(model, conditions, frames, guide=guide)
    generated = 0
    for call in calls:
        start = generated - call["known"]
        generated = start + call["codes"].shape[2]
        first, last = (Fraction(frame) / spec.target.frame_rate * 50 for frame in (start, generated))
        assert first.denominator == 1
        assert torch.equal(call["guide"], guide[:, int(first) : -(-last // 1)])
    assert len(calls) > 2
    assert generated == frames
    assert not torch.equal(run(model, conditions, frames), codes)
    with pytest.raises(AssertionError, match="a guide of"):
        run(model, conditions, frames, guide=guide[:, 1:])


@pytest.mark.parametrize(
    "pattern", [*(pytest.param(each, marks=pytest.mark.slow) for each in ("flat", "parallel")), "delay"]
)
def test_takes_are_the_same_alone_and_in_company_over_many_windows(pattern: Pattern) -> None:
    model = small_model(COARSE, "aligned", pattern=pattern)
    conditions = random_conditions(model.spec, batch=2, target_frames=20)
    together = run(model, conditions, 20)
    alone = generate_long(
        model,
        tuple(ids[1:] for ids in conditions),
        target_frames=20,
        settings=SETTINGS,
        generators=[torch.Generator().manual_seed(2)],
    )
    assert torch.equal(alone[0], together[1])


@pytest.mark.parametrize("pattern", [pytest.param("flat", marks=pytest.mark.slow), "delay"])
def test_progress_counts_the_whole(pattern: Pattern) -> None:
    model = small_model(FINE, "aligned", pattern=pattern)
    seen: list[Progress] = []
    run(model, random_conditions(model.spec, batch=2, target_frames=30), 30, on_step=seen.append)
    assert seen == [Progress(step="fine", done=done, total=30) for done in range(1, 31)]


@unchecked()
@pytest.mark.parametrize(
    ("stage", "pattern"), [(SEMANTIC, "flat"), pytest.param(COARSE, "delay", marks=pytest.mark.slow)]
)
def test_memory_is_that_of_one_window(
    stage: StageSpec, pattern: Pattern, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the vocal, no cache is larger than a clip's, and none is left when the next is made."""
    model = small_model(stage, pattern=pattern)
    new_cache = model.transformer.new_cache
    capacities: list[int] = []

    def spy(*, batch: int, capacity: int) -> Any:
        capacities.append(capacity)
        return new_cache(batch=batch, capacity=capacity)

    monkeypatch.setattr(model.transformer, "new_cache", spy)
    run(model, random_conditions(model.spec, batch=2, target_frames=60), 60)
    assert len(capacities) > 60 // model.spec.target_frames
    assert set(capacities) == {model.spec.sequence_length}


def test_a_callback_that_raises_stops_everything() -> None:
    model = small_model(FINE, "aligned")
    seen: list[int] = []

    def stop(progress: Progress) -> None:
        seen.append(progress.done)
        if progress.done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(model, random_conditions(model.spec, batch=2, target_frames=30), 30, on_step=stop)
    assert seen == list(range(1, 13))


def test_sources_of_another_length_are_refused() -> None:
    model = small_model(COARSE, "aligned")
    conditions = random_conditions(model.spec, batch=2, target_frames=30)
    with pytest.raises(AssertionError, match=r"sources of \(20, 20\) frames, expected \(18, 18\)"):
        run(model, conditions, 27)


def test_an_overlap_of_a_whole_window_is_refused() -> None:
    model = small_model(FINE, "aligned")
    conditions = random_conditions(model.spec, batch=2, target_frames=30)
    with pytest.raises(UsageError, match="overlap of 9 frames"):
        run(model, conditions, 30, overlap=Fraction(1))
