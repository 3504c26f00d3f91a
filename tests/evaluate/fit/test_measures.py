"""The table of measures: on a band whose score is known, each goes the way it should."""

from dataclasses import replace

import pytest
import torch

from hafm.errors import UsageError
from hafm.evaluate.fit.measures import MEASURES, Example, measure
from tests.crossed import crossed
from tests.evaluate.fit.band import RATE, accompaniment, delayed, sheet, truth, vocal
from tests.unchecked import unchecked

FITTING = Example(
    vocal=vocal(),
    accompaniment=accompaniment(),
    sample_rate=RATE,
    truth=truth(),
    instrumental=accompaniment(),
    sheet=sheet(),
)


@pytest.mark.long
def test_all_of_a_fitting_pair_are_known():
    pytest.importorskip("mir_eval")
    values = measure(FITTING)
    assert list(values) == list(MEASURES)
    assert None not in values.values()
    assert values["key_truth"] == 1.0
    assert values["chroma_instrumental"] == pytest.approx(1.0, abs=1e-5)
    assert values["beat_truth"] == 1.0
    assert values["beat_closeness"] > 0.8
    assert values["beat_instrumental"] == 1.0
    assert values["dead_air"] == 0.0
    assert values["sheet_beat"] == values["sheet_key"] == 1.0
    assert values["sheet_downbeat"] > 0.9
    assert values["sheet_drift"] < 20


@pytest.mark.long
def test_obedience_is_to_the_sheet_and_not_to_the_truth():
    pytest.importorskip("mir_eval")
    names = ["sheet_beat", "sheet_downbeat", "sheet_chords", "sheet_bass", "sheet_key"]
    right = measure(FITTING, names)
    other = measure(replace(FITTING, sheet=sheet(6, late=0.25)), names)
    assert all(other[name] < 0.5 * right[name] for name in names), (other, right)
    moved = replace(FITTING, accompaniment=delayed(accompaniment(6), 0.25), sheet=sheet(6, late=0.25))
    assert all(measure(moved, names)[name] > 0.9 * right[name] for name in names), (
        measure(moved, names),
        right,
    )


@pytest.mark.parametrize("semitones", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 12))])
def test_transposing_lowers_what_hears_notes(semitones):
    names = ["key_truth", "chord_tones", "chroma_vocal", "chroma_instrumental"]
    right = measure(FITTING, names)
    wrong = measure(replace(FITTING, accompaniment=accompaniment(semitones)), names)
    assert all(wrong[name] < right[name] for name in names), (wrong, right)


@crossed(seconds=[0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4])
def test_delaying_lowers_what_hears_time(seconds):
    pytest.importorskip("mir_eval")
    names = ["beat_closeness"]
    if seconds > 0.07:  # within its 70 ms the F-measure sees nothing
        names += ["beat_truth", "beat_instrumental"]
    right = measure(FITTING, names)
    wrong = measure(replace(FITTING, accompaniment=delayed(accompaniment(), seconds)), names)
    assert all(wrong[name] < right[name] for name in names), (wrong, right)


@pytest.mark.parametrize("seconds", [0.05, 0.1])
def test_delaying_is_the_onset_lag_and_lowers_the_beats_worth_to_the_vocal(seconds):
    late = replace(FITTING, accompaniment=delayed(accompaniment(), seconds))
    assert measure(late, ["onset_lag"])["onset_lag"] == pytest.approx(seconds, abs=0.021)
    assert measure(late, ["beat_vocal"])["beat_vocal"] < measure(FITTING, ["beat_vocal"])["beat_vocal"]


def test_silence_is_dead_air_and_nothing_else():
    pytest.importorskip("mir_eval")
    values = measure(replace(FITTING, accompaniment=torch.zeros(len(vocal()))))
    assert {name: value for name, value in values.items() if value is not None} == {
        "dead_air": 1.0,
        "beat_truth": 0.0,
        "beat_closeness": 0.0,
        "beat_instrumental": 0.0,
        "sheet_beat": 0.0,
        "sheet_downbeat": 0.0,
    }


def test_what_is_not_known_is_none():
    bare = replace(FITTING, truth=None, instrumental=None, sheet=None)
    needing = [name for name, entry in MEASURES.items() if entry.needs]
    assert needing == [
        "key_truth",
        "chord_tones",
        "chroma_instrumental",
        "beat_truth",
        "beat_closeness",
        "beat_instrumental",
        "sheet_beat",
        "sheet_downbeat",
        "sheet_drift",
        "sheet_chords",
        "sheet_bass",
        "sheet_key",
    ]
    assert set(measure(bare, needing).values()) == {None}
    assert None not in measure(bare, [name for name in MEASURES if name not in needing]).values()


def test_the_table_names_its_entries():
    assert all(name == entry.name and entry.what for name, entry in MEASURES.items())
    assert {need for entry in MEASURES.values() for need in entry.needs} == {"truth", "instrumental", "sheet"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"accompaniment": torch.zeros(5)}, r"accompaniment must be .* \(5,\)"),
        ({"instrumental": torch.zeros(5)}, r"instrumental must be"),
        ({"vocal": torch.full((len(vocal()),), float("nan"))}, "vocal holds NaN"),
        ({"sample_rate": 4000}, "8000"),
    ],
)
def test_what_cannot_be_measured_is_said(change, says):
    values = {
        name: getattr(FITTING, name) for name in ("vocal", "accompaniment", "sample_rate", "instrumental")
    }
    with unchecked(), pytest.raises(UsageError, match=says):
        Example(**{**values, **change})


def test_the_error_for_an_unknown_name_lists_the_names():
    with pytest.raises(UsageError, match="no measure called fad; there are key_truth"):
        measure(FITTING, ["fad"])
