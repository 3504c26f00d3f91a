"""Beats and bars from what the network says of every frame: one tempo region, then a path through it.

In:  logits of beat and downbeat `[F]` at 50 Hz, and beats that are known already. Out: `Beats`, or None where
no beat is to be found (free time, a sound of a second or two).

1. *Tempo.* Every tempo T, 24 per octave, is scored, and the largest sum wins:

       COMB_WEIGHT * comb[T] + prior[T]

   comb[T] is how far the best row of teeth at distance T stands out of the beat activation, mean over
   stretches of 10 s; the prior is a bell over log2 of the tempo around `PRIOR_BPM`, `PRIOR_OCTAVES` wide. It
   decides between a tempo, its half and its double where the sound does not.
2. *Path.* Within `TEMPO_RANGE` of that tempo, `metricon` finds the likeliest course of tempo, bar and beat:
   the bar-pointer model, decoded by Viterbi. Known beats are anchors that every path must pass.
3. *Confidence.* How far beats stand out of the activation, as the chance that they are right, fitted on
   validation songs. Below `LEAST_CONFIDENCE` the singing is free, and no beats are invented.

Source: Krebs, Boeck and Widmer, "An efficient state-space model for joint tempo and meter tracking" (2015),
through metricon 0.1; the comb after Scheirer, "Tempo and beat analysis of acoustic musical signals" (1998).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import metricon
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from hafm.errors import LeadSheetError
from hafm.guide.lead_sheet import Beat
from hafm.rates import SEMANTIC_RATE

__all__ = ["FASTEST_BPM", "METERS", "SLOWEST_BPM", "Beats", "find_beats", "track_bars"]

Floats = NDArray[np.floating]

SLOWEST_BPM, FASTEST_BPM = 50.0, 220.0
METERS = {4: 0.9, 3: 0.08, 2: 0.02}
"""Beats per bar (6/8 is 2), and how often each is expected."""

PRIOR_BPM, PRIOR_OCTAVES = 95.0, 0.5
COMB_WEIGHT = 6.0
TEMPO_RANGE = 1.15
"""Highest tempo of a path over the tempo that was found, and that over the lowest."""
LEAST_CONFIDENCE = 0.2
LEAST_SECONDS = 2.5

_RATE = int(SEMANTIC_RATE)
_COMB_SECONDS = 10
_TEMPI_PER_OCTAVE = 24
_STEADINESS = 100.0
_LEAST_SHARE = 0.02
_EAGERNESS = 2.0  # added to the logits of beats, but for the confidence: weak beats count for tempo and bar


@dataclass(frozen=True, kw_only=True)
class Beats:
    """Beats that were found.

    Args:
        beats: at least two.
        beats_per_bar: one of `METERS`.
        confidence: 0 to 1.
    """

    beats: tuple[Beat, ...]
    beats_per_bar: int
    confidence: float


def find_beats(
    beat: Float[np.ndarray, " F"],
    downbeat: Float[np.ndarray, " F"],
    *,
    known: Sequence[Beat] = (),
    meters: Mapping[int, float] = METERS,
    tempo_bpm: float | None = None,
) -> Beats | None:
    """The beats of a sound, or None where there are none to be found.

    Args:
        beat, downbeat: logits at 50 Hz.
        known: beats that are kept as they are; the others are found around them.
        meters: beats per bar that are possible, and how often each is expected.
        tempo_bpm: about how fast it goes, if that is known.

    Raises:
        LeadSheetError: no course of tempo between 50 and 220 per minute passes all known beats.
    """
    eager = np.asarray(beat, np.float64) + _EAGERNESS
    if len(beat) < LEAST_SECONDS * _RATE and len(known) < 2:
        return None
    if tempo_bpm is None and len(known) < 2:
        tempo_bpm = _likeliest_tempo(_probability(eager))
    if tempo_bpm is None:
        slowest, fastest = SLOWEST_BPM, FASTEST_BPM
    else:
        slowest, fastest = tempo_bpm / TEMPO_RANGE, tempo_bpm * TEMPO_RANGE
    times, positions = track_bars(
        eager, downbeat, slowest_bpm=slowest, fastest_bpm=fastest, known=known, meters=meters
    )
    if len(times) < 2:
        return None
    confidence = _confidence(_probability(beat), times) if not known else 1.0
    if confidence < LEAST_CONFIDENCE:
        return None
    found = zip(times.tolist(), positions.tolist(), strict=True)
    return Beats(
        beats=tuple(Beat(time, position) for time, position in found),
        beats_per_bar=int(positions.max()),
        confidence=confidence,
    )


def track_bars(
    beat: Float[np.ndarray, " F"],
    downbeat: Float[np.ndarray, " F"],
    *,
    slowest_bpm: float = SLOWEST_BPM,
    fastest_bpm: float = FASTEST_BPM,
    known: Sequence[Beat] = (),
    meters: Mapping[int, float] = METERS,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Times of the beats, in seconds, and their positions in the bar. The one place that calls metricon.

    Args:
        beat, downbeat: logits at 50 Hz; frame f is centred on (f + 1/2) / 50 s.
        slowest_bpm, fastest_bpm: between which the tempo moves.
        known: beats that the result has.
        meters: beats per bar that are possible, and how often each is expected. The likeliest holds for the
            whole sound, unless beats are known, whose meters may change.

    Raises:
        LeadSheetError: no path passes all known beats.
    """
    tracker = metricon.DownbeatTracker(
        beats_per_bar=tuple(meters),
        meter_prior=dict(meters),
        multi_meter=bool(known) and len(meters) > 1,
        min_bpm=slowest_bpm,
        max_bpm=fastest_bpm,
        fps=_RATE,
        transition_lambda=_STEADINESS,
    )
    half_frame = 0.5 / _RATE
    anchors = [(known_beat.seconds - half_frame, known_beat.position) for known_beat in known]
    try:
        found = tracker.track(
            _observed(beat, downbeat),
            position_anchors=anchors or None,
            snap="center",
        )
    except ValueError as error:
        raise LeadSheetError(
            f"the given beats fit no tempo from {slowest_bpm:.0f} to {fastest_bpm:.0f} per minute in bars of "
            f"{', '.join(map(str, sorted(meters)))} beats; correct them, or give all beats"
        ) from error
    times = found.times + half_frame
    for known_beat in known:  # to the frame so far
        times[np.abs(times - known_beat.seconds).argmin()] = known_beat.seconds
    return times, found.numbers


def _observed(beat: Floats, downbeat: Floats) -> metricon.Activations:
    """Probabilities of beat and downbeat, neither of which rules the other out.

    metricon takes the difference of the two for a beat that is no downbeat: where the network finds a
    downbeat as likely as a beat, or likelier, that would be log 0, and one frame would decide the meter.
    """
    probability = _probability(beat)
    share = np.clip(_probability(downbeat) / probability, _LEAST_SHARE, 1 - _LEAST_SHARE)
    return metricon.Activations.from_activations(probability, probability * share, fps=_RATE)


def _likeliest_tempo(probability: Floats) -> float:
    octaves = np.arange(0, np.log2(FASTEST_BPM / SLOWEST_BPM), 1 / _TEMPI_PER_OCTAVE)
    bpm = SLOWEST_BPM * 2.0**octaves
    prior = -0.5 * np.square(np.log2(bpm / PRIOR_BPM) / PRIOR_OCTAVES)
    return float(bpm[(COMB_WEIGHT * _comb(probability, bpm) + prior).argmax()])


def _comb(probability: Floats, bpm: Floats) -> Floats:
    """How far the best row of teeth stands out, in deviations of the activation; one value per tempo."""
    size = _COMB_SECONDS * _RATE
    starts = range(0, max(1, len(probability) - size // 2), size)
    stretches = [_comb_of(probability[start : start + size], bpm) for start in starts]
    return np.asarray(np.mean(stretches, axis=0))


def _comb_of(stretch: Floats, bpm: Floats) -> Floats:
    deviation = float(stretch.std())
    if deviation == 0:
        return np.zeros(len(bpm))
    padded = np.pad((stretch - stretch.mean()) / deviation, 1)
    near = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    score = np.empty(len(bpm))
    for number, period in enumerate(60 * _RATE / bpm):
        phases = np.arange(0, period, 2.0)
        teeth = np.arange(0, max(1, np.floor(len(near) / period))) * period
        frames = np.minimum((phases[:, None] + teeth).astype(int), len(near) - 1)
        score[number] = near[frames].mean(axis=1).max()
    return score


def _confidence(probability: Floats, times: Floats) -> float:
    """Chance that the beats are right, from how far the activation at them is above that between them."""
    frames = np.clip((times * _RATE).astype(int), 1, len(probability) - 2)
    at = np.maximum(np.maximum(probability[frames - 1], probability[frames]), probability[frames + 1]).mean()
    contrast = at - probability.mean()
    slope, middle = _CONTRAST
    return float(1 / (1 + np.exp(-slope * (contrast - middle))))


def _probability(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.asarray(logits, np.float64))))


_CONTRAST = (12.0, 0.25)
"""Slope and middle of the logistic curve from contrast to confidence."""
