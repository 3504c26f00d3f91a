"""A score and a style as the parts of a band.

In: a `Score` in window time (second 0 is the start of the window) and the length of the window. Out: `Part`s,
each one instrument with its note events, in the same clock and already transposed.

What is played: `keys` the recorded piano, `bridge` the recorded second voice, `bass`, `drums` and `comp` the
style's pattern on the song's own beats, `pad` the chords held. Every eighth bar ends in a fill and is
followed by a crash; the first two bars of a song keep the drums thin. Timing and velocity wander a little, by
hand.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recipes.builtin.rendering.chords import Chord
from recipes.builtin.rendering.scores import Notes, Score
from recipes.builtin.rendering.styles import (
    DRUMS,
    RESERVED_KITS,
    RESERVED_PROGRAMS,
    ROLES,
    STYLES,
    Style,
    allowed,
    style_weights,
)

BARS_PER_PHRASE = 8
INTRO_BARS = 2
SLOW_TEMPO_BPM = 80.0

Event = tuple[float, float, int, int]
"""start_seconds, end_seconds, MIDI pitch, velocity."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One instrument.

    Attributes:
        role: a key of `styles.ROLES`.
        program: General MIDI program, or the kit if the role is "drums".
        level_db: RMS while it plays, in dB full scale.
        events: notes, unordered.
    """

    role: str
    program: int
    level_db: float
    events: tuple[Event, ...]

    @property
    def is_drums(self) -> bool:
        return self.role == "drums"

    @property
    def stem(self) -> str:
        return ROLES[self.role].stem


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """The band's parts, with what was drawn to make them.

    Attributes:
        style: a key of `styles.STYLES`.
        double_time: the pattern is played at twice the beat (slow songs).
        humanise_seconds: standard deviation of the timing.
        parts: the instruments.
    """

    style: str
    double_time: bool
    humanise_seconds: float
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class _Bar:
    """A bar of the song: its number, first beat and length in beats; the beat clock comes along."""

    number: int
    first_beat: int
    beats: int
    beat_seconds: np.ndarray

    def seconds(self, beat: float) -> float:
        """Time of a beat of this bar; past the last annotated beat, the last tempo goes on."""
        last = len(self.beat_seconds) - 1
        position = self.first_beat + beat
        beyond = max(0.0, position - last) * (self.beat_seconds[-1] - self.beat_seconds[-2])
        return float(np.interp(position, np.arange(last + 1), self.beat_seconds) + beyond)

    @property
    def ends_phrase(self) -> bool:
        return self.number % BARS_PER_PHRASE == BARS_PER_PHRASE - 1


class _Hand:
    """The player's small inaccuracies."""

    def __init__(self, rng: np.random.Generator, sigma_seconds: float) -> None:
        self._rng = rng
        self._sigma_seconds = sigma_seconds

    def late(self) -> float:
        return float(self._rng.normal(0.0, self._sigma_seconds))

    def velocity(self, velocity: float) -> int:
        return int(np.clip(velocity + self._rng.normal(0.0, 6.0), 20, 127))


def arrange(score: Score, *, seconds: float, rng: np.random.Generator, test: bool = False) -> Arrangement:
    """Draw a style, instruments and levels, and play the score.

    Args:
        score: in window time.
        seconds: length of the window; only bars and notes that touch it are played.
        rng: every choice comes from here.
        test: whether the instruments reserved for the test split may be drawn.

    Returns:
        The arrangement, with at least keys and bass.
    """
    weights = style_weights(score.beats_per_bar)
    name = str(rng.choice(list(weights), p=list(weights.values())))
    style = STYLES[name]
    double_time = bool(style.beats == 4 and score.tempo_bpm < SLOW_TEMPO_BPM and rng.random() < 0.4)
    humanise_seconds = float(rng.uniform(0.004, 0.012))
    hand = _Hand(rng, humanise_seconds)
    bars = list(_bars(score, seconds, beats=style.beats, double_time=double_time))
    chord_at = _ChordLookup(score)

    events: dict[str, list[Event]] = {
        "keys": _recorded(score.piano, seconds),
        "bridge": _recorded(score.bridge, seconds),
        "bass": _bass(bars, style, chord_at, hand),
        "drums": _drums(bars, style, hand) if style.drums else [],
        "pad": _pad(score, seconds),
        "comp": _comp(bars, style, chord_at, hand),
    }
    parts = []
    for role_name, role in ROLES.items():
        present = rng.random() < role.presence
        pool, reserved = (
            (style.kits, RESERVED_KITS) if role_name == "drums" else (role.programs, RESERVED_PROGRAMS)
        )
        program = int(rng.choice(allowed(pool, reserved, test=test)))
        level_db = float(rng.uniform(*role.level_db))
        if present and events[role_name]:
            parts.append(
                Part(role=role_name, program=program, level_db=level_db, events=tuple(events[role_name]))
            )
    return Arrangement(
        style=name, double_time=double_time, humanise_seconds=humanise_seconds, parts=tuple(parts)
    )


def _bars(score: Score, seconds: float, *, beats: int, double_time: bool) -> Iterator[_Bar]:
    """Bars that touch the window; with `double_time` each becomes two, on a clock of half beats."""
    clock = score.beat_seconds
    starts = score.downbeats
    ends = np.append(starts[1:], min(len(clock), int(starts[-1]) + beats) if len(starts) else 0)
    rate = 2 if double_time else 1
    if double_time:
        clock = np.interp(np.arange(0, len(clock) - 0.5, 0.5), np.arange(len(clock)), clock)
    for number, (first, after) in enumerate(zip(starts * rate, ends * rate, strict=True)):
        for half in range(rate):
            length = (after - first) // rate
            bar = _Bar(number * rate + half, int(first + half * length), int(length), clock)
            if length > 0 and bar.seconds(0) < seconds and bar.seconds(length) > -1.0:
                yield bar


class _ChordLookup:
    """The chord that sounds at a time; 60 ms of anticipation forgives onsets annotated a little late."""

    def __init__(self, score: Score) -> None:
        self._starts = [span.start_seconds for span in score.chords]
        self._chords = [span.value for span in score.chords]

    def __call__(self, seconds: float) -> Chord | None:
        index = bisect_right(self._starts, seconds + 0.06) - 1
        return self._chords[max(index, 0)] if self._chords else None


def _recorded(notes: Notes, seconds: float) -> list[Event]:
    inside = notes[(notes[:, 1] > -1.0) & (notes[:, 0] < seconds)]
    return [
        (float(start), max(float(end), float(start) + 0.03), int(pitch), int(velocity))
        for start, end, pitch, velocity in inside
    ]


def _drums(bars: list[_Bar], style: Style, hand: _Hand) -> list[Event]:
    events: list[Event] = []

    def stroke(seconds: float, lane: str, velocity: int, *, ring_seconds: float = 0.1) -> None:
        events.append((seconds, seconds + ring_seconds, DRUMS[lane], velocity))

    for bar in bars:
        last_beat = bar.beats - 1
        for beat, lane, velocity in style.strokes():
            fills = bar.ends_phrase and beat >= last_beat and lane != "kick"
            thin = bar.number < INTRO_BARS and lane in ("kick", "snare", "clap")
            if beat < bar.beats and not fills and not thin:
                stroke(bar.seconds(beat) + hand.late(), lane, hand.velocity(velocity))
        if bar.ends_phrase:
            for step, lane in enumerate(("snare", "high_tom", "high_tom", "low_tom")):
                stroke(bar.seconds(last_beat + step / 4), lane, 95 + 5 * step)
        if bar.number and bar.number % BARS_PER_PHRASE == 0:
            stroke(bar.seconds(0), "crash", 95, ring_seconds=1.5)
    return events


_LOWEST_BASS_PITCH = 28  # E1, the open low string


def _bass(bars: list[_Bar], style: Style, chord_at: _ChordLookup, hand: _Hand) -> list[Event]:
    events: list[Event] = []
    for bar in bars:
        for beat, degree, length in style.bass:
            start = bar.seconds(beat)
            chord = chord_at(start)
            if beat >= bar.beats or chord is None:
                continue
            fifth = (chord.root + 7) % 12
            pitch_class = chord.bass
            if degree == "fifth":
                pitch_class = fifth if fifth in chord.pitch_classes else chord.root
            pitch = _LOWEST_BASS_PITCH + (pitch_class - _LOWEST_BASS_PITCH) % 12 + 12 * (degree == "octave")
            end = bar.seconds(min(beat + length, bar.beats))
            events.append((start + hand.late(), end, pitch, hand.velocity(95)))
    return events


def _comp(bars: list[_Bar], style: Style, chord_at: _ChordLookup, hand: _Hand) -> list[Event]:
    events: list[Event] = []
    voicing: list[int] = []
    for bar in bars:
        for beat, following in zip(style.comp, (*style.comp[1:], bar.beats), strict=True):
            start = bar.seconds(beat)
            chord = chord_at(start)
            if beat >= bar.beats or chord is None:
                continue
            end = bar.seconds(beat + 0.25 if style.staccato else min(following, bar.beats))
            voicing = _lead(chord, voicing, low=52, high=76)
            for string, pitch in enumerate(voicing):
                onset = start + string * style.strum_seconds + 0.5 * hand.late()
                events.append((onset, end - 0.01, pitch, hand.velocity(72)))
    return events


def _pad(score: Score, seconds: float) -> list[Event]:
    events: list[Event] = []
    voicing: list[int] = []
    for span in score.chords:
        if span.value is None or span.end_seconds < -1.0 or span.start_seconds > seconds:
            continue
        voicing = _lead(span.value, voicing, low=55, high=74)
        events += [(span.start_seconds, span.end_seconds - 0.02, pitch, 64) for pitch in voicing]
    return events


def _lead(chord: Chord, previous: list[int], *, low: int, high: int) -> list[int]:
    """Voice a chord within [low, high] so that each note is the octave nearest to what sounded before."""
    if not previous:
        return sorted(low + (pitch_class - low) % 12 for pitch_class in chord.pitch_classes)
    nearest = {
        min(
            (pitch for pitch in range(low, high + 1) if pitch % 12 == pitch_class),
            key=lambda pitch: min(abs(pitch - old) for old in previous),
        )
        for pitch_class in chord.pitch_classes
    }
    return sorted(nearest)
