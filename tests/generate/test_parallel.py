"""Parallel stages: windows against one over the whole, against a slow loop, and takes against themselves."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hafm.errors import BundleError
from hafm.generate.parallel import generate_parallel
from hafm.generate.plan import Window, frames_between_starts, plan_windows
from hafm.generate.sampling import LIKELIEST, SamplingSettings, sample
from hafm.generate.windows import generate_long
from hafm.progress import Progress
from hafm.stages.spec import COARSE, FINE, StageSpec
from hafm.stages.stage_model import StageModel
from tests.crossed import crossed
from tests.stages.small_stages import random_conditions, random_target, small_model
from tests.unchecked import unchecked

DRAWN = SamplingSettings(top_k=5, guidance=3.0)


def parallel(stage: StageSpec = FINE, **changes: Any) -> StageModel:
    return small_model(stage, "aligned", pattern="parallel", **changes)


def takes(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def whole(frames: int) -> list[Window]:
    return plan_windows(frames, window_frames=frames, overlap_frames=0)


@pytest.mark.long
@crossed(stage=(COARSE, FINE), guidance=(0.0, 1.0, 3.0))
@unchecked()
def test_generation_equals_teacher_forcing_pass_by_pass(stage: StageSpec, guidance: float) -> None:
    """Each codebook is drawn from the whole model's scores, given what was drawn below and junk above."""
    model = parallel(stage)
    settings = SamplingSettings(top_k=5, guidance=guidance)
    K, F = model.spec.target.num_codebooks, model.spec.target_frames
    conditions = random_conditions(model.spec, batch=2)
    uniform = torch.stack([torch.rand(F, K, generator=take, dtype=torch.float64) for take in takes(1, 2)])
    codes = random_target(model.spec, batch=2)
    everyone = torch.ones(2, dtype=torch.bool)
    for k in range(K):
        with torch.inference_mode():
            conditional, unconditional = model(codes, conditions), model(codes, conditions, drop=everyone)
        scores = (unconditional + guidance * (conditional - unconditional))[:, k]
        for f in range(F):
            codes[:, k, f] = sample(scores[:, f], settings=settings, uniform=uniform[:, f, k])
    found = generate_long(model, conditions, target_frames=F, settings=settings, generators=takes(1, 2))
    assert torch.equal(found, codes)
    assert found.unique().numel() > 2


@pytest.mark.parametrize(
    "stage", [pytest.param(COARSE, marks=pytest.mark.slow), FINE], ids=lambda stage: stage.name
)
@unchecked()
def test_a_frame_is_chosen_from_its_window_alone(stage: StageSpec) -> None:
    """Against a loop over frames: the window that holds a frame deepest, and the codes chosen below."""
    model = parallel(stage)
    frames, width = 24, model.spec.target_frames
    conditions = random_conditions(model.spec, batch=1, target_frames=frames)
    found = generate_long(model, conditions, target_frames=frames, settings=LIKELIEST, generators=takes(1))
    windows = plan_windows(
        frames, window_frames=width, overlap_frames=5, grid_frames=frames_between_starts(model.spec)
    )
    assert len(windows) > 3
    rate = model.spec.sources[0].frame_rate / model.spec.target.frame_rate
    for f in range(frames):

        def depth(window: Window, f: int = f) -> int:
            """Frames between f and the nearer edge of a window at which the sound goes on."""
            before = f - window.start if window.start > 0 else frames
            after = window.stop - 1 - f if window.stop < frames else frames
            return min(before, after)

        deepest = max(windows, key=lambda window: (depth(window), window.start))
        part = slice(deepest.start, deepest.stop)
        begin = int(deepest.start * rate)
        sources = tuple(
            ids[:, :, begin : begin + length]
            for ids, length in zip(conditions, model.spec.source_frames(part.stop - part.start), strict=True)
        )
        with torch.inference_mode():
            scores = model(found[:, :, part], sources)[0, :, f - deepest.start]
        assert torch.equal(scores.argmax(-1), found[0, :, f]), f


@pytest.mark.parametrize(
    "frames", [10, *(pytest.param(frames, marks=pytest.mark.slow) for frames in (40, 57))]
)
@unchecked()
def test_windows_equal_the_whole_for_a_stage_that_looks_no_further_than_they_reach(frames: int) -> None:
    """Two layers that look one frame to either side; windows of 9 frames have two beyond what they give.

    Four passes look eight frames far. That all windows see the codes of the passes before, whichever chose
    them, is what keeps them equal to the whole.
    """
    model = parallel(encoder_layers=0)
    with torch.no_grad():
        model.transformer.bias.weight.fill_(-torch.inf)
        for near in (0, 1, 5):  # buckets of the distances 0, 1 and -1 of eight
            model.transformer.bias.weight[near] = 0.0
    conditions = random_conditions(model.spec, batch=2, target_frames=frames)
    arguments: dict[str, Any] = {"settings": LIKELIEST, "generators": takes(1, 2)}
    windowed = generate_long(model, conditions, target_frames=frames, **arguments)

    def through(windows: list[Window]) -> Tensor:
        codes = torch.zeros_like(windowed)
        given = list(generate_parallel(model, conditions, windows=windows, codes=codes, **arguments))
        assert given == sorted(given)
        assert given[-1] == frames
        return codes

    assert torch.equal(windowed, through(whole(frames)))
    if frames > 10:  # and one frame less on either side is not enough
        short = plan_windows(frames, window_frames=9, overlap_frames=2)
        assert not torch.equal(windowed, through(short))


@pytest.mark.parametrize(
    "settings",
    [pytest.param(LIKELIEST, id="likeliest", marks=pytest.mark.slow), pytest.param(DRAWN, id="drawn")],
)
@unchecked()
def test_a_take_is_the_same_alone_and_in_company(settings: SamplingSettings) -> None:
    model = parallel()
    conditions = random_conditions(model.spec, batch=4, target_frames=20)

    def run(*rows: int) -> Tensor:
        return generate_long(
            model,
            tuple(ids[list(rows)] for ids in conditions),
            target_frames=20,
            settings=settings,
            generators=takes(*rows),
        )

    together = run(0, 1, 2, 3)
    for rows in ((3,), (1, 2), (2, 0)):
        assert torch.equal(run(*rows), together[list(rows)])


def test_the_likeliest_codes_need_no_chance_and_one_row_a_take() -> None:
    """Generators move on by a number per token all the same: later draws do not depend on the settings."""
    model = parallel()
    conditions = random_conditions(model.spec, batch=1)
    results, states = [], []
    rows: list[int] = []
    model.transformer.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    for seed in (1, 2):
        (take,) = takes(seed)
        results.append(
            generate_long(model, conditions, target_frames=9, settings=LIKELIEST, generators=[take])
        )
        states.append(take.get_state())
        (fresh,) = takes(seed)
        torch.rand(9 * 4, generator=fresh, dtype=torch.float64)
        assert torch.equal(take.get_state(), fresh.get_state())
    assert torch.equal(*results)
    assert set(rows) == {1}


def test_progress_ends_at_the_whole_and_never_falls() -> None:
    model = parallel()
    seen: list[Progress] = []
    generate_long(
        model,
        random_conditions(model.spec, batch=1, target_frames=30),
        target_frames=30,
        settings=LIKELIEST,
        generators=takes(0),
        on_step=seen.append,
    )
    done = [progress.done for progress in seen]
    assert done == sorted(done)
    assert len(done) == 4 * len(plan_windows(30, window_frames=9, overlap_frames=5))
    assert seen[-1] == Progress(step="fine", done=30, total=30)


def test_logits_that_are_not_finite_are_refused() -> None:
    model = parallel()
    with torch.no_grad():
        model.heads[2, 0, 0] = torch.nan
    with pytest.raises(BundleError, match="not finite"):
        generate_long(
            model,
            random_conditions(model.spec, batch=1),
            target_frames=9,
            settings=LIKELIEST,
            generators=takes(0),
        )


def test_training_mode_is_refused() -> None:
    model = parallel().train()
    with pytest.raises(AssertionError, match=r"model\.eval\(\)"):
        generate_long(
            model,
            random_conditions(model.spec, batch=1),
            target_frames=9,
            settings=LIKELIEST,
            generators=takes(0),
        )
