"""What a lead sheet accepts, refuses, and becomes when it is moved."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hafm.errors import LeadSheetError
from hafm.guide.lead_sheet import (
    Beat,
    ChordSpan,
    KeyChange,
    LeadSheet,
    MeterChange,
    Origin,
    PlayingSpan,
)
from tests.guide.sheets import WALTZ, sheets
from tests.unchecked import unchecked

NAN = math.nan
BAR = PlayingSpan(0.0, 1.0, True, True, True, True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"duration_seconds": 0.0}, "lasts 0.0 s"),
        ({"duration_seconds": NAN}, "lasts nan s"),
        (
            {"beats": (Beat(0.5, 1), Beat(0.4, 2))},
            "beat 2 is at 0.4 s, which is not between 0.501 s and the end",
        ),
        ({"beats": (Beat(0.5, 1), Beat(0.5, 2))}, "beat 2 is at 0.5 s"),
        ({"beats": (Beat(NAN, 1),)}, "beat 1 is at nan s"),
        ({"beats": (Beat(-0.1, 1),)}, "beat 1 is at -0.1 s"),
        ({"beats": (Beat(4.0, 1),)}, "beat 1 is at 4.0 s, which is not between 0 s and the end at 4 s"),
        ({"beats": (Beat(0.5, 1), Beat(0.6, 3))}, "beat 2 at 0.600 s has position 3 after 1; write 2, or 1"),
        ({"beats": (Beat(0.5, 4),)}, "position 4 in a bar of 3/4; write 1 to 3"),
        ({"meters": ()}, "there are beats and no meter"),
        ({"meters": (MeterChange(0.5, 3, 4),)}, "meter 1 begins at 0.5 s; the first begins at 0"),
        ({"meters": (MeterChange(0.0, 3, 4), MeterChange(0.0, 4, 4))}, "meter 2 begins at 0.0 s"),
        ({"meters": (MeterChange(0.0, 3, 5),)}, "meter 1 is 3/5"),
        ({"keys": (KeyChange(0.0, "H", "min"),)}, "key 1: there is no note 'H'"),
        ({"keys": (KeyChange(0.0, "A", "dor"),)}, "key 1 is A:dor; its mode must be maj or min"),
        (
            {"chords": (ChordSpan(0, 2, "C"), ChordSpan(1, 3, "G"))},
            "chord 2 begins at 1 s, and what is before",
        ),
        ({"chords": (ChordSpan(1.0, 1.0, "C"),)}, "chord 1 lasts from 1.0 to 1.0 s; its end must be later"),
        ({"chords": (ChordSpan(1.0, NAN, "C"),)}, "chord 1 lasts from 1.0 to nan s"),
        ({"chords": (ChordSpan(-1.0, 1.0, "C"),)}, "chord 1 begins at -1.0 s"),
        ({"chords": (ChordSpan(1.0, 4.5, "C"),)}, "chord 1 ends at 4.5 s and the sound at 4.0 s"),
        (
            {"chords": (ChordSpan(1.0, 2.0, "C:mjr"),)},
            "chord 1 at 1.000 s: chord 'C:mjr': there is no quality",
        ),
        ({"chords": (ChordSpan(0.0, 1.0, "C"),) * 10_000}, "10000 chords in 4 s, more than 10 per second"),
        ({"arrangement": (BAR, BAR)}, "bar of the arrangement 2 begins at 0.0 s"),
        ({"style": "balad"}, "no style 'balad' (did you mean ballad?); choose rock"),
        ({"origins": {"chord": Origin()}}, "no part 'chord' (did you mean chords?); it has beats"),
    ],
)
def test_what_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with unchecked(), pytest.raises(LeadSheetError) as caught:
        replace(WALTZ, **changes)
    assert message in str(caught.value)


@pytest.mark.parametrize("values", [{"source": "guessed"}, {"confidence": 1.1}, {"confidence": NAN}])
def test_an_origin_out_of_range_is_refused(values: dict[str, Any]) -> None:
    with unchecked(), pytest.raises(LeadSheetError):
        Origin(**values)


def test_parts_are_given_unless_it_says_otherwise() -> None:
    assert WALTZ.origin("beats") == Origin(source="given", confidence=1.0)
    assert WALTZ.origin("chords") == Origin(source="estimated", confidence=0.7)


def test_bars_come_from_where_the_beats_do_unless_it_says_otherwise() -> None:
    guessed = Origin(source="estimated", confidence=0.6)
    sheet = replace(WALTZ, origins={"beats": guessed})
    assert sheet.origin("bars") == guessed
    assert replace(WALTZ, origins={"beats": guessed, "bars": Origin()}).origin("bars") == Origin()


def test_tempo_and_downbeats_follow_from_the_beats() -> None:
    assert WALTZ.tempo_bpm == 120
    assert WALTZ.downbeats == (0.75, 2.25)
    assert LeadSheet(duration_seconds=1.0).tempo_bpm is None


def test_ten_minutes_of_a_tempo_are_exact() -> None:
    beats = tuple(Beat(number * 60 / 92, number % 4 + 1) for number in range(920))
    sheet = LeadSheet(duration_seconds=600.0, beats=beats, meters=(MeterChange(0.0, 4, 4),))
    assert abs(sheet.beats[-1].seconds - 919 * 60 / 92) < 1e-9
    assert sheet.tempo_bpm == pytest.approx(92, abs=1e-9)


def test_a_crop_cuts_spans_and_keeps_what_holds() -> None:
    sheet = replace(
        WALTZ, keys=(*WALTZ.keys, KeyChange(1.0, "C", "maj"), KeyChange(3.5, "E", "min"))
    ).cropped(1.25, 3.0)
    assert sheet.duration_seconds == 1.75
    assert [(beat.seconds, beat.position) for beat in sheet.beats] == [(0, 2), (0.5, 3), (1, 1), (1.5, 2)]
    assert [key.label for key in sheet.keys] == ["C:maj"]
    assert sheet.keys[0].start_seconds == 0
    assert sheet.chords == (ChordSpan(0.0, 1.0, "N"), ChordSpan(1.25, 1.75, "F#:sus4(b7)"))


def test_a_crop_just_before_a_change_begins_with_it() -> None:
    sheet = replace(WALTZ, keys=(*WALTZ.keys, KeyChange(1.0, "C", "maj")))
    assert sheet.cropped(0.9995, 3.0).keys == (KeyChange(0.0, "C", "maj"),)


@pytest.mark.parametrize(("start", "end"), [(-0.1, 1), (1, 1), (2, 1), (0, 4.1), (NAN, 1)])
def test_a_crop_outside_of_the_sheet_is_refused(start: float, end: float) -> None:
    with pytest.raises(LeadSheetError):
        WALTZ.cropped(start, end)


@pytest.mark.parametrize("seconds", [-0.1, NAN, math.inf])
def test_a_shift_to_before_the_beginning_is_refused(seconds: float) -> None:
    with pytest.raises(LeadSheetError):
        WALTZ.shifted(seconds)


@given(sheets(), st.integers(-12, 12))
def test_a_transposed_sheet_comes_back(sheet: LeadSheet, semitones: int) -> None:
    back = sheet.transposed(semitones).transposed(-semitones)
    assert [span.chord.pitch_classes for span in back.chords] == [
        span.chord.pitch_classes for span in sheet.chords
    ]
    assert sheet.transposed(0) == sheet


@given(sheets(), st.floats(0.0, 9.0))
def test_a_shifted_sheet_comes_back(sheet: LeadSheet, seconds: float) -> None:
    shifted = sheet.shifted(seconds)
    assert shifted.duration_seconds == sheet.duration_seconds + seconds
    assert len(shifted.chords) <= len(sheet.chords)
    assert [beat.position for beat in shifted.beats] == [beat.position for beat in sheet.beats]
