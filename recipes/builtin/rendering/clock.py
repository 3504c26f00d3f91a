"""Time that bends: the drift of a tempo, and swing, as maps from one clock to another.

In: beats of a score in seconds. Out: a `Clock`, through which `Score.warped` sends all that the score holds,
so that the voice, the band and the truth bend alike.

Drift: the tempo of people without a click. The beat is longer by a factor 1 + depth s(t), where s is smooth
noise within [-1, 1] that turns every two bars or so; time is the integral.

Swing: see `hafm.arrange.plan`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hafm.arrange.plan import swing_positions

Seconds = npt.NDArray[np.float64]

LARGEST_DRIFT = 0.05
_KNOTS_PER_SECOND = 10.0


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A rising map of times, linear between knots and of slope 1 outside them.

    Attributes:
        before_seconds: knots, rising. Shape [N].
        after_seconds: where they go, rising. Shape [N].
    """

    before_seconds: Seconds
    after_seconds: Seconds

    def __call__(self, seconds: npt.ArrayLike) -> Seconds:
        """Map times; any shape.

        >>> clock = Clock(before_seconds=np.array([0.0, 2.0]), after_seconds=np.array([0.0, 3.0]))
        >>> clock([-1.0, 1.0, 4.0]).tolist()
        [-1.0, 1.5, 5.0]
        """
        times = np.asarray(seconds, np.float64)
        first, last = self.before_seconds[0], self.before_seconds[-1]
        beyond = np.minimum(times - first, 0.0) + np.maximum(times - last, 0.0)
        return np.asarray(np.interp(times, self.before_seconds, self.after_seconds) + beyond)


def drift_clock(
    *, start_seconds: float, end_seconds: float, bar_seconds: float, depth: float, rng: np.random.Generator
) -> Clock:
    """Draw a drift of the tempo; the time 0 stays 0.

    Args:
        start_seconds: where it begins to wander, at most 0.
        end_seconds: where it stops, more than 0.
        bar_seconds: length of a bar; the tempo turns every one to three bars.
        depth: largest departure from the steady tempo, 0 to `LARGEST_DRIFT`.
        rng: source of the turns.

    Raises:
        ValueError: `depth` is out of its range.
    """
    if not 0.0 <= depth <= LARGEST_DRIFT:
        raise ValueError(f"a drift of {depth} is not within 0..{LARGEST_DRIFT}")
    times = np.arange(start_seconds, end_seconds + 1.0, 1.0 / _KNOTS_PER_SECOND)
    turns = np.cumsum(rng.uniform(1.0, 3.0, int((times[-1] - times[0]) / bar_seconds) + 3)) * bar_seconds
    wander = np.interp(times, times[0] + np.append(0.0, turns), rng.uniform(-1.0, 1.0, len(turns) + 1))
    smooth = np.hanning(round(bar_seconds * _KNOTS_PER_SECOND) + 3)
    padded = np.pad(wander, len(smooth) // 2, mode="edge")
    wander = np.convolve(padded, smooth / smooth.sum(), "valid")[: len(times)]
    steps = np.diff(times) * (1.0 + depth * wander[: len(times) - 1])
    bent = np.append(0.0, np.cumsum(steps))
    return Clock(before_seconds=times, after_seconds=bent - np.interp(0.0, times, bent))


def swing_clock(beat_seconds: Seconds, *, ratio: float, pair_beats: float) -> Clock:
    """Swing as a map of seconds, for a score whose beats are known."""
    beats = np.arange(len(beat_seconds))
    positions = np.arange(0.0, len(beat_seconds) - 1 + 1e-9, pair_beats / 2)
    return Clock(
        before_seconds=np.interp(positions, beats, beat_seconds),
        after_seconds=np.interp(
            swing_positions(positions, ratio=ratio, pair_beats=pair_beats), beats, beat_seconds
        ),
    )
