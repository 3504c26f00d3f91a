"""The melody of a band: it answers the singer, in the rests of the voice and nowhere else.

In: planned bars, the voice's rests, the chords, the key. Out: the notes of one solo instrument.

A phrase begins on a beat of a rest of two beats or more, goes by steps through the scale, has notes of the
chord on the beats, and ends on one with a long note before the voice comes back. Its rhythm is a cell of two
beats, repeated, so that it is a motif and not a run; phrases of one section share it.

A module of its own, though the arranger alone imports it: no other part is a melody, and none shares its
rules.

    voice   ~~~~~~~~~~~~~~~~~~~~.               .~~~~~~~~~~~~~~~
    band    .                    o  oo o  oo O--.
"""

from collections.abc import Sequence

import numpy as np

from hafm.arrange.harmony import ChordAt
from hafm.arrange.parts import Hand
from hafm.arrange.plan import PlannedBar
from hafm.arrange.sampler import Event
from hafm.guide.chord import parse_note
from hafm.guide.lead_sheet import KeyChange, LeadSheet

__all__ = ["answers"]

_CELLS = ((0.0, 1.0, 1.5), (0.0, 0.5, 1.0), (0.0, 1.0), (0.5, 1.0, 1.5), (0.0, 1.5), (0.0, 0.5, 1.0, 1.5))
_LOW, _HIGH, _MIDDLE = 62, 81, 71
_LEAST_BEATS, _MOST_BEATS = 1.75, 8.0
_BEFORE_VOICE_SECONDS, _AFTER_VOICE_SECONDS = 0.15, 0.1
_PLAYED = 0.85
_SCALES = {"maj": (0, 2, 4, 5, 7, 9, 11), "min": (0, 2, 3, 5, 7, 8, 10)}


def answers(
    planned: Sequence[PlannedBar],
    rests: Sequence[tuple[float, float]],
    sheet: LeadSheet,
    chord_at: ChordAt,
    hand: Hand,
    rng: np.random.Generator,
) -> list[Event]:
    """The notes of the answers."""
    places = [
        (plan, plan.bar.seconds(beat))
        for plan in planned
        for beat in range(plan.bar.beats)
        if "bridge" in plan.roles and (plan.break_beat is None or beat < plan.break_beat)
    ]
    cells: dict[int, tuple[float, ...]] = {}
    events: list[Event] = []
    pitch = _MIDDLE
    for begin, end in rests:
        begin, end = begin + _AFTER_VOICE_SECONDS, end - _BEFORE_VOICE_SECONDS
        inside = [(plan, seconds) for plan, seconds in places if begin <= seconds < end]
        played = rng.random() < _PLAYED
        if not inside or not played:
            continue
        plan, start = inside[0]
        period = (plan.bar.end_seconds - plan.bar.start_seconds) / plan.bar.beats
        beats = min((end - start) / period, _MOST_BEATS, len(inside))
        if beats < _LEAST_BEATS:
            continue
        number = plan.section.drums * 60 + plan.section.bass  # two numbers drawn for each section
        cell = cells.setdefault(number, _CELLS[int(rng.integers(len(_CELLS)))])
        onsets = [
            start + period * (2 * pair + offset)
            for pair in range(int(beats // 2) + 1)
            for offset in cell
            if 2 * pair + offset <= beats - 1.0
        ]
        direction = 1 if pitch < _MIDDLE else -1
        for place, onset in enumerate(onsets):
            final = place == len(onsets) - 1
            stop = min(start + beats * period, onset + 2 * period) if final else onsets[place + 1]
            on_beat = abs((onset - start) / period % 1.0) < 1e-6
            allowed = _allowed(sheet, chord_at, onset, chord_tones=on_beat or final)
            if not allowed:
                continue
            if rng.random() < 0.3 or not _LOW < pitch < _HIGH:
                direction = 1 if pitch < _MIDDLE else -1
            pitch = _step(pitch, direction, allowed, holds=place == 0)
            velocity = 88 if on_beat else 74
            events.append(
                (onset + hand.late(), stop - 0.02, pitch, hand.velocity(velocity, plan.section.energy))
            )
    return events


def _allowed(sheet: LeadSheet, chord_at: ChordAt, seconds: float, *, chord_tones: bool) -> frozenset[int]:
    """Pitch classes that may sound: the chord's, between beats also those of the key."""
    harmony = chord_at(seconds)
    if harmony is None:
        return frozenset()
    key = next((key for key in reversed(sheet.keys) if key.start_seconds <= seconds), None)
    if chord_tones or key is None:
        return harmony.pitch_classes
    return harmony.pitch_classes | _scale(key)


def _scale(key: KeyChange) -> frozenset[int]:
    tonic = parse_note(key.tonic)
    return frozenset((tonic + step) % 12 for step in _SCALES[key.mode])


def _step(pitch: int, direction: int, allowed: frozenset[int], *, holds: bool) -> int:
    """The next pitch in a direction that is allowed; back where that would leave the range.

    >>> _step(71, 1, frozenset({0, 4, 7}), holds=False), _step(72, 1, frozenset({0, 4, 7}), holds=True)
    (72, 72)
    """
    if holds and pitch % 12 in allowed:
        return pitch
    steps = range(1, 13)
    for way in (direction, -direction):
        found = next((pitch + way * step for step in steps if (pitch + way * step) % 12 in allowed), pitch)
        if _LOW <= found <= _HIGH:
            return found
    return pitch
