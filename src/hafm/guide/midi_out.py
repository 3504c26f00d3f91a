"""A lead sheet as a MIDI file, for a DAW.

In: a `LeadSheet` with beats. Out: the bytes of a MIDI file; second 0 of the sound is its tick 0.

    tempo map, time signatures, key signatures
    markers       chord symbols, N.C. where none sounds, ? where it is unknown
    "Chords"      the chords, held
    "Bass"        their bass notes
    "Click"       a stroke per beat, the downbeats higher

    seconds  0      0.41       1.04       1.66
    ticks    0      960        1920       2880       a beat of a quarter note is 960 ticks, whatever its tempo
             |lead-in| 4        | 1        | 2

Conventions: before the first beat comes a lead-in, a bar that is cut short so that bars begin with downbeats.
Tempi are whole microseconds per quarter note; what that rounds away is made up for before it exceeds 20 µs,
less than a sample at 44.1 kHz. Style, arrangement and origins have no place in MIDI.

`hafm.guide.midi_in` reads it, and files of other programs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hafm.errors import LeadSheetError
from hafm.guide.bars import continued_beats
from hafm.guide.chord_symbol import symbol_of
from hafm.guide.lead_sheet import KeyChange, LeadSheet, MeterChange

if TYPE_CHECKING:
    from symusic import Score, Track

__all__ = [
    "CLICK_TRACK",
    "DOWNBEAT_PITCH",
    "MICROSECONDS",
    "UNKNOWN_CHORD",
    "Clock",
    "lead_sheet_to_midi",
    "midi_frame",
]

CLICK_TRACK, DOWNBEAT_PITCH = "Click", 76
UNKNOWN_CHORD = "?"
MICROSECONDS = 1_000_000

_TICKS_PER_QUARTER = 960
_DRIFT_SECONDS = 20e-6
_SLOWEST_TEMPO = (1 << 24) - 1  # microseconds per quarter note, in three bytes
_MOST_TIMES_AS_FAST = 4  # as the song, a short note in front of it
_BEAT_PITCH = 77
_CHORD_LOW, _BASS_LOW, _BASS_PROGRAM = 55, 28, 33
_FIFTHS = "FCGDAEB"


@dataclass(frozen=True, kw_only=True, eq=False)
class Clock:
    """Seconds and ticks of the same instants, both rising; even between them, and after them as at the end.

    Args:
        seconds: Shape [N], N = 2 or more.
        ticks: Shape [N].
    """

    seconds: NDArray[np.float64]
    ticks: NDArray[np.float64]

    def tick(self, seconds: float) -> int:
        """The tick nearest to a time."""
        return round(_at(seconds, self.seconds, self.ticks))

    def time(self, tick: float) -> float:
        """When a tick is."""
        return _at(tick, self.ticks, self.seconds)


def _at(place: float, places: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """The value at a place between those that are known, or after them."""
    if place <= places[-1]:
        return float(np.interp(place, places, values))
    pace = (values[-1] - values[-2]) / (places[-1] - places[-2])
    return float(values[-1] + (place - places[-1]) * pace)


def lead_sheet_to_midi(sheet: LeadSheet) -> bytes:
    """The bytes of a MIDI file; refuses what `midi_frame` does."""
    score, clock, beat_ticks = midi_frame(sheet)
    for track in _tracks(sheet, clock, beat_ticks):
        score.tracks.append(track)
    return bytes(score.dumps_midi())


def midi_frame(sheet: LeadSheet) -> "tuple[Score, Clock, list[int]]":
    """A MIDI file without tracks: tempo map, signatures, markers.

    Returns:
        It, the clock by which notes are to be placed, and the ticks of the beats.

    Raises:
        LeadSheetError: the sheet has no beats, or some that are too far apart for MIDI's tempi.
    """
    from symusic import KeySignature, Score, Tempo, TextMeta, TimeSignature

    signatures, beat_ticks = _layout(sheet)
    clock, tempos = _tempo_map([beat.seconds for beat in continued_beats(sheet)], beat_ticks)
    score = Score(_TICKS_PER_QUARTER)
    for tick, tempo in tempos:
        score.tempos.append(Tempo(tick, mspq=tempo))
    for tick, meter in signatures:
        score.time_signatures.append(TimeSignature(tick, meter.numerator, meter.denominator))
    for key in sheet.keys:
        tick = clock.tick(key.start_seconds)
        score.key_signatures.append(KeySignature(tick, _fifths(key), int(key.mode == "min")))
    for start, symbol in _markers(sheet):
        score.markers.append(TextMeta(clock.tick(start), symbol))
    return score, clock, beat_ticks


def _layout(sheet: LeadSheet) -> tuple[list[tuple[int, MeterChange]], list[int]]:
    """Time signatures by tick, and the ticks of all beats, until the sound ends.

    What lies before the first downbeat is whole beats of the first meter where there is room for them, and a
    short note where there is not; the first bar is cut short so that a downbeat begins a bar.
    """
    beats, meter = continued_beats(sheet), sheet.meters[0]
    downbeats = [number for number, beat in enumerate(beats) if beat.position == 1]
    num_early = downbeats[0] if downbeats else len(beats)
    lead_seconds = beats[0].seconds if beats[0].seconds > _DRIFT_SECONDS else 0.0
    period = median(after.seconds - before.seconds for before, after in pairwise(beats))
    num_lead = round(lead_seconds / period)
    signatures: list[tuple[int, MeterChange]] = []
    tick = 0
    if lead_seconds and not num_lead:
        shortest = lead_seconds / period * _beat_ticks(meter) * _MOST_TIMES_AS_FAST
        note = next((note for note in (8, 16) if 4 * _TICKS_PER_QUARTER // note <= shortest), 32)
        signatures.append((0, MeterChange(0.0, 1, note)))
        tick = 4 * _TICKS_PER_QUARTER // note
    whole_bars, rest = divmod(num_lead + num_early, meter.beats_per_bar)
    if rest:
        signatures.append((tick, _meter_of(rest, like=meter)))
    if whole_bars:
        signatures.append((tick + rest * _beat_ticks(meter), meter))
    ticks = [tick + (num_lead + number) * _beat_ticks(meter) for number in range(num_early)]
    tick += (num_lead + num_early) * _beat_ticks(meter)
    for begin, end in pairwise([*downbeats, len(beats)]):
        meter = sheet.meter_at(beats[begin].seconds)
        size = end - begin if end < len(beats) else max(meter.beats_per_bar, end - begin)
        signatures.append((tick, _meter_of(size, like=meter)))
        ticks += [tick + number * _beat_ticks(meter) for number in range(end - begin)]
        tick += (end - begin) * _beat_ticks(meter)
    changed = signatures[:1]
    for tick, meter in signatures[1:]:
        if meter.label != changed[-1][1].label:
            changed.append((tick, meter))
    return changed, ticks


def _beat_ticks(meter: MeterChange) -> int:
    notes = 3 if meter.is_compound else 1
    return notes * 4 * _TICKS_PER_QUARTER // meter.denominator


def _meter_of(num_beats: int, *, like: MeterChange) -> MeterChange:
    """A bar of a number of the beats that another meter has."""
    return replace(like, numerator=num_beats * 3 if like.is_compound else num_beats)


def _tempo_map(seconds: Sequence[float], ticks: Sequence[int]) -> tuple[Clock, list[tuple[int, int]]]:
    """When the file has each beat, and its tempi: tick, microseconds per quarter note."""
    if ticks[0] > 0:
        seconds, ticks = [0.0, *seconds], [0, *ticks]
    reached = [0.0]
    tempos: list[tuple[int, int]] = []
    for (tick, next_tick), goal in zip(pairwise(ticks), seconds[1:], strict=True):
        quarters = (next_tick - tick) / _TICKS_PER_QUARTER
        held = reached[-1] + quarters * tempos[-1][1] / MICROSECONDS if tempos else -1.0
        if abs(held - goal) > _DRIFT_SECONDS:
            tempo = round((goal - reached[-1]) / quarters * MICROSECONDS)
            if tempo > _SLOWEST_TEMPO:
                raise LeadSheetError(
                    f"{goal - reached[-1]:.1f} s pass before the beat at {goal:.1f} s, more than a MIDI "
                    "file can say; give the beats between"
                )
            tempos.append((tick, tempo))
            held = reached[-1] + quarters * tempo / MICROSECONDS
        reached.append(held)
    return Clock(seconds=np.array(reached), ticks=np.array(ticks, np.float64)), tempos


def _markers(sheet: LeadSheet) -> Iterator[tuple[float, str]]:
    """Chord symbols, and `?` where a gap begins."""
    for span, after in zip_longest(sheet.chords, sheet.chords[1:]):
        yield span.start_seconds, symbol_of(span.label)
        if span.end_seconds < (after.start_seconds if after else sheet.duration_seconds):
            yield span.end_seconds, UNKNOWN_CHORD


def _tracks(sheet: LeadSheet, clock: Clock, beat_ticks: Sequence[int]) -> "Iterator[Track]":
    from symusic import Note, Track

    chords, bass = Track("Chords", 0, False), Track("Bass", _BASS_PROGRAM, False)
    for span in sheet.chords:
        start, end = clock.tick(span.start_seconds), clock.tick(span.end_seconds)
        if span.chord.bass is None or start == end:
            continue
        for pitch in sorted(_CHORD_LOW + (each - _CHORD_LOW) % 12 for each in span.chord.pitch_classes):
            chords.notes.append(Note(start, end - start, pitch, 80))
        bass.notes.append(Note(start, end - start, _BASS_LOW + (span.chord.bass - _BASS_LOW) % 12, 90))
    click = Track(CLICK_TRACK, 0, True)
    for tick, beat in zip(beat_ticks, sheet.beats, strict=False):  # not those that only continue them
        is_downbeat = beat.position == 1
        pitch, velocity = (DOWNBEAT_PITCH, 110) if is_downbeat else (_BEAT_PITCH, 80)
        click.notes.append(Note(tick, _TICKS_PER_QUARTER // 8, pitch, velocity))
    yield from (chords, bass, click)


def _fifths(key: KeyChange) -> int:
    """Sharps of the key's signature, flats below 0; respelt where there are more than 7."""
    tonic = _FIFTHS.index(key.tonic[0]) - 1 + 7 * (key.tonic.count("#") - key.tonic.count("b"))
    sharps = tonic - 3 * (key.mode == "min")
    return (sharps + 5) % 12 - 5 if abs(sharps) > 7 else sharps
