"""Lead sheets as MIDI: what a DAW gets, what comes back, and the files of other programs."""

import random
from dataclasses import replace
from io import BytesIO

import mido
import pytest
from hypothesis import given

from hafm.errors import LeadSheetError
from hafm.guide.chart import parse_chart, put_on
from hafm.guide.lead_sheet import Beat, KeyChange, LeadSheet, MeterChange
from hafm.guide.midi_in import lead_sheet_from_midi
from hafm.guide.midi_out import lead_sheet_to_midi
from tests.guide.sheets import WALTZ, sheets

MICROSECOND = 1e-6


def grid(*, first: float, period: float, duration: float, meter: str = "4/4", position: int = 1) -> LeadSheet:
    numerator, denominator = map(int, meter.split("/"))
    change = MeterChange(0.0, numerator, denominator)
    count = int((duration - first) / period)
    beats = (
        Beat(first + number * period, (position - 1 + number) % change.beats_per_bar + 1)
        for number in range(count)
    )
    return LeadSheet(duration_seconds=duration, beats=tuple(beats), meters=(change,))


def heard(data: bytes) -> tuple[list[tuple[float, int]], list[tuple[float, str]]]:
    """Strokes of the click, and markers, in seconds, as mido plays the file."""
    seconds, strokes, markers = 0.0, [], []
    for message in mido.MidiFile(file=BytesIO(data)):
        seconds += message.time
        if message.type == "note_on" and message.velocity and message.channel == 9:
            strokes.append((seconds, message.note))
        if message.type == "marker":
            markers.append((seconds, message.text))
    return strokes, markers


@pytest.mark.parametrize(
    "sheet",
    [
        grid(first=0.0, period=60 / 92, duration=600.0),
        grid(first=1.37, period=60 / 92, duration=600.0),
        grid(first=0.0125, period=60 / 171.3, duration=60.0, position=3),
        grid(first=0.3, period=0.5, duration=30.0, meter="6/8", position=2),
        grid(first=0.2, period=0.7, duration=30.0, meter="3/4", position=3),
    ],
    ids=["from 0", "late", "at once", "6/8", "pick-up"],
)
def test_every_beat_is_where_it_is_in_the_sound(sheet: LeadSheet) -> None:
    data = lead_sheet_to_midi(sheet)
    strokes, _ = heard(data)
    assert [note == 76 for _, note in strokes] == [beat.position == 1 for beat in sheet.beats]
    for (seconds, _), beat in zip(strokes, sheet.beats, strict=True):
        assert abs(seconds - beat.seconds) < 21 * MICROSECOND
    back = lead_sheet_from_midi(data, duration_seconds=sheet.duration_seconds, where="it")
    assert [beat.position for beat in back.beats] == [beat.position for beat in sheet.beats]
    assert back.meters == sheet.meters


def test_an_even_tempo_has_few_tempi() -> None:
    file = mido.MidiFile(file=BytesIO(lead_sheet_to_midi(grid(first=0.0, period=60 / 92, duration=600.0))))
    tempi = [message.tempo for message in file.tracks[0] if message.type == "set_tempo"]
    assert len(tempi) < 12
    assert {round(60e6 / tempo, 1) for tempo in tempi} == {92.0}


def test_downbeats_begin_the_bars_of_the_daw() -> None:
    sheet = grid(first=1.1, period=0.5, duration=10.0, meter="3/4", position=2)
    file = mido.MidiFile(file=BytesIO(lead_sheet_to_midi(sheet)))
    tick, signatures = 0, []
    for message in file.tracks[0]:
        tick += message.time
        if message.type == "time_signature":
            signatures.append((tick / file.ticks_per_beat, message.numerator, message.denominator))
    # Two beats of lead-in, then positions 2 and 3: a bar of one beat and a whole one.
    assert signatures == [(0.0, 1, 4), (1.0, 3, 4)]


def test_what_a_sheet_knows_comes_back() -> None:
    sheet = replace(
        put_on(grid(first=0.4, period=0.5, duration=20.0), parse_chart("| Am7/G | F#m7b5 | ? | N.C. |")),
        keys=(KeyChange(0.0, "F#", "min"), KeyChange(4.4, "Eb", "maj")),
    )
    data = lead_sheet_to_midi(sheet)
    back = lead_sheet_from_midi(data, duration_seconds=20.0, where="it")
    assert [key.label for key in back.keys] == ["F#:min", "Eb:maj"]
    assert back.keys[1].start_seconds == pytest.approx(4.4, abs=1e-3)
    assert [span.label for span in back.chords] == [span.label for span in sheet.chords]
    for found, span in zip(back.chords, sheet.chords, strict=True):
        assert found.start_seconds == pytest.approx(span.start_seconds, abs=21 * MICROSECOND)
        assert found.end_seconds == pytest.approx(span.end_seconds, abs=21 * MICROSECOND)
    assert [text for _, text in heard(data)[1]][:4] == ["Am7/G", "F#m7b5", "?", "N.C."]
    assert lead_sheet_to_midi(sheet) == data


def test_the_chord_track_has_the_pitch_classes_and_the_bass_track_the_bass() -> None:
    sheet = put_on(grid(first=0.0, period=0.5, duration=4.0), parse_chart("| F#7/C# | N.C. |"))
    notes: dict[str, set[int]] = {}
    for track in mido.MidiFile(file=BytesIO(lead_sheet_to_midi(sheet))).tracks:
        notes[track.name] = {message.note for message in track if message.type == "note_on"}
    assert {pitch % 12 for pitch in notes["Chords"]} == {1, 4, 6, 10}
    assert notes["Bass"] == {37}


@given(sheets(even=True))
def test_any_even_sheet_comes_back(sheet: LeadSheet) -> None:
    if len(sheet.beats) < 2 or all(beat.position > 1 for beat in sheet.beats):
        return
    back = lead_sheet_from_midi(
        lead_sheet_to_midi(sheet), duration_seconds=sheet.duration_seconds, where="it"
    )
    assert [beat.position for beat in back.beats] == [beat.position for beat in sheet.beats]
    for found, beat in zip(back.beats, sheet.beats, strict=True):
        assert abs(found.seconds - beat.seconds) < 25 * MICROSECOND


def test_an_uneven_tempo_and_changing_meters_come_back() -> None:
    rng = random.Random(3)
    seconds, beats = 0.7, []
    for size in (4, 4, 3, 3, 4, 2, 4):
        for position in range(1, size + 1):
            beats.append(Beat(seconds, position))
            seconds += rng.uniform(0.4, 0.7)
    sizes = [(0, 4), (8, 3), (14, 4), (18, 2), (20, 4)]
    meters = [MeterChange(beats[number].seconds if number else 0.0, size, 4) for number, size in sizes]
    sheet = LeadSheet(duration_seconds=seconds, beats=tuple(beats), meters=tuple(meters))
    back = lead_sheet_from_midi(lead_sheet_to_midi(sheet), duration_seconds=seconds, where="it")
    assert [beat.position for beat in back.beats] == [beat.position for beat in beats]
    assert max(abs(a.seconds - b.seconds) for a, b in zip(back.beats, beats, strict=True)) < 21 * MICROSECOND
    assert [meter.label for meter in back.meters] == ["4/4", "3/4", "4/4", "2/4", "4/4"]


# ---- other programs


def foreign(
    *,
    bpm: float | None = 120,
    signatures: tuple[tuple[int, int, int], ...] = ((0, 4, 4),),
    notes: tuple[tuple[float, float, int], ...] = (),
    markers: tuple[tuple[float, str], ...] = (),
) -> bytes:
    """A file as mido writes it; times in quarters."""
    file = mido.MidiFile(ticks_per_beat=480)
    events: list[tuple[float, mido.Message | mido.MetaMessage]] = [
        (quarter, mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator))
        for quarter, numerator, denominator in signatures
    ]
    if bpm is not None:
        events.append((0, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm))))
    events += [(quarter, mido.MetaMessage("marker", text=text)) for quarter, text in markers]
    for start, end, pitch in notes:
        events.append((start, mido.Message("note_on", note=pitch, velocity=80)))
        events.append((end, mido.Message("note_off", note=pitch)))
    track, tick = mido.MidiTrack(), 0
    for quarter, message in sorted(events, key=lambda event: event[0]):
        track.append(message.copy(time=round(480 * quarter) - tick))
        tick = round(480 * quarter)
    file.tracks.append(track)
    out = BytesIO()
    file.save(file=out)
    return out.getvalue()


def test_tempo_map_and_markers_of_another_program() -> None:
    data = foreign(bpm=100, markers=((0, "Intro"), (4, "Am"), (8, "F/A"), (10, "N.C.")))
    sheet = lead_sheet_from_midi(data, duration_seconds=9.0, where="it")
    assert len(sheet.beats) == 15
    assert sheet.tempo_bpm == pytest.approx(100)
    assert [span.label for span in sheet.chords] == ["A:min", "F:maj/3", "N"]
    assert [span.start_seconds for span in sheet.chords] == pytest.approx([2.4, 4.8, 6.0])
    assert sheet.chords[-1].end_seconds == 9.0


def test_a_short_first_bar_is_a_pick_up() -> None:
    data = foreign(signatures=((0, 1, 4), (1, 3, 4)))
    sheet = lead_sheet_from_midi(data, duration_seconds=5.0, where="it")
    assert [beat.position for beat in sheet.beats] == [3, 1, 2, 3, 1, 2, 3, 1, 2, 3]
    assert [meter.label for meter in sheet.meters] == ["3/4"]


def test_six_eight_is_two_beats() -> None:
    sheet = lead_sheet_from_midi(foreign(signatures=((0, 6, 8),)), duration_seconds=3.0, where="it")
    assert [(beat.seconds, beat.position) for beat in sheet.beats] == [(0, 1), (0.75, 2), (1.5, 1), (2.25, 2)]


def test_without_chord_markers_the_notes_are_heard() -> None:
    """Two bars of block chords, the second inverted; a melody note beside them; then nothing."""
    chord = [(0, 4, pitch) for pitch in (45, 57, 60, 64, 67)] + [(4, 8, pitch) for pitch in (47, 62, 67, 71)]
    data = foreign(notes=(*chord, (5, 5.5, 76)), markers=((0, "Verse"),))
    sheet = lead_sheet_from_midi(data, duration_seconds=5.0, where="it")
    assert [(span.start_seconds, span.label) for span in sheet.chords] == [
        (0.0, "A:min7"),
        (2.0, "G:maj/3"),
        (4.0, "N"),
    ]


AM, F, G = (57, 60, 64), (53, 57, 60), (55, 59, 62)


def block_chords(*bars: tuple[int, ...], first: int = 0) -> tuple[tuple[float, float, int], ...]:
    """Chords of 4/4, one per bar from a bar on, that end a little before the bar does."""
    return tuple(
        (4.0 * bar, 4.0 * bar + 3.9, pitch) for bar, chord in enumerate(bars, first) for pitch in chord
    )


def chords_within(seconds: float, data: bytes) -> list[tuple[float, float, str]]:
    sheet = lead_sheet_from_midi(data, duration_seconds=seconds, where="it")
    return [(span.start_seconds, span.end_seconds, span.label) for span in sheet.chords]


def test_a_loop_of_whole_bars_is_repeated_as_a_chart_is() -> None:
    assert chords_within(13.0, foreign(notes=block_chords(AM, F))) == [
        (0.0, 2.0, "A:min"),
        (2.0, 4.0, "F:maj"),
        (4.0, 6.0, "A:min"),
        (6.0, 8.0, "F:maj"),
        (8.0, 10.0, "A:min"),
        (10.0, 12.0, "F:maj"),
        (12.0, 13.0, "A:min"),
    ]
    half = (*block_chords(AM), *((4.0, 6.0, pitch) for pitch in F), *((6.0, 8.0, pitch) for pitch in G))
    assert [label for _, _, label in chords_within(8.0, foreign(notes=half))] == [
        "A:min",
        "F:maj",
        "G:maj",
    ] * 2


def test_what_comes_after_the_end_of_other_notes_is_unknown() -> None:
    song = foreign(notes=block_chords(AM, F, G))
    assert chords_within(10.0, song) == [(0.0, 2.0, "A:min"), (2.0, 4.0, "F:maj"), (4.0, 6.0, "G:maj")]
    assert chords_within(7.5, song)[-1] == (6.0, 7.5, "N")  # less than a bar: a rest
    late = foreign(notes=block_chords(AM, first=1))
    assert chords_within(13.0, late) == [(0.0, 2.0, "N"), (2.0, 4.0, "A:min")]
    cut = foreign(notes=tuple((0.0, 6.0, pitch) for pitch in AM))
    assert chords_within(13.0, cut) == [(0.0, 3.0, "A:min")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "s.mid is not a MIDI file, or a damaged one; export it again"),
        (b"RIFF" * 100, "s.mid is not a MIDI file"),
        (foreign()[:-6], "s.mid is not a MIDI file, or a damaged one"),
        (b"\0" * ((1 << 22) + 1), "s.mid has 4194305 bytes"),
        (
            foreign(bpm=None),
            "s.mid has no tempo; export it with its tempo map, or give its chords as a chart, with",
        ),
        (foreign(bpm=6000), "s.mid: it has 600 beats in 6 s; check its tempo"),
        (foreign(markers=((20, "Am"),)), "s.mid: its chord Am at 10.00 s is after the end of the sound, 6 s"),
    ],
)
def test_what_cannot_be_used_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(LeadSheetError) as caught:
        lead_sheet_from_midi(data, duration_seconds=6.0, where="s.mid")
    assert message in str(caught.value)


def test_sheets_that_midi_cannot_hold_are_refused() -> None:
    with pytest.raises(LeadSheetError, match="without beats has no bars"):
        lead_sheet_to_midi(replace(WALTZ, beats=()))
    far = replace(WALTZ, duration_seconds=60.0, beats=(Beat(0.0, 1), Beat(30.0, 2)))
    with pytest.raises(LeadSheetError, match=r"30\.0 s pass before the beat at 30\.0 s"):
        lead_sheet_to_midi(far)
