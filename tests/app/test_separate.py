"""`hafm separate`: what is written, what is refused, and that it does not depend on how it was run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hafm.separate.separator import Separator
from tests.app.conftest import Hafm, tree
from tests.separate import onnx_nets

RATE = 11_025  # not the net's


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_nets.write_net(tmp_path_factory.mktemp("nets"), onnx_nets.band(lambda bins: bins < 12))


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three songs of other lengths, rates, channels and kinds."""
    folder = tmp_path_factory.mktemp("songs")
    shapes = {"one.wav": (5_000, RATE, 2), "two.flac": (3_001, 8_000, 1), "three.ogg": (9_000, 44_100, 2)}
    for number, (name, (samples, rate, channels)) in enumerate(shapes.items()):
        sound = np.random.default_rng(number).uniform(-0.2, 0.2, (samples, channels))
        soundfile.write(folder / name, sound, rate)
    return [folder / name for name in shapes]


def test_a_song(songs: list[Path], model: Path, hafm: Hafm, tmp_path: Path) -> None:
    ran = hafm("separate", songs[0], "--model", model, "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert set(tree(tmp_path)) == {"out/vocal.wav", "out/instrumental.wav"}
    mix, _ = soundfile.read(songs[0])
    vocal, rate = soundfile.read(tmp_path / "out/vocal.wav")
    instrumental, _ = soundfile.read(tmp_path / "out/instrumental.wav")
    assert (rate, vocal.shape) == (RATE, mix.shape)
    np.testing.assert_allclose(vocal + instrumental, mix, atol=2**-22)
    expected, _ = Separator.open(model).separate(torch.from_numpy(mix.T).float(), sample_rate=RATE)
    np.testing.assert_allclose(vocal, expected.T, atol=2**-22)
    assert str(tmp_path / "out/vocal.wav") in ran.out
    assert "0.5 s, separated in" in ran.out


@pytest.mark.slow
def test_several_processes_give_what_one_gives(
    songs: list[Path], model: Path, hafm: Hafm, tmp_path: Path
) -> None:
    for workers in (1, 2):
        ran = hafm("separate", *songs, "--model", model, "-o", tmp_path / str(workers), "--workers", workers)
        assert ran.code == 0, ran.err
    one = tree(tmp_path / "1")
    assert tree(tmp_path / "2") == one
    assert set(one) == {f"{song.stem}/{stem}.wav" for song in songs for stem in ("vocal", "instrumental")}
    for song in songs:
        given = soundfile.info(song)
        for stem in ("vocal", "instrumental"):
            info = soundfile.info(tmp_path / "1" / song.stem / f"{stem}.wav")
            assert (info.frames, info.samplerate, info.channels, info.subtype) == (
                *(given.frames, given.samplerate, given.channels),
                "PCM_24",
            )
    alone = hafm("separate", songs[1], "--model", model, "-o", tmp_path / "alone")
    assert alone.code == 0
    assert (tmp_path / "alone/vocal.wav").read_bytes() == one["two/vocal.wav"]


def test_flac_holds_the_same_samples(songs: list[Path], model: Path, hafm: Hafm, tmp_path: Path) -> None:
    for format in ("wav", "flac"):
        words = ["separate", songs[0], "--model", model, "-o", tmp_path / format, "--format", format]
        assert hafm(*words).code == 0
    for stem in ("vocal", "instrumental"):
        wav, _ = soundfile.read(tmp_path / f"wav/{stem}.wav")
        flac, _ = soundfile.read(tmp_path / f"flac/{stem}.flac")
        np.testing.assert_array_equal(wav, flac)


@pytest.mark.parametrize("format", ["wav", "flac"])
def test_a_stem_beyond_full_scale_is_not_clipped(format: str, hafm: Hafm, tmp_path: Path) -> None:
    """The vocal is the mix with the sign changed, so the instrumental is twice the mix."""
    model = onnx_nets.write_net(tmp_path / "net", onnx_nets.gain(-1.0))
    mix = 0.9 * np.sin(2 * np.pi * 1_000 / 8_000 * np.arange(4_000))
    soundfile.write(tmp_path / "song.wav", mix, 8_000, subtype="FLOAT")
    words = ["separate", tmp_path / "song.wav", "--model", model, "-o", tmp_path / "out", "--format", format]
    ran = hafm(*words, "--json")
    (note,) = ran.json["notes"]
    assert note.startswith("a stem reaches +5.")
    assert ran.json["songs"][0]["encoding"] == "wav-float"
    stems = []
    for stem in ("vocal", "instrumental"):
        assert soundfile.info(tmp_path / f"out/{stem}.wav").subtype == "FLOAT"
        stems.append(soundfile.read(tmp_path / f"out/{stem}.wav")[0])
    assert np.abs(stems[1]).max() > 1.7
    np.testing.assert_allclose(stems[0] + stems[1], mix, atol=1e-6)
    stderr = hafm(*words, "--overwrite").err
    assert f"note: {note}" in stderr


def test_json_has_all_that_a_program_needs(
    songs: list[Path], model: Path, hafm: Hafm, tmp_path: Path
) -> None:
    result = hafm("separate", *songs[:2], "--model", model, "-o", tmp_path / "out", "--json", "--quiet").json
    assert list(result) == ["songs", "separator", "timings", "notes"]
    assert result["separator"] == {"model": str(model), "fingerprint": Separator.open(model).fingerprint()}
    first = result["songs"][0]
    assert first["song"] == str(songs[0])
    assert first["vocal"] == str(tmp_path / "out/one/vocal.wav")
    assert (first["num_samples"], first["sample_rate_hz"], first["num_channels"]) == (5_000, RATE, 2)
    assert 0.05 < first["peaks"]["vocal"] < 1
    assert result["timings"]["total_seconds"] > 0


def test_quiet_tells_nothing_and_progress_tells_of_the_job(
    songs: list[Path], model: Path, hafm: Hafm, tmp_path: Path
) -> None:
    ran = hafm("separate", songs[0], "--model", model, "-o", tmp_path / "quiet", "--quiet")
    assert (ran.out, ran.err) == ("", "")
    lines = hafm("separate", songs[0], "--model", model, "-o", tmp_path / "out").err.splitlines()
    assert lines[:3] == ["hafm: getting ready", "hafm: reading", "hafm: separating"]


def test_the_environment_may_name_the_separator(
    songs: list[Path], model: Path, hafm: Hafm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAFM_SEPARATOR", str(model))
    assert hafm("separate", songs[0], "-o", tmp_path / "out").code == 0
    monkeypatch.setenv("HAFM_SEPARATOR", "nowhere.onnx")
    assert "'nowhere.onnx' cannot be read" in hafm("separate", songs[0], "-o", tmp_path / "no").error
    assert hafm("separate", songs[0], "--model", model, "-o", tmp_path / "out2").code == 0


def test_overwriting_keeps_what_is_not_ours(
    songs: list[Path], model: Path, hafm: Hafm, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "vocal.wav").write_text("old")
    words = ["separate", songs[0], "--model", model, "-o", folder]
    assert "--overwrite" in hafm(*words).error
    assert hafm(*words, "--overwrite").code == 0
    files = tree(tmp_path)
    assert set(files) == {"out/notes.txt", "out/vocal.wav", "out/instrumental.wav"}
    assert files["out/notes.txt"] == b"mine"
    assert files["out/vocal.wav"] != b"old"


def _refusals(folder: Path, songs: list[Path], model: Path) -> dict[str, tuple[list[object], str]]:
    text, silent, twin = folder / "text.wav", folder / "silent.wav", folder / "one.flac"
    text.write_text("no sound")
    soundfile.write(silent, np.zeros(1_000), 8_000)
    soundfile.write(twin, np.ones(1_000) / 2, 8_000)
    misfit = onnx_nets.write_net(folder, onnx_nets.identity, made_for=onnx_nets.config(dim_t=20))
    broken = onnx_nets.write_net(folder, onnx_nets.inverse, name="inverse")
    known = ["--model", model]
    return {
        "no separator": ([songs[0]], "no separator was given"),
        "missing separator": ([songs[0], "--model", folder / "no.onnx"], "no.onnx' cannot be read"),
        "misfit": ([songs[0], "--model", misfit], "correct the JSON"),
        "missing song": ([folder / "no.wav", *known], "no.wav' does not exist"),
        "text": ([songs[0], text, *known], "is a text file"),
        "silent": ([silent, *known], "is silent"),
        "no workers": ([songs[0], *known, "--workers", 0], "--workers is 0; give a number from 1"),
        "one name": ([songs[0], twin, *known], "would both go to"),
        "not finite": ([songs[0], "--model", broken], "gave numbers that are not finite"),
        "not finite, in a process": (
            [*songs[:2], "--model", broken, "--workers", 2],
            "gave numbers that are not finite",
        ),
    }


CASES = ["no separator", "missing separator", "misfit", "missing song", "text", "silent", "no workers"]
CASES += ["one name", "not finite"]


@pytest.mark.parametrize("case", [*CASES, pytest.param("not finite, in a process", marks=pytest.mark.slow)])
def test_what_cannot_be_done_leaves_nothing(
    case: str, songs: list[Path], model: Path, hafm: Hafm, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    words, why = _refusals(tmp_path / "in", songs, model)[case]
    ran = hafm("separate", *words, "-o", tmp_path / "a" / "out")
    assert ran.code == 2
    assert why in ran.error
    assert not (tmp_path / "a").exists()


def test_the_song_itself_is_not_overwritten(
    songs: list[Path], model: Path, hafm: Hafm, tmp_path: Path
) -> None:
    song = tmp_path / "vocal.wav"
    song.write_bytes(songs[0].read_bytes())
    ran = hafm("separate", song, "--model", model, "-o", tmp_path, "--overwrite")
    assert "holds the song itself" in ran.error
    assert "no output folder was given" in hafm("separate", song, "--model", model).error


def test_songs_that_are_done_stay_when_a_later_one_fails(
    songs: list[Path], model: Path, hafm: Hafm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hafm.errors import OutputError
    from hafm.separate import files as separate_song

    def full(path: Path, *_: object, **__: object) -> None:
        raise OutputError("the disk is full")

    write = separate_song.write_blocks
    monkeypatch.setattr(
        separate_song,
        "write_blocks",
        lambda path, *rest, **more: (full if number() > 3 else write)(path, *rest, **more),
    )
    calls = iter(range(1, 100))
    number = lambda: next(calls)  # noqa: E731
    ran = hafm("separate", *songs, "--model", model, "-o", tmp_path / "out")
    assert "the disk is full" in ran.error
    assert set(tree(tmp_path)) == {"out/one/vocal.wav", "out/one/instrumental.wav"}


SLEEPY = """
import time
import hafm.separate.network as m
run = m.Network.__call__
def slow(self, image):
    print("moment", file=sys.stderr, flush=True)
    time.sleep(30)
    return run(self, image)
m.Network.__call__ = slow
"""


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_half_written(songs: list[Path], model: Path, tmp_path: Path) -> None:
    """In the middle of the net's work, in a thread of its own."""
    process = start([songs[0]], model, tmp_path / "out", before=SLEEPY)
    stderr = interrupt(process, "moment")
    assert stderr.splitlines()[-1] == "interrupted: nothing was written"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ctrl_c_ends_all_processes(model: Path, tmp_path: Path) -> None:
    """Of three songs in two processes, the short one is done and stays; the long ones leave nothing."""
    for name, seconds in (("short", 1), ("long", 3_000), ("longer", 3_000)):
        sound = np.random.default_rng(0).uniform(-0.5, 0.5, seconds * 8_000)
        soundfile.write(tmp_path / f"{name}.wav", sound, 8_000)
    paths = [tmp_path / f"{name}.wav" for name in ("short", "long", "longer")]
    process = start(paths, model, tmp_path / "out", words=["--workers", "2"])
    give_up = time.monotonic() + 60
    while not (tmp_path / "out/short/vocal.wav").exists() and time.monotonic() < give_up:
        time.sleep(0.05)
    stderr = interrupt(process, None, group=True)
    left = f"songs that were done are in '{tmp_path / 'out'}', of others nothing was written"
    assert stderr.splitlines()[-1] == f"interrupted: {left}"
    assert "Traceback" not in stderr
    assert set(tree(tmp_path / "out")) == {"short/vocal.wav", "short/instrumental.wav"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["short"]
    time.sleep(0.5)
    alive = subprocess.run(["ps", "-o", "stat=", "-g", str(process.pid)], capture_output=True, text=True)
    assert all(line.startswith("Z") for line in alive.stdout.split())


def start(
    paths: list[Path], model: Path, output: Path, *, before: str = "", words: list[str] | None = None
) -> "subprocess.Popen[str]":
    program = f"import sys\n{before}\nfrom hafm.app.cli import main\nif __name__ == '__main__':\n    main()"
    given = ["separate", *map(str, paths), "--model", str(model), "-o", str(output), *(words or [])]
    return subprocess.Popen(
        [sys.executable, "-c", program, *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def interrupt(process: "subprocess.Popen[str]", moment: str | None, *, group: bool = False) -> str:
    """Ctrl-C once a line with `moment` was printed; what was printed after it."""
    assert process.stderr is not None
    if moment is not None:
        assert any(moment in line for line in process.stderr)
    if group:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    else:
        process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    return stderr


def test_the_record_of_a_run_is_json(songs: list[Path], model: Path, hafm: Hafm, tmp_path: Path) -> None:
    ran = hafm("separate", tmp_path / "no.wav", "--model", model, "-o", tmp_path / "out", "--json")
    assert json.loads(ran.out)["error"]["exit_code"] == 2
