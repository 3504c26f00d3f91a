"""The tempo, meter, key and chords of a MIDI file, of this program or another.

In: the bytes of a MIDI file that begins with the sound. Out: a `LeadSheet`.

    beats     the strokes of the track "Click" (`hafm.guide.midi_out`) if there is one; else the tempo map
    meters    time signatures; 4/4 without any. A first bar that is shorter than the second is a pick-up
    chords    the markers that are chord symbols, each until the next; without any, the notes, by half bars

Notes become the chord that has most of what sounds and lacks least of itself; its bass is the
lowest note. Drums do not count. Whole bars that fit into the sound twice are a loop, which is repeated to its
end as a chart is; where other notes end a bar or more before the sound, the rest is unknown.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hafm.errors import ChordError, LeadSheetError
from hafm.guide.bars import Bar, bars_of
from hafm.guide.chart import Chart, put_on
from hafm.guide.chord import NO_CHORD, NOTE_NAMES, parse_chord
from hafm.guide.chord_symbol import bass_degree, parse_symbol
from hafm.guide.lead_sheet import Beat, ChordSpan, KeyChange, LeadSheet, MeterChange, naming
from hafm.guide.midi_out import CLICK_TRACK, DOWNBEAT_PITCH, MICROSECONDS, UNKNOWN_CHORD, Clock
from hafm.guide.text_files import TOLERANCE_SECONDS

if TYPE_CHECKING:
    from symusic import Score

__all__ = ["lead_sheet_from_midi", "midi_seconds"]

_MOST_BYTES = 1 << 22
_MOST_BEATS_PER_SECOND = 20
_LONGEST_SECONDS = 3600.0
_KEYS_BY_FIFTHS = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
_MINORS_BY_FIFTHS = ("Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#", "G#", "D#", "A#")
_HEARD = ("maj", "min", "7", "maj7", "min7", "sus4", "sus2", "dim", "aug", "hdim7", "dim7", "minmaj7", "5")
_LACKS, _LEAST_SHARE, _ON_ROOT = 0.5, 0.1, 0.05


@dataclass(frozen=True, kw_only=True)
class _Stroke:
    """A beat on its way: its tick, whether it begins a bar, and the meter there."""

    tick: float
    begins_bar: bool
    meter: MeterChange


def lead_sheet_from_midi(data: bytes, *, duration_seconds: float, where: str) -> LeadSheet:
    """The lead sheet that a MIDI file says; `where` is what messages call it.

    Raises:
        LeadSheetError: it is no MIDI file, has no tempo, or a chord after the end of the sound.
    """
    score = _score(data, where)
    if not score.tempos:
        raise LeadSheetError(
            f"{where} has no tempo; export it with its tempo map, or give its chords as a chart, with --bpm"
        )
    with naming(where):
        clock = _clock(score)
        beats, meters = _beats(_strokes(score, clock, duration_seconds), clock)
        sheet = LeadSheet(
            duration_seconds=duration_seconds,
            beats=beats,
            meters=meters,
            keys=tuple(_keys(score, clock, duration_seconds)),
        )
        chords = tuple(_marked(score, clock, duration_seconds)) or tuple(_heard(score, clock, sheet))
        return replace(sheet, chords=chords)


def midi_seconds(data: bytes, *, where: str) -> float:
    """When the last note or marker of a MIDI file ends, in seconds.

    Raises:
        LeadSheetError: it is no MIDI file, or lasts not a second or more than an hour.
    """
    score = _score(data, where)
    seconds = _clock(score).time(score.end())
    if not 1.0 <= seconds <= _LONGEST_SECONDS:
        raise LeadSheetError(f"{where} lasts {seconds:.1f} s; give the MIDI file of a song")
    return seconds


def _score(data: bytes, where: str) -> "Score":
    from symusic import Score

    if len(data) > _MOST_BYTES:
        raise LeadSheetError(
            f"{where} has {len(data)} bytes; the MIDI file of a song has {_MOST_BYTES} or fewer"
        )
    try:
        return Score.from_midi(data)
    except (RuntimeError, ValueError) as error:  # the library's words are for its makers
        raise LeadSheetError(f"{where} is not a MIDI file, or a damaged one; export it again") from error


def _clock(score: "Score") -> Clock:
    """The clock of a tempo map; 120 per minute before its first tempo, as MIDI has it."""
    tempos = {tempo.time: tempo.mspq for tempo in score.tempos}
    ticks = sorted({0, *tempos})
    ticks.append(ticks[-1] + score.ticks_per_quarter)
    seconds, tempo = [0.0], MICROSECONDS // 2
    for tick, after in pairwise(ticks):
        tempo = tempos.get(tick, tempo)
        seconds.append(seconds[-1] + (after - tick) / score.ticks_per_quarter * tempo / MICROSECONDS)
    return Clock(seconds=np.array(seconds), ticks=np.array(ticks, np.float64))


# ---- beats


def _strokes(score: "Score", clock: Clock, duration_seconds: float) -> list[_Stroke]:
    meters = sorted(
        (each.time, MeterChange(0.0, each.numerator, each.denominator)) for each in score.time_signatures
    )
    if not meters or meters[0][0] > 0:
        meters.insert(0, (0, MeterChange(0.0, 4, 4)))
    starts = [tick for tick, _ in meters]
    click = next((track for track in score.tracks if track.name == CLICK_TRACK and track.notes), None)
    if click is None:
        return _written(meters, score.ticks_per_quarter, clock, duration_seconds)
    notes = sorted({note.time: note.pitch == DOWNBEAT_PITCH for note in click.notes}.items())
    return [
        _Stroke(tick=tick, begins_bar=begins_bar, meter=meters[bisect_right(starts, tick) - 1][1])
        for tick, begins_bar in notes
        if clock.time(tick) < duration_seconds
    ]


def _written(
    meters: Sequence[tuple[int, MeterChange]], ticks_per_quarter: int, clock: Clock, duration_seconds: float
) -> list[_Stroke]:
    """Every beat of the time signatures, from tick 0 to the end of the sound."""
    end_tick = clock.tick(duration_seconds)
    strokes: list[_Stroke] = []
    ends = [*(tick for tick, _ in meters[1:]), end_tick]
    for (start, meter), end in zip(meters, ends, strict=True):
        step = ticks_per_quarter * 4 / meter.denominator * (3 if meter.is_compound else 1)
        count = max(0, math.ceil((min(end, end_tick) - start) / step))
        if count > _MOST_BEATS_PER_SECOND * duration_seconds:
            raise LeadSheetError(f"it has {count} beats in {duration_seconds:g} s; check its tempo")
        strokes += (
            _Stroke(tick=start + number * step, begins_bar=number % meter.beats_per_bar == 0, meter=meter)
            for number in range(count)
        )
    starts = [number for number, stroke in enumerate(strokes) if stroke.begins_bar]
    if len(starts) > 2 and starts[1] < starts[2] - starts[1]:
        strokes[0] = replace(strokes[0], begins_bar=False)
    return strokes


def _beats(strokes: Sequence[_Stroke], clock: Clock) -> tuple[tuple[Beat, ...], tuple[MeterChange, ...]]:
    """Beats with their meters. The positions before the first downbeat count back from it."""
    if not strokes:
        raise LeadSheetError("no beat is within the sound; is it the file of this sound?")
    num_early = next((number for number, stroke in enumerate(strokes) if stroke.begins_bar), len(strokes))
    meter = strokes[min(num_early, len(strokes) - 1)].meter
    position = max(0, meter.beats_per_bar - num_early)
    beats: list[Beat] = []
    meters = [replace(meter, start_seconds=0.0)]
    for stroke in strokes:
        seconds = clock.time(stroke.tick)
        position = 1 if stroke.begins_bar else position + 1
        beats.append(Beat(seconds, position))
        if stroke.begins_bar and stroke.meter.label != meters[-1].label:
            meters.append(replace(stroke.meter, start_seconds=seconds))
    return tuple(beats), tuple(meters)


def _keys(score: "Score", clock: Clock, duration_seconds: float) -> Iterator[KeyChange]:
    by_time = {clock.time(key.time): key for key in score.key_signatures}
    for number, (seconds, key) in enumerate(sorted(by_time.items(), key=lambda item: item[0])):
        if seconds < duration_seconds and -7 <= key.key <= 7:
            names, mode = (_MINORS_BY_FIFTHS, "min") if key.tonality else (_KEYS_BY_FIFTHS, "maj")
            yield KeyChange(seconds if number else 0.0, names[key.key + 7], mode)


# ---- chords


def _marked(score: "Score", clock: Clock, duration_seconds: float) -> Iterator[ChordSpan]:
    """The chords of the markers; none if none is a chord."""
    changes: dict[float, str] = {}
    for marker in sorted(score.markers, key=lambda marker: marker.time):
        symbol, seconds = marker.text.strip(), clock.time(marker.time)
        if symbol == UNKNOWN_CHORD:
            changes[seconds] = UNKNOWN_CHORD
            continue
        try:
            changes[seconds] = parse_symbol(symbol)
        except ChordError:
            continue  # the name of a section, say
        if seconds > duration_seconds + TOLERANCE_SECONDS:
            raise LeadSheetError(
                f"its chord {symbol} at {seconds:.2f} s is after the end of the sound, {duration_seconds:g} "
                "s; is it the file of this sound?"
            )
    starts = sorted(seconds for seconds in changes if seconds < duration_seconds)
    for start, end in pairwise([*starts, duration_seconds]):
        if changes[start] != UNKNOWN_CHORD:
            yield ChordSpan(start, end, changes[start])


def _heard(score: "Score", clock: Clock, sheet: LeadSheet) -> Iterator[ChordSpan]:
    """The chords of the notes; none if there are none, or no two beats."""
    notes = np.array(
        [
            (clock.time(note.time), clock.time(note.time + note.duration), note.pitch)
            for track in score.tracks
            if not track.is_drum
            for note in track.notes
        ]
    ).reshape(-1, 3)
    if not len(notes) or len(sheet.beats) < 2:
        return
    edges, bars = [0.0], bars_of(sheet)
    for bar in bars:
        edges += bar.beats[:: bar.num_beats // 2 if bar.num_beats % 2 == 0 else bar.num_beats]
    edges.append(sheet.duration_seconds)
    spans = [
        ChordSpan(start, end, _label(notes, start, end))
        for start, end in pairwise(edges)
        if end - start > TOLERANCE_SECONDS
    ]
    stop = max((span.end_seconds for span in spans if span.label != NO_CHORD), default=sheet.duration_seconds)
    if not bars or sheet.duration_seconds - stop < bars[0].end_seconds - bars[0].beats[0] - TOLERANCE_SECONDS:
        stop = sheet.duration_seconds
    spans = [span for span in spans if span.start_seconds < stop]
    if (loop := _loop(spans, bars, stop)) is not None:
        yield from put_on(sheet, loop).chords
        return
    start, label = 0.0, spans[0].label
    for span in spans:
        if span.label != label:
            yield ChordSpan(start, span.start_seconds, label)
            start, label = span.start_seconds, span.label
    yield ChordSpan(start, stop, label)


def _loop(spans: Sequence[ChordSpan], bars: Sequence[Bar], stop: float) -> Chart | None:
    """The chart of chords that fill whole bars from the first on, half of all or fewer; None of others."""
    inside = [bar for bar in bars if bar.beats[0] < stop]
    if not inside or inside[-1].end_seconds != stop or 2 * len(inside) > len(bars):
        return None
    first = next(span.start_seconds for span in spans if span.label != NO_CHORD)
    if first != bars[0].beats[0]:
        return None
    slots = [
        tuple(span.label for span in spans if bar.beats[0] <= span.start_seconds < bar.end_seconds)
        for bar in inside
    ]
    return Chart(bars=tuple(bar[:1] if len(set(bar)) == 1 else bar for bar in slots))


def _label(notes: NDArray[np.float64], begin: float, end: float) -> str:
    """The chord of the notes that sound in a stretch."""
    sounding = np.minimum(notes[:, 1], end) - np.maximum(notes[:, 0], begin)
    heard = sounding > 0.25 * (end - begin)
    if not heard.any():
        return NO_CHORD
    weights = np.zeros(12)
    np.add.at(weights, notes[heard, 2].astype(int) % 12, sounding[heard] / sounding[heard].sum())
    bass = int(notes[heard, 2].min()) % 12
    best = max(_CANDIDATES, key=lambda label: _fit(label, weights, bass))
    root = parse_chord(best).root
    assert root is not None, "a candidate is a chord"
    return best if bass == root else f"{best}/{bass_degree(root, bass)}"


def _fit(label: str, weights: NDArray[np.float64], bass: int) -> float:
    """Share of what sounds that is in the chord, less the share of the chord that does not sound."""
    chord = parse_chord(label)
    inside = sum(float(weights[pitch]) for pitch in chord.pitch_classes)
    lacking = sum(float(weights[pitch]) < _LEAST_SHARE for pitch in chord.pitch_classes) / len(
        chord.pitch_classes
    )
    return inside - _LACKS * lacking + _ON_ROOT * (chord.root == bass)


_CANDIDATES = tuple(f"{root}:{quality}" for quality in _HEARD for root in NOTE_NAMES)
