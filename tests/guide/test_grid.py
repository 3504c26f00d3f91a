"""Corrections of beats and bars, as properties of any sheet."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hafm.errors import LeadSheetError
from hafm.guide.bars import bars_of
from hafm.guide.grid import (
    at_double_time,
    at_half_time,
    at_tempo,
    steady_beats,
    with_first_beat,
    with_meters,
    without_beats,
)
from hafm.guide.lead_sheet import Beat, ChordSpan, LeadSheet, MeterChange
from tests.guide.sheets import WALTZ, sheets
from tests.unchecked import unchecked

EVEN = sheets(even=True).filter(lambda sheet: len(sheet.beats) > 3)


def positions(sheet: LeadSheet) -> list[int]:
    return [beat.position for beat in sheet.beats]


def seconds(sheet: LeadSheet) -> list[float]:
    return [beat.seconds for beat in sheet.beats]


@given(bpm=st.floats(20, 400), start=st.floats(0, 20), beats_per_bar=st.integers(1, 7))
def test_ten_minutes_end_on_the_beat(bpm: float, start: float, beats_per_bar: int) -> None:
    beats = steady_beats(bpm, downbeat_seconds=start, beats_per_bar=beats_per_bar, duration_seconds=600.0)
    first = next(number for number, beat in enumerate(beats) if beat.position == 1)
    assert beats[first].seconds == start
    assert first < beats_per_bar
    exact = start + (len(beats) - 1 - first) * 60 / bpm
    assert abs(beats[-1].seconds - exact) < 1e-9
    assert 600 - 60 / bpm - 1e-6 <= beats[-1].seconds < 600
    assert {beat.position for beat in beats} <= set(range(1, beats_per_bar + 1))


def test_rounded_beats_would_not_end_on_it() -> None:
    """The control: the period in whole frames, as a tracker has it, is a second off after ten minutes."""
    exact = steady_beats(92.0, downbeat_seconds=0.0, beats_per_bar=4, duration_seconds=600.0)
    rounded = round(60 / 92 * 50) / 50 * (len(exact) - 1)
    assert abs(rounded - exact[-1].seconds) > 1


@given(sheet=EVEN, bpm=st.floats(40, 300))
@unchecked()
def test_a_tempo_is_exact_and_keeps_chords_in_order(sheet: LeadSheet, bpm: float) -> None:
    moved = at_tempo(sheet, bpm)
    assert np.allclose(np.diff(seconds(moved)), 60 / bpm, atol=1e-9)
    assert moved.duration_seconds == sheet.duration_seconds
    labels = [span.label for span in sheet.chords]
    found = iter(labels)
    assert all(span.label in found for span in moved.chords), "a subsequence"


@given(sheet=EVEN)
@unchecked()
def test_its_own_tempo_leaves_a_sheet_as_it_was(sheet: LeadSheet) -> None:
    assume(sheet.tempo_bpm is not None and 1 in positions(sheet))
    moved = at_tempo(sheet, sheet.tempo_bpm or 0.0)
    old = dict(zip(np.round(seconds(sheet), 6), positions(sheet), strict=True))
    new = dict(zip(np.round(seconds(moved), 6), positions(moved), strict=True))
    shared = set(old) & set(new)
    assert len(shared) >= len(old) - sheet.meters[0].beats_per_bar
    assert all(old[time] == new[time] for time in shared)


def test_a_tempo_is_laid_on_beats_that_are_a_little_off() -> None:
    rng = np.random.default_rng(0)
    late = 0.3 + np.arange(40) * 0.5 + rng.normal(0, 0.02, 40)
    sheet = LeadSheet(
        duration_seconds=21.0,
        beats=tuple(Beat(float(time), (number + 2) % 4 + 1) for number, time in enumerate(late)),
        meters=(MeterChange(0.0, 4, 4),),
    )
    moved = at_tempo(sheet, 120.0)
    assert abs(moved.beats[0].seconds - 0.3) < 0.02
    assert positions(moved)[:4] == [3, 4, 1, 2]


@given(sheet=EVEN, share=st.floats(0, 0.99))
@unchecked()
def test_the_first_bar_begins_where_it_is_said(sheet: LeadSheet, share: float) -> None:
    first = share * sheet.duration_seconds
    moved = with_first_beat(sheet, first)
    assert moved.downbeats[0] == first
    assert np.allclose(np.diff(seconds(moved)), np.diff(seconds(sheet))[0], atol=1e-6)
    num_early = positions(moved).index(1)
    assert num_early < sheet.meters[0].beats_per_bar
    assert moved.duration_seconds - moved.beats[-1].seconds < 60 / (sheet.tempo_bpm or 0.0) + 1e-6


@given(sheet=EVEN, number=st.integers(0, 100))
@unchecked()
def test_the_first_beat_that_is_there_changes_nothing_after_it(sheet: LeadSheet, number: int) -> None:
    assume(sheet.downbeats)
    first = sheet.downbeats[number % len(sheet.downbeats)]
    moved = with_first_beat(sheet, first)
    after = [beat for beat in sheet.beats if beat.seconds >= first]
    assume(all(abs(span.end_seconds - span.start_seconds - 1e-6) > 1e-9 for span in sheet.chords))
    assert np.allclose([beat.seconds for beat in moved.beats][-len(after) :], [b.seconds for b in after])
    assert positions(moved)[-len(after) :] == [beat.position for beat in after]
    starts, before = (
        [span.start_seconds for span in each.chords if span.end_seconds - span.start_seconds > 1e-6]
        for each in (moved, sheet)
    )
    assert np.allclose(starts, before)


def test_chords_move_with_their_bars_or_keep_their_seconds() -> None:
    moved = with_first_beat(WALTZ, 1.35)  # a beat and .1 s after the downbeat at .75
    assert [(span.start_seconds, span.end_seconds) for span in moved.chords] == [
        pytest.approx(edges) for edges in ((0.0, 1.35), (1.35, 2.85), (3.1, 4.0))
    ]
    assert [round(time, 9) for time in moved.downbeats] == [1.35, 2.85]
    assert with_first_beat(WALTZ, 1.35, moves_chords=False).chords == WALTZ.chords


def test_a_chart_begins_at_the_first_bar_that_is_said() -> None:
    bars = bars_of(with_first_beat(WALTZ, 2.2))
    assert bars[0].beats[0] == 2.2


@given(sheet=EVEN)
@unchecked()
def test_half_of_double_time_is_the_sheet(sheet: LeadSheet) -> None:
    assume(sheet.downbeats)
    back = at_half_time(at_double_time(sheet))
    first = positions(sheet).index(1)
    assert back.beats[positions(back).index(1) :] == sheet.beats[first:]
    assert back.chords == sheet.chords


def test_half_time_keeps_downbeats_and_double_time_adds_them() -> None:
    half, double = at_half_time(WALTZ), at_double_time(WALTZ)
    assert [(beat.seconds, beat.position) for beat in half.beats] == [(0.75, 1), (1.75, 2), (2.75, 3)]
    assert set(WALTZ.downbeats) < set(double.downbeats)
    assert double.tempo_bpm == 240
    assert double.beats[:3] == (Beat(0.25, 2), Beat(0.5, 3), Beat(0.75, 1))
    assert double.beats[-1].seconds == 3.5


def test_a_meter_counts_the_same_beats_from_the_first_downbeat() -> None:
    sheet = with_meters(WALTZ, ((1, MeterChange(0.0, 4, 4)),))
    assert seconds(sheet) == seconds(WALTZ)
    assert positions(sheet) == [4, 1, 2, 3, 4, 1, 2]
    assert sheet.chords == WALTZ.chords
    compound = with_meters(WALTZ, ((1, MeterChange(0.0, 6, 8)),))
    assert positions(compound) == [2, 1, 2, 1, 2, 1, 2]
    assert compound.meters[0].label == "6/8"


def test_a_meter_changes_at_a_bar() -> None:
    sheet = with_meters(WALTZ, ((1, MeterChange(0.0, 2, 4)), (2, MeterChange(0.0, 3, 4))))
    assert positions(sheet) == [2, 1, 2, 1, 2, 3, 1]
    assert [(meter.start_seconds, meter.label) for meter in sheet.meters] == [(0.0, "2/4"), (1.75, "3/4")]
    with pytest.raises(LeadSheetError, match=r"changes at bar 9, and there are 3 bars"):
        with_meters(WALTZ, ((1, MeterChange(0.0, 2, 4)), (9, MeterChange(0.0, 3, 4))))


def test_free_time_has_neither_beats_nor_meter() -> None:
    free = without_beats(WALTZ)
    assert (free.beats, free.meters, free.chords) == ((), (), WALTZ.chords)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda sheet: at_tempo(sheet, 92), "there are no beats"),
        (lambda sheet: with_first_beat(sheet, 1), "there are no beats"),
        (at_half_time, "there are no beats"),
        (lambda sheet: with_first_beat(WALTZ, 4.0), "the sound lasts 4 s; give a time within it"),
        (lambda sheet: at_half_time(replace(WALTZ, beats=WALTZ.beats[1:3])), "cannot be at half time"),
        (
            lambda sheet: at_half_time(
                with_meters(WALTZ, ((1, MeterChange(0.0, 2, 4)), (2, MeterChange(0.0, 3, 4))))
            ),
            "changes its meter cannot be brought to half time",
        ),
    ],
)
def test_what_cannot_be_corrected_is_refused(change, message: str) -> None:
    with pytest.raises(LeadSheetError) as caught:
        change(LeadSheet(duration_seconds=4.0))
    assert message in str(caught.value)


def test_the_meter_of_a_later_first_beat_holds_there() -> None:
    changing = with_meters(WALTZ, ((1, MeterChange(0.0, 2, 4)), (2, MeterChange(0.0, 3, 4))))
    moved = with_first_beat(changing, 3.25)
    assert moved.downbeats == (3.25,)
    assert [beat.position for beat in moved.beats] == [2, 3, 1, 2]


def test_chords_of_a_bar_keep_their_place_in_it() -> None:
    drifting = LeadSheet(
        duration_seconds=10.0,
        beats=tuple(Beat(0.4 * n + 0.01 * n * n, n % 4 + 1) for n in range(16)),
        meters=(MeterChange(0.0, 4, 4),),
    )
    downbeat, after = drifting.downbeats[1:3]
    sheet = replace(drifting, chords=(ChordSpan(downbeat, after, "C:maj"),))
    moved = with_first_beat(sheet, sheet.beats[1].seconds)
    assert (moved.chords[0].start_seconds, moved.chords[0].end_seconds) == (
        pytest.approx(moved.downbeats[1]),
        pytest.approx(moved.downbeats[2]),
    )
