"""A score and a feel as the parts of a band.

In: a `Score` in window time (second 0 is the start of the window), a `Feel`, and the length of the window.
Out: `Part`s, each one instrument with its note events, in the same clock and already transposed; and which
stems play in each bar.

What is played: `keys` the recorded piano, `bridge` the recorded second voice, `bass`, `drums` and `comp` the
style's patterns on the song's own beats, `pad` the chords held; of these, what the plan of each bar asks for.
Timing and velocity wander a little, by hand.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from recipes.builtin.rendering.basslines import bass_line
from recipes.builtin.rendering.chords import Chord
from recipes.builtin.rendering.plan import Feel, PlannedBar, bars_in_window, plan_bars
from recipes.builtin.rendering.scores import Notes, Score
from recipes.builtin.rendering.styles import (
    DRUMS,
    RESERVED_KITS,
    RESERVED_PROGRAMS,
    ROLES,
    STEMS,
    STYLES,
    allowed,
    held,
    strokes,
)

Event = tuple[float, float, int, int]
"""start_seconds, end_seconds, MIDI pitch, velocity."""

_EARLY_SECONDS = 0.08
"""How far before its bar a note may begin and still belong to it."""
_HEARD_SECONDS = 0.15
"""A stem plays in a bar if a note begins there, or sounds on for this long."""


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
class BarActivity:
    """Which stems play in a bar, as far as it lies in the window."""

    start_seconds: float
    end_seconds: float
    stems: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """The band's parts, with what was drawn to make them.

    Attributes:
        feel: style, half or double time, swing.
        humanise_seconds: standard deviation of the timing.
        parts: the instruments.
        bars: what plays when.
    """

    feel: Feel
    humanise_seconds: float
    parts: tuple[Part, ...]
    bars: tuple[BarActivity, ...]


class _Hand:
    """The player's small inaccuracies."""

    def __init__(self, rng: np.random.Generator, sigma_seconds: float) -> None:
        self._rng = rng
        self._sigma_seconds = sigma_seconds

    def late(self) -> float:
        return float(self._rng.normal(0.0, self._sigma_seconds))

    def velocity(self, velocity: float, energy: float) -> int:
        """A velocity in a section of this energy, 0..1: from 0.7 of it to 1.1."""
        return int(np.clip(velocity * (0.7 + 0.4 * energy) + self._rng.normal(0.0, 6.0), 20, 127))


def arrange(
    score: Score,
    feel: Feel,
    *,
    seconds: float,
    rng: np.random.Generator,
    entry_seconds: float = 0.0,
    count_in: bool = False,
    stems: frozenset[str] = frozenset(STEMS),
    test: bool = False,
) -> Arrangement:
    """Draw instruments and levels, and play the score.

    Args:
        score: in window time, and bent by the feel's swing.
        feel: of the band.
        seconds: length of the window; only bars and notes that touch it are played.
        rng: every choice comes from here.
        entry_seconds: when the voice enters.
        count_in: whether the band is counted in.
        stems: what the instrumental keeps; parts of other stems are left out.
        test: whether the instruments reserved for the test split may be drawn.

    Returns:
        The arrangement.
    """
    style = STYLES[feel.style]
    humanise_seconds = float(rng.uniform(0.004, 0.012))
    hand = _Hand(rng, humanise_seconds)
    bars = bars_in_window(score, feel, seconds)
    starts = score.beat_seconds[score.downbeats] - _EARLY_SECONDS
    entry_bar = max(int(np.searchsorted(starts, entry_seconds, side="right")) - 1, 0)
    planned = plan_bars(bars, entry_bar=entry_bar, count_in=count_in, stems=stems, rng=rng)
    chord_at = _ChordLookup(score)
    events: dict[str, list[Event]] = {
        "keys": _with_dynamics(_recorded(score.piano, seconds), planned),
        "bridge": _recorded(score.bridge, seconds),
        "bass": [
            (start + hand.late(), end, pitch, hand.velocity(95, energy))
            for (start, end, pitch), energy in bass_line(planned, chord_at, rng)
        ],
        "drums": _drums(planned, hand),
        "pad": _pad(score, seconds),
        "comp": _comp(planned, chord_at, hand),
    }
    parts = []
    for role_name, role in ROLES.items():
        present = rng.random() < role.presence
        pool, reserved = (
            (style.kits, RESERVED_KITS) if role_name == "drums" else (role.programs, RESERVED_PROGRAMS)
        )
        program = int(rng.choice(allowed(pool, reserved, test=test)))
        level_db = float(rng.uniform(*role.level_db))
        spans = _spans(planned, role_name)
        cut = _held_within if role_name == "pad" else _within
        played = cut(events[role_name], spans)
        if present and played and role.stem in stems:
            parts.append(Part(role=role_name, program=program, level_db=level_db, events=tuple(played)))
    return Arrangement(
        feel=feel,
        humanise_seconds=humanise_seconds,
        parts=tuple(parts),
        bars=tuple(_activity(plan, parts, seconds) for plan in planned if _touches(plan, seconds)),
    )


class _ChordLookup:
    """The chord that sounds at a time; 60 ms of anticipation forgives onsets annotated a little late."""

    def __init__(self, score: Score) -> None:
        self._starts = [span.start_seconds for span in score.chords]
        self._chords = [span.value for span in score.chords]

    def __call__(self, seconds: float) -> Chord | None:
        index = bisect_right(self._starts, seconds + 0.06) - 1
        return self._chords[max(index, 0)] if self._chords else None


def _spans(planned: Sequence[PlannedBar], role: str) -> list[tuple[float, float]]:
    """Stretches of time in which a role plays, breaks cut out."""
    spans: list[tuple[float, float]] = []
    for plan in planned:
        if role not in plan.roles and not (plan.count_in and role == "drums"):
            continue
        start, end = plan.bar.start_seconds, plan.bar.end_seconds
        if plan.break_beat is not None:
            end = plan.bar.seconds(plan.break_beat)
        if spans and start - spans[-1][1] < 1e-6:
            start = spans.pop()[0]
        spans.append((start, end))
    return spans


def _within(events: Iterable[Event], spans: Sequence[tuple[float, float]]) -> list[Event]:
    """Events that begin in one of the spans, none sounding past its end."""
    kept = []
    starts = [start - _EARLY_SECONDS for start, _ in spans]
    for start, end, pitch, velocity in events:
        index = bisect_right(starts, start) - 1
        if index >= 0 and start < spans[index][1] - 0.02:
            kept.append((start, min(end, spans[index][1]), pitch, velocity))
    return kept


def _held_within(events: Iterable[Event], spans: Sequence[tuple[float, float]]) -> list[Event]:
    """Events cut to the spans; what sounds when a span begins is struck there."""
    return [
        (max(start, first), min(end, after), pitch, velocity)
        for start, end, pitch, velocity in events
        for first, after in spans
        if min(end, after) - max(start, first) > _HEARD_SECONDS
    ]


def _touches(plan: PlannedBar, seconds: float) -> bool:
    return plan.bar.end_seconds > 0.0 and plan.bar.start_seconds < seconds


def _activity(plan: PlannedBar, parts: Sequence[Part], seconds: float) -> BarActivity:
    """What is heard in a bar, by the events themselves."""
    start, end = max(plan.bar.start_seconds, 0.0), min(plan.bar.end_seconds, seconds)
    stems = set()
    for part in parts:
        for begins, stops, *_ in part.events:
            strikes = start - _EARLY_SECONDS <= begins < end - _EARLY_SECONDS and begins >= 0.0
            if strikes or (not part.is_drums and min(stops, end) - max(begins, start) > _HEARD_SECONDS):
                stems.add(part.stem)
                break
    return BarActivity(start_seconds=start, end_seconds=end, stems=frozenset(stems))


def _recorded(notes: Notes, seconds: float) -> list[Event]:
    inside = notes[(notes[:, 1] > -1.0) & (notes[:, 0] < seconds)]
    return [
        (float(start), max(float(end), float(start) + 0.03), int(pitch), int(velocity))
        for start, end, pitch, velocity in inside
    ]


def _with_dynamics(events: list[Event], planned: Sequence[PlannedBar]) -> list[Event]:
    """Recorded notes at the loudness of their section."""
    if not planned:
        return events
    starts = [plan.bar.start_seconds - _EARLY_SECONDS for plan in planned]
    scaled = []
    for start, end, pitch, velocity in events:
        energy = planned[max(bisect_right(starts, start) - 1, 0)].section.energy
        scaled.append((start, end, pitch, int(np.clip(velocity * (0.75 + 0.35 * energy), 20, 127))))
    return scaled


_QUIET, _LOUD = 0.5, 0.85
_SOFTER = {"snare": "rim", "open_hat": "closed_hat"}
_LOUDER = {"closed_hat": "ride"}


def _drums(planned: Sequence[PlannedBar], hand: _Hand) -> list[Event]:
    events: list[Event] = []

    def stroke(seconds: float, lane: str, velocity: int, *, ring_seconds: float = 0.1) -> None:
        events.append((seconds, seconds + ring_seconds, DRUMS[lane], velocity))

    for plan in planned:
        bar, energy = plan.bar, plan.section.energy
        style = STYLES[bar.feel.style]
        if plan.count_in:
            for beat in range(bar.beats):
                stroke(bar.seconds(beat, swings=False) + hand.late(), "rim", hand.velocity(95, 1.0))
        if "drums" not in plan.roles or not style.drums:
            continue
        filled = plan.fill[0] / bar.feel.rate if plan.fill else 0.0
        swaps = _SOFTER if energy < _QUIET else _LOUDER if energy > _LOUD and plan.section.drums % 2 else {}
        lanes = style.drums[plan.section.drums % len(style.drums)]
        for place, written, velocity in strokes(lanes, beats=style.beats):
            lane = swaps.get(written, written)
            for beat in bar.occurrences(place, style.beats):
                fills = beat >= bar.beats - filled and lane != "kick"
                if not fills and not (plan.thin and lane in ("kick", "snare", "clap", "rim")):
                    stroke(bar.seconds(beat) + hand.late(), lane, hand.velocity(velocity, energy))
        if plan.fill:
            for place, lane, velocity in strokes(plan.fill[1], beats=filled):
                at = bar.seconds(bar.beats - filled + place)
                stroke(at + 0.5 * hand.late(), lane, hand.velocity(velocity, energy))
        if plan.crash:
            stroke(bar.seconds(0), "crash", hand.velocity(95, energy), ring_seconds=1.5)
    return events


_COMP_RANGE, _ARPEGGIO_STEP = (52, 76), 0.5


def _comp(planned: Sequence[PlannedBar], chord_at: _ChordLookup, hand: _Hand) -> list[Event]:
    """Chords by the style's pattern, or broken into quavers that go up and down."""
    events: list[Event] = []
    voicing: list[int] = []
    low, high = _COMP_RANGE
    for plan in planned:
        bar, style, energy = plan.bar, STYLES[plan.bar.feel.style], plan.section.energy
        if "comp" not in plan.roles:
            continue
        if plan.section.arpeggio:
            step = _ARPEGGIO_STEP / bar.feel.rate
            for number in range(int(bar.beats / step)):
                start = bar.seconds(number * step)
                chord = chord_at(start)
                if chord is not None:
                    voicing = _lead(chord, voicing, low=low, high=high)
                    tones = [*voicing, *voicing[-2:0:-1]]
                    end = bar.seconds((number + 1) * step)
                    pitch = tones[number % len(tones)]
                    events.append((start + hand.late(), end, pitch, hand.velocity(74, energy)))
            continue
        pattern = style.comp[plan.section.comp % len(style.comp)]
        for place, _, length in held(pattern, beats=style.beats):
            for beat in bar.occurrences(place, style.beats):
                start = bar.seconds(beat)
                chord = chord_at(start)
                if chord is None:
                    continue
                end = bar.seconds(min(beat + length / bar.feel.rate, bar.beats))
                voicing = _lead(chord, voicing, low=low, high=high)
                for string, pitch in enumerate(voicing):
                    onset = start + string * style.strum_seconds + 0.5 * hand.late()
                    events.append((onset, max(end - 0.01, onset + 0.03), pitch, hand.velocity(72, energy)))
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
