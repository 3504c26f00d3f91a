"""Everything that can be refused is: one line of what, why and what to do, exit code 2, nothing written.

No model runs here: every refusal comes before that, which the `no_generation` fixture holds.
"""

import errno
import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hafm.generate.accompany import Accompanist
from tests.app.conftest import RATE, Hafm, tree


@pytest.fixture
def no_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the model was run before this was refused")

    for module in ("pipeline", "region", "stream"):
        monkeypatch.setattr(f"hafm.generate.{module}.hear", refuse)


@pytest.fixture
def refused(hafm: Hafm, bundle: Path, tmp_path: Path, no_generation: None) -> Callable[..., str]:
    """Runs `hafm generate` on words; holds what every refusal has to hold; returns its line."""

    def call(*words: object, output: Path | None = None) -> str:
        before = tree(tmp_path)
        folder = tmp_path / "out" if output is None else output
        ran = hafm("generate", *words, "-o", folder, *([] if "--bundle" in words else ["--bundle", bundle]))
        assert ran.code == 2, ran.err
        assert ran.out == ""
        assert ran.error.startswith("error: ")
        assert "Traceback" not in ran.err
        assert tree(tmp_path) == before
        return ran.error

    return call


# ---- the command line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--takes", "0"], "--takes is 0; give a number from 1 to 32"),
        (["--takes", "33"], "from 1 to 32"),
        (["--takes", "two"], "--takes is 'two'; give a whole number; `hafm generate --help` lists"),
        (["--bpm", "92,5"], "--bpm is '92,5'; give a number, as in 92.5; `hafm generate --help` lists"),
        (["--seed", "-1"], "--seed is -1; give a number from 0 to"),
        (["--seed", "99999999999999999999"], "--seed"),
        (["--temperature", "-0.1"], "--temperature is -0.1"),
        (["--temperature", "nan"], "--temperature is nan"),
        (["--top-k", "0"], "--top-k is 0; give a number of 1 or more"),
        (["--guidance", "inf"], "--guidance is inf"),
        (["--start", "-1"], "--start is -1.0"),
        (["--seconds", "0"], "--seconds is 0; give a number above 0"),
        (["--seconds", "nan"], "--seconds is nan"),
        (["--balance", "61"], "--balance is 61.0; give a number from -60 to 60"),
        (["--loudness", "3"], "--loudness is 3.0; give a number from -70 to 0"),
        (["--format", "mp3"], "Invalid value for '--format': 'mp3' is not one of 'wav', 'flac'"),
        (["--colour", "red"], "No such option: --colour"),
        (["another.wav"], "another.wav"),
    ],
)
def test_options_out_of_range(
    vocal: Path, refused: Callable[..., str], words: list[str], expected: str
) -> None:
    assert expected in refused(vocal, *words)


def test_no_vocal_and_no_output(vocal: Path, hafm: Hafm, refused: Callable[..., str]) -> None:
    assert "no vocal was given" in refused()
    assert "`hafm generate --help` lists" in hafm("generate", vocal, "-o", "out", "--bpm").error
    ran = hafm("generate", vocal)
    assert (ran.code, ran.error) == (
        2,
        "error: no output folder was given; name one with -o, as in: -o out/",
    )


def test_an_unknown_command(hafm: Hafm) -> None:
    ran = hafm("sing")
    assert (ran.code, ran.out) == (2, "")
    assert "No such command 'sing'" in ran.error


@pytest.mark.parametrize("given", [["--seed", "0"], ["--takes", "1"], ["--skip-fine"], ["--start", "0"]])
def test_a_replay_takes_no_other_settings(
    refused: Callable[..., str], tmp_path: Path, given: list[str]
) -> None:
    assert f"{given[0]} cannot stand beside --replay" in refused("--replay", tmp_path / "any.json", *given)


def test_what_is_no_record_is_not_replayed(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "none.json" in refused("--replay", tmp_path / "none.json")
    for text in ("", "[]", '{"format": 1}', '{"format": 99}'):
        (tmp_path / "some.json").write_text(text)
        assert "some.json" in refused("--replay", tmp_path / "some.json")
    (tmp_path / "some.json").write_bytes(b"\xff\xfe\x00")
    assert "some.json" in refused("--replay", tmp_path / "some.json")


def test_a_folder_is_the_record_in_it(
    vocal: Path, refused: Callable[..., str], bundle: Path, tmp_path: Path
) -> None:
    for option in (["--replay"], ["--region", "0-9", "--keep"]):
        assert f"'{tmp_path}' is a folder without generation.json" in refused(*option, tmp_path)
    (tmp_path / "generation.json").write_text(json.dumps(a_record(vocal, bundle)))
    assert "open the one that it was made with" in refused("--replay", tmp_path)


def test_a_record_of_another_command_names_it(hafm: Hafm, tmp_path: Path) -> None:
    for command, other, name, field in (
        ("generate", "arrange", "arrangement.json", "soundfont"),
        ("arrange", "generate", "generation.json", "bundle"),
    ):
        path = tmp_path / other / name
        path.parent.mkdir()
        path.write_text(json.dumps({"format": 1, field: {}}))
        for given in (path, path.parent):
            ran = hafm(command, "--replay", given, "-o", tmp_path / "out")
            assert ran.code == 2
            assert ran.error.endswith(
                f"'{path}' was made by hafm {other}; give it to that: hafm {other} --replay {path}"
            )


# ---- the vocal; broken files have a test of their own, test_bad_files.py


def test_a_vocal_that_is_not_there(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "none.wav")
    (tmp_path / "folder.wav").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.wav")


@pytest.mark.parametrize("command", ["generate", "analyse", "arrange"])
def test_that_a_vocal_is_not_there_is_seen_before_anything_is_loaded(
    hafm: Hafm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("what reads it was loaded")

    monkeypatch.setattr("hafm.audio.io.read_audio", refuse)
    ran = hafm(command, tmp_path / "none.wav", "-o", tmp_path / "out")
    assert (ran.code, "none.wav' does not exist; check the name" in ran.error) == (2, True)


def test_a_vocal_that_may_not_be_read(
    vocal: Path, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut = tmp_path / "shut.wav"
    shutil.copy(vocal, shut)
    if os.geteuid() != 0:
        shut.chmod(0)
    else:  # root may read everything, so the refusal of the system is played
        monkeypatch.setattr("builtins.open", forbidden(open, shut))
    line = refused(shut)
    shut.chmod(0o600)
    assert "permission" in line


def forbidden(real: Callable[..., Any], path: Path) -> Callable[..., Any]:
    """`real`, except that `path` must not be opened."""

    def opened(name: Any, *args: Any, **kwargs: Any) -> Any:
        if name == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(name, *args, **kwargs)

    return opened


def test_a_start_after_the_end(vocal: Path, refused: Callable[..., str]) -> None:
    assert "choose an earlier --start" in refused(vocal, "--start", 60, "--seconds", 1)


# ---- the output folder


def test_a_folder_that_holds_files(vocal: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert "--overwrite" in refused(vocal)


def test_a_file_in_the_way(vocal: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    assert "is a file" in refused(vocal)
    assert "is a file" in refused(vocal, "--overwrite")
    assert "is a file" in refused(vocal, output=tmp_path / "out" / "deeper")


@pytest.mark.parametrize("takes", [1, 2])
def test_the_vocal_is_never_replaced(
    vocal: Path, refused: Callable[..., str], tmp_path: Path, takes: int
) -> None:
    """Not even one that has the name of a result, in the folder that a result would go to."""
    folder = tmp_path / "out" if takes == 1 else tmp_path / "out" / "take-2"
    folder.mkdir(parents=True)
    mine = folder / "mix.wav"
    shutil.copy(vocal, mine)
    assert "must not be replaced" in refused(mine, "--overwrite", "--takes", takes)
    link = tmp_path / "link.wav"
    link.symlink_to(mine)
    assert "must not be replaced" in refused(link, "--overwrite", "--takes", takes)


def test_a_record_is_not_replaced_by_its_replay(
    vocal: Path, refused: Callable[..., str], bundle: Path, tmp_path: Path
) -> None:
    record = tmp_path / "out" / "generation.json"
    record.parent.mkdir()
    record.write_text(json.dumps(a_record(vocal, bundle)))
    assert "holds the record itself" in refused("--replay", record, "--overwrite")


def a_record(vocal: Path, bundle: Path) -> dict[str, object]:
    """A record that can be read."""
    environment = dict.fromkeys(("hafm", "torch", "numpy", "python", "platform"), "0")
    of_bundle = dict.fromkeys(("name", "version", "fingerprint"), "0")
    of_input = {"sample_rate": RATE, "num_samples": 1, "num_channels": 1, "sha256": "0"}
    sampling = {"temperature": 1.0, "top_k": 1, "guidance": 1.0, "skip_fine": True, "level_lufs": -18.0}
    return {
        "format": 1,
        "environment": {**environment, "device": "cpu", "threads": 1},
        "bundle": {**of_bundle, "source": str(bundle), "revision": None},
        "input": {**of_input, "path": str(vocal), "start_seconds": None, "seconds": None},
        "settings": {"seed": 0, "take": 0, **sampling},
        "output": None,
    }


def test_a_replay_with_another_bundle_or_vocal(
    vocal: Path, refused: Callable[..., str], bundle: Path, tmp_path: Path
) -> None:
    from hafm.stages.bundle import Bundle

    values = a_record(vocal, bundle)
    (tmp_path / "record.json").write_text(json.dumps(values))
    fingerprint = Bundle.open(bundle).fingerprint
    assert fingerprint in refused("--replay", tmp_path / "record.json")
    values["bundle"] = {**values["bundle"], "fingerprint": fingerprint}  # type: ignore[dict-item]
    (tmp_path / "record.json").write_text(json.dumps(values))
    assert "SHA-256" in refused("--replay", tmp_path / "record.json")


def test_a_folder_that_may_not_be_written(
    vocal: Path, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o500)
    if os.geteuid() == 0:  # root may write everywhere, so the answer of the system is played
        real = os.access
        monkeypatch.setattr("os.access", lambda path, mode: path != shut and real(path, mode))
    assert "permission" in refused(vocal, output=shut / "out")


def test_a_disk_with_too_little_room(
    vocal: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6 - 10, 10))
    assert "free" in refused(vocal)


def test_a_disk_that_fills_up_while_writing(vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path) -> None:
    """No file may grow over 3 kB: the first sound fails half-way through, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, hard))
    try:
        ran = hafm(
            *("generate", vocal, "-o", tmp_path / "new" / "out", "--bundle", bundle),
            *("--skip-fine", "--guidance", 1, "--quiet", "--format", "flac"),
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ran.code == 2
    assert "out/accompaniment.flac': it would exceed the limit of 3.0 kB (ulimit -f)" in ran.error
    assert list(tmp_path.iterdir()) == []


# ---- bundle and device


def test_an_unknown_bundle(vocal: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    assert "did you mean 'builtin'" in refused(vocal, "--bundle", "bultin")
    (tmp_path / "empty").mkdir()
    assert "config.json" in refused(vocal, "--bundle", tmp_path / "empty")


@pytest.mark.parametrize("name", ["semantic.safetensors", "kmeans_vocal.safetensors", "config.json"])
def test_a_bundle_with_a_changed_byte(
    vocal: Path, bundle: Path, refused: Callable[..., str], tmp_path: Path, name: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    content = bytearray((copy / name).read_bytes())
    content[-10] ^= 1
    (copy / name).write_bytes(content)
    assert name in refused(vocal, "--bundle", copy)


@pytest.mark.parametrize("device", ["cuda", "cuda:99", "gpu"])
def test_a_device_that_is_not_there(
    vocal: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert device in refused(vocal, "--device", device)


def test_a_plot_without_matplotlib(
    vocal: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert "pip install 'hafm[plot]'" in refused(vocal, "--plot")


# ---- JSON and debugging


def test_errors_are_json_too(vocal: Path, hafm: Hafm, tmp_path: Path) -> None:
    for words in (["--takes", "0"], ["--no-such-option"], ["--bundle", str(tmp_path)]):
        ran = hafm("generate", vocal, "-o", tmp_path / "out", "--json", *words)
        assert ran.code == 2
        error = ran.json["error"]
        assert set(error) == {"kind", "message", "exit_code"}
        assert error["exit_code"] == 2
        assert ran.error == f"error: {error['message']}"


def test_a_mistake_of_ours_is_reported_in_one_line(
    vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(Accompanist, "generate_takes", fail)
    words = ["generate", vocal, "-o", tmp_path / "out", "--bundle", bundle]
    ran = hafm(*words)
    assert ran.code == 1
    assert ran.error.startswith("internal error: ZeroDivisionError: two lines; ")
    ran = hafm(*words, "--debug")
    assert ran.code == 1
    assert "Traceback" in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")]
)
def test_full_memory_is_no_mistake_of_ours(
    vocal: Path,
    bundle: Path,
    hafm: Hafm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Accompanist, "generate_takes", fail)
    ran = hafm("generate", vocal, "-o", tmp_path / "out", "--bundle", bundle)
    assert ran.code == 2
    assert "the memory is full" in ran.error
