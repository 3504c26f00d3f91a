"""Sounds longer than a clip: windows of the trained length that carry their last tokens on.

In: conditions of any length. Out: codes of that length. Every window sees its own slice of the sources,
is prompted with what the window before it made of their overlap, and generates the rest; so every frame
is generated once, and memory is that of one window.

    frames    0         W/2         W         3W/2        2W      total
    window 0  [ generates           ]
    window 1            [ prompt    | generates ]
    window 2                        [ prompt    | generates ]
    window 3                          [ prompt         | gen. ]        slid back, to stay full length

Windows start where a frame of every rate starts, so that slices are exact: 50 Hz and 75 Hz meet 25 times
a second, at every second and every third frame.

Source: ours; the paper generates single clips.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from jaxtyping import Int
from torch import Tensor

from hafm.errors import UsageError
from hafm.generate.decode import decode
from hafm.generate.sampling import SamplingSettings
from hafm.progress import OnProgress, Progress
from hafm.rates import convert_frames
from hafm.stages.spec import StageSpec
from hafm.stages.stage_model import StageModel

__all__ = ["OVERLAP", "Window", "frames_between_starts", "generate_long", "plan_windows"]

OVERLAP = Fraction(1, 2)
"""Share of a window that is prompt. Half of the 5 s of a coarse clip is a bar at 96 beats a minute, so
that the band always hears about a bar of its own playing; a third would lose that at most tempi. It
costs little: the prompt is read in one pass, and no frame is generated twice."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Target frames ``start ... stop - 1``; the first ``prompt`` of them come from the window before."""

    start: int
    stop: int
    prompt: int


def frames_between_starts(spec: StageSpec) -> int:
    """Target frames from one common start of a frame of all the stage's streams to the next.

    All rates are whole multiples of their greatest common divisor, and of no greater rate; so that is how
    often a second all of them start a frame together.

    >>> from hafm.stages.spec import COARSE, FINE
    >>> frames_between_starts(COARSE), frames_between_starts(FINE)     # 50 and 75 Hz; 75 Hz alone
    (3, 1)
    """
    common = spec.target.frame_rate
    for source in spec.sources:
        a, b = common, source.frame_rate
        common = Fraction(
            math.gcd(a.numerator * b.denominator, b.numerator * a.denominator), a.denominator * b.denominator
        )
    return int(spec.target.frame_rate / common)


def plan_windows(
    total_frames: int, *, window_frames: int, overlap_frames: int, grid_frames: int = 1
) -> list[Window]:
    """Windows that cover ``total_frames``, each new frame once.

    Args:
        total_frames: 1 or more.
        window_frames: length of a window, 1 or more.
        overlap_frames: the least prompt; 0 or more. Starts move in steps of the grid, so it can be longer.
        grid_frames: every start is a multiple of it.

    Returns:
        One window of ``total_frames`` if they fit into one. Otherwise full windows; the last slides back to
        end at the total and falls short of a full one by less than ``grid_frames``.

    Raises:
        UsageError: the overlap leaves no frames to move on by.

    >>> for window in plan_windows(20, window_frames=9, overlap_frames=4, grid_frames=3):
    ...     print(window)
    Window(start=0, stop=9, prompt=0)
    Window(start=3, stop=12, prompt=6)
    Window(start=6, stop=15, prompt=6)
    Window(start=9, stop=18, prompt=6)
    Window(start=12, stop=20, prompt=6)
    """
    assert total_frames >= 1, f"a plan for {total_frames} frames"
    hop = (window_frames - overlap_frames) // grid_frames * grid_frames
    if hop < 1 or overlap_frames < 0:
        raise UsageError(
            f"An overlap of {overlap_frames} frames does not work with windows of {window_frames}: at least "
            f"{grid_frames} new frames must fit, and the overlap must not be negative."
        )
    last_start = -(-max(total_frames - window_frames, 0) // grid_frames) * grid_frames
    windows = [Window(start=0, stop=min(window_frames, total_frames), prompt=0)]
    while (previous := windows[-1]).stop < total_frames:
        start = min(previous.start + hop, last_start)
        stop = min(start + window_frames, total_frames)
        windows.append(Window(start=start, stop=stop, prompt=previous.stop - start))
    return windows


def generate_long(
    model: StageModel,
    conditions: tuple[Int[Tensor, "B _K _F"], ...],
    *,
    target_frames: int,
    settings: SamplingSettings,
    generators: list[torch.Generator],
    overlap: Fraction = OVERLAP,
    on_step: OnProgress | None = None,
) -> Int[Tensor, "B K F"]:
    """Generates codes of any length, window by window.

    Args:
        model: the stage, in evaluation mode.
        conditions: one tensor a source, F as ``model.spec.source_frames(target_frames)`` says.
        target_frames: frames of the result, 1 or more.
        settings: how tokens are drawn.
        generators: one a take, on the CPU.
        overlap: share of a window that is prompt, at least 0 and below 1.
        on_step: told after every frame; what it raises stops the run.

    Returns:
        Codes of every take, on the model's device.

    Raises:
        UsageError: the overlap is out of range.
        BundleError: the model's logits are not finite.
    """
    spec = model.spec
    expected, got = spec.source_frames(target_frames), tuple(ids.shape[2] for ids in conditions)
    assert got == expected, f"{spec.name}: sources of {got} frames, expected {expected}"
    windows = plan_windows(
        target_frames,
        window_frames=spec.target_frames,
        overlap_frames=math.ceil(spec.target_frames * overlap),
        grid_frames=frames_between_starts(spec),
    )
    codes = torch.empty(
        len(generators),
        spec.target.num_codebooks,
        target_frames,
        dtype=torch.long,
        device=model.heads.device,
    )
    for window in windows:
        known = window.start + window.prompt
        codes[:, :, window.start : window.stop] = decode(
            model,
            _slice(conditions, spec, window),
            target_frames=window.stop - window.start,
            settings=settings,
            generators=generators,
            prompt=codes[:, :, window.start : known],
            on_step=_of_the_whole(on_step, known=known, total=target_frames),
        )
    return codes


def _slice(conditions: tuple[Tensor, ...], spec: StageSpec, window: Window) -> tuple[Tensor, ...]:
    """The frames of every source that go with a window. Starts lie on the grid, so they convert exactly."""
    slices = []
    lengths = spec.source_frames(window.stop - window.start)
    for ids, source, length in zip(conditions, spec.sources, lengths, strict=True):
        start = convert_frames(window.start, spec.target.frame_rate, source.frame_rate)
        slices.append(ids[:, :, start : start + length])
    return tuple(slices)


def _of_the_whole(on_step: OnProgress | None, *, known: int, total: int) -> OnProgress | None:
    """A callback for one window that reports against all of them."""
    if on_step is None:
        return None

    def report(progress: Progress) -> None:
        on_step(Progress(step=progress.step, done=known + progress.done, total=total))

    return report
