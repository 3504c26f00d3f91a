"""How a melody is performed: which octave, when each note starts, on which syllable.

In: the melody of a score and a voice. Out: `SungNote`s, monophonic and in order; they are the ground truth of
the vocal, and `sing` turns them into controls.

Words are not modelled: syllables are drawn at random, by how often sounds occur in sung English.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recipes.builtin.rendering.scores import Notes
from recipes.builtin.rendering.voices import ONSETS, VOWELS, Voice

SHORTEST_NOTE_SECONDS = 0.05
LONGEST_NOTE_SECONDS = 8.0
LEGATO_GAP_SECONDS = 0.06

_ONSET_WEIGHTS = np.array(
    [1, 3, 2.5, 3, 2, 1.5, 1, 1.5, 1, 1, 0.7, 0.7, 1.5, 2, 1.5, 1.5, 0.4, 0.7, 0.4, 0.8]
)
_VOWEL_WEIGHTS = np.array([3, 1, 2, 1.5, 1.5, 2, 1, 2, 2, 1.5, 1.5, 0.6])


@dataclass(frozen=True, kw_only=True)
class SungNote:
    """One note as it is sung.

    Attributes:
        start_seconds: onset of the vowel; the consonant comes before.
        end_seconds: end of the vowel.
        pitch: MIDI pitch meant, before tuning error and vibrato.
        velocity: loudness, 1..127.
        syllable: (onset, vowel), a key of `Voice.segments`.
        is_legato: tied to the note before.
        is_melisma: continues the vowel of the note before.
    """

    start_seconds: float
    end_seconds: float
    pitch: int
    velocity: int
    syllable: tuple[str, str]
    is_legato: bool
    is_melisma: bool


def monophonic(notes: Notes) -> Notes:
    """One note at a time: of notes that start together the highest, and a new note ends the old.

    >>> chord = np.array([[0.0, 1.0, 60, 90], [0.0, 1.0, 64, 90], [0.5, 1.5, 62, 90]])
    >>> monophonic(chord)[:, :3].tolist()
    [[0.0, 0.5, 64.0], [0.5, 1.5, 62.0]]
    """
    line: list[list[float]] = []
    for start, end, pitch, velocity in notes[np.lexsort((-notes[:, 2], notes[:, 0]))]:
        if line and start - line[-1][0] < SHORTEST_NOTE_SECONDS:
            continue
        if line:
            line[-1][1] = min(line[-1][1], start)
        line.append([start, min(end, start + LONGEST_NOTE_SECONDS), pitch, velocity])
    kept = [note for note in line if note[1] - note[0] >= SHORTEST_NOTE_SECONDS]
    return np.array(kept, dtype=np.float64).reshape(-1, 4)


def octave_shift(pitches: np.ndarray, range_pitches: tuple[int, int]) -> int:
    """Whole octaves, in semitones, that bring a melody best into a range.

    Notes outside the range cost a semitone each; among equals the melody's centre comes near that of the
    range.

    >>> octave_shift(np.array([72, 74, 76]), (43, 67))
    -24
    """
    low, high = range_pitches

    def cost(shift: int) -> float:
        moved = pitches + shift
        outside = np.maximum(low - moved, 0).sum() + np.maximum(moved - high, 0).sum()
        return float(outside + 0.5 * abs(np.median(moved) - (low + high) / 2))

    return min(range(-36, 37, 12), key=cost)


def perform(
    melody: Notes,
    *,
    seconds: float,
    voice: Voice,
    timing_seconds: float,
    melisma_chance: float,
    rng: np.random.Generator,
) -> tuple[SungNote, ...]:
    """Perform the part of a melody that touches [-1, seconds).

    Args:
        melody: in window time; need not be monophonic.
        seconds: length of the window.
        voice: who sings; fixes the octave and the syllables.
        timing_seconds: standard deviation of the onsets.
        melisma_chance: chance that a legato note keeps the vowel before it.
        rng: source of timing and syllables.
    """
    line = monophonic(melody)
    line = line[(line[:, 1] > -1.0) & (line[:, 0] < seconds)]
    if not len(line):
        return ()
    shift = octave_shift(line[:, 2], voice.range_pitches)
    starts = np.maximum.accumulate(line[:, 0] + rng.normal(0.0, timing_seconds, len(line)))
    onset_chances, vowel_chances = (weights / weights.sum() for weights in (_ONSET_WEIGHTS, _VOWEL_WEIGHTS))
    notes: list[SungNote] = []
    for index, (_, end, pitch, velocity) in enumerate(line):
        start = float(starts[index])
        limit = float(starts[index + 1]) if index + 1 < len(line) else np.inf
        end = float(min(end + rng.normal(0.0, 0.01), limit))
        onset = str(rng.choice(ONSETS, p=onset_chances))
        vowel = str(rng.choice(VOWELS, p=vowel_chances))
        drawn_melisma = rng.random() < melisma_chance
        if end - start < SHORTEST_NOTE_SECONDS:
            continue
        is_legato = bool(notes) and start - notes[-1].end_seconds < LEGATO_GAP_SECONDS
        is_melisma = bool(is_legato and drawn_melisma)
        if is_melisma:
            onset, vowel = "", notes[-1].syllable[1]
        if (onset, vowel) not in voice.segments:
            onset = ""
        notes.append(
            SungNote(
                start_seconds=start,
                end_seconds=end,
                pitch=int(pitch) + shift,
                velocity=int(velocity),
                syllable=(onset, vowel),
                is_legato=is_legato,
                is_melisma=is_melisma,
            )
        )
    return tuple(notes)
