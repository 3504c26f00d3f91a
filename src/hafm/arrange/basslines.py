"""The bass: the style's pattern on the chord's lowest note, steps into the next chord, or walking.

In: planned bars and the chord at any time. Out: note events.

A note that is held over a change of chord is struck again on the new one, so that the bass says each chord.
"approach" replaces the end of the last note before a change by a note a step (one or two semitones) from the
next bass; "walking" goes by crotchets over chord tones, each the nearest in the direction of travel, and
takes such a step before a change.
"""

from collections.abc import Sequence

import numpy as np

from hafm.arrange.harmony import ChordAt, Harmony
from hafm.arrange.plan import PlannedBar
from hafm.arrange.styles import STYLES, held

__all__ = ["Note", "bass_line", "pitch_near_bottom"]

LOWEST_PITCH = 28  # E1, the open low string
_HIGHEST_PITCH = 48
_GAP = 0.05  # of a note, between it and the next


Note = tuple[float, float, int]
"""start_seconds, end_seconds, MIDI pitch."""


def bass_line(
    planned: Sequence[PlannedBar], chord_at: ChordAt, rng: np.random.Generator
) -> list[tuple[Note, float]]:
    """The notes of the bass on the grid, each with the energy of its section."""
    notes: list[tuple[Note, float]] = []
    previous = LOWEST_PITCH + 7
    for plan in planned:
        if "bass" not in plan.roles:
            continue
        line = _walk if plan.section.bass_line == "walking" else _pattern
        for note in line(plan, chord_at, previous, rng):
            notes.append((note, plan.section.energy))
            previous = note[2]
    return notes


def pitch_near_bottom(pitch_class: int) -> int:
    """The lowest pitch of a class that the bass has.

    >>> pitch_near_bottom(4), pitch_near_bottom(3)
    (28, 39)
    """
    return LOWEST_PITCH + (pitch_class - LOWEST_PITCH) % 12


def _pattern(plan: PlannedBar, chord_at: ChordAt, previous: int, rng: np.random.Generator) -> list[Note]:
    bar, style = plan.bar, STYLES[plan.bar.feel.style]
    pattern = style.bass[plan.section.bass % len(style.bass)]
    spans = sorted(
        (beat, mark, min(beat + length / bar.feel.rate, bar.beats))
        for start, mark, length in held(pattern, beats=style.beats)
        for beat in bar.occurrences(start, style.beats)
    )
    notes: list[Note] = []
    for start, mark, end in spans:
        for beat, after in _split_at_changes(plan, chord_at, start, end):
            chord = chord_at(bar.seconds(beat))
            if chord is not None:
                pitch = _marked(chord, mark if beat == start else "r")
                notes.append((bar.seconds(beat), bar.seconds(after - _GAP * (after - beat)), pitch))
    if plan.section.bass_line == "approach" and notes:
        target = chord_at(bar.end_seconds)
        here = chord_at(bar.seconds(bar.beats - 0.5))
        if target is not None and here is not None and target.bass != here.bass:
            begins = bar.seconds(bar.beats - 0.5)
            notes = [(start, min(end, begins), pitch) for start, end, pitch in notes if start < begins - 0.02]
            notes.append((begins, bar.end_seconds - 0.02, _step_into(pitch_near_bottom(target.bass), rng)))
    return notes


def _walk(plan: PlannedBar, chord_at: ChordAt, previous: int, rng: np.random.Generator) -> list[Note]:
    bar = plan.bar
    notes: list[Note] = []
    for beat in range(bar.beats):
        start, end = bar.seconds(beat), bar.seconds(beat + 1 - _GAP)
        chord, before, after = (
            chord_at(start),
            chord_at(bar.seconds(beat - 1)),
            chord_at(bar.seconds(beat + 1)),
        )
        if chord is None:
            continue
        if beat == 0 or chord != before:
            pitch = pitch_near_bottom(chord.bass)
        elif after is not None and after.bass != chord.bass:
            pitch = _step_into(pitch_near_bottom(after.bass), rng)
        else:
            rises = previous < LOWEST_PITCH + 5 or (previous < _HIGHEST_PITCH - 5 and rng.random() < 0.6)
            steps = range(1, 13) if rises else range(-1, -13, -1)
            pitch = next(previous + step for step in steps if (previous + step) % 12 in chord.pitch_classes)
            pitch = min(max(pitch, LOWEST_PITCH), _HIGHEST_PITCH)
            if pitch % 12 not in chord.pitch_classes:
                pitch = pitch_near_bottom(chord.bass)
        notes.append((start, end, pitch))
        previous = pitch
    return notes


def _split_at_changes(
    plan: PlannedBar, chord_at: ChordAt, start: float, end: float
) -> list[tuple[float, float]]:
    """Cut a span of beats at the beats on which the chord changes."""
    bar = plan.bar
    edges = [start]
    for beat in range(int(np.floor(start)) + 1, int(np.ceil(end))):
        if chord_at(bar.seconds(beat)) != chord_at(bar.seconds(edges[-1])):
            edges.append(float(beat))
    return list(zip(edges, [*edges[1:], end], strict=True))


def _marked(chord: Harmony, mark: str) -> int:
    """Pitch of a mark of a bass pattern; a third or fifth that the chord lacks is its root."""
    if mark in "35":
        intervals = (3, 4) if mark == "3" else (7, 6, 8)
        classes = [(chord.root + interval) % 12 for interval in intervals]
        return pitch_near_bottom(next((c for c in classes if c in chord.pitch_classes), chord.root))
    return pitch_near_bottom(chord.bass) + 12 * (mark == "8")


def _step_into(pitch: int, rng: np.random.Generator) -> int:
    step = int(rng.choice((-2, -1, 1, 2), p=(0.25, 0.4, 0.2, 0.15)))
    return pitch - step if pitch + step < LOWEST_PITCH else pitch + step
