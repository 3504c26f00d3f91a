"""Which chord sounds when, as far as a band needs to know it.

In: a lead sheet's chords, or a score's. Out: `Harmony` at any time: root, bass and pitch classes; None where
no chord sounds, or none is known.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hafm.guide.chord import Chord
from hafm.guide.lead_sheet import ChordSpan

__all__ = ["ChordAt", "ChordsInTime", "Harmony", "voiced"]

_ANTICIPATION_SECONDS = 0.06


@dataclass(frozen=True, slots=True)
class Harmony:
    """A chord that sounds.

    Args:
        root, bass: pitch classes, 0 to 11.
        pitch_classes: the same, of all its notes.
    """

    root: int
    bass: int
    pitch_classes: frozenset[int]

    @classmethod
    def of(cls, chord: Chord) -> "Harmony | None":
        """The chord of a label; None where that is no chord."""
        if chord.root is None or chord.bass is None:
            return None
        return cls(chord.root, chord.bass, chord.pitch_classes)


ChordAt: TypeAlias = Callable[[float], Harmony | None]
"""From seconds to the chord there."""


class ChordsInTime:
    """The chord that sounds at a time; 60 ms of anticipation forgive chords that are noted a little late.

    Args:
        changes: seconds and the chord from there on, in order; before the first change there is no other.
    """

    def __init__(self, changes: Iterable[tuple[float, Harmony | None]]) -> None:
        self.changes = tuple(changes)
        self._starts = [start for start, _ in self.changes]

    @classmethod
    def of(cls, spans: Sequence[ChordSpan]) -> "ChordsInTime":
        """The chords of a lead sheet. No chord before them, after them and in gaps."""
        changes: list[tuple[float, Harmony | None]] = []
        reached = 0.0
        for span in spans:
            if span.start_seconds > reached + _ANTICIPATION_SECONDS:
                changes.append((reached, None))
            harmony = Harmony.of(span.chord)
            if not changes or changes[-1][1] != harmony:
                changes.append((span.start_seconds, harmony))
            reached = span.end_seconds
        return cls([*changes, (reached, None)])

    def __call__(self, seconds: float) -> Harmony | None:
        """The chord at a time."""
        if not self.changes:
            return None
        index = bisect_right(self._starts, seconds + _ANTICIPATION_SECONDS) - 1
        return self.changes[max(index, 0)][1]


def voiced(harmony: Harmony, previous: Sequence[int], *, low: int, high: int) -> list[int]:
    """The chord's notes within low to high, each in the octave nearest to what sounded before.

    >>> c, f = Harmony(0, 0, frozenset({0, 4, 7})), Harmony(5, 5, frozenset({5, 9, 0}))
    >>> voiced(f, voiced(c, [], low=52, high=76), low=52, high=76)
    [53, 57, 60]
    """
    if not previous:
        return sorted(low + (pitch_class - low) % 12 for pitch_class in harmony.pitch_classes)
    return sorted(
        {
            min(
                (pitch for pitch in range(low, high + 1) if pitch % 12 == pitch_class),
                key=lambda pitch: min(abs(pitch - old) for old in previous),
            )
            for pitch_class in harmony.pitch_classes
        }
    )
