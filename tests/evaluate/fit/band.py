"""A little band of sines and clicks, with a score that is known exactly."""

import functools

import torch
from torch import Tensor

from hafm.evaluate.fit.chroma import Chord
from hafm.evaluate.fit.truth import Truth
from hafm.evaluate.key import Key
from hafm.guide.chord import NOTE_NAMES
from hafm.guide.lead_sheet import Beat, ChordSpan, KeyChange, LeadSheet, MeterChange

RATE = 24_000
BEAT_SECONDS = 0.5
CHORDS = ((0, 4, 7), (5, 9, 0), (7, 11, 2), (0, 4, 7))  # I IV V I, two beats each, over and over
MELODY = (4, 0, 9, 5, 11, 7, 7, 4)
BEATS = 24
LEAD_SECONDS = 0.25  # of silence, so that the first beat has something to begin from


@functools.cache
def tone(note: int, seconds: float) -> Tensor:
    """A note with four partials and a soft decay."""
    t = torch.arange(round(seconds * RATE)) / RATE
    hz = 440 * 2 ** ((note - 69) / 12)
    partials = sum(0.6**h * torch.sin(2 * torch.pi * h * hz * t) for h in range(1, 5))
    return partials * torch.exp(-2 * t) * (t / 0.005).clamp_max(1)


def accompaniment(transposed: int = 0) -> Tensor:
    """A chord on every beat, with a click."""
    noise = 0.5 * torch.randn(480, generator=torch.Generator().manual_seed(0))
    beats = []
    for beat in range(BEATS):
        chord = CHORDS[beat // 2 % len(CHORDS)]
        notes = [48 + transposed + chord[0], *(60 + transposed + pitch_class for pitch_class in chord)]
        sound = sum(tone(note, BEAT_SECONDS) for note in notes)
        sound[:480] += noise
        beats.append(sound)
    return 0.1 * torch.cat([_lead(), *beats])


def vocal() -> Tensor:
    """The melody: one note a beat."""
    notes = [tone(60 + MELODY[beat % len(MELODY)], BEAT_SECONDS) for beat in range(BEATS)]
    return 0.2 * torch.cat([_lead(), *notes])


def delayed(sound: Tensor, seconds: float) -> Tensor:
    """The same length, `seconds` late."""
    samples = round(seconds * RATE)
    return torch.cat([torch.zeros(samples), sound[: len(sound) - samples]])


def truth() -> Truth:
    """What the band's score says."""
    return Truth(
        key=Key(0, "maj"),
        chords=tuple(
            Chord(
                start_seconds=LEAD_SECONDS + beat * BEAT_SECONDS,
                end_seconds=LEAD_SECONDS + (beat + 2) * BEAT_SECONDS,
                pitch_classes=CHORDS[beat // 2 % len(CHORDS)],
            )
            for beat in range(0, BEATS, 2)
        ),
        beats_seconds=tuple(LEAD_SECONDS + beat * BEAT_SECONDS for beat in range(BEATS)),
    )


def sheet(transposed: int = 0, *, late: float = 0.0) -> LeadSheet:
    """The band's lead sheet: bars of two beats, at each of which the chord may change."""
    score = truth()
    seconds = LEAD_SECONDS + BEATS * BEAT_SECONDS + late
    return LeadSheet(
        duration_seconds=seconds,
        beats=tuple(Beat(beat + late, number % 2 + 1) for number, beat in enumerate(score.beats_seconds)),
        meters=(MeterChange(0.0, 2, 4),),
        keys=(KeyChange(0.0, NOTE_NAMES[transposed % 12], "maj"),),
        chords=tuple(
            ChordSpan(
                chord.start_seconds + late,
                chord.end_seconds + late,
                f"{NOTE_NAMES[(chord.pitch_classes[0] + transposed) % 12]}:maj",
            )
            for chord in score.chords
        ),
    )


def _lead() -> Tensor:
    return torch.zeros(round(LEAD_SECONDS * RATE))
