"""Sounds longer than a clip: windows of the trained length that carry their last tokens on.

In: conditions of any length. Out: codes of that length. Every window sees its own slice of the sources,
is prompted with what the window before it made of their overlap, and generates the rest; so every frame
is generated once, and memory is that of one window.

    frames    0         W/2         W         3W/2        2W      total
    window 0  [ generates           ]
    window 1            [ prompt    | generates ]
    window 2                        [ prompt    | generates ]
    window 3                          [ prompt         | gen. ]        slid back, to stay full length

A stage of pattern ``parallel`` needs no prompts: see ``hafm.generate.parallel``.

Source: ours; the paper generates single clips.
"""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hafm.engine.session import StageSession
from hafm.generate.decode import decode_frames
from hafm.generate.parallel import generate_parallel
from hafm.generate.plan import Window, conditions_of, frames_between_starts, guide_of, plan_windows
from hafm.generate.sampling import SamplingSettings
from hafm.progress import OnProgress, Progress
from hafm.stages.stage_model import StageModel

__all__ = ["OVERLAP", "generate_long", "generate_windows"]

OVERLAP = Fraction(1, 2)
"""Share of a window that is prompt. Half of the 5 s of a coarse clip is a bar at 96 beats a minute, so
that the band always hears about a bar of its own playing; a third would lose that at most tempi. It
costs little: the prompt is read in one pass, and no frame is generated twice."""


def generate_long(
    model: StageModel,
    conditions: tuple[Int[Tensor, "B _K _F"], ...],
    *,
    target_frames: int,
    settings: SamplingSettings,
    generators: list[torch.Generator],
    guide: Float[Tensor, "B _F G"] | None = None,
    known: Int[Tensor, "B K P"] | None = None,
    overlap: Fraction = OVERLAP,
    session: StageSession | None = None,
    on_step: OnProgress | None = None,
) -> Int[Tensor, "B K F"]:
    """Generates codes of any length, window by window; see `hafm.generate.decode.decode_frames`.

    Args:
        conditions: one tensor a source, F as ``model.spec.source_frames(target_frames)`` says.
        target_frames: frames of the result, 1 or more.
        guide: of every take, as long as the sources, for a guided stage; None where nothing is known.
        known: the first P frames of every take, if it goes on from something; not of a parallel stage.
        overlap: share of a window that its neighbours share, at least 0 and below 1.
        on_step: called after every frame; what it raises stops the run.

    Returns:
        Codes of every take, on the model's device.

    Raises:
        UsageError: the overlap is out of range.
        BundleError: the model's logits are not finite.
    """
    codes = torch.empty(
        len(generators),
        model.spec.target.num_codebooks,
        target_frames,
        dtype=torch.long,
        device=model.heads.device,
    )
    if known is not None:
        codes[:, :, : known.shape[2]] = known
    for _ in generate_windows(
        model,
        conditions,
        codes=codes,
        settings=settings,
        generators=generators,
        guide=guide,
        num_known=0 if known is None else known.shape[2],
        overlap=overlap,
        session=session,
        on_step=on_step,
    ):
        pass
    return codes


def generate_windows(
    model: StageModel,
    conditions: tuple[Int[Tensor, "B _K _F"], ...],
    *,
    codes: Int[Tensor, "B K F"],
    settings: SamplingSettings,
    generators: list[torch.Generator],
    guide: Float[Tensor, "B _F G"] | None = None,
    num_known: int = 0,
    overlap: Fraction = OVERLAP,
    session: StageSession | None = None,
    before: Callable[[Window], None] | None = None,
    on_step: OnProgress | None = None,
) -> Iterator[int]:
    """The same into memory of the caller, a frame (of a parallel stage a window) whenever the caller asks.

    Args:
        conditions: only what goes with a window is looked at, when it is made.
        codes: to be filled, as long as the result.
        num_known: how many of its frames are there already.
        before: called before a window is made: its conditions must be there afterwards.

    Yields:
        How many frames of the codes are there, for good.
    """
    spec, target_frames = model.spec, codes.shape[2]
    expected, got = spec.source_frames(target_frames), tuple(ids.shape[2] for ids in conditions)
    assert got == expected, f"{spec.name}: sources of {got} frames, expected {expected}"
    windows = plan_windows(
        target_frames,
        window_frames=spec.target_frames,
        overlap_frames=math.ceil(spec.target_frames * overlap),
        grid_frames=frames_between_starts(spec),
    )
    assert guide is None or guide.shape[1] == expected[0], f"{spec.name}: a guide of {guide.shape[1]} frames"
    if spec.pattern == "parallel":
        assert guide is None, "a parallel stage has none"
        assert num_known == 0, "a parallel stage goes on from nothing"
        yield from generate_parallel(
            model,
            conditions,
            windows=windows,
            codes=codes,
            settings=settings,
            generators=generators,
            session=session,
            before=before,
            on_step=on_step,
        )
        return
    for window in windows:
        known = max(window.start + window.prompt, num_known)
        if known >= window.stop:
            continue
        if before is not None:
            before(window)
        frames = decode_frames(
            model,
            conditions_of(window, conditions, spec=spec),
            codes=codes[:, :, window.start : window.stop],
            known=known - window.start,
            settings=settings,
            generators=generators,
            guide=None if guide is None else guide_of(window, guide, spec=spec),
            session=session,
            on_step=_of_the_whole(on_step, known=known, total=target_frames),
        )
        for done in frames:
            yield window.start + done


def _of_the_whole(on_step: OnProgress | None, *, known: int, total: int) -> OnProgress | None:
    """A callback for one window that reports against all of them."""
    if on_step is None:
        return None

    def report(progress: Progress) -> None:
        on_step(Progress(step=progress.step, done=known + progress.done, total=total))

    return report
