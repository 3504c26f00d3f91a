"""`hafm retrieve-index` and `hafm retrieve`: what is written, what is refused, and the same again."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hafm.audio.resample import resample
from tests.app.conftest import Hafm, tree
from tests.evaluate.fit.band import RATE
from tests.evaluate.retrieval.songs import voice, write_collection

pytest.importorskip("python_stretch")


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_collection(tmp_path_factory.mktemp("music") / "pairs")


@pytest.fixture(scope="module")
def index(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hafm.app.cli import run

    folder = tmp_path_factory.mktemp("made") / "index"
    assert run(["retrieve-index", str(collection), "-o", str(folder), "--workers", "0", "--quiet"]) == 0
    return folder


@pytest.fixture(scope="module")
def sung(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocal in Eb at 133 beats a minute, in stereo, at a rate that is not the collection's."""
    path = tmp_path_factory.mktemp("sung") / "sung.wav"
    samples = resample(voice(tonic=3, beat_seconds=0.45)[None], RATE, 22_050)[0].numpy()
    soundfile.write(path, np.stack([samples, samples], axis=1), 22_050)
    return path


@pytest.mark.long
def test_the_index_tells_what_it_holds(collection: Path, index: Path, hafm: Hafm, tmp_path: Path) -> None:
    ran = hafm("retrieve-index", collection, "-o", tmp_path / "index", "--workers", 0)
    assert ran.code == 0, ran.err
    assert "4 instrumentals of 4 songs" in ran.out
    printed = hafm("retrieve-index", collection, "-o", tmp_path / "index", "--workers", 0, "--json").json
    assert (printed["tracks"], printed["songs"], printed["split"], printed["kind"]) == (
        4,
        4,
        "train",
        "pairs",
    )
    made = {name: data for name, data in tree(tmp_path / "index").items() if name != ".lock"}
    assert made == {name: data for name, data in tree(index).items() if name != ".lock"}


@pytest.mark.long
def test_an_accompaniment(index: Path, sung: Path, hafm: Hafm, tmp_path: Path) -> None:
    ran = hafm("retrieve", sung, "--index", index, "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert set(tree(tmp_path)) == {"out/accompaniment.wav", "out/mix.wav", "out/retrieval.json"}
    given = soundfile.info(sung)
    for name, channels in (("accompaniment", 1), ("mix", 2)):
        info = soundfile.info(tmp_path / f"out/{name}.wav")
        assert (info.frames, info.samplerate, info.channels) == (given.frames, given.samplerate, channels)
    record = json.loads((tmp_path / "out/retrieval.json").read_text())
    for name, digest in record["output"]["files"].items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest
    assert record["match"]["song_id"] == "right"
    assert record["input"]["sha256"] == hashlib.sha256(sung.read_bytes()).hexdigest()
    assert record["match"]["why"] in ran.out


@pytest.mark.slow
def test_the_same_again(index: Path, sung: Path, hafm: Hafm, tmp_path: Path) -> None:
    for name in ("one", "two"):
        words = ["retrieve", sung, "--index", index, "-o", tmp_path / name, "--start", 1, "--seconds", 5]
        assert hafm(*words).code == 0
    files = tree(tmp_path)
    assert all(files[name.replace("one", "two")] == data for name, data in files.items())


@pytest.mark.long
def test_takes_are_ranks(index: Path, sung: Path, hafm: Hafm, tmp_path: Path) -> None:
    words = ["retrieve", sung, "--index", index, "--json", "--format", "flac", "--seconds", 4]
    printed = hafm(*words, "-o", tmp_path / "all", "--takes", 3).json
    songs = [take["match"]["song_id"] for take in printed["takes"]]
    assert len(set(songs)) == 3
    assert [take["take"] for take in printed["takes"]] == [1, 2, 3]
    assert set(tree(tmp_path / "all")) == {
        f"take-{number}/{name}"
        for number in (1, 2, 3)
        for name in ("accompaniment.flac", "mix.flac", "retrieval.json")
    }
    second = hafm(*words, "-o", tmp_path / "second", "--rank", 2).json
    assert second["takes"][0]["match"] == printed["takes"][1]["match"]
    without = hafm(*words, "-o", tmp_path / "without", "--exclude", songs[0]).json
    assert without["takes"][0]["match"]["song_id"] == songs[1]
    assert printed["vocal"]["num_samples"] == 4 * 22_050


@pytest.mark.slow
def test_the_balance_reaches_the_mix(index: Path, sung: Path, hafm: Hafm, tmp_path: Path) -> None:
    words = ["retrieve", sung, "--index", index, "-o", tmp_path / "out", "--balance", 0, "--loudness", -30]
    levels = hafm(*words, "--json").json["takes"][0]["levels"]
    gain = levels["accompaniment_gain_db"] - levels["vocal_gain_db"]
    assert levels["vocal_lufs"] == pytest.approx(levels["accompaniment_lufs"] + gain)
    assert levels["mix_lufs"] == pytest.approx(-30, abs=0.1)


def test_overwriting(index: Path, sung: Path, hafm: Hafm, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    words = ["retrieve", sung, "--index", index, "-o", tmp_path, "--seconds", 5]
    assert "--overwrite" in hafm(*words).error
    assert hafm(*words, "--overwrite", "--quiet").out == ""
    assert set(tree(tmp_path)) == {"notes.txt", "accompaniment.wav", "mix.wav", "retrieval.json"}


def _refusals(folder: Path, index: Path, sung: Path) -> dict[str, tuple[list[object], str]]:
    text, silent, empty = folder / "text.wav", folder / "silent.wav", folder / "empty"
    text.write_text("no sound")
    soundfile.write(silent, np.zeros(8_000), 8_000)
    empty.mkdir()
    known = ["--index", index]
    return {
        "missing vocal": ([folder / "no.wav", *known], "no.wav' does not exist"),
        "text": ([text, *known], "is a text file"),
        "silent": ([silent, *known], "is silent"),
        "no index": ([sung], "no index was given"),
        "empty index": ([sung, "--index", empty], "there is no index in"),
        "rank 0": ([sung, *known, "--rank", 0], "--rank is 0; give a number of 1 or more"),
        "rank beyond": ([sung, *known, "--rank", 5], "match 5 was asked for, and 4 songs"),
        "takes beyond": ([sung, *known, "--takes", 5], "match 5 was asked for"),
        "takes 33": ([sung, *known, "--takes", 33], "from 1 to 32"),
        "balance": ([sung, *known, "--balance", "nan"], "--balance is nan"),
        "moved": ([sung, *known, "--collection", empty], "say where it is with --collection"),
    }


CASES = ["missing vocal", "text", "silent", "no index", "empty index", "rank 0", "rank beyond"]
CASES += ["takes beyond", "takes 33", "balance", "moved"]


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_done_leaves_nothing(
    case: str, index: Path, sung: Path, hafm: Hafm, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    words, why = _refusals(tmp_path / "in", index, sung)[case]
    ran = hafm("retrieve", *words, "-o", tmp_path / "a" / "out")
    assert ran.code == 2
    assert why in ran.error
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_a_changed_instrumental_is_refused(collection: Path, sung: Path, hafm: Hafm, tmp_path: Path) -> None:
    root = tmp_path / "pairs"
    shutil.copytree(collection, root)
    assert hafm("retrieve-index", root, "-o", tmp_path / "index", "--workers", 0).code == 0
    file = root / "right" / "instrumental.wav"
    file.write_bytes(file.read_bytes()[:-3] + b"\0\0\1")
    ran = hafm("retrieve", sung, "--index", tmp_path / "index", "-o", tmp_path / "out")
    assert (ran.code, (tmp_path / "out").exists()) == (2, False)
    assert "was changed since the index was made" in ran.error


def test_the_vocal_and_the_index_are_not_replaced(
    index: Path, sung: Path, hafm: Hafm, tmp_path: Path
) -> None:
    mine = tmp_path / "mix.wav"
    mine.write_bytes(sung.read_bytes())
    words = ["retrieve", mine, "--index", index, "--overwrite"]
    assert "holds the vocal itself" in hafm(*words, "-o", tmp_path).error
    assert "is the index" in hafm(*words, "-o", index).error
    assert "no output folder was given" in hafm(*words).error


def test_what_no_index_is_made_of(collection: Path, hafm: Hafm, tmp_path: Path) -> None:
    words = ["retrieve-index", collection, "-o", tmp_path / "index", "--workers", 0]
    assert "is a mix" in hafm(*words, "--kind", "mixes").error
    assert "no instrumental of valid" in hafm(*words, "--split", "valid").error
    assert "--limit is 0" in hafm(*words, "--limit", 0).error
    assert "does not exist" in hafm("retrieve-index", tmp_path / "no", "-o", tmp_path / "index").error
    assert "is the collection itself" in hafm("retrieve-index", collection, "-o", collection).error
    assert not (tmp_path / "index").exists()
