"""Beats of a sound, and whether they are where they should be.

In: a waveform `[T]`. Out: times in seconds, rising; and, for given times, scores from 0 to 1.

1. *Onset strength* (`hafm.evaluate.fit.onsets`, 100 frames per second), smoothed over 30 ms, unit deviation.
2. *Tempo.* Its autocorrelation, weighted by how people like to tap: a bell over log2 of the period around
   0.5 s (120 per minute), 0.9 octaves wide. The period with the largest value wins.
3. *Beats.* The chain of frames that collects most onset strength while its steps keep near the period P:

       best[t] = strength[t] + max over t - 2P <= s <= t - P/2 of best[s] - 100 ln²((t - s) / P)

   found by dynamic programming, backwards from the last strong end. Beats before the first and after the last
   onset are cut.

The tempo may come out doubled or halved where the beat is felt so; the F-measure then gives two thirds at
most. That is the tracker's error, and it is the same for the truth.

Source: Ellis, "Beat tracking by dynamic programming" (2007); F-measure of Davies et al., "Evaluation methods
for musical audio beat tracking algorithms" (2009), through mir_eval, with its 70 ms.
"""

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hafm.errors import UsageError
from hafm.evaluate.fit.onsets import ONSET_FRAMES_PER_SECOND, onset_envelope

__all__ = [
    "beat_closeness",
    "beat_f_measure",
    "beat_strength",
    "check_mir_eval",
    "match_beats",
    "track_beats",
]

Floats = NDArray[np.float64]

_TIGHTNESS = 100.0
_PREFERRED_SECONDS = 0.5
_OCTAVES_WIDE = 0.9
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.25, 1.5
_WITHIN_SECONDS = 0.07
_FAINT = 0.5  # of the root mean square at the beats: below, a beat at an end is not played


def track_beats(waveform: Float[Tensor, " T"], sample_rate: int) -> tuple[float, ...]:
    """Times of the beats, in seconds; none where there is no tempo to be found (silence, or under 3 s).

    Args:
        waveform: finite samples.
        sample_rate: in hertz.

    Source: Ellis (2007).

    >>> import torch
    >>> clicks = torch.zeros(24_000 * 8)
    >>> clicks[6_000::12_000] = 1.0
    >>> beats = track_beats(clicks, 24_000)
    >>> len(beats), abs(beats[5] - 2.75) < 0.03
    (16, True)
    """
    strength = _strength(waveform, sample_rate)
    if len(strength) < 2 * _LONGEST_SECONDS * ONSET_FRAMES_PER_SECOND or not strength.any():
        return ()
    frames = _chain(strength, _period_frames(strength))
    return tuple((frame + 0.5) / ONSET_FRAMES_PER_SECOND for frame in frames)


def beat_f_measure(estimated_seconds: Sequence[float], reference_seconds: Sequence[float]) -> float:
    """Harmonic mean of the shares of beats, on either side, with a partner within 70 ms.

    Args:
        estimated_seconds: rising.
        reference_seconds: rising.

    Raises:
        UsageError: mir_eval is not installed.
    """
    return _score("f_measure", estimated_seconds, reference_seconds)


def match_beats(
    estimated_seconds: Sequence[float], reference_seconds: Sequence[float]
) -> list[tuple[float, float]]:
    """Pairs of beats within 70 ms, each beat in one pair at most: as many pairs as there can be.

    Args:
        estimated_seconds: rising.
        reference_seconds: rising.

    Raises:
        UsageError: mir_eval is not installed.

    >>> match_beats([0.0, 0.52, 0.8], [0.5, 1.0])
    [(0.52, 0.5)]
    """
    check_mir_eval()
    match_events = import_module("mir_eval.util").match_events
    reference, estimated = np.asarray(reference_seconds), np.asarray(estimated_seconds)
    pairs = match_events(reference, estimated, _WITHIN_SECONDS)
    return [(estimated_seconds[after], reference_seconds[before]) for before, after in pairs]


def beat_closeness(estimated_seconds: Sequence[float], reference_seconds: Sequence[float]) -> float:
    """How near the beats lie: each counts by a bell of 40 ms instead of by a border at 70 ms.

    Args:
        estimated_seconds: rising.
        reference_seconds: rising.

    Raises:
        UsageError: mir_eval is not installed.

    Source: Cemgil et al., "On tempo tracking" (2001), through mir_eval.
    """
    return _score("cemgil", estimated_seconds, reference_seconds)


def beat_strength(
    beats_seconds: Sequence[float], vocal: Float[Tensor, " T"], sample_rate: int
) -> float | None:
    """How much stronger than elsewhere the vocal's onsets are on the beats, in standard deviations.

    0 is what beats at random give. For vocals without known beats; it needs no mir_eval.

    Args:
        beats_seconds: of the accompaniment.
        vocal: the sound whose onsets are compared.
        sample_rate: in hertz.

    Returns:
        Mean of the vocal's onset strength (its highest within 30 ms) at the beats, less its mean everywhere,
        over its deviation; None where there are no beats or no onsets.
    """
    strength = _strength(vocal, sample_rate)
    if not beats_seconds or not strength.any():
        return None
    padded = np.pad(strength, 3, mode="edge")
    near = np.lib.stride_tricks.sliding_window_view(padded, 7).max(axis=1)
    deviation = float(near.std())
    frames = np.clip((np.asarray(beats_seconds) * ONSET_FRAMES_PER_SECOND).astype(int), 0, len(near) - 1)
    return None if deviation == 0 else float(near[frames].mean() - near.mean()) / deviation


def check_mir_eval() -> ModuleType:
    """Finds mir_eval, before any work whose result it is to score.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return import_module("mir_eval.beat")
    except ImportError as error:
        raise UsageError(
            "scores of beats need mir_eval, which is missing: pip install 'hafm[eval]'"
        ) from error


def _score(name: str, estimated_seconds: Sequence[float], reference_seconds: Sequence[float]) -> float:
    beat = check_mir_eval()
    if not estimated_seconds or not reference_seconds:
        return 0.0  # mir_eval says the same, with a warning
    scores = getattr(beat, name)(np.asarray(reference_seconds), np.asarray(estimated_seconds))
    # cemgil gives two, the second for the best of double, half and off-beat time
    return float(scores[0] if isinstance(scores, tuple) else scores)


def _strength(waveform: Tensor, sample_rate: int) -> Floats:
    """Smoothed onset strength of unit deviation; all 0 where nothing begins."""
    raw = onset_envelope(waveform, sample_rate).double().numpy()
    kernel = np.hanning(7)[1:-1]
    smooth: Floats = np.convolve(raw, kernel / kernel.sum(), mode="full")[2 : 2 + len(raw)]
    deviation = float(smooth.std())
    return smooth / deviation if deviation > 0 else np.zeros_like(smooth)


def _period_frames(strength: Floats) -> float:
    """The lag, in frames, at which the onset strength repeats itself best, to a part of a frame."""
    centred = strength - strength.mean()
    spectrum = np.fft.rfft(centred, 2 * len(centred))
    repeats = np.fft.irfft(np.square(np.abs(spectrum)))
    shortest = round(_SHORTEST_SECONDS * ONSET_FRAMES_PER_SECOND)
    lags = np.arange(shortest, round(_LONGEST_SECONDS * ONSET_FRAMES_PER_SECOND) + 1)
    octaves = np.log2(lags / (_PREFERRED_SECONDS * ONSET_FRAMES_PER_SECOND))
    values = repeats[lags] * np.exp(-0.5 * np.square(octaves / _OCTAVES_WIDE))
    best = int(values.argmax())
    if not 0 < best < len(values) - 1:
        return float(lags[best])
    # The top of the parabola through the largest value and its neighbours.
    before, top, after = values[best - 1 : best + 2]
    bend = before - 2 * top + after
    return float(lags[best] + (0.5 * (before - after) / bend if bend < 0 else 0.0))


def _chain(strength: Floats, period: float) -> list[int]:
    """The frames of the best chain of beats, rising."""
    nearest, farthest = round(period / 2), round(2 * period)
    steps = np.arange(farthest, nearest - 1, -1)
    penalty = _TIGHTNESS * np.square(np.log(steps / period))
    # `farthest` frames of nothing come first, so that the first beats have predecessors too.
    best = np.zeros(farthest + len(strength))
    link = np.full(len(strength), -1)
    for frame in range(len(strength)):
        before = best[frame : frame + len(steps)] - penalty
        chosen = int(before.argmax())
        start = frame - int(steps[chosen])
        link[frame] = start if start >= 0 and before[chosen] > 0 else -1
        best[farthest + frame] = strength[frame] + max(0.0, float(before[chosen]))
    tail = best[farthest:][-round(period) :]
    frame = len(strength) - len(tail) + int(tail.argmax())
    frames = []
    while frame >= 0:
        frames.append(frame)
        frame = int(link[frame])
    return _without_faint_ends(frames[::-1], strength)


def _without_faint_ends(frames: list[int], strength: Floats) -> list[int]:
    played = strength[frames] >= _FAINT * np.sqrt(np.square(strength[frames]).mean())
    kept = np.flatnonzero(played)
    return frames[kept[0] : kept[-1] + 1] if len(kept) else []
