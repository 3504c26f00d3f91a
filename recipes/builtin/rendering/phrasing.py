"""How a melody is performed: which octave, when each note starts, on which syllable.

In: the melody of a score, a voice, and a singer's `Habits`. Out: `SungNote`s, monophonic and in order; they
are the ground truth of the vocal, and `sing` turns them into controls.

Nobody sings on the grid. The vowel of a note starts late or early by

    bias           the singer's own, towards late
  + phrase         some phrases lie back by up to 120 ms, some push; the lag grows over the phrase
  + rubato         of some singers, a slow wander against the steady band
  + consonant      the share of the consonant that does not come before the beat
  + jitter         note by note, and now and then a slip

The truth keeps both instants: where the score has the note, and where its vowel starts.

Words are not modelled: syllables are drawn at random, by how often sounds occur in sung English.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from recipes.builtin.rendering.scores import Notes
from recipes.builtin.rendering.voices import ONSETS, VOWELS, Voice

SHORTEST_NOTE_SECONDS = 0.05
LONGEST_NOTE_SECONDS = 8.0
LEGATO_GAP_SECONDS = 0.06
PHRASE_GAP_SECONDS = 0.3
LARGEST_LAG_SECONDS = 0.25
BANK_FRAME_SECONDS = 0.01

_ONSET_WEIGHTS = np.array(
    [1, 3, 2.5, 3, 2, 1.5, 1, 1.5, 1, 1, 0.7, 0.7, 1.5, 2, 1.5, 1.5, 0.4, 0.7, 0.4, 0.8]
)
_VOWEL_WEIGHTS = np.array([3, 1, 2, 1.5, 1.5, 2, 1, 2, 2, 1.5, 1.5, 0.6])


@dataclass(frozen=True, kw_only=True)
class SungNote:
    """One note as it is sung.

    Attributes:
        score_seconds: onset in the score; None for an ornament, which the score does not have.
        start_seconds: onset of the vowel; the consonant comes before.
        end_seconds: end of the vowel.
        pitch: MIDI pitch meant, before tuning error and vibrato.
        velocity: loudness, 1..127.
        syllable: (onset, vowel), a key of `Voice.segments`.
        is_legato: tied to the note before.
        is_melisma: continues the vowel of the note before.
    """

    score_seconds: float | None
    start_seconds: float
    end_seconds: float
    pitch: int
    velocity: int
    syllable: tuple[str, str]
    is_legato: bool
    is_melisma: bool


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How a singer treats time and notes; one is drawn for each pair.

    Attributes:
        bias_seconds: mean lag of the vowels.
        jitter_seconds: standard deviation from note to note.
        slip_chance: chance that a note is early or late by 50 to 110 ms more.
        vowel_on_beat: share of a consonant that comes before the beat, 0..1.
        back_phrasing_chance: chance that a phrase lies back, or (a third of these) pushes.
        back_phrasing_seconds: by how much at most; the lag grows over the phrase.
        rubato_seconds: depth of a slow wander of the lag; 0 for most singers.
        melisma_chance: chance that a tied note keeps its vowel.
        ornament_chance: chance that a long note gets a turn.
        early_end_chance: chance that a note is cut short.
        breath_every_seconds: how long the breath lasts; then a note is cut to take another.
        octave_slip_chance: chance that a phrase is sung in another octave.
        accent: standard deviation of velocities from note to note.
    """

    bias_seconds: float
    jitter_seconds: float
    slip_chance: float
    vowel_on_beat: float
    back_phrasing_chance: float
    back_phrasing_seconds: float
    rubato_seconds: float
    melisma_chance: float
    ornament_chance: float
    early_end_chance: float
    breath_every_seconds: float
    octave_slip_chance: float
    accent: float


RUBATO_SHARE = 0.15


def draw_habits(rng: np.random.Generator) -> Habits:
    """Draw a singer's habits."""
    rubato = rng.random() < RUBATO_SHARE
    return Habits(
        bias_seconds=float(np.clip(rng.normal(0.012, 0.022), -0.04, 0.06)),
        jitter_seconds=float(rng.uniform(0.008, 0.03)),
        slip_chance=float(rng.uniform(0.0, 0.06)),
        vowel_on_beat=float(rng.uniform(0.5, 1.0)),
        back_phrasing_chance=float(rng.uniform(0.0, 0.45)),
        back_phrasing_seconds=float(rng.uniform(0.04, 0.12)),
        rubato_seconds=float(rng.uniform(0.05, 0.12)) if rubato else 0.0,
        melisma_chance=float(rng.uniform(0.1, 0.45)),
        ornament_chance=float(rng.uniform(0.0, 0.12)),
        early_end_chance=float(rng.uniform(0.0, 0.25)),
        breath_every_seconds=float(rng.uniform(2.5, 6.0)),
        octave_slip_chance=float(rng.uniform(0.0, 0.06)),
        accent=float(rng.uniform(3.0, 12.0)),
    )


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
    melody: Notes, *, seconds: float, voice: Voice, habits: Habits, rng: np.random.Generator
) -> tuple[SungNote, ...]:
    """Perform the part of a melody that touches [-1, seconds).

    Args:
        melody: in window time; need not be monophonic.
        seconds: length of the window.
        voice: who sings; fixes the octave and the syllables.
        habits: of the singer.
        rng: source of timing, syllables, ornaments.
    """
    line = monophonic(melody)
    line = line[(line[:, 1] > -1.0) & (line[:, 0] < seconds + LARGEST_LAG_SECONDS)]
    if not len(line):
        return ()
    shift = octave_shift(line[:, 2], voice.range_pitches)
    phrases = np.cumsum(np.append(True, line[1:, 0] - line[:-1, 1] > PHRASE_GAP_SECONDS)) - 1
    syllables = _draw_syllables(len(line), voice, rng)
    lag = _lags(line, phrases, habits, rng)
    for index, (onset, vowel) in enumerate(syllables):
        segment = voice.segments[onset, vowel]
        lag[index] += (1.0 - habits.vowel_on_beat) * (segment.vowel - segment.begin) * BANK_FRAME_SECONDS
    lag = np.clip(lag, -LARGEST_LAG_SECONDS, LARGEST_LAG_SECONDS)
    starts = np.maximum.accumulate(line[:, 0] + lag)
    ends = _ends(line, starts, lag, habits, rng)
    octaves = _octave_slips(line[:, 2] + shift, phrases, voice, habits, rng)
    loudness = _velocities(line[:, 3], phrases, habits, rng)
    melismas = rng.random(len(line)) < habits.melisma_chance
    notes: list[SungNote] = []
    for index, (onset, vowel) in enumerate(syllables):
        if ends[index] - starts[index] < SHORTEST_NOTE_SECONDS:
            continue
        is_legato = bool(notes) and starts[index] - notes[-1].end_seconds < LEGATO_GAP_SECONDS
        is_melisma = bool(is_legato and melismas[index])
        if is_melisma:
            onset, vowel = "", notes[-1].syllable[1]
            if (onset, vowel) not in voice.segments:
                vowel = syllables[index][1]
        note = SungNote(
            score_seconds=float(line[index, 0]),
            start_seconds=float(starts[index]),
            end_seconds=float(ends[index]),
            pitch=int(line[index, 2]) + shift + int(octaves[index]),
            velocity=int(loudness[index]),
            syllable=(onset, vowel),
            is_legato=bool(is_legato),
            is_melisma=is_melisma,
        )
        notes += _ornamented(note, line[:, 2], voice, habits, rng)
    return tuple(notes)


def _draw_syllables(count: int, voice: Voice, rng: np.random.Generator) -> list[tuple[str, str]]:
    onsets = rng.choice(ONSETS, count, p=_ONSET_WEIGHTS / _ONSET_WEIGHTS.sum())
    vowels = rng.choice(VOWELS, count, p=_VOWEL_WEIGHTS / _VOWEL_WEIGHTS.sum())
    syllables = [(str(onset), str(vowel)) for onset, vowel in zip(onsets, vowels, strict=True)]
    return [pair if pair in voice.segments else ("", pair[1]) for pair in syllables]


def _lags(
    line: Notes, phrases: npt.NDArray[np.int64], habits: Habits, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """How late each note is, its consonant aside. Shape [N]."""
    count = len(line)
    lag = habits.bias_seconds + rng.normal(0.0, habits.jitter_seconds, count)
    slips = rng.random(count) < habits.slip_chance
    lag += slips * rng.uniform(0.05, 0.11, count) * rng.choice((-1.0, 1.0), count)
    for phrase in range(phrases[-1] + 1):
        lies_back, pushes = rng.random() < habits.back_phrasing_chance, rng.random() < 1 / 3
        depth = habits.back_phrasing_seconds * rng.uniform(0.5, 1.0)
        members = np.flatnonzero(phrases == phrase)
        if lies_back:
            grows = np.linspace(0.3, 1.0, len(members))
            lag[members] += grows * (-0.5 * depth if pushes else depth)
    turns = np.arange(line[0, 0] - 3.0, line[-1, 0] + 3.0, 1.5)
    wander = np.interp(line[:, 0], turns, rng.normal(0.0, 1.0, len(turns)))
    return np.asarray(lag + habits.rubato_seconds * np.clip(wander, -2.0, 2.0))


def _ends(
    line: Notes,
    starts: npt.NDArray[np.float64],
    lag: npt.NDArray[np.float64],
    habits: Habits,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Where each note ends: late as it began, cut at times, and cut where the singer must breathe."""
    count = len(line)
    limits = np.append(starts[1:], np.inf)
    ends = np.minimum(line[:, 1] + lag + rng.normal(0.0, 0.015, count), limits)
    cut = np.where(rng.random(count) < habits.early_end_chance, rng.uniform(0.5, 0.92, count), 1.0)
    ends = np.minimum(starts + (ends - starts) * cut, limits)
    pauses = rng.uniform(0.18, 0.35, count)
    breath = starts[0]
    for index in range(count):
        if index and starts[index] - ends[index - 1] > PHRASE_GAP_SECONDS:
            breath = starts[index]
        if ends[index] - breath > habits.breath_every_seconds and ends[index] - starts[index] > 0.4:
            ends[index] = min(ends[index], max(limits[index] - pauses[index], starts[index] + 0.2))
            breath = ends[index]
    return np.asarray(ends)


def _octave_slips(
    pitches: npt.NDArray[np.float64],
    phrases: npt.NDArray[np.int64],
    voice: Voice,
    habits: Habits,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Semitones by which each note is sung in another octave, phrase by phrase; within a fifth of the
    range."""
    low, high = voice.range_pitches
    moved = np.zeros(len(pitches), np.int64)
    for phrase in range(phrases[-1] + 1):
        slips, octave = rng.random() < habits.octave_slip_chance, int(rng.choice((-12, 12)))
        members = phrases == phrase
        target = pitches[members] + octave
        if slips and target.min() >= low - 7 and target.max() <= high + 7:
            moved[members] = octave
    return moved


def _velocities(
    written: npt.NDArray[np.float64],
    phrases: npt.NDArray[np.int64],
    habits: Habits,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Loudness of each note: an arc over each phrase, phrases that differ, and accents. Shape [N]."""
    loudness = written + rng.normal(0.0, habits.accent, len(written))
    for phrase in range(phrases[-1] + 1):
        members = np.flatnonzero(phrases == phrase)
        peak, height = rng.uniform(0.2, 0.9), rng.uniform(0.0, 14.0)
        place = np.linspace(0.0, 1.0, len(members))
        loudness[members] += rng.normal(0.0, 7.0) + height * (0.5 - np.abs(place - peak))
    return np.clip(loudness, 25, 127)


_ORNAMENT_STEPS = (1, 2, -1, -2)


def _ornamented(
    note: SungNote, pitches: npt.NDArray[np.float64], voice: Voice, habits: Habits, rng: np.random.Generator
) -> list[SungNote]:
    """The note, or in its place a turn: the note, a neighbour that the melody has too, the note again."""
    duration = note.end_seconds - note.start_seconds
    turns, share = rng.random() < habits.ornament_chance, rng.uniform(0.3, 0.7)
    classes = {int(pitch) % 12 for pitch in pitches}  # octave shifts keep them
    neighbours = [step for step in _ORNAMENT_STEPS if (note.pitch + step) % 12 in classes]
    vowel = ("", note.syllable[1])
    if not turns or duration < 0.5 or not neighbours or vowel not in voice.segments:
        return [note]
    begins = note.start_seconds + share * duration
    length = min(0.16, 0.4 * (note.end_seconds - begins))
    tied = replace(note, score_seconds=None, syllable=vowel, is_legato=True, is_melisma=True)
    step = int(rng.choice(neighbours))
    return [
        replace(note, end_seconds=begins),
        replace(tied, start_seconds=begins, end_seconds=begins + length, pitch=note.pitch + step),
        replace(tied, start_seconds=begins + length),
    ]
