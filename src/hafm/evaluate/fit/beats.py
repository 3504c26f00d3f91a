"""Beats of a sound, whether they are where they should be, and how steady they are.

In: a waveform `[T]`, or times of beats. Out: times in seconds, rising; scores from 0 to 1; the clarity of a
pulse, and how fast beats drift. None where that is not known.

1. *Onset strength* (`hafm.evaluate.fit.onsets`, 100 frames per second), smoothed over 30 ms, unit deviation.
2. *Tempo.* Its autocorrelation, weighted by how people like to tap: a bell over log2 of the period around
   0.5 s (120 per minute), 0.9 octaves wide. The period with the largest value wins.
3. *Beats.* The chain of frames that collects most onset strength while its steps keep near the period P:

       best[t] = strength[t] + max over t - 2P <= s <= t - P/2 of best[s] - 100 ln²((t - s) / P)

   found by dynamic programming, backwards from the last strong end. Beats before the first and after the last
   onset are cut.

The tempo may come out doubled or halved where the beat is felt so; the F-measure then gives two thirds at
most. That is the tracker's error, and it is the same for the truth.

*Pulse clarity* is the height of the best peak of the autocorrelation of the onset strength, at lags of 0.25
to 1.5 s: 1 where everything comes back, near 0.1 for noise. Any busy sound has some peak, so it is given
beside the same *in random order*: the onset strength is cut just before each of its hits, and the pieces are
shuffled. What is above that is owed to when the hits come, and not to how many there are.

*Drift* is the slope of (tracked beat - reference beat) over time, in milliseconds per minute: robust to
single beats (Theil and Sen), over the pairs that are within 70 ms.

Neither is better where it is higher or lower than real bands have it; a machine can be stiffer than people.
Both come from the sound alone, so they compare bands, and not whether a band fits its singer.

Conventions: waveforms hold finite samples, sample rates are in hertz, times of beats rise. What compares two
lists of beats needs mir_eval (`check_mir_eval`).

Source: Ellis, "Beat tracking by dynamic programming" (2007); F-measure of Davies et al., "Evaluation methods
for musical audio beat tracking algorithms" (2009), through mir_eval, with its 70 ms; pulse clarity after
Lartillot et al., "Multi-feature modeling of pulse clarity", ISMIR 2008, its maximum of the autocorrelation;
the random order is ours.
"""

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.signal import find_peaks
from scipy.stats import theilslopes
from torch import Tensor

from hafm.errors import UsageError
from hafm.evaluate.fit.onsets import ONSET_FRAMES_PER_SECOND, onset_envelope

__all__ = [
    "beat_closeness",
    "beat_f_measure",
    "beat_strength",
    "check_mir_eval",
    "drift_ms_per_minute",
    "pulse_clarity",
    "shuffled_pulse_clarity",
    "track_beats",
]

Floats = NDArray[np.float64]

_TIGHTNESS = 100.0
_PREFERRED_SECONDS = 0.5
_OCTAVES_WIDE = 0.9
_SHORTEST_FRAMES, _LONGEST_FRAMES = (round(seconds * ONSET_FRAMES_PER_SECOND) for seconds in (0.25, 1.5))
_WITHIN_SECONDS = 0.07
_APART_FRAMES = round(0.1 * ONSET_FRAMES_PER_SECOND)  # between hits
_RISE_FRAMES = 2  # a hit begins before its strength is largest
_FEWEST_HITS = 4
_ORDERS = 20
_FEWEST_BEATS = 8
_FAINT = 0.5  # of the root mean square at the beats: below, a beat at an end is not played


def track_beats(waveform: Float[Tensor, " T"], sample_rate: int) -> tuple[float, ...]:
    """Times of the beats, in seconds; none where there is no tempo to be found (silence, or under 3 s).

    Source: Ellis (2007).

    >>> import torch
    >>> clicks = torch.zeros(24_000 * 8)
    >>> clicks[6_000::12_000] = 1.0
    >>> beats = track_beats(clicks, 24_000)
    >>> len(beats), abs(beats[5] - 2.75) < 0.03
    (16, True)
    """
    strength = _strength(waveform, sample_rate)
    if len(strength) < 2 * _LONGEST_FRAMES or not strength.any():
        return ()
    frames = _chain(strength, _period_frames(strength))
    return tuple((frame + 0.5) / ONSET_FRAMES_PER_SECOND for frame in frames)


def beat_f_measure(estimated_seconds: Sequence[float], reference_seconds: Sequence[float]) -> float:
    """Harmonic mean of the shares of beats, on either side, with a partner within 70 ms."""
    return _score("f_measure", estimated_seconds, reference_seconds)


def _match_beats(
    estimated_seconds: Sequence[float], reference_seconds: Sequence[float]
) -> list[tuple[float, float]]:
    """Pairs of beats within 70 ms, each beat in one pair at most: as many pairs as there can be.

    >>> _match_beats([0.0, 0.52, 0.8], [0.5, 1.0])
    [(0.52, 0.5)]
    """
    check_mir_eval()
    match_events = import_module("mir_eval.util").match_events
    reference, estimated = np.asarray(reference_seconds), np.asarray(estimated_seconds)
    pairs = match_events(reference, estimated, _WITHIN_SECONDS)
    return [(estimated_seconds[after], reference_seconds[before]) for before, after in pairs]


def beat_closeness(estimated_seconds: Sequence[float], reference_seconds: Sequence[float]) -> float:
    """How near the beats lie: each counts by a bell of 40 ms instead of by a border at 70 ms.

    Source: Cemgil et al., "On tempo tracking" (2001), through mir_eval.
    """
    return _score("cemgil", estimated_seconds, reference_seconds)


def beat_strength(
    beats_seconds: Sequence[float], vocal: Float[Tensor, " T"], sample_rate: int
) -> float | None:
    """How much stronger than elsewhere the vocal's onsets are on the beats, in standard deviations.

    A beat has the highest strength within 30 ms of it. 0 is what beats at random give; None where there are
    no beats or no onsets.
    """
    strength = _strength(vocal, sample_rate)
    if not beats_seconds or not strength.any():
        return None
    padded = np.pad(strength, 3, mode="edge")
    near = np.lib.stride_tricks.sliding_window_view(padded, 7).max(axis=1)
    deviation = float(near.std())
    frames = np.clip((np.asarray(beats_seconds) * ONSET_FRAMES_PER_SECOND).astype(int), 0, len(near) - 1)
    return None if deviation == 0 else float(near[frames].mean() - near.mean()) / deviation


def pulse_clarity(waveform: Float[Tensor, " T"], sample_rate: int) -> float | None:
    """Height of the best peak; None where nothing begins, or under a second and a half.

    >>> import torch
    >>> clicks = torch.zeros(24_000 * 8).index_fill(0, torch.arange(6_000, 190_000, 12_000), 1.0)
    >>> pulse_clarity(clicks, 24_000) > 0.9
    True
    """
    strength = _hits(waveform, sample_rate)
    return None if strength is None else _best_peak(strength)


def shuffled_pulse_clarity(waveform: Float[Tensor, " T"], sample_rate: int, *, seed: int = 0) -> float | None:
    """The same with the pieces between hits in random order, mean of 20 orders drawn by `seed`."""
    strength = _hits(waveform, sample_rate)
    if strength is None:
        return None
    hits, _ = find_peaks(strength, height=strength.mean() + strength.std(), distance=_APART_FRAMES)
    if len(hits) < _FEWEST_HITS:
        return _best_peak(strength)
    pieces = np.split(strength, np.maximum(hits - _RISE_FRAMES, 1))
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(pieces)) for _ in range(_ORDERS)]
    return float(np.mean([_best_peak(np.concatenate([pieces[i] for i in order])) for order in orders]))


def drift_ms_per_minute(
    estimated_seconds: Sequence[float], reference_seconds: Sequence[float]
) -> float | None:
    """How fast the beats leave the reference, early or late; None with fewer than eight pairs within 70 ms.

    >>> beats = [0.5 * number for number in range(20)]
    >>> round(drift_ms_per_minute([1.001 * beat for beat in beats], beats), 3)
    60.0
    """
    pairs = _match_beats(estimated_seconds, reference_seconds)
    if len(pairs) < _FEWEST_BEATS:
        return None
    estimated, reference = np.asarray(pairs).T
    return 60_000 * abs(float(theilslopes(estimated - reference, reference).slope))


def check_mir_eval() -> ModuleType:
    """Finds mir_eval, before any work whose result it is to score; UsageError where it is missing."""
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
    lags = np.arange(_SHORTEST_FRAMES, _LONGEST_FRAMES + 1)
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
    frames.reverse()
    played = strength[frames] >= _FAINT * np.sqrt(np.square(strength[frames]).mean())
    kept = np.flatnonzero(played)
    return frames[kept[0] : kept[-1] + 1] if len(kept) else []


def _hits(waveform: Float[Tensor, " T"], sample_rate: int) -> Floats | None:
    """Onset strength, neither smoothed nor scaled; None where nothing begins, or it is too short."""
    strength: Floats = onset_envelope(waveform, sample_rate).double().numpy()
    return strength if len(strength) > _LONGEST_FRAMES and strength.any() else None


def _best_peak(strength: Floats) -> float:
    """The largest correlation of the strength with itself, at a lag where it is a peak."""
    lags = range(_SHORTEST_FRAMES - 1, min(_LONGEST_FRAMES, len(strength) // 2) + 2)
    heights = np.array([_correlation(strength[:-lag], strength[lag:]) for lag in lags])
    peaks, _ = find_peaks(heights)
    return float(heights[peaks].max()) if len(peaks) else 0.0


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0
