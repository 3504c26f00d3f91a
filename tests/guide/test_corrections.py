"""Corrections: what is refused, what they do to a sheet, and what an analyser makes of them."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hafm.errors import HafmError, LeadSheetError, UsageError
from hafm.guide.corrections import Corrections, corrected, parse_key
from hafm.guide.lead_sheet import PLAYERS, Beat, ChordSpan, LeadSheet, MeterChange
from hafm.guide.steady import find_steady_beats
from tests.guide.sheets import WALTZ
from tests.guide.test_analyser import RATE, analyser, sound
from tests.unchecked import unchecked


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bpm": 19.9}, "--bpm is 19.9; give a number from 20 to 400"),
        ({"bpm": float("nan")}, "--bpm is nan"),
        ({"first_beat": -0.1}, "--first-beat is -0.1; give a number of 0 or more"),
        ({"first_beat": float("inf")}, "--first-beat is inf"),
        ({"transpose_chords": 12}, "--transpose-chords is 12; give a number from -11 to 11"),
        ({"half_time": True, "double_time": True}, "--half-time and --double-time contradict each other"),
        ({"bpm": 92.0, "half_time": True}, "--bpm is exact, and --half-time cannot stand beside it"),
        ({"free_time": True, "chords": "Am"}, "there is no beat, and --chords cannot stand beside it"),
        ({"free_time": True, "first_beat": 0.0}, "there is no beat, and --first-beat cannot stand beside it"),
        ({"style": "rok"}, "there is no style 'rok' (did you mean rock?); choose rock, ballad"),
        ({"meter": "4"}, "'4' is not a meter"),
        ({"meter": "0/4"}, "meter 1 is 0/4; write it as in"),
        ({"meter": "4/4, 3/4"}, "--meter is '4/4, 3/4'; write what holds from bar 1, then changes in order"),
        ({"meter": "4/4, 3/4@x"}, "--meter changes at bar 'x'"),
        ({"key": "C@5"}, "write what holds from bar 1"),
        ({"key": "Am, C@9, D@4"}, "write what holds from bar 1"),
        ({"key": "Q"}, "'Q' is not a key; write it as in Am, F# minor or Bb"),
        ({"key": "A dorian"}, "'A dorian' is not a key"),
        ({"key": "A:"}, "'A:' is not a key"),
        ({"key": "A -"}, "'A -' is not a key"),
        ({"key": "Hm"}, "does H mean the note below C? write Bm"),
        ({"key": "a"}, "is it A or Am?"),
        ({"chords": "| Am | Xq |"}, "bar 2 of the chart: chord 'Xq' is not known"),
        ({"chords": ""}, "the chart has no chord"),
        ({"players": "bass drms"}, "there is no player 'drms' (did you mean drums?); choose of drums, bass"),
        ({"players": ""}, "--players names nobody"),
        ({"players": "bass, drums"}, "'bass, drums'; put spaces between players, as in 'bass drums', and @"),
        ({"players": "bass@9, drums@5"}, "--players is 'bass@9, drums@5'; write what holds from bar 1"),
    ],
)
def test_what_contradicts_itself_is_refused(values: dict, message: str) -> None:
    with pytest.raises(HafmError) as caught:
        Corrections(**values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bpm": "92"}, "bpm must be a number or None, not '92'"),
        ({"first_beat": "1.5"}, "first_beat must be a number or None, not '1.5'"),
        ({"meter": 3}, "meter must be text or None, not 3"),
        ({"chords": ["Am", "F"]}, "chords must be text or None, not ['Am', 'F']"),
        ({"players": ["bass"]}, "players must be text or None, not ['bass']"),
        ({"transpose_chords": 1.5}, "transpose_chords must be a whole number, not 1.5"),
    ],
)
@unchecked()
def test_values_of_another_type_are_refused(values: dict, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        Corrections(**values)
    assert Corrections(bpm=np.float32(92.0), transpose_chords=np.int64(2)).given == (
        "--bpm",
        "--transpose-chords",
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"first_beat": 10.0}, "--first-beat is 10 s, and the sound lasts 10 s"),
        ({"chords": "| Am " * 500}, "the chart has 500 bars, and 10 s of sound have 19 at most"),
        ({"chords": "| Am " * 6, "bpm": 92.0, "meter": "4/4"}, "10 s of sound have 4 at most"),
        ({"chords": "| Am " * 4, "bpm": 92.0, "meter": "4/4", "first_beat": 5.0}, "have 2 at most"),
    ],
)
def test_what_no_sound_of_that_length_can_have_is_refused(values: dict, message: str) -> None:
    with pytest.raises(LeadSheetError) as caught:
        Corrections(**values).require_duration(10.0)
    assert message in str(caught.value)
    Corrections(chords="| Am | F |", first_beat=9.0).require_duration(10.0)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Am", "A:min"),
        ("a minor", "A:min"),
        ("A-Dur", "A:maj"),
        ("F#m", "F#:min"),
        ("F♯ Major", "F#:maj"),
        ("Bb", "Bb:maj"),
        ("bb minor", "Bb:min"),
        ("B", "B:maj"),
        ("bm", "B:min"),
        ("CM", "C:maj"),
        ("C:min", "C:min"),
        ("C:maj", "C:maj"),
        ("A ", "A:maj"),
        ("A-", "A:min"),
        ("F#-", "F#:min"),
        ("bb-", "Bb:min"),
        ("A-minor", "A:min"),
        ("e-Moll", "E:min"),
        ("Ab - Dur", "Ab:maj"),
    ],
)
def test_keys_are_read_as_they_are_written(text: str, label: str) -> None:
    assert parse_key(text).label == label


@pytest.mark.parametrize("sign", ["", "#", "b"])
@pytest.mark.parametrize("typed", ["m", "min", "minor", " Minor", "-"])
def test_every_minor_key_is_read(sign: str, typed: str) -> None:
    for letter in "ABCDEFG":
        assert parse_key(f"{letter}{sign}{typed}").label == f"{letter}{sign}:min"


@pytest.mark.parametrize("sign", ["", "#", "b"])
@pytest.mark.parametrize("typed", ["", "M", "maj", "major", " Major"])
def test_every_major_key_is_read(sign: str, typed: str) -> None:
    for letter in "ABCDEFG":
        assert parse_key(f"{letter}{sign}{typed}").label == f"{letter}{sign}:maj"


def test_a_dash_is_minor_where_the_key_changes_too() -> None:
    assert [(bar, key.label) for bar, key in Corrections(key="A-, F#-@3").keys] == [
        (1, "A:min"),
        (3, "F#:min"),
    ]


def test_corrections_say_which_they_are() -> None:
    assert Corrections().given == ()
    assert Corrections(transpose_chords=-2, first_beat=0.0).given == ("--first-beat", "--transpose-chords")


# ---- on a sheet alone


def test_a_sheet_is_corrected_part_by_part() -> None:
    sheet = corrected(
        WALTZ,
        Corrections(
            bpm=100.0,
            first_beat=0.6,
            meter="2/4",
            key="C, G@2",
            chords="| Am | F |",
            transpose_chords=2,
            style="folk",
        ),
    )
    assert sheet.downbeats == pytest.approx((0.6, 1.8, 3.0))
    assert sheet.beats[-1].seconds == 0.6 + 5 * 60 / 100
    assert [span.label for span in sheet.chords] == ["B:min", "G:maj", "B:min"]
    assert [(key.start_seconds, key.label) for key in sheet.keys] == [
        (0.0, "C:maj"),
        (pytest.approx(1.8), "G:maj"),
    ]
    assert sheet.style == "folk"
    assert sheet.origin("chords").source == sheet.origin("key").source == "given"
    with pytest.raises(LeadSheetError, match=r"key changes at bar 9, and there are 3 bars"):
        corrected(WALTZ, Corrections(key="C, G@9"))
    with pytest.raises(LeadSheetError, match=r"the chart has 4 bars and the sound 3"):
        corrected(WALTZ, Corrections(chords="Am F C G"))


def test_who_plays_from_which_bar_on() -> None:
    sheet = corrected(WALTZ, Corrections(players="Harmony, bass+drums@2"))
    second = sheet.downbeats[1]
    assert [(span.start_seconds, span.end_seconds, span.players) for span in sheet.arrangement] == [
        (0.0, second, ("harmony",)),
        (second, sheet.duration_seconds, ("drums", "bass")),
    ]
    assert sheet.origin("arrangement").source == "given"
    alone = corrected(LeadSheet(duration_seconds=2.0), Corrections(players="all", free_time=True))
    assert [span.players for span in alone.arrangement] == [PLAYERS]
    with pytest.raises(LeadSheetError, match=r"players change at bar 9, and there are"):
        corrected(WALTZ, Corrections(players="bass, all@9"))


def test_no_correction_is_no_change() -> None:
    assert corrected(WALTZ, Corrections()) == WALTZ


def test_a_tempo_alone_does_not_say_where_bars_begin() -> None:
    with pytest.raises(LeadSheetError, match=r"give the first beat, too"):
        corrected(LeadSheet(duration_seconds=4.0), Corrections(bpm=92.0))


# ---- with the sound


def chances(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits)))


def test_a_given_tempo_is_exact_over_ten_minutes() -> None:
    frames = 600 * 50
    rng = np.random.default_rng(0)
    logits = rng.normal(-3, 1, frames)
    logits[((0.315 + np.arange(0, 590, 60 / 92)) * 50).astype(int)] += 5
    found = find_steady_beats(
        chances(logits), chances(np.full(frames, -4.0)), bpm=92.0, duration_seconds=600.0
    )
    times = np.array([beat.seconds for beat in found.beats])
    assert abs(times[-1] - (times[0] + (len(times) - 1) * 60 / 92)) < 1e-9
    phase = (times[0] - 0.32) % (60 / 92)  # a frame is heard at its centre
    assert min(phase, 60 / 92 - phase) < 0.01
    assert found.confidence > 0.5


@given(bpm=st.floats(60, 180), start=st.floats(0, 2), first=st.integers(0, 3))
def test_phase_bar_and_meter_of_a_click_are_found(bpm: float, start: float, first: int) -> None:
    frames = 30 * 50
    logits, downbeats = np.full(frames, -5.0), np.full(frames, -8.0)
    times = start + np.arange(int((29.9 - start) / 60 * bpm)) * 60 / bpm
    at = (times * 50).astype(int)
    logits[at] = 2.0
    downbeats[at[first::4]] = 1.0
    found = find_steady_beats(chances(logits), chances(downbeats), bpm=bpm, duration_seconds=30.0)
    assert found.beats_per_bar == 4
    bars = [beat.seconds for beat in found.beats if beat.position == 1]
    assert min(abs(bar - times[first]) for bar in bars) < 0.03


def test_a_first_beat_leaves_nothing_to_be_found() -> None:
    sheet = analyser().analyse(
        sound(12.0), RATE, corrections=Corrections(bpm=92.0, first_beat=0.4, meter="3/4")
    )
    assert sheet.downbeats[0] == 0.4
    assert sheet.beats[-1].seconds == 0.4 + (len(sheet.beats) - 1) * 60 / 92
    assert sheet.origin("beats").source == "given"
    assert sheet.meters[0].label == "3/4"
    only_tempo = analyser().analyse(sound(12.0), RATE, corrections=Corrections(bpm=92.0))
    assert only_tempo.tempo_bpm == pytest.approx(92.0, abs=1e-9)
    assert only_tempo.origin("beats").source == "estimated"


def test_a_tempo_makes_a_beat_where_none_is_heard() -> None:
    silent = torch.zeros(5 * RATE)
    assert analyser().analyse(silent, RATE).beats == ()
    assert analyser().analyse(silent, RATE, corrections=Corrections(bpm=120.0)).tempo_bpm == 120


def test_free_time_leaves_out_beats_that_are_heard() -> None:
    heard = analyser().analyse(sound(12.0), RATE, corrections=Corrections(bpm=120.0))
    free = analyser().analyse(sound(12.0), RATE, given=heard, corrections=Corrections(free_time=True))
    assert heard.beats
    assert not free.beats


def test_chords_are_found_in_the_bars_that_are_corrected() -> None:
    sheet = analyser().analyse(
        sound(12.0), RATE, corrections=Corrections(bpm=100.0, first_beat=0.3, meter="3/4")
    )
    inner = [span.start_seconds for span in sheet.chords[1:]]
    assert set(inner) <= set(sheet.downbeats)


def test_chords_given_in_seconds_keep_them_and_those_of_bars_move() -> None:
    chords = (ChordSpan(1.0, 2.0, "A:min"),)
    lab = LeadSheet(duration_seconds=12.0, chords=chords)
    late = Corrections(bpm=120.0, first_beat=0.1)
    assert analyser().analyse(sound(12.0), RATE, given=lab, corrections=late).chords == chords
    beats = tuple(Beat(number / 2, number % 4 + 1) for number in range(24))
    barred = replace(lab, beats=beats, meters=(MeterChange(0.0, 4, 4),))
    later = Corrections(first_beat=0.1)
    moved = analyser().analyse(sound(12.0), RATE, given=barred, corrections=later)
    assert moved.chords[0].start_seconds == pytest.approx(1.1)
    assert moved.origin("chords").source == "given"


def test_beats_of_a_sheet_and_a_tempo_contradict_each_other() -> None:
    beats = tuple(Beat(number / 2, number % 4 + 1) for number in range(24))
    sheet = LeadSheet(duration_seconds=12.0, beats=beats, meters=(MeterChange(0.0, 4, 4),))
    with pytest.raises(LeadSheetError, match=r"has beats, and --bpm says others"):
        analyser().analyse(sound(12.0), RATE, given=sheet, corrections=Corrections(bpm=92.0))
