"""The broken and odd files of the gateway's tests, through the whole command.

Refused ones run no model. Odd ones that are taken are accompanied, to the sample; that takes a while.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hafm.generate.accompany import Accompanist
from tests.app.conftest import Hafm, tree
from tests.audio.test_bad_files import REFUSED, TAKEN
from tests.crossed import crossed

AS_A_VOICE = {
    # What `generate` adds to the notes of reading (`hafm.audio.checks`).
    "clipped.wav": "it is clipped (89.3 %",
    "out_of_phase.wav": "left and right are inverted",
    "impulse.wav": "over half of its energy lies below 30 Hz",
}


@crossed(name=list(REFUSED))
def test_refused(
    name: str, bundle: Path, hafm: Hafm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, error, says = REFUSED[name]
    (tmp_path / name).write_bytes(make())
    monkeypatch.setattr(Accompanist, "from_pretrained", lambda *_, **__: pytest.fail("the bundle was opened"))
    ran = hafm("generate", tmp_path / name, "-o", tmp_path / "out", "--bundle", bundle, "--json")
    assert ran.code == 2
    printed = ran.json["error"]
    assert printed["kind"] == error.__name__
    assert says in printed["message"]
    assert ran.error == f"error: {printed['message']}"
    assert list(tree(tmp_path)) == [name]


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN)
def test_taken(name: str, bundle: Path, hafm: Hafm, tmp_path: Path) -> None:
    make, channels, note = TAKEN[name]
    (tmp_path / name).write_bytes(make())
    words = ["generate", tmp_path / name, "-o", tmp_path / "out", "--bundle", bundle, "--json"]
    ran = hafm(*words, "--skip-fine", "--guidance", 1)
    assert ran.code == 0, ran.err
    expected = [each for each in (note, AS_A_VOICE.get(name)) if each]
    notes = ran.json["notes"]
    assert len(notes) == len(expected), notes
    assert all(says in found for says, found in zip(expected, notes, strict=True)), notes
    heard = ran.json["vocal"]
    for sound, count in (("accompaniment", 1), ("mix", channels)):
        info = soundfile.info(tmp_path / "out" / f"{sound}.wav")
        assert info.frames == heard["num_samples"]
        assert info.samplerate == heard["sample_rate_hz"]
        assert info.channels == count
        samples, _ = soundfile.read(tmp_path / "out" / f"{sound}.wav")
        assert np.isfinite(samples).all()
        assert 0.001 < np.abs(samples).max() < 1
    assert (
        json.loads((tmp_path / "out" / "generation.json").read_text())["input"]["sha256"] == heard["sha256"]
    )
