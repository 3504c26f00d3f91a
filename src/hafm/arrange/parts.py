"""The parts of a band, note by note: drums, keys, chords, pad; the bass is in `hafm.arrange.basslines`.

In: planned bars, and the chord at any time. Out: note events on the bars' clock, and what of them a plan lets
be heard. Timing and velocity wander a little, by hand.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from hafm.arrange.harmony import ChordAt, Harmony, voiced
from hafm.arrange.plan import Bar, PlannedBar
from hafm.arrange.sampler import Event
from hafm.arrange.styles import DRUMS, ROLES, STYLES, held, strokes
from hafm.guide.lead_sheet import Player

__all__ = [
    "EARLY_SECONDS",
    "HEARD_SECONDS",
    "Hand",
    "Part",
    "chords",
    "drums",
    "heard",
    "keys",
    "pad",
    "spans_of",
    "with_dynamics",
]

EARLY_SECONDS = 0.08
"""How far before its bar a note may begin and still belong to it."""
HEARD_SECONDS = 0.15
"""A stem plays in a bar if a note begins there, or sounds on for this long."""

_COMP_RANGE, _PAD_RANGE, _ARPEGGIO_STEP = (52, 76), (55, 74), 0.5
_QUIET, _LOUD = 0.5, 0.85
_RIGHT, _LEFT_LOW = (55, 74), 40  # of the keys
_MANY = 0.58  # energy below which the keys break their chords, where nobody strums
_SOFTER = {"snare": "rim", "open_hat": "closed_hat"}
_LOUDER = {"closed_hat": "ride"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One instrument.

    Args:
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
    def stem(self) -> Player:
        """The stem that its sound belongs to."""
        return ROLES[self.role].stem


class Hand:
    """A player's small inaccuracies; `sigma_seconds` is the standard deviation of the timing."""

    def __init__(self, rng: np.random.Generator, sigma_seconds: float) -> None:
        self._rng = rng
        self._sigma_seconds = sigma_seconds

    def late(self) -> float:
        """How late a note comes, in seconds."""
        return float(self._rng.normal(0.0, self._sigma_seconds))

    def velocity(self, velocity: float, energy: float) -> int:
        """A velocity in a section of this energy, 0..1: from 0.7 of it to 1.1."""
        return int(np.clip(velocity * (0.7 + 0.4 * energy) + self._rng.normal(0.0, 6.0), 20, 127))


# ---- who plays what


def drums(planned: Sequence[PlannedBar], hand: Hand) -> list[Event]:
    """Strokes of the drums: patterns, fills, crashes, count-ins."""
    events: list[Event] = []

    def stroke(seconds: float, lane: str, velocity: int, *, ring_seconds: float = 0.1) -> None:
        events.append((seconds, seconds + ring_seconds, DRUMS[lane], velocity))

    for plan in planned:
        bar, energy = plan.bar, plan.section.energy
        style = STYLES[bar.feel.style]
        if plan.count_in:
            for number in range(bar.beats):
                stroke(bar.seconds(number, swings=False) + hand.late(), "rim", hand.velocity(95, 1.0))
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


def chords(
    planned: Sequence[PlannedBar], chord_at: ChordAt, hand: Hand, *, role: str = "comp"
) -> list[Event]:
    """Chords by the style's pattern, or broken into quavers that go up and down, where the role plays."""
    events: list[Event] = []
    voicing: list[int] = []
    low, high = _COMP_RANGE
    for plan in planned:
        bar, style, energy = plan.bar, STYLES[plan.bar.feel.style], plan.section.energy
        if role not in plan.roles:
            continue
        if plan.section.arpeggio:
            step = _ARPEGGIO_STEP / bar.feel.rate
            for number in range(int(bar.beats / step)):
                start = bar.seconds(number * step)
                chord = chord_at(start)
                if chord is not None:
                    voicing = voiced(chord, voicing, low=low, high=high)
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
                voicing = voiced(chord, voicing, low=low, high=high)
                for string, pitch in enumerate(voicing):
                    onset = start + string * style.strum_seconds + 0.5 * hand.late()
                    events.append((onset, max(end - 0.01, onset + 0.03), pitch, hand.velocity(72, energy)))
    return events


def keys(planned: Sequence[PlannedBar], chord_at: ChordAt, hand: Hand) -> list[Event]:
    """The notes of the keys, of a band that has no recorded pianist, by how much else plays:

        few play, quiet      broken chords, up and down
        others strum         chords held from change to change
        else                 the style's own pattern of chords

    The left hand doubles the bass an octave above it where no bass plays. While the voice sings the right
    hand stays below the octave in which most melodies move.
    """
    events: list[Event] = []
    patterned: list[PlannedBar] = []
    voicing: list[int] = []
    for plan in planned:
        if "keys" not in plan.roles:
            continue
        energy, changes = plan.section.energy, _changes(plan.bar, chord_at)
        if plan.section.arpeggio or ("comp" not in plan.roles and energy < _MANY):
            patterned.append(plan)
        else:
            for start, end, chord in changes:
                voicing = voiced(chord, voicing, low=_RIGHT[0], high=_RIGHT[1])
                velocity = 76 if start == plan.bar.seconds(0) else 66
                for pitch in voicing:
                    onset = start + 0.6 * hand.late()
                    events.append((onset, end, pitch, hand.velocity(velocity, energy)))
        if "bass" not in plan.roles:
            for start, end, chord in changes:
                pitch = _LEFT_LOW + (chord.bass - _LEFT_LOW) % 12
                events.append((start + hand.late(), end, pitch, hand.velocity(74, energy)))
    # Broken where the section says so, else in the pattern of the style.
    events += chords(
        [replace(plan, roles=frozenset({"keys"})) for plan in patterned], chord_at, hand, role="keys"
    )
    return events


def _changes(bar: Bar, chord_at: ChordAt) -> list[tuple[float, float, Harmony]]:
    """The chords of a bar, and from when to when each is held; two bars' halves are struck again."""
    edges = [0.0]
    for beat in range(1, bar.beats):
        changed = chord_at(bar.seconds(beat)) != chord_at(bar.seconds(edges[-1]))
        if changed or (beat * 2 == bar.beats and bar.beats >= 4):
            edges.append(float(beat))
    spans = [(bar.seconds(start), bar.seconds(end) - 0.03) for start, end in pairwise([*edges, bar.beats])]
    return [(start, end, chord) for start, end in spans if (chord := chord_at(start)) is not None]


def pad(changes: Sequence[tuple[float, float, Harmony]]) -> list[Event]:
    """Chords held from start to end."""
    events: list[Event] = []
    voicing: list[int] = []
    low, high = _PAD_RANGE
    for start, end, chord in changes:
        voicing = voiced(chord, voicing, low=low, high=high)
        events += [(start, end - 0.02, pitch, 64) for pitch in voicing]
    return events


# ---- what of it is heard


def spans_of(planned: Sequence[PlannedBar], role: str) -> list[tuple[float, float]]:
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


def heard(events: Iterable[Event], spans: Sequence[tuple[float, float]], *, role: str) -> list[Event]:
    """What of a role's notes is within spans: notes that begin there, none sounding past the end.

    What a pad holds already when a span begins is struck there.
    """
    if role == "pad":
        return [
            (max(start, first), min(end, after), pitch, velocity)
            for start, end, pitch, velocity in events
            for first, after in spans
            if min(end, after) - max(start, first) > HEARD_SECONDS
        ]
    kept = []
    starts = [start - EARLY_SECONDS for start, _ in spans]
    for start, end, pitch, velocity in events:
        index = bisect_right(starts, start) - 1
        if index >= 0 and start < spans[index][1] - 0.02:
            kept.append((start, min(end, spans[index][1]), pitch, velocity))
    return kept


def with_dynamics(events: Sequence[Event], planned: Sequence[PlannedBar]) -> list[Event]:
    """Notes at the loudness of their section."""
    if not planned:
        return list(events)
    starts = [plan.bar.start_seconds - EARLY_SECONDS for plan in planned]
    scaled = []
    for start, end, pitch, velocity in events:
        energy = planned[max(bisect_right(starts, start) - 1, 0)].section.energy
        scaled.append((start, end, pitch, int(np.clip(velocity * (0.75 + 0.35 * energy), 20, 127))))
    return scaled
