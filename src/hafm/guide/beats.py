"""Beats and bars: tempi that are worth a try, and a path through what the network says at one of them.

In:  the onset strength of a sound, for tempi; the chance of beat and downbeat `[F]` at 50 Hz and beats that
are known already, for a path. Out: `Beats`, or None where no beat is to be found (free time, a sound of a
second or two).

1. *Tempi* (`possible_tempi`). Every tempo T, 48 per octave, is scored by what repeats at it: the magnitudes
   of the spectrum of the onset strength at T and, by `SECOND_LINE`, at twice T, in deviations, mean over
   stretches of 10 s. Of the best few pulses, each is a candidate, and so are half, twice, a third, three
   times, two thirds and three halves of it. Which is the beat, the network says (`hafm.guide.analyser`).
2. *Path* (`find_beats`). Within `TEMPO_RANGE` of a tempo (`KNOWN_TEMPO_RANGE` of a given one), `metricon`
   finds the likeliest course of tempo, bar and beat: the bar-pointer model, decoded by Viterbi. Known beats
   are anchors that every path must pass.
3. *Confidence.* How sure the network is of beats, of bars and of the tempo among those that were tried, as
   the chance that beats and bars are right, fitted on validation songs. Where the beats that were found are
   less likely than `LEAST_CHANCE`, the singing is free, and no beats are invented; unless a tempo or beats
   are given, which say that there is a beat.

Source: Krebs, Boeck and Widmer, "An efficient state-space model for joint tempo and meter tracking" (2015),
through metricon 0.1; two lines as in `hafm.evaluate.retrieval.pulse`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    "confidences",
    "downbeat_share",
    "find_beats",
    "possible_tempi",
    "track_bars",
]

Floats = NDArray[np.floating]

SLOWEST_BPM, FASTEST_BPM = 50.0, 220.0
METERS = {4: 0.9, 3: 0.08, 2: 0.02}
"""Beats per bar (6/8 is 2), and how often each is expected."""

PULSE_PRIOR = (95.0, 0.5)
"""Middle, in beats per minute, and width, in octaves, of where a pulse is looked for."""
BEAT_PRIOR, LINE_WEIGHT = (150.0, 1.4), 0.5
"""The same of where the beat is, once the network has spoken, and what a line counts beside its log-odds:
fitted on 90 validation vocals."""
PULSES = 6
SECOND_LINE = 0.7
TEMPO_RANGE = 1.06
"""Highest tempo of a path over the tempo that was found, and that over the lowest."""
KNOWN_TEMPO_RANGE = 1.03
"""The same around a tempo that is given: people play to a click, or read it off one."""
LEAST_CHANCE = 0.207
LEAST_SECONDS = 2.5
BEATS_RIGHT = (-1.54, 2.65, 0.33)
"""Log-odds that beats are right: a constant, and what the mean chance of the beats and the log-odds of the
tempo count. Like the next two fitted on 613 stretches of 4 to 20 s of 90 validation vocals."""
KNOWN_TEMPO_CHANCE = 0.96
"""What a tempo that somebody said counts there: with it, beats are right as often as at such a chance."""
BARS_RIGHT = (-2.29, 3.38)
"""The same of bars, by the mean chance of the downbeats."""

_RATE = int(SEMANTIC_RATE)
_STRETCH_SECONDS = 10
_TEMPI_PER_OCTAVE = 48
_LEVELS = (1.0, 0.5, 2.0, 1 / 3, 3.0, 2 / 3, 3 / 2)
_PULSES_APART, _TEMPI_APART = 0.08, 0.05  # octaves
_STEADINESS = 100.0
_LEAST, _LEAST_SHARE = 1e-4, 0.02
_SUREST_TEMPO = 0.999


@dataclass(frozen=True, kw_only=True)
class Beats:
    """Beats that were found.

    Args:
        beats: at least two.
        beats_per_bar: one of `METERS`.
        confidence: 0 to 1, that the beats are right.
        bar_confidence: the same of where bars begin.
    """

    beats: tuple[Beat, ...]
    beats_per_bar: int
    confidence: float
    bar_confidence: float


def possible_tempi(onsets: Float[np.ndarray, " F"]) -> dict[float, float]:
    """Tempi that are worth a try, in beats per minute, and how likely each is by the onsets and the prior.

    Args:
        onsets: onset strength at 50 Hz, on any scale.

    Returns:
        20 or so, with log-odds but for a constant; none where nothing happens.
    """
    signal = np.asarray(onsets, np.float64)
    bpm = SLOWEST_BPM * 2.0 ** np.arange(0, np.log2(FASTEST_BPM / SLOWEST_BPM), 1 / _TEMPI_PER_OCTAVE)
    lines = _lines_over_stretches(signal, bpm)
    if not lines.any():
        return {}
    pulses: list[int] = []
    for place in np.argsort(-(lines + _prior(bpm, *PULSE_PRIOR))):
        if all(abs(np.log2(bpm[place] / bpm[pulse])) > _PULSES_APART for pulse in pulses):
            pulses.append(int(place))
        if len(pulses) == PULSES:
            break
    tempi: dict[float, float] = {}
    for pulse in pulses:
        for tempo in float(bpm[pulse]) * np.array(_LEVELS):
            new = all(abs(np.log2(tempo / other)) > _TEMPI_APART for other in tempi)
            if new and SLOWEST_BPM <= tempo <= FASTEST_BPM:
                tempi[float(tempo)] = float(LINE_WEIGHT * lines[pulse] + _prior(tempo, *BEAT_PRIOR))
    return tempi


def find_beats(
    beat: Float[np.ndarray, " F"],
    downbeat: Float[np.ndarray, " F"],
    *,
    bpm: float,
    is_known: bool = False,
    tempo_chance: float = KNOWN_TEMPO_CHANCE,
    known: Sequence[Beat] = (),
    meters: Mapping[int, float] = METERS,
) -> Beats | None:
    """The beats of a sound, or None where there are none to be found.

    Args:
        beat, downbeat: the chance of each at 50 Hz.
        bpm: about how fast it goes.
        is_known: whether somebody said so.
        tempo_chance: how likely the network finds it, where nobody said so.
        known: beats that are kept as they are; the others are found around them, at any tempo if they are two
            or more.
        meters: beats per bar that are possible, and how often each is expected.

    Raises:
        LeadSheetError: no course of tempo between 50 and 220 per minute passes all known beats.
    """
    if len(beat) < LEAST_SECONDS * _RATE and len(known) < 2:
        return None
    slowest, fastest = SLOWEST_BPM, FASTEST_BPM
    if len(known) < 2:
        spread = KNOWN_TEMPO_RANGE if is_known else TEMPO_RANGE
        slowest, fastest = bpm / spread, bpm * spread
    times, positions = track_bars(
        beat, downbeat, slowest_bpm=slowest, fastest_bpm=fastest, known=known, meters=meters
    )
    if len(times) < 2:
        return None
    if not known and not is_known and _mean_chance(beat, times) < LEAST_CHANCE:
        return None
    beats = tuple(map(Beat, times.tolist(), positions.tolist()))
    confidence, of_bars = (
        (1.0, 1.0) if known else confidences(beat, downbeat, beats, tempo_chance=tempo_chance)
    )
    return Beats(
        beats=beats, beats_per_bar=int(positions.max()), confidence=confidence, bar_confidence=of_bars
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
        beat, downbeat: the chance of each at 50 Hz; frame f is centred on (f + 1/2) / 50 s.
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


def downbeat_share(beat: Float[np.ndarray, " F"], downbeat: Float[np.ndarray, " F"]) -> Floats:
    """The chance that a beat of each frame is a downbeat; neither that nor the opposite is ever ruled out."""
    return np.asarray(np.clip(downbeat / np.maximum(beat, _LEAST), _LEAST_SHARE, 1 - _LEAST_SHARE))


def confidences(
    beat: Float[np.ndarray, " F"],
    downbeat: Float[np.ndarray, " F"],
    beats: Sequence[Beat],
    *,
    tempo_chance: float = KNOWN_TEMPO_CHANCE,
) -> tuple[float, float]:
    """The chance that beats are right, and that bars begin where they say."""
    times = np.array([each.seconds for each in beats])
    begins = times[[each.position == 1 for each in beats]]
    tempo = float(np.clip(tempo_chance, 1 - _SUREST_TEMPO, _SUREST_TEMPO))
    of_beats = BEATS_RIGHT[0] + BEATS_RIGHT[1] * _mean_chance(beat, times)
    of_beats += BEATS_RIGHT[2] * np.log(tempo / (1 - tempo))
    of_bars = BARS_RIGHT[0] + BARS_RIGHT[1] * _mean_chance(downbeat, begins)
    right, bars_right = (float(1 / (1 + np.exp(-odds))) for odds in (of_beats, of_bars))
    return right, min(right, bars_right)


def _mean_chance(chance: Floats, times: Floats) -> float:
    """What the network says at these times, at most a frame away; 0 where there are none."""
    if len(chance) < 3 or not len(times):
        return 0.0
    frames = np.clip((times * _RATE).astype(int), 1, len(chance) - 2)
    return float(np.maximum(np.maximum(chance[frames - 1], chance[frames]), chance[frames + 1]).mean())


def _observed(beat: Floats, downbeat: Floats) -> tuple[Floats, Floats]:
    """Chances of beat and downbeat, neither of which rules the other out.

    metricon takes the difference of the two for a beat that is no downbeat: where a downbeat is as likely as
    a beat, or likelier, that would be log 0, and one frame would decide the meter.
    """
    chance = np.clip(np.asarray(beat, np.float64), _LEAST, 1 - _LEAST)
    return chance, chance * downbeat_share(chance, downbeat)


def _prior(bpm: Any, middle_bpm: float, octaves: float) -> Any:
    """Log of how likely tempi are before anything is heard, but for a constant: a bell over their octaves."""
    return -0.5 * np.square(np.log2(bpm / middle_bpm) / octaves)


def _lines_over_stretches(signal: Floats, bpm: Floats) -> Floats:
    """The lines at each tempo, mean over stretches of the signal, each in deviations from its mean."""
    size = _STRETCH_SECONDS * _RATE
    lines = []
    for start in range(0, max(1, len(signal) - size // 2), size):
        stretch = signal[start : start + size]
        deviation = float(stretch.std())
        if deviation > 0:
            lines.append(_lines((stretch - stretch.mean()) / deviation, bpm))
    return np.mean(lines, axis=0) if lines else np.zeros(len(bpm))


def _lines(stretch: Floats, bpm: Floats) -> Floats:
    """Magnitude of the spectrum at a tempo and at twice that; noise has about 1 in each."""
    minutes = np.arange(len(stretch)) / (60 * _RATE)

    def line(bpm: Floats) -> Floats:
        return np.asarray(np.abs(np.exp(-2j * np.pi * bpm[:, None] * minutes) @ stretch))

    return np.asarray((line(bpm) + SECOND_LINE * line(2 * bpm)) / np.sqrt(len(stretch)))
