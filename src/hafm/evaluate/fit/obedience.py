"""Whether a band plays the lead sheet that it was given, heard on its sound.

In: a waveform `[T]` and a `LeadSheet` of the same stretch. Out: for beats, bars, chords, bass and key a
number that is larger the better the sheet is kept, None where the sheet does not say or nothing sounds.

Beats are tracked (`hafm.evaluate.fit.beats`). *Downbeats* are the tracked beats of that phase in the bar at
which the harmony changes most: chroma over the beat after against chroma over the beat before. Bars are as
long as the sheet's. On rendered bands this finds downbeats with F 0.58 (0.72 from their true beats, 0.06 for
the sheet of another song): that is the tool's ceiling, and `truth` has its own row.

*Bass* is the share of the chroma of the lowest octaves (E1 to E3) on the bass note of the chord: 0.47 on
rendered bands, 0.09 for the sheet of another song. A window of 0.68 s is long for a bass line, and too short
to separate its lowest semitones by their fundamentals alone; their partials help (`harmonic_sum`).

Source: ours; downbeats from harmonic change after Goto, "An audio-based real-time beat tracking system for
music with or without drum-sounds" (2001).
"""

from collections.abc import Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.evaluate.fit.beats import beat_f_measure
from hafm.evaluate.fit.chroma import Chord, chord_tone_share, chroma_frames, tone_share
from hafm.evaluate.key import Key, key_agreement
from hafm.guide.chord import parse_note
from hafm.guide.lead_sheet import KeyChange, LeadSheet, MeterChange
from hafm.tokens.chroma import contrast

__all__ = ["sheet_bass_share", "sheet_beats", "sheet_chord_share", "sheet_downbeat_f", "sheet_key_agreement"]

_FRAMES_PER_SECOND = 20
_BASS_LOW_NOTE, _BASS_HIGH_NOTE = 28, 52
_BASS_WINDOW_SECONDS = 16384 / 24_000
_FLOOR = 0.1

_Change = TypeVar("_Change", MeterChange, KeyChange)


def _track_downbeats(
    waveform: Float[Tensor, " T"], sample_rate: int, beats_seconds: Sequence[float], *, beats_per_bar: int
) -> tuple[float, ...]:
    """Those of the beats at which bars begin; none with fewer beats than a bar and one."""
    if len(beats_seconds) <= beats_per_bar:
        return ()
    chroma = contrast(
        chroma_frames(waveform, sample_rate, frames_per_second=_FRAMES_PER_SECOND), floor=_FLOOR
    )
    beats = torch.tensor(beats_seconds)
    period = beats.diff().median()
    edges = ((torch.stack([beats - period, beats, beats + period])) * _FRAMES_PER_SECOND).long()
    edges = edges.clamp(0, chroma.shape[1])
    changes = torch.stack(
        [_change(chroma[0, start:middle], chroma[0, middle:end]) for start, middle, end in edges.T.tolist()]
    )
    phase = max(range(beats_per_bar), key=lambda first: float(changes[first::beats_per_bar].mean()))
    return tuple(beats_seconds[phase::beats_per_bar])


def sheet_beats(sheet: LeadSheet) -> list[float]:
    """Times of the sheet's beats."""
    return [beat.seconds for beat in sheet.beats]


def sheet_downbeat_f(
    waveform: Float[Tensor, " T"], sample_rate: int, beats_seconds: Sequence[float], sheet: LeadSheet
) -> float | None:
    """F-measure (70 ms) of the band's downbeats against the sheet's; None where the sheet has none."""
    if not sheet.downbeats:
        return None
    meter = _longest(sheet.meters, sheet)
    downbeats = _track_downbeats(waveform, sample_rate, beats_seconds, beats_per_bar=meter.beats_per_bar)
    return beat_f_measure(downbeats, sheet.downbeats)


def sheet_chord_share(waveform: Float[Tensor, " T"], sample_rate: int, sheet: LeadSheet) -> float | None:
    """Share of the chroma on the tones of the sheet's chords, as `chord_tone_share`."""
    return chord_tone_share(waveform, sample_rate, _chords(sheet, bass=False))


def sheet_bass_share(waveform: Float[Tensor, " T"], sample_rate: int, sheet: LeadSheet) -> float | None:
    """Share of the chroma of the lowest octaves on the bass notes of the sheet's chords."""
    chroma = contrast(
        chroma_frames(
            waveform,
            sample_rate,
            low_note=_BASS_LOW_NOTE,
            high_note=_BASS_HIGH_NOTE,
            window_seconds=_BASS_WINDOW_SECONDS,
        ),
        floor=_FLOOR,
    )[0]
    return tone_share(chroma, _chords(sheet, bass=True))


def sheet_key_agreement(waveform: Float[Tensor, " T"], sample_rate: int, sheet: LeadSheet) -> float | None:
    """Credit of the band's key against the key that the sheet holds longest; None where it holds none."""
    if not sheet.keys:
        return None
    key = _longest(sheet.keys, sheet)
    return key_agreement(waveform, sample_rate, Key(parse_note(key.tonic), key.mode))


def _longest(changes: Sequence[_Change], sheet: LeadSheet) -> _Change:
    """The meter or the key that holds longest."""
    ends = [*(change.start_seconds for change in changes[1:]), sheet.duration_seconds]
    spans = [end - change.start_seconds for change, end in zip(changes, ends, strict=True)]
    return changes[spans.index(max(spans))]


def _chords(sheet: LeadSheet, *, bass: bool) -> list[Chord]:
    """The sheet's chords, all of their tones or their bass alone; where no chord sounds, nothing counts."""
    return [
        Chord(
            start_seconds=span.start_seconds,
            end_seconds=span.end_seconds,
            pitch_classes=(chord.bass,) if bass else tuple(sorted(chord.pitch_classes)),
        )
        for span in sheet.chords
        if (chord := span.chord).bass is not None
    ]


def _change(before: Float[Tensor, "F 12"], after: Float[Tensor, "F2 12"]) -> Tensor:
    """1 less the cosine of the mean chroma on either side; 1 where one side holds nothing."""
    if not len(before) or not len(after):
        return torch.ones(())
    return 1 - torch.cosine_similarity(before.mean(dim=0), after.mean(dim=0), dim=0)
