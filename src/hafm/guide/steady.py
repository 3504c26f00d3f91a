"""Beats of an exact tempo: where they lie, from what the network says of every frame.

In:  the chance of beat and downbeat `[F]` at 50 Hz, and a tempo. Out: `Beats` at exactly that tempo.

The likeliest phase is the one whose beats have the largest sum of log-odds; phases are tried every
`_STEP_SECONDS`, between frames by interpolation. Then, of all meters and of all beats that may be the first
of a bar, the likeliest by the shares of downbeats and beats. Nothing is rounded to frames: beat n is at
`start + 60 n / bpm`.

A module of its own, though the analyser alone imports it: `hafm.guide.beats` follows a tempo that varies.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from hafm.guide.beats import METERS, Beats, confidences, downbeat_share
from hafm.guide.grid import steady_beats
from hafm.rates import SEMANTIC_RATE

__all__ = ["find_steady_beats"]

Floats = NDArray[np.floating]

_RATE = int(SEMANTIC_RATE)
_STEP_SECONDS = 0.002
_LEAST = 1e-4
_SMOOTHING = (0.25, 0.5, 0.25)  # the voice is some frames early or late


def find_steady_beats(
    beat: Float[np.ndarray, " F"],
    downbeat: Float[np.ndarray, " F"],
    *,
    bpm: float,
    duration_seconds: float,
    first_beat: float | None = None,
    meters: Mapping[int, float] = METERS,
) -> Beats:
    """The beats of a sound whose tempo is known.

    Args:
        beat, downbeat: the chance of each at 50 Hz; frame f is centred on (f + 1/2) / 50 s.
        first_beat: when the first bar begins, where that is known.
        meters: beats per bar that are possible, and how often each is expected.

    Returns:
        At least one beat. Its confidence is 1 where the first beat is known.
    """
    period = 60 / bpm
    start = _phase(_log_odds(beat), period) if first_beat is None else first_beat
    times = start + np.arange(max(1, int(np.ceil((duration_seconds - start) / period)))) * period
    share = _sampled(downbeat_share(beat, downbeat), times)
    scores = {
        (beats_per_bar, first): np.log(expected) + _likelihood(share, beats_per_bar, first)
        for beats_per_bar, expected in meters.items()
        for first in (range(min(beats_per_bar, len(times))) if first_beat is None else (0,))
    }
    beats_per_bar, first = max(scores, key=lambda key: scores[key])
    beats = steady_beats(
        bpm,
        downbeat_seconds=start + first * period,
        beats_per_bar=beats_per_bar,
        duration_seconds=duration_seconds,
    )
    confidence, of_bars = (1.0, 1.0) if first_beat is not None else confidences(beat, downbeat, beats)
    return Beats(beats=beats, beats_per_bar=beats_per_bar, confidence=confidence, bar_confidence=of_bars)


def _phase(beat: Floats, period: float) -> float:
    """Seconds, less than a period, at which the likeliest row of beats begins."""
    smooth = np.convolve(np.pad(beat, 1, mode="edge"), _SMOOTHING, mode="valid")
    phases = np.arange(0, min(period, len(beat) / _RATE), _STEP_SECONDS)
    times = phases[:, None] + np.arange(int(np.ceil(len(beat) / _RATE / period))) * period
    inside = times < len(beat) / _RATE
    heard = np.where(inside, _sampled(smooth, times), 0.0).sum(axis=1) / inside.sum(axis=1)
    return float(phases[heard.argmax()])


def _log_odds(chance: Floats) -> Floats:
    bounded = np.clip(np.asarray(chance, np.float64), _LEAST, 1 - _LEAST)
    return np.asarray(np.log(bounded / (1 - bounded)))


def _sampled(frames: Floats, times: Floats) -> Floats:
    """Frames at any time, by interpolation between their centres."""
    return np.asarray(np.interp(times * _RATE - 0.5, np.arange(len(frames)), frames))


def _likelihood(share: Floats, beats_per_bar: int, first: int) -> float:
    """Log-probability that just these beats are downbeats."""
    is_downbeat = np.arange(len(share)) % beats_per_bar == first
    return float(np.log(np.where(is_downbeat, share, 1 - share)).sum())
