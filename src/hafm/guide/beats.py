"""Beats and bars from what the network says of every frame: one tempo region, then a path through it.

In:  logits of beat and downbeat and the onset strength `[F]` at 50 Hz, and beats that are known already.
Out: `Beats`, or None where no beat is to be found (free time, a sound of a second or two).

1. *Pulse.* Every tempo T, 48 per octave, is scored by what repeats at it, and the largest sum wins:

       lines of the beat activation + lines of the onset strength + prior

   The lines of a signal are the magnitudes of its spectrum at T and, by `SECOND_LINE`, at twice T, in
   deviations, mean over stretches of 10 s. How fast a voice goes, its onsets say as well as a network that
   looks for beats. The prior is a bell over log2 of the tempo around `PRIOR_BPM`, `PRIOR_OCTAVES` wide.
2. *Tempo.* Of this pulse and those half, twice, a third and three times as fast, that one is the beat for
   which the comb of the beat activation, by `COMB_WEIGHT`, and the prior speak most. A comb is how far the
   best row of teeth rises above the activation.
3. *Path.* Within `TEMPO_RANGE` of that tempo (`KNOWN_TEMPO_RANGE` of a given one), `metricon` finds the
   likeliest course of tempo, bar and beat: the bar-pointer model, decoded by Viterbi. The logits of beats are
   helped by the onsets, `ONSET_WEIGHT` per deviation. Known beats are anchors that every path must pass.
4. *Confidence.* How far beats stand out of the activation, as the chance that they are right, fitted on
   validation songs. Below `LEAST_CONFIDENCE` the singing is free, and no beats are invented; unless a tempo
   or beats are given, which say that there is a beat.

Source: Krebs, Boeck and Widmer, "An efficient state-space model for joint tempo and meter tracking" (2015),
through metricon 0.1; the comb after Scheirer, "Tempo and beat analysis of acoustic musical signals" (1998);
two lines as in `hafm.evaluate.retrieval.pulse`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from hafm.errors import LeadSheetError
from hafm.guide.lead_sheet import Beat
from hafm.rates import SEMANTIC_RATE

__all__ = [
    "FASTEST_BPM",
    "METERS",
    "SLOWEST_BPM",
    "Beats",
    "beat_confidence",
    "downbeat_share",
    "find_beats",
    "helped_by_onsets",
    "track_bars",
]

Floats = NDArray[np.floating]

SLOWEST_BPM, FASTEST_BPM = 50.0, 220.0
METERS = {4: 0.9, 3: 0.08, 2: 0.02}
"""Beats per bar (6/8 is 2), and how often each is expected."""

PRIOR_BPM, PRIOR_OCTAVES = 95.0, 0.5
COMB_WEIGHT = 4.0
SECOND_LINE = 0.7
TEMPO_RANGE = 1.06
"""Highest tempo of a path over the tempo that was found, and that over the lowest."""
KNOWN_TEMPO_RANGE = 1.03
"""The same around a tempo that is given: people play to a click, or read it off one."""
ONSET_WEIGHT = 0.2
LEAST_CONFIDENCE = 0.1
LEAST_SECONDS = 2.5

_RATE = int(SEMANTIC_RATE)
_STRETCH_SECONDS = 10
_TEMPI_PER_OCTAVE = 48
_LEVELS = (1.0, 0.5, 2.0, 1 / 3, 3.0)
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
    onsets: Float[np.ndarray, " F"],
    *,
    known: Sequence[Beat] = (),
    meters: Mapping[int, float] = METERS,
    tempo_bpm: float | None = None,
) -> Beats | None:
    """The beats of a sound, or None where there are none to be found.

    Args:
        beat, downbeat: logits at 50 Hz.
        onsets: onset strength, on any scale.
        known: beats that are kept as they are; the others are found around them.
        meters: beats per bar that are possible, and how often each is expected.
        tempo_bpm: about how fast it goes, if that is known.

    Raises:
        LeadSheetError: no course of tempo between 50 and 220 per minute passes all known beats.
    """
    eager: Floats = np.asarray(beat, np.float64) + _EAGERNESS
    if len(beat) < LEAST_SECONDS * _RATE and len(known) < 2:
        return None
    slowest, fastest = SLOWEST_BPM, FASTEST_BPM
    if tempo_bpm is not None:
        slowest, fastest = tempo_bpm / KNOWN_TEMPO_RANGE, tempo_bpm * KNOWN_TEMPO_RANGE
    elif len(known) < 2:
        found_bpm = _likeliest_tempo(_probability(eager), np.asarray(onsets, np.float64))
        slowest, fastest = found_bpm / TEMPO_RANGE, found_bpm * TEMPO_RANGE
    eager = helped_by_onsets(eager, onsets)
    times, positions = track_bars(
        eager, downbeat, slowest_bpm=slowest, fastest_bpm=fastest, known=known, meters=meters
    )
    if len(times) < 2:
        return None
    confidence = 1.0 if known else beat_confidence(beat, times)
    if confidence < LEAST_CONFIDENCE and tempo_bpm is None:
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
    import metricon  # where stages are trained, it may be absent

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
            metricon.Activations.from_activations(*_observed(beat, downbeat), fps=_RATE),
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


def helped_by_onsets(beat: Float[np.ndarray, " F"], onsets: Float[np.ndarray, " F"]) -> Floats:
    """Logits of beats with a little for every onset.

    Args:
        beat: logits at 50 Hz.
        onsets: onset strength, on any scale.
    """
    logits, strength = np.asarray(beat, np.float64), np.asarray(onsets, np.float64)
    deviation = strength.std()
    return logits + ONSET_WEIGHT * (strength - strength.mean()) / deviation if deviation > 0 else logits


def downbeat_share(beat: Float[np.ndarray, " F"], downbeat: Float[np.ndarray, " F"]) -> Floats:
    """The chance that a beat of each frame is a downbeat; neither that nor the opposite is ever ruled out.

    Args:
        beat, downbeat: logits at 50 Hz.
    """
    return np.clip(_probability(downbeat) / _probability(beat), _LEAST_SHARE, 1 - _LEAST_SHARE)


def _observed(beat: Floats, downbeat: Floats) -> tuple[Floats, Floats]:
    """Probabilities of beat and downbeat, neither of which rules the other out.

    metricon takes the difference of the two for a beat that is no downbeat: where the network finds a
    downbeat as likely as a beat, or likelier, that would be log 0, and one frame would decide the meter.
    """
    probability = _probability(beat)
    return probability, probability * downbeat_share(beat, downbeat)


def _likeliest_tempo(beat: Floats, onsets: Floats) -> float:
    octaves = np.arange(0, np.log2(FASTEST_BPM / SLOWEST_BPM), 1 / _TEMPI_PER_OCTAVE)
    bpm = SLOWEST_BPM * 2.0**octaves
    lines = _over_stretches(_lines, beat, bpm) + _over_stretches(_lines, onsets, bpm)
    pulse = bpm[(lines + _prior(bpm)).argmax()]
    levels = pulse * np.array(_LEVELS)
    levels = levels[(levels >= SLOWEST_BPM) & (levels <= FASTEST_BPM)]
    near = levels[:, None] * 2.0 ** (np.array([-1, 0, 1]) / _TEMPI_PER_OCTAVE)
    combs = _over_stretches(_comb, beat, near.ravel()).reshape(near.shape).max(axis=1)
    return float(levels[(COMB_WEIGHT * combs + _prior(levels)).argmax()])


def _prior(bpm: Floats) -> Floats:
    return np.asarray(-0.5 * np.square(np.log2(bpm / PRIOR_BPM) / PRIOR_OCTAVES))


def _over_stretches(score: Callable[[Floats, Floats], Floats], signal: Floats, bpm: Floats) -> Floats:
    """The mean of a score of each tempo over stretches of the signal, each in deviations from its mean."""
    size = _STRETCH_SECONDS * _RATE
    scores = []
    for start in range(0, max(1, len(signal) - size // 2), size):
        stretch = signal[start : start + size]
        deviation = float(stretch.std())
        if deviation > 0:
            scores.append(score((stretch - stretch.mean()) / deviation, bpm))
    return np.mean(scores, axis=0) if scores else np.zeros(len(bpm))


def _lines(stretch: Floats, bpm: Floats) -> Floats:
    """Magnitude of the spectrum at a tempo and at twice that; noise has about 1 in each."""
    minutes = np.arange(len(stretch)) / (60 * _RATE)

    def line(bpm: Floats) -> Floats:
        return np.asarray(np.abs(np.exp(-2j * np.pi * bpm[:, None] * minutes) @ stretch))

    return np.asarray((line(bpm) + SECOND_LINE * line(2 * bpm)) / np.sqrt(len(stretch)))


def _comb(stretch: Floats, bpm: Floats) -> Floats:
    """Mean height of the best row of teeth, each the highest of three frames."""
    padded = np.pad(stretch, 1)
    near = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    score = np.empty(len(bpm))
    for number, period in enumerate(60 * _RATE / bpm):
        phases = np.arange(0, period, 2.0)
        teeth = np.arange(0, max(1, np.floor(len(near) / period))) * period
        frames = np.minimum((phases[:, None] + teeth).astype(int), len(near) - 1)
        score[number] = near[frames].mean(axis=1).max()
    return score


def beat_confidence(beat: Float[np.ndarray, " F"], times: Float[np.ndarray, " N"]) -> float:
    """Chance that beats are right, from how many times its mean the activation is at them.

    Args:
        beat: logits at 50 Hz.
        times: of the beats, in seconds.
    """
    probability = _probability(beat)
    if len(probability) < 3:
        return 0.0
    frames = np.clip((times * _RATE).astype(int), 1, len(probability) - 2)
    at = np.maximum(np.maximum(probability[frames - 1], probability[frames]), probability[frames + 1]).mean()
    slope, middle = _CONTRAST
    return float(1 / (1 + np.exp(-slope * (np.log(at / probability.mean()) - middle))))


def _probability(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.asarray(logits, np.float64))))


_CONTRAST = (6.3, 0.725)
"""Slope and middle of the logistic curve from the log of the ratio to confidence."""
