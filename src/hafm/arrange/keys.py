"""The keys of a band that has no recorded pianist: chords held, broken or struck, by how much else plays.

In: planned bars, the chord at any time. Out: note events.

    few play, quiet      broken chords, up and down
    others strum         chords held from change to change
    else                 the style's own pattern of chords

The left hand doubles the bass an octave above it where no bass plays. While the voice sings the right hand
stays below the octave in which most melodies move.
"""

from collections.abc import Sequence
from dataclasses import replace

from hafm.arrange.harmony import ChordAt, voiced
from hafm.arrange.parts import Hand, chords
from hafm.arrange.plan import Bar, PlannedBar
from hafm.arrange.sampler import Event

__all__ = ["keys"]

_RIGHT, _LEFT_LOW = (55, 74), 40
_MANY = 0.58


def keys(planned: Sequence[PlannedBar], chord_at: ChordAt, hand: Hand) -> list[Event]:
    """The notes of the keys."""
    events: list[Event] = []
    patterned: list[PlannedBar] = []
    voicing: list[int] = []
    for plan in planned:
        if "keys" not in plan.roles:
            continue
        if plan.section.arpeggio or ("comp" not in plan.roles and plan.section.energy < _MANY):
            patterned.append(plan)
        else:
            held, voicing = _held(plan, chord_at, hand, voicing)
            events += held
        if "bass" not in plan.roles:
            events += _left_hand(plan.bar, chord_at, hand, plan.section.energy)
    # Broken where the section says so, else in the pattern of the style.
    events += chords(
        [replace(plan, roles=frozenset({"keys"})) for plan in patterned], chord_at, hand, role="keys"
    )
    return events


def _changes(bar: Bar, chord_at: ChordAt) -> list[tuple[float, float]]:
    """The beats of a bar from which and to which one chord sounds; two bars' halves are struck again."""
    edges = [0.0]
    for beat in range(1, bar.beats):
        changed = chord_at(bar.seconds(beat)) != chord_at(bar.seconds(edges[-1]))
        if changed or (beat * 2 == bar.beats and bar.beats >= 4):
            edges.append(float(beat))
    return list(zip(edges, [*edges[1:], float(bar.beats)], strict=True))


def _held(
    plan: PlannedBar, chord_at: ChordAt, hand: Hand, voicing: list[int]
) -> tuple[list[Event], list[int]]:
    bar, (low, high) = plan.bar, _RIGHT
    events: list[Event] = []
    for start, end in _changes(bar, chord_at):
        harmony = chord_at(bar.seconds(start))
        if harmony is None:
            continue
        voicing = voiced(harmony, voicing, low=low, high=high)
        velocity = 76 if start == 0 else 66
        for pitch in voicing:
            onset = bar.seconds(start) + 0.6 * hand.late()
            events.append(
                (onset, bar.seconds(end) - 0.03, pitch, hand.velocity(velocity, plan.section.energy))
            )
    return events, voicing


def _left_hand(bar: Bar, chord_at: ChordAt, hand: Hand, energy: float) -> list[Event]:
    events: list[Event] = []
    for start, end in _changes(bar, chord_at):
        harmony = chord_at(bar.seconds(start))
        if harmony is not None:
            pitch = _LEFT_LOW + (harmony.bass - _LEFT_LOW) % 12
            onset = bar.seconds(start) + hand.late()
            events.append((onset, bar.seconds(end) - 0.03, pitch, hand.velocity(74, energy)))
    return events
