"""The guide of a sheet: what each channel holds, and that it moves with the sheet."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hafm.guide.frames import GROUPS, GUIDE_CHANNELS, KNOWN, guide_frames
from hafm.guide.lead_sheet import STYLES, Beat, LeadSheet, MeterChange
from tests.guide.sheets import WALTZ, sheets

PITCHES = [slice(6, 18), slice(18, 30), slice(31, 43)]


def bar_phase(guide: np.ndarray) -> np.ndarray:
    """Phase within the bar in turns, 0 to 1."""
    return np.arctan2(guide[:, 2], guide[:, 3]) / (2 * np.pi) % 1


def test_groups_and_flags_are_all_channels_once() -> None:
    channels = [channel for group in GROUPS.values() for channel in range(group.start, group.stop)]
    assert channels == list(range(GUIDE_CHANNELS))
    assert list(KNOWN.values()) == list(range(GROUPS["flags"].start, GROUPS["flags"].stop))
    assert GROUPS["style"].stop - GROUPS["style"].start == len(STYLES)


def test_every_channel_of_a_sheet() -> None:
    guide = guide_frames(WALTZ, num_frames=201)
    assert guide.dtype == np.float32
    assert guide.shape == (201, GUIDE_CHANNELS)
    # Beats at 0.25 + k / 2 s; downbeats at 0.75 and 2.25 s. Frame 37 begins at 0.74, 112 at 2.24 s.
    assert np.flatnonzero(guide[:, 4]).tolist() == [12, 37, 62, 87, 112, 137, 162]
    assert np.flatnonzero(guide[:, 5]).tolist() == [37, 112]
    centres = (np.arange(201) + 0.5) / 50
    for channel, passed in ((0, (centres - 0.25) / 0.5), (2, (centres - 0.75) / 1.5)):
        np.testing.assert_allclose(guide[:, channel], np.sin(2 * np.pi * passed), atol=1e-6)
        np.testing.assert_allclose(guide[:, channel + 1], np.cos(2 * np.pi * passed), atol=1e-6)
    # A:min/b3 until 0.75 s, the centre of frame 37, which is N; then a gap, then F#:sus4(b7).
    assert [np.flatnonzero(guide[36, pitches]).tolist() for pitches in PITCHES] == [[0, 4, 9], [9], [0]]
    assert np.flatnonzero(guide[37, GROUPS["chords"]]).tolist() == [24]
    assert guide[111, 30] == 1
    assert not guide[112:125, GROUPS["chords"]].any()
    assert [np.flatnonzero(guide[125, pitches]).tolist() for pitches in PITCHES] == [[1, 4, 6, 11], [6], [6]]
    assert np.flatnonzero(guide[:, KNOWN["chords"]] == 0).tolist() == [*range(112, 125), 200]
    assert guide[37:112, GROUPS["arrangement"]].tolist() == [[1, 1, 0, 0]] * 75
    assert np.flatnonzero(guide[:, KNOWN["arrangement"]]).tolist() == list(range(37, 112))
    assert (guide[:, GROUPS["style"]] == np.eye(12)[STYLES.index("waltz")]).all()
    assert guide[:, KNOWN["style"]].all()
    assert guide[:, KNOWN["beats"]].all()


def test_a_sheet_that_knows_nothing_is_zeros() -> None:
    assert not guide_frames(LeadSheet(duration_seconds=1.0), num_frames=50).any()
    one_beat = LeadSheet(duration_seconds=1.0, beats=(Beat(0.5, 1),), meters=(MeterChange(0.0, 4, 4),))
    assert not guide_frames(one_beat, num_frames=50).any()
    assert guide_frames(WALTZ, num_frames=0).shape == (0, GUIDE_CHANNELS)


def test_bars_of_different_lengths_end_on_their_downbeats() -> None:
    """3/4, then 2/4, then a last bar of 4/4 that is cut off after two beats."""
    positions = [1, 2, 3, 1, 2, 1, 2]
    sheet = LeadSheet(
        duration_seconds=4.0,
        beats=tuple(Beat(0.5 * number, position) for number, position in enumerate(positions)),
        meters=(MeterChange(0.0, 3, 4), MeterChange(1.5, 2, 4), MeterChange(2.5, 4, 4)),
    )
    phase = bar_phase(guide_frames(sheet, num_frames=200))
    at = (np.array([0.25, 1.25, 1.75, 2.25, 2.75, 3.75]) * 50).astype(int)
    halfway = [0.5 / 3, 2.5 / 3, 0.25, 0.75, 0.125, 0.625]
    np.testing.assert_allclose(phase[at], halfway, atol=0.011)


@given(sheets(), st.integers(-12, 12))
def test_transposition_rolls_the_pitches(sheet: LeadSheet, semitones: int) -> None:
    num_frames = int(sheet.duration_seconds * 50)
    expected = guide_frames(sheet, num_frames=num_frames)
    for pitches in PITCHES:
        expected[:, pitches] = np.roll(expected[:, pitches], semitones, axis=1)
    np.testing.assert_array_equal(guide_frames(sheet.transposed(semitones), num_frames=num_frames), expected)


@given(sheets(), st.integers(0, 200))
def test_a_shift_by_frames_shifts_the_frames(sheet: LeadSheet, frames: int) -> None:
    num_frames = int(sheet.duration_seconds * 50)
    shifted = guide_frames(sheet.shifted(frames / 50), num_frames=num_frames + frames)[frames:]
    still = guide_frames(sheet, num_frames=num_frames)
    np.testing.assert_allclose(shifted[:, :4], still[:, :4], atol=1e-3)
    np.testing.assert_array_equal(shifted[:, 4:], still[:, 4:])


@given(sheets(even=True), st.data())
def test_the_frames_of_a_stretch_are_the_stretch_of_the_frames(sheet: LeadSheet, data: st.DataObject) -> None:
    num_frames = int(sheet.duration_seconds * 50)
    first = data.draw(st.integers(0, num_frames - 2))
    end = data.draw(st.integers(first + 1, num_frames))
    stretch = guide_frames(sheet.cropped(first / 50, end / 50), num_frames=end - first)
    whole = guide_frames(sheet, num_frames=num_frames)[first:end]
    if stretch[:, KNOWN["beats"]].all():  # two beats are left
        np.testing.assert_allclose(stretch[:, :4], whole[:, :4], atol=1e-3)
        np.testing.assert_array_equal(stretch[:, 4:], whole[:, 4:])
    else:
        np.testing.assert_array_equal(stretch[:, 6:59], whole[:, 6:59])


def test_an_uneven_tempo_is_cut_without_loss_between_beats() -> None:
    times = np.cumsum([0.3, 0.5, 0.4, 0.6, 0.45, 0.55, 0.5, 0.4])
    sheet = replace(
        WALTZ, beats=tuple(Beat(float(time), number % 3 + 1) for number, time in enumerate(times))
    )
    stretch = guide_frames(sheet.cropped(0.5, 3.5), num_frames=150)
    inside = slice(15, 125)  # beats at 0.3 and 2.5 s of the stretch
    np.testing.assert_allclose(
        stretch[inside, :6], guide_frames(sheet, num_frames=200)[25:175][inside, :6], atol=1e-5
    )


@pytest.mark.parametrize("group", ["beats", "chords", "arrangement"])
def test_an_unknown_group_is_zeros_with_its_flag(group: str) -> None:
    sheet = replace(WALTZ, **{group: ()})
    guide = guide_frames(sheet, num_frames=200)
    expected = guide_frames(WALTZ, num_frames=200)
    expected[:, GROUPS[group]] = 0
    expected[:, KNOWN[group]] = 0
    np.testing.assert_array_equal(guide, expected)
