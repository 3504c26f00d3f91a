"""`hafm generate --separate`: a whole song in, its vocal accompanied, and all of it again by a replay."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hafm.app.cli import run
from tests.app.conftest import Hafm, Ran, tree
from tests.separate import onnx_nets

RATE = 16_000
NAMES = {"accompaniment.wav", "mix.wav", "vocal.wav", "generation.json"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vocal is what lies below 1500 Hz."""
    return onnx_nets.write_net(tmp_path_factory.mktemp("nets"), onnx_nets.band(lambda bins: bins < 12))


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocal at 880 Hz and a band at 3 kHz, in stereo."""
    path = tmp_path_factory.mktemp("song") / "song.wav"
    time = np.arange(RATE) / RATE
    voice, band = np.sin(2 * np.pi * 880 * time + np.sin(30 * time)), np.sin(2 * np.pi * 3_000 * time)
    soundfile.write(path, np.stack([0.3 * voice + 0.2 * band, 0.15 * voice - 0.2 * band], axis=1), RATE)
    return path


@pytest.fixture(scope="module")
def made(bundle: Path, song: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "out"
    words = ["generate", song, "-o", folder, "--bundle", bundle, "--separate", "--separator", model]
    assert (
        run([str(word) for word in [*words, "--start", 0.25, "--seconds", 0.6, "--takes", 2, "--quiet"]]) == 0
    )
    return folder


def quick(hafm: Hafm, *words: object) -> Ran:
    return hafm("generate", *words, "--skip-fine", "--guidance", 1)


def test_the_vocal_lies_beside_the_results(made: Path) -> None:
    assert set(tree(made)) == {f"take-{take}/{name}" for take in (1, 2) for name in NAMES}
    vocal, rate = soundfile.read(made / "take-1/vocal.wav")
    assert (rate, vocal.shape) == (RATE, (round(0.6 * RATE), 2))
    power = np.abs(np.fft.rfft(vocal[2_000:-2_000, 0] * np.hanning(len(vocal) - 4_000)))
    hertz = np.linspace(0, RATE / 2, len(power))
    assert power[hertz > 2_500].max() < 1e-3 * power[hertz < 1_500].max()
    assert (made / "take-2/vocal.wav").read_bytes() == (made / "take-1/vocal.wav").read_bytes()


def test_it_is_the_vocal_that_is_mixed(made: Path) -> None:
    """The mix less the vocal at its gain is the accompaniment, and nothing of the song's band."""
    output = json.loads((made / "take-1/generation.json").read_text())["output"]
    vocal, mix = (soundfile.read(made / f"take-1/{name}.wav")[0] for name in ("vocal", "mix"))
    rest = mix - vocal * 10 ** (output["levels"]["vocal_gain_db"] / 20)
    np.testing.assert_allclose(rest[:, 0], rest[:, 1], atol=1e-5)  # the accompaniment is mono
    assert set(output["files"]) == NAMES - {"generation.json"}


@pytest.mark.slow
def test_it_is_the_vocal_that_hafm_separate_writes(
    song: Path, model: Path, bundle: Path, hafm: Hafm, tmp_path: Path
) -> None:
    words = ["-o", tmp_path / "out", "--bundle", bundle, "--separate", "--separator", model, "--json"]
    ran = quick(hafm, song, *words)
    assert ran.json["separation"]["model"] == str(model)
    assert ran.json["takes"][0]["vocal"] == str(tmp_path / "out/vocal.wav")
    assert "hafm: separating" in ran.err
    assert hafm("separate", song, "--model", model, "-o", tmp_path / "apart").code == 0
    assert (tmp_path / "out/vocal.wav").read_bytes() == (tmp_path / "apart/vocal.wav").read_bytes()


@pytest.mark.slow
def test_a_replay_gives_the_same_bytes(made: Path, hafm: Hafm, tmp_path: Path) -> None:
    ran = hafm("generate", "--replay", made / "take-2/generation.json", "-o", tmp_path / "again")
    assert ran.code == 0, ran.err
    assert tree(tmp_path / "again") == tree(made / "take-2")


@pytest.mark.slow
def test_a_replay_finds_a_separator_that_was_moved(
    made: Path, model: Path, hafm: Hafm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = json.loads((made / "take-1/generation.json").read_text())
    record["separation"]["model"] = "/nowhere/net.onnx"
    (tmp_path / "record.json").write_text(json.dumps(record))
    words = ["generate", "--replay", tmp_path / "record.json"]
    why = hafm(*words, "-o", tmp_path / "no").error
    assert "'/nowhere/net.onnx', is not there any more" in why
    assert record["separation"]["fingerprint"] in why
    assert hafm(*words, "-o", tmp_path / "given", "--separator", model).code == 0
    monkeypatch.setenv("HAFM_SEPARATOR", str(model))
    assert hafm(*words, "-o", tmp_path / "environment").code == 0
    for folder in ("given", "environment"):
        assert (tmp_path / folder / "mix.wav").read_bytes() == (made / "take-1/mix.wav").read_bytes()


def test_a_replay_with_another_separator_is_refused(made: Path, hafm: Hafm, tmp_path: Path) -> None:
    other = onnx_nets.write_net(tmp_path / "other", onnx_nets.identity)
    words = ["generate", "--replay", made / "take-1/generation.json", "-o", tmp_path / "out"]
    why = hafm(*words, "--separator", other).error
    assert "give the same one" in why
    assert str(other) in why
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_a_record_without_a_separator_refuses_one(
    song: Path, model: Path, bundle: Path, hafm: Hafm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quick(hafm, song, "-o", tmp_path / "out", "--bundle", bundle).code == 0
    record = tmp_path / "out/generation.json"
    assert "separation" not in json.loads(record.read_text())
    words = ["generate", "--replay", record, "-o", tmp_path / "again"]
    assert "leave out --separator" in hafm(*words, "--separator", model).error
    monkeypatch.setenv("HAFM_SEPARATOR", str(model))  # which is for those who want one
    assert hafm(*words).code == 0
    assert tree(tmp_path / "again") == tree(tmp_path / "out")


@pytest.mark.slow
def test_a_vocal_beyond_full_scale_is_kept_in_floats(
    song: Path, bundle: Path, hafm: Hafm, tmp_path: Path
) -> None:
    loud = onnx_nets.write_net(tmp_path / "net", onnx_nets.gain(3.0))
    words = ["--bundle", bundle, "--separate", "--separator", loud, "--format", "flac"]
    assert quick(hafm, song, "-o", tmp_path / "out", *words).code == 0
    assert set(tree(tmp_path / "out")) == {"accompaniment.flac", "mix.flac", "vocal.wav", "generation.json"}
    assert soundfile.info(tmp_path / "out/vocal.wav").subtype == "FLOAT"
    assert np.abs(soundfile.read(tmp_path / "out/vocal.wav")[0]).max() > 1
    ran = hafm("generate", "--replay", tmp_path / "out/generation.json", "-o", tmp_path / "again")
    assert ran.code == 0, ran.err
    assert tree(tmp_path / "again") == tree(tmp_path / "out")


def test_a_song_without_a_vocal_is_refused(song: Path, bundle: Path, hafm: Hafm, tmp_path: Path) -> None:
    deaf = onnx_nets.write_net(tmp_path / "net", onnx_nets.gain(0.0))
    ran = quick(hafm, song, "-o", tmp_path / "out", "--bundle", bundle, "--separate", "--separator", deaf)
    assert ran.code == 2
    assert "the separator found no vocal in" in ran.error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--separate"], "no separator was given"),
        (["--separator", "net.onnx"], "--separator was given without --separate"),
        (["--separate", "--separator", "net.onnx"], "'net.onnx' cannot be read"),
        (["--separate", "--replay", "record.json"], "--separate cannot stand beside --replay"),
    ],
)
def test_what_does_not_fit_is_refused(
    words: list[str], why: str, song: Path, bundle: Path, hafm: Hafm, tmp_path: Path
) -> None:
    ran = hafm("generate", song, "-o", tmp_path / "out", "--bundle", bundle, *words)
    assert ran.code == 2
    assert why in ran.error
