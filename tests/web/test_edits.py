"""Corrections, one at a time."""

from dataclasses import replace

import pytest
from pydantic import TypeAdapter, ValidationError

from hafm.errors import HafmError
from hafm.guide.corrections import Corrections, corrected
from hafm.guide.lead_sheet import LeadSheet, Origin
from hafm.web.edits import Edit, edited
from hafm.web.view import view
from tests.web.stub import sheet_of

EDITS: TypeAdapter[object] = TypeAdapter(Edit)
SHEET = sheet_of(8.0)
"""Beats every half second from 0.5 s on, bars of four: C, F, G7, C."""


def with_edit(sheet: LeadSheet, **values: object) -> LeadSheet:
    return edited(sheet, EDITS.validate_python(values))  # type: ignore[arg-type]


def chords(sheet: LeadSheet) -> list[str]:
    return [bar["chords"] for bar in view(sheet)["bars"]]


def starts(sheet: LeadSheet) -> list[float]:
    return [round(bar["start"], 3) for bar in view(sheet)["bars"]]


def test_a_bar_gets_other_chords_and_no_other_bar_does() -> None:
    after = with_edit(SHEET, edit="bar", bar=2, chords="Dm G/B")
    assert chords(after) == ["C", "Dm  G/B", "G7", "C"]
    assert after.origin("chords").source == "given"
    assert chords(with_edit(SHEET, edit="bar", bar=4, chords="")) == ["C", "F", "G7", "?"]


def test_a_bar_takes_as_many_chords_as_its_own_meter_has_beats() -> None:
    mixed = corrected(SHEET, Corrections(meter="4/4, 3/4@3"))
    assert chords(with_edit(mixed, edit="bar", bar=1, chords="C D E F"))[0] == "C D E F"
    assert chords(with_edit(mixed, edit="bar", bar=3, chords="| C D E |"))[2] == "C D E"
    with pytest.raises(HafmError, match="bar 3 of the chart has 4 chords, and 3/4 has 3 beats; "):
        with_edit(mixed, edit="bar", bar=3, chords="C D E F")


def test_a_chart_gives_all_chords() -> None:
    assert chords(with_edit(SHEET, edit="chart", chords="Am F")) == ["Am", "F", "Am", "F"]


def test_a_tempo_is_exact_and_given_chords_stay_in_their_bars() -> None:
    given = with_edit(SHEET, edit="chart", chords="C F G7 C")
    after = with_edit(given, edit="tempo", bpm=90.0)
    assert after.tempo_bpm == pytest.approx(90.0)
    assert chords(after)[:3] == ["C", "F", "G7"]
    assert with_edit(SHEET, edit="tempo", bpm=90.0).chords == SHEET.chords  # guessed: they sound when they do
    twice = with_edit(SHEET, edit="double_time")
    assert twice.tempo_bpm == pytest.approx(240.0)
    assert with_edit(SHEET, edit="half_time").tempo_bpm == pytest.approx(60.0)


def test_a_sound_without_beats_gets_some() -> None:
    after = with_edit(LeadSheet(duration_seconds=4.0), edit="tempo", bpm=120, first_beat=0.25)
    assert starts(after) == [0.25, 2.25]


def test_an_edit_makes_given_what_it_says_and_no_more() -> None:
    guessed = Origin(source="estimated", confidence=0.6)
    for origins in ({"beats": guessed}, {"beats": guessed, "bars": guessed}):  # the first from before bars
        sheet = replace(SHEET, origins=origins)
        moved = with_edit(sheet, edit="first_beat", seconds=0.7)
        assert (moved.origin("beats"), moved.origin("bars")) == (guessed, Origin())
        beat = with_edit(sheet, edit="move_beat", beat=1, seconds=sheet.beats[0].seconds + 0.01)
        assert (beat.origin("beats"), beat.origin("bars")) == (Origin(), guessed)


def test_the_first_beat_moves_all_bars() -> None:
    after = with_edit(SHEET, edit="first_beat", seconds=0.7)
    assert starts(after) == [0.7, 2.7, 4.7, 6.7]
    assert chords(after) == ["C", "F", "G7", "C"]


def test_one_beat_moves_and_its_neighbours_make_room() -> None:
    after = with_edit(SHEET, edit="move_beat", beat=7, seconds=3.6)
    times = [beat.seconds for beat in after.beats]
    assert times[6] == pytest.approx(3.6)
    assert times[2] == pytest.approx(SHEET.beats[2].seconds)
    assert times[10] == pytest.approx(SHEET.beats[10].seconds)
    assert SHEET.beats[5].seconds < times[5] < times[6] < times[7]
    assert len(after.chords) == len(SHEET.chords)


def test_a_meter_counts_the_same_beats_otherwise() -> None:
    after = with_edit(SHEET, edit="meter", meter="3/4")
    assert [beat.seconds for beat in after.beats] == [beat.seconds for beat in SHEET.beats]
    assert view(after)["bars"][0]["size"] == 3


def test_chords_follow_a_key_unless_they_are_told_not_to() -> None:
    assert chords(with_edit(SHEET, edit="key", key="A")) == ["A", "D", "E7", "A"]
    assert chords(with_edit(SHEET, edit="key", key="D", moves_chords=False)) == ["C", "F", "G7", "C"]
    assert with_edit(SHEET, edit="key", key="Am").keys[0].label == "A:min"


def test_bars_without_drums() -> None:
    after = with_edit(SHEET, edit="players", first_bar=2, last_bar=3, without=["drums"])
    assert [bar["without"] for bar in view(after)["bars"]] == [[], ["drums"], ["drums"], []]
    again = with_edit(after, edit="players", first_bar=3, last_bar=3, without=[])
    assert [bar["without"] for bar in view(again)["bars"]] == [[], ["drums"], [], []]


def test_a_style_is_chosen_and_left_to_the_band() -> None:
    after = with_edit(SHEET, edit="style", style="bossa")
    assert after.style == "bossa"
    assert with_edit(after, edit="style", style=None).style is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"edit": "bar", "bar": 9, "chords": "C"}, "there is no bar 9"),
        ({"edit": "bar", "bar": 1, "chords": "C | F"}, "give those of one"),
        ({"edit": "bar", "bar": 1, "chords": "Xyz"}, "Xyz"),
        ({"edit": "bar", "bar": 2, "chords": "C D E F G"}, "bar 2 of the chart has 5 chords, and 4/4 has 4"),
        ({"edit": "chart", "chords": "| C D E F G |"}, "bar 1 of the chart has 5 chords"),
        ({"edit": "chart", "chords": "C " * 50}, "50 bars"),
        ({"edit": "move_beat", "beat": 99, "seconds": 1.0}, "there is no beat 99"),
        ({"edit": "move_beat", "beat": 7, "seconds": 7.9}, "leave no room"),
        ({"edit": "first_beat", "seconds": 60.0}, "within it"),
        ({"edit": "key", "key": "H"}, "German"),
        ({"edit": "players", "first_bar": 3, "last_bar": 1, "without": []}, "no stretch"),
        ({"edit": "style", "style": "polka"}, "polka"),
        ({"edit": "meter", "meter": "0/4"}, "0/4"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(HafmError, match=said):
        with_edit(SHEET, **values)


@pytest.mark.parametrize(
    "values",
    [
        {"edit": "tempo", "bpm": 5},
        {"edit": "tempo", "bpm": float("nan")},
        {"edit": "bar", "bar": 0, "chords": ""},
        {"edit": "bar", "bar": 1, "chords": "C", "colour": "red"},
        {"edit": "sing"},
        {},
    ],
)
def test_what_is_out_of_range_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EDITS.validate_python(values)
