"""An intro and an ending: the voice's part keeps its bars and chords, and the rows of bars have no seam."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hafm.errors import LeadSheetError
from hafm.generate.around import Around
from hafm.guide.around import ending_seconds, intro_seconds, last_downbeat, with_ending, with_intro
from hafm.guide.corrections import Corrections, corrected
from hafm.guide.lead_sheet import PLAYERS, Beat, ChordSpan, LeadSheet, MeterChange, Origin, PlayingSpan
from tests.guide.sheets import sheets
from tests.unchecked import unchecked

SHEET = corrected(
    LeadSheet(duration_seconds=10.0),
    Corrections(bpm=120, first_beat=0.75, meter="4/4", key="C", chords="| Am | F | G |"),
)


def test_an_intro_has_the_first_bars_chords_and_one_row_of_beats() -> None:
    seconds = intro_seconds(SHEET, 2)
    sheet = with_intro(SHEET, seconds)
    assert (seconds, sheet.duration_seconds) == (4.0, 14.0)
    times = [beat.seconds for beat in sheet.beats]
    assert np.allclose(np.diff(times), 0.5)
    assert times[0] == 0.25
    assert sheet.downbeats[:3] == (0.75, 2.75, 4.75)
    assert [(span.start_seconds, span.label) for span in sheet.chords][:5] == [
        (0.0, "F:maj"),  # what the second bar ends with: it is before the first bar each time
        (0.75, "A:min"),
        (2.75, "F:maj"),
        (4.75, "A:min"),
        (6.75, "F:maj"),
    ]


def test_a_pick_up_keeps_its_chord_and_the_intro_begins_with_it() -> None:
    pick_up = ChordSpan(0.0, 0.75, "E:7")
    sheet = with_intro(replace(SHEET, chords=(pick_up, *SHEET.chords)), intro_seconds(SHEET, 2))
    assert [(span.start_seconds, span.end_seconds, span.label) for span in sheet.chords][:5] == [
        (0.0, 0.75, "E:7"),
        (0.75, 2.75, "A:min"),
        (2.75, 4.0, "F:maj"),
        (4.0, 4.75, "E:7"),
        (4.75, 6.75, "A:min"),
    ]


@pytest.mark.parametrize("source", ["given", "estimated"])
def test_who_is_said_to_play_plays_before_and_after_the_voice(source: Literal["given", "estimated"]) -> None:
    drums = (PlayingSpan.of(0.0, 10.0, ["drums"]),)
    sheet = replace(SHEET, arrangement=drums, origins={"arrangement": Origin(source=source)})
    longer = with_ending(with_intro(sheet, 4.0), ending_seconds(with_intro(sheet, 4.0)))
    beyond = ("drums",) if source == "given" else PLAYERS
    assert [span.players for span in longer.arrangement] == [beyond, ("drums",), beyond]
    assert (longer.arrangement[0].start_seconds, longer.arrangement[-1].end_seconds) == (
        0.0,
        longer.duration_seconds,
    )
    part = replace(sheet, arrangement=(PlayingSpan.of(2.75, 4.75, ["drums"]),))
    assert len(with_intro(part, 4.0).arrangement) == 1  # the other bars are the band's to fill


@given(
    periods=st.lists(st.floats(0.4, 0.6), min_size=5, max_size=20),
    first=st.integers(0, 3),
    left=st.floats(0.001, 3.0),
    intro=st.integers(0, 2),
    rate=st.sampled_from([22_050, 44_100]),
)
@unchecked()
def test_the_last_bar_is_whole_at_a_tempo_that_moves(
    periods: list[float], first: int, left: float, intro: int, rate: int
) -> None:
    """Where the last bar was longer than the median period says, one more bar began in its last instant."""
    times = np.cumsum([0.3, *periods]).tolist()
    sheet = LeadSheet(
        duration_seconds=times[-1] + left,
        beats=tuple(Beat(time, (number + first) % 4 + 1) for number, time in enumerate(times)),
        meters=(MeterChange(0.0, 4, 4),),
    )
    around = Around(intro_bars=intro, ending=True)
    before, after = around.samples(sheet, rate)
    longer = around.sheet(sheet, intro_samples=before, ending_samples=after, rate=rate)
    period = np.median(np.diff([beat.seconds for beat in longer.beats]))
    assert longer.duration_seconds - last_downbeat(longer) == pytest.approx(4 * period, abs=2 / rate)


def test_an_ending_fills_the_bar_and_adds_the_tonic() -> None:
    seconds = ending_seconds(SHEET)  # the last bar begins at 8.75
    sheet = with_ending(SHEET, seconds)
    assert sheet.duration_seconds == pytest.approx(12.75)
    assert last_downbeat(sheet) == pytest.approx(10.75)
    assert sheet.chords[-1].label == "C:maj"
    assert sheet.chords[-1].start_seconds == pytest.approx(10.75)
    assert np.allclose(np.diff([beat.seconds for beat in sheet.beats]), 0.5)


@given(bpm=st.floats(40, 240), first=st.floats(0, 2), rate=st.sampled_from([22_050, 24_000, 44_100]))
@unchecked()
def test_the_last_bar_is_whole_at_any_rate(bpm: float, first: float, rate: int) -> None:
    """Where a sample too many would begin another bar, the band would not die away but be cut."""
    sheet = corrected(LeadSheet(duration_seconds=13.6), Corrections(bpm=bpm, first_beat=first, meter="4/4"))
    around = Around(intro_bars=1, ending=True)
    intro, ending = around.samples(sheet, rate)
    longer = around.sheet(sheet, intro_samples=intro, ending_samples=ending, rate=rate)
    assert longer.duration_seconds - last_downbeat(longer) == pytest.approx(240 / bpm, abs=2 / rate)


@given(sheet=sheets(even=True), bars=st.integers(1, 4))
@unchecked()
def test_the_voices_part_is_unchanged(sheet: LeadSheet, bars: int) -> None:
    assume(len(sheet.beats) > 4 and sheet.downbeats)
    seconds = intro_seconds(sheet, bars)
    longer = with_ending(with_intro(sheet, seconds), ending_seconds(with_intro(sheet, seconds)))
    voice = longer.cropped(seconds, seconds + sheet.duration_seconds)
    first = sheet.downbeats[0]
    assert np.allclose(
        [beat.seconds for beat in voice.beats if beat.seconds >= first - 1e-6][: len(sheet.downbeats)],
        [beat.seconds for beat in sheet.beats if beat.seconds >= first - 1e-6][: len(sheet.downbeats)],
    )
    for moment in np.linspace(first + 0.01, sheet.duration_seconds - 0.01, 7):
        assert chord_at(voice, float(moment)) == chord_at(sheet, float(moment))


def chord_at(sheet: LeadSheet, seconds: float) -> str | None:
    found = [span.label for span in sheet.chords if span.start_seconds <= seconds < span.end_seconds]
    return found[0] if found else None


@pytest.mark.parametrize("of", [lambda sheet: intro_seconds(sheet, 2), ending_seconds])
def test_without_bars_there_is_neither(of) -> None:
    with pytest.raises(LeadSheetError, match=r"needs bars, and there are none; give the tempo"):
        of(LeadSheet(duration_seconds=4.0))
