"""Truths: the renderer's JSON is read, and what is not a truth is refused in one line."""

import json

import pytest

from hafm.errors import UsageError
from hafm.evaluate.fit.truth import Truth, read_truth
from hafm.evaluate.key import Key

RENDERED = {
    "song_id": 899,
    "key": {"label": "B:min", "tonic": 11, "mode": "min"},
    "tempo_bpm": 137.4,
    "beats_seconds": [0.0896, 0.5261, 0.9627],
    "chords": [
        {"start_seconds": 0.0, "end_seconds": 1.4, "label": "E:min", "root": 4, "pitch_classes": [4, 7, 11]},
        {"start_seconds": 1.4, "end_seconds": 2.0, "label": "N", "root": None, "pitch_classes": []},
    ],
}


def test_the_renderers_fields_are_read(tmp_path):
    path = tmp_path / "000000.json"
    path.write_text(json.dumps(RENDERED))
    truth = read_truth(path)
    assert truth.key == Key(11, "min")
    assert truth.beats_seconds == (0.0896, 0.5261, 0.9627)
    assert [chord.pitch_classes for chord in truth.chords] == [(4, 7, 11), ()]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", json.dumps({**RENDERED, "key": None}), json.dumps({**RENDERED, "chords": [{}]})],
)
def test_what_is_no_truth_is_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"x\.json: not the truth"):
        read_truth(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.json: cannot be read"):
        read_truth(tmp_path / "none.json")


def test_beats_rise():
    with pytest.raises(UsageError, match="rise"):
        Truth(key=Key(0, "maj"), chords=(), beats_seconds=(1.0, 1.0))
