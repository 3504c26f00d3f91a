"""The truth of a rendered pair as a lead sheet."""

from typing import Any

import pytest

from hafm.data.collection.truth import lead_sheet_of_truth
from hafm.errors import LeadSheetError
from hafm.guide.lead_sheet import PLAYERS, Beat, ChordSpan, KeyChange, MeterChange, Origin, PlayingSpan


def truth(**changes: Any) -> dict[str, Any]:
    """Two beats before the first downbeat; the second bar is cut off."""
    chord = {
        "start_seconds": 1.0,
        "end_seconds": 3.5,
        "label": "A:min7/b3",
        "root": 9,
        "pitch_classes": [9, 0],
    }
    return {
        "seconds": 4.0,
        "key": {"label": "A:min", "tonic": 9, "mode": "min"},
        "beats_per_bar": 4,
        "beats_seconds": [0.1, 0.6, 1.1, 1.6, 2.1, 2.6, 3.1, 3.6],
        "downbeats_seconds": [1.1, 3.1],
        "chords": [chord],
        "band": {"style": "funk"},
        **changes,
    }


def positions(values: dict[str, Any]) -> list[int]:
    return [beat.position for beat in lead_sheet_of_truth(values).beats]


def test_every_field_becomes_a_part() -> None:
    sheet = lead_sheet_of_truth(truth())
    assert sheet.duration_seconds == 4
    assert sheet.beats[0] == Beat(0.1, 3)
    assert positions(truth()) == [3, 4, 1, 2, 3, 4, 1, 2]
    assert sheet.meters == (MeterChange(0.0, 4, 4),)
    assert sheet.keys == (KeyChange(0.0, "A", "min"),)
    assert sheet.chords == (
        ChordSpan(0.0, 1.0, "N"),
        ChordSpan(1.0, 3.5, "A:min7/b3"),
        ChordSpan(3.5, 4.0, "N"),
    )
    assert sheet.style == "funk"
    assert sheet.arrangement == ()
    assert sheet.origin("chords") == Origin(source="given", confidence=1.0)


def test_the_arrangement_of_a_newer_truth_is_read() -> None:
    bar = {
        "start_seconds": 1.1,
        "end_seconds": 3.1,
        "drums": True,
        "bass": True,
        "harmony": False,
        "melody": False,
    }
    sheet = lead_sheet_of_truth(truth(arrangement=[bar]))
    assert sheet.arrangement == (PlayingSpan(1.1, 3.1, True, True, False, False),)


def test_what_rounding_left_at_the_edges_is_passed_over() -> None:
    edge = {"start_seconds": 4.0, "end_seconds": 4.0, "label": "C:maj"}
    bar = {"start_seconds": -0.9, "end_seconds": 1.1, **dict.fromkeys(PLAYERS, True)}
    whole = truth()
    values = truth(
        beats_seconds=[*whole["beats_seconds"], 4.0], chords=[*whole["chords"], edge], arrangement=[bar]
    )
    sheet = lead_sheet_of_truth(values)
    assert sheet.beats == lead_sheet_of_truth(whole).beats
    assert sheet.chords == lead_sheet_of_truth(whole).chords
    assert sheet.arrangement == (PlayingSpan(0.0, 1.1, True, True, True, True),)


@pytest.mark.parametrize(
    ("downbeats", "expected", "meters"),
    [
        ([0.1, 1.1, 3.1], [1, 2, 1, 2, 3, 4, 1, 2], [(0.0, 2), (1.1, 4)]),
        ([1.1], [3, 4, 1, 2, 3, 4, 5, 6], [(0.0, 4), (1.1, 6)]),
        ([2.6], [1, 2, 3, 4, 5, 1, 2, 3], [(0.0, 5), (2.6, 4)]),
        ([], [1, 2, 3, 4, 5, 6, 7, 8], [(0.0, 8)]),
    ],
)
def test_bars_of_other_lengths_change_the_meter(
    downbeats: list[float], expected: list[int], meters: list[tuple[float, int]]
) -> None:
    values = truth(downbeats_seconds=downbeats)
    assert positions(values) == expected
    assert [(each.start_seconds, each.numerator) for each in lead_sheet_of_truth(values).meters] == meters


@pytest.mark.parametrize("name", ["seconds", "key", "beats_per_bar", "beats_seconds", "chords", "band"])
def test_a_truth_without_a_field_is_refused(name: str) -> None:
    values = truth()
    del values[name]
    with pytest.raises(LeadSheetError, match=f"no truth of a rendered pair .*{name}"):
        lead_sheet_of_truth(values)
