"""Which frames each window of a long sound covers, and the slice of the sources that goes with it.

    frames    0         W/2         W         3W/2        2W      total
    window 0  [                     ]
    window 1            [                     ]
    window 2                        [                     ]
    window 3                          [                   ]        slid back, to stay full length

Windows start where a frame of every rate starts, so that slices are exact: 50 Hz and 75 Hz meet 25 times
a second, at every second and every third frame.
"""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from hafm.errors import UsageError
from hafm.rates import convert_frames
from hafm.stages.spec import StageSpec

__all__ = ["Window", "conditions_of", "frames_between_starts", "guide_of", "plan_windows"]


@dataclass(frozen=True, kw_only=True)
class Window:
    """Target frames ``start ... stop - 1``; the first ``prompt`` of them lie in the window before, too."""

    start: int
    stop: int
    prompt: int


def frames_between_starts(spec: StageSpec) -> int:
    """Target frames from one common start of a frame of all the stage's streams to the next.

    A source starts a frame with every n-th target frame, n being the denominator of its rate over the
    target's.

    >>> from hafm.stages.spec import COARSE, FINE
    >>> frames_between_starts(COARSE), frames_between_starts(FINE)     # 50 and 75 Hz; 75 Hz alone
    (3, 1)
    """
    target = spec.target.frame_rate
    return math.lcm(*((source.frame_rate / target).denominator for source in spec.sources))


def plan_windows(
    total_frames: int, *, window_frames: int, overlap_frames: int, grid_frames: int = 1
) -> list[Window]:
    """Windows that cover ``total_frames``, each new frame once.

    Args:
        total_frames: 1 or more.
        window_frames: length of a window, 1 or more.
        overlap_frames: the least that neighbours share; 0 or more. Starts move in steps of the grid, so it
            can be longer.
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


def guide_of(window: Window, guide: Float[Tensor, "B F G"], *, spec: StageSpec) -> Float[Tensor, "B _F G"]:
    """The frames of the guide that go with a window: those of the sources, which are at its rate."""
    start = convert_frames(window.start, spec.target.frame_rate, spec.sources[0].frame_rate)
    return guide[:, start : start + spec.source_frames(window.stop - window.start)[0]]


def conditions_of(window: Window, conditions: tuple[Tensor, ...], *, spec: StageSpec) -> tuple[Tensor, ...]:
    """The frames of every source that go with a window. Starts lie on the grid, so they convert exactly."""
    rate, lengths = spec.target.frame_rate, spec.source_frames(window.stop - window.start)
    starts = (convert_frames(window.start, rate, source.frame_rate) for source in spec.sources)
    return tuple(
        ids[:, :, start : start + length]
        for ids, start, length in zip(conditions, starts, lengths, strict=True)
    )
