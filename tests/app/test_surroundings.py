"""What the system does to a process: closed and full streams, limits, a lost terminal, signals at once.

Real processes where they get a real `/dev/full` or lose a stream; none says that hafm has a mistake.
"""

import contextlib
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hafm.app.cli import run
from hafm.app.failure import explain
from hafm.errors import BundleDamaged, DeviceError
from hafm.files import staged_folder
from tests.app.conftest import Hafm, tree

HAFM = [sys.executable, "-m", "hafm"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
LIMIT_SECONDS = 120


def program(*words: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(
        [*HAFM, *map(str, words)], text=True, env=ENVIRONMENT, timeout=LIMIT_SECONDS, check=False, **options
    )


def closed(descriptor: int) -> Callable[[], None]:
    return lambda: os.close(descriptor)


@pytest.mark.long
def test_a_closed_stdout_changes_no_exit_code() -> None:
    without = program("--version", preexec_fn=closed(1))
    assert (without.returncode, without.stderr) == (
        0,
        "note: standard output is closed, so nothing is printed there\n",
    )


@pytest.mark.long
def test_a_closed_stderr_stops_nothing() -> None:
    assert program("--version", preexec_fn=closed(2)).stdout.startswith("hafm ")


@pytest.mark.long
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a system without /dev/full")
def test_a_full_stdout_is_said_in_one_line() -> None:
    with open("/dev/full", "w") as full:
        ended = program("--version", stdout=full)
        assert ended.returncode == 2
        assert ended.stderr == (
            "error: standard output cannot be written (No space left on device); print elsewhere\n"
        )


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a system without /dev/full")
def test_a_full_stderr_stops_nothing() -> None:
    with open("/dev/full", "w") as full:
        assert program("--version", stderr=full).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a system without /dev/full")
def test_results_stay_where_stdout_is_full(vocal: Path, bundle: Path, tmp_path: Path) -> None:
    words = ("generate", vocal, "-o", tmp_path / "out", "--bundle", bundle, "--skip-fine", "--guidance", 1)
    with open("/dev/full", "w") as full:
        ended = program(*words, stdout=full)
    assert ended.returncode == 2
    assert f"what was made is in '{tmp_path / 'out'}'" in ended.stderr.splitlines()[-1]
    assert set(tree(tmp_path)) == {
        f"out/{name}" for name in ("accompaniment.wav", "mix.wav", "generation.json")
    }


def test_a_deleted_working_folder_is_said(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    ended = program("info", cwd=gone, preexec_fn=gone.rmdir)
    assert ended.returncode == 2
    assert ended.stderr == "error: the working folder is not there any more; go to another one (cd)\n"


def test_a_limit_of_file_size_is_refused_before_the_work(
    hafm: Hafm, vocal: Path, bundle: Path, tmp_path: Path
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20 << 10, before[1]))
    try:
        ran = hafm("generate", vocal, "-o", tmp_path / "out", "--bundle", bundle)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ran.code == 2
    assert "files of at most 20.5 kB (ulimit -f)" in ran.error
    assert "opening the bundle" not in ran.err
    assert tree(tmp_path) == {}


def test_a_folder_named_as_a_result_is_refused_before_the_work(
    hafm: Hafm, vocal: Path, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / "mix.wav").mkdir(parents=True)
    (tmp_path / "takes").mkdir()
    (tmp_path / "takes" / "take-1").touch()
    ran = hafm("generate", vocal, "-o", tmp_path / "out", "--bundle", bundle, "--overwrite")
    assert (ran.code, "listening" in ran.err) == (2, False)
    assert "mix.wav' is a folder, and a file of that name is to be written; move it away" in ran.error
    words = ("-o", tmp_path / "takes", "--takes", 2, "--overwrite")
    assert "take-1' is a file, and a folder" in hafm("generate", vocal, "--bundle", bundle, *words).error


@pytest.mark.parametrize("command", ["analyse", "arrange", "fit-kmeans"])
def test_a_second_process_for_one_folder_is_refused_before_the_work(
    command: str, hafm: Hafm, vocal: Path, tmp_path: Path
) -> None:
    source = tmp_path if command == "fit-kmeans" else vocal
    with staged_folder(tmp_path / "out"):
        ran = hafm(command, source, "-o", tmp_path / "out")
    assert ran.code == 2
    assert f"another hafm makes '{tmp_path / 'out'}' at this moment" in ran.error
    assert not any(step in ran.err for step in ("opening", "listening", "arranging"))
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    ("command", "result"), [("analyse", "click.wav"), ("arrange", "mix.wav"), ("arrange", "arrangement.json")]
)
def test_every_command_looks_for_folders_named_as_its_results(
    command: str, result: str, hafm: Hafm, vocal: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / result).mkdir(parents=True)
    ran = hafm(command, vocal, "-o", tmp_path / "out", "--overwrite")
    assert ran.code == 2
    assert f"{result}' is a folder, and a file of that name is to be written; move it away" in ran.error
    assert not any(step in ran.err for step in ("opening", "listening", "arranging"))


def test_a_bundle_looks_at_its_place_before_its_runs(hafm: Hafm, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("letter")
    ran = hafm("bundle", "no", "such", "runs", "-o", tmp_path / "mine")
    assert (ran.code, "is a file; give another name for the bundle's folder" in ran.error) == (2, True)


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libtorch.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        MemoryError(),
    ],
)
def test_memory_is_named_whoever_tells_of_it(error: Exception) -> None:
    failure = explain(error)
    assert (failure.kind, failure.exit_code) == ("OutOfMemory", 2)
    wrapped = RuntimeError("a library failed")
    wrapped.__cause__ = error
    assert explain(wrapped).kind == "OutOfMemory"


def test_errors_that_come_from_each_other_end() -> None:
    first, second = ValueError("one"), ValueError("two")
    first.__cause__, second.__cause__ = second, first
    assert explain(first).kind == "ValueError"
    second.__context__ = MemoryError()
    second.__cause__ = None
    assert explain(first).kind == "OutOfMemory"


def test_a_limit_of_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (900_000 << 10, resource.RLIM_INFINITY))
    assert "may use 921.6 MB of memory (ulimit -v)" in explain(MemoryError()).message
    assert explain(SystemError("error return without exception set")).exit_code == 2


def test_memory_is_named_where_an_error_of_ours_tells_of_it() -> None:
    """A reader of weights takes what the full memory did to it for a damaged file."""
    error = BundleDamaged("'a.safetensors' is not a whole weights file; get the bundle again")
    assert explain(error).kind == "BundleDamaged", "the control"
    error.__cause__ = RuntimeError("DefaultCPUAllocator: can't allocate memory")
    assert explain(error).kind == "OutOfMemory"
    said = DeviceError("cuda ran out of memory; ask for fewer takes")
    said.__cause__ = error.__cause__
    assert explain(said).message == str(said)


@pytest.mark.long
@pytest.mark.parametrize(
    "limit",
    [100_000 << 10, *(pytest.param(limit << 10, marks=pytest.mark.slow) for limit in (740_000, 900_000))],
)
def test_too_little_memory_to_load_anything_is_refused_at_once(limit: int, tmp_path: Path) -> None:
    """Else OpenBLAS ends the process with its own words, or tries for ever (at 740,000 kB)."""
    ended = program(
        "generate",
        "none.wav",
        "-o",
        tmp_path / "out",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert (ended.returncode, ended.stderr.count("\n"), list(tmp_path.iterdir())) == (2, 1, [])
    assert re.fullmatch(
        r"error: this process may use [0-9.]+ MB of memory \(ulimit -v\), hafm needs 1\.1 GB or more; "
        r"raise that limit\n",
        ended.stderr,
    )


def test_what_the_system_refuses_is_no_mistake_of_ours() -> None:
    failure = explain(OSError(24, "Too many open files", "a.wav"))
    assert failure.line == (
        "error: the system refused 'a.wav': Too many open files; put that right, and run it again"
    )
    assert failure.exit_code == 2
    assert explain(ValueError("x")).exit_code == 1, "the control"


def test_ctrl_c_while_the_program_is_loaded() -> None:
    """In the half second in which nothing of ours but `__main__` is there."""
    slow = "import sys, time; sys.modules.pop('typer', None); sys.meta_path.insert(0, Slow())"
    finder = (
        "class Slow:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer':\n"
        "            print('loading', flush=True)\n"
        "            time.sleep(60)\n"
    )
    code = f"{finder}{slow}; import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}from hafm.__main__ import main; main()"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=LIMIT_SECONDS)
    assert (process.returncode, stderr) == (130, "interrupted: nothing was written\n")


def test_nothing_is_loaded_before_ctrl_c_has_its_line() -> None:
    """What is loaded before that is time in which Ctrl-C shows Python's own traceback."""
    code = "import sys; a = set(sys.modules); import hafm.__main__; print(*sorted(set(sys.modules) - a))"
    ended = subprocess.run(
        [sys.executable, "-c", code], text=True, env=ENVIRONMENT, stdout=subprocess.PIPE, check=True
    )
    assert ended.stdout.split() == ["hafm", "hafm.__main__", "hafm.version"]


def test_a_dumb_terminal_gets_plain_lines(
    vocal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vocal is taken, and there is no such bundle: two steps are said before that."""
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "dumb")
    with open(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        code = run(["generate", str(vocal), "-o", str(tmp_path / "out"), "--bundle", str(tmp_path / "none")])
    assert code == 2
    shown = b""
    with contextlib.suppress(OSError):  # the end, once nobody writes any more
        while data := os.read(ours, 4096):
            shown += data
    os.close(ours)
    lines = shown.decode().replace("\r", "").splitlines()
    assert lines[:2] == ["hafm: getting ready", "hafm: opening the bundle"]
    assert len(lines) == 3


@pytest.mark.slow
def test_work_goes_on_when_the_terminal_is_lost(vocal: Path, bundle: Path, tmp_path: Path) -> None:
    """As under `nohup`: SIGHUP is ignored, and every write on the terminal fails."""
    ours, theirs = pty.openpty()
    words = ["generate", str(vocal), "-o", "out", "--bundle", str(bundle), "--skip-fine", "--guidance", "1"]
    process = subprocess.Popen(
        [*HAFM, *words],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**ENVIRONMENT, "TERM": "xterm"},
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    os.close(theirs)
    os.read(ours, 1)
    os.close(ours)
    assert process.wait(timeout=LIMIT_SECONDS) == 0
    assert (tmp_path / "out" / "mix.wav").is_file()


WAITS = """
from hafm.app.generate import Generate
def run(self, shown, interrupts):
    with interrupts.staged_folder(self.output, overwrite=False):
        shown.step("listening")
        import time
        time.sleep(60)
Generate.run = run
"""
"""A `generate` that loads nothing: once it has its folder, it waits."""


@pytest.mark.long
@pytest.mark.parametrize("name", ["SIGHUP", pytest.param("SIGQUIT", marks=pytest.mark.slow)])
@pytest.mark.parametrize("before", [WAITS, pytest.param("", marks=pytest.mark.slow)], ids=["waits", "works"])
def test_other_signals_end_a_run_and_leave_nothing(
    vocal: Path, bundle: Path, tmp_path: Path, name: str, before: str
) -> None:
    words = ["generate", str(vocal), "-o", str(tmp_path / "new" / "out"), "--bundle", str(bundle)]
    process = subprocess.Popen(
        # Sixteen takes are enough to be at work still when the signal comes.
        [sys.executable, "-c", f"{before}\nfrom hafm.__main__ import main; main()", *words, "--takes", "16"],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        # Who runs the tests may ignore it: nohup does, and a shell in its background jobs.
        preexec_fn=lambda: signal.signal(getattr(signal, name), signal.SIG_DFL),
    )
    assert process.stderr is not None
    while "listening" not in process.stderr.readline():
        pass
    assert (tmp_path / "new" / ".out.hafm.part").is_dir(), "the control: there is something to leave"
    time.sleep(0.1)
    process.send_signal(getattr(signal, name))
    _, stderr = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 128 + getattr(signal, name)
    assert stderr.splitlines()[-1] == "interrupted: nothing was written"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["generate"], ["evaluate"], ["train"], ["data", "show"], []])
def test_help_at_twenty_columns_cuts_nothing(
    words: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run([*words, "--help"]) == 0
    names = set(re.findall(r"^│ [* ]*(--[a-z-]+)", capfd.readouterr().out, re.MULTILINE))
    assert len(names) > 1
    monkeypatch.setenv("COLUMNS", "20")
    assert run([*words, "--help"]) == 0
    text = capfd.readouterr().out
    assert "…" not in text
    assert {name for name in names if name not in text} == set()
    assert [line for line in text.splitlines() if len(line.rstrip()) > 21] == []


@pytest.mark.parametrize("command", [["generate"], ["retrieve", "--index", "none"], ["separate"]])
def test_an_address_is_refused_as_it_was_given(hafm: Hafm, command: list[str], tmp_path: Path) -> None:
    ran = hafm(*command, "https://example.com/a.mp3", "-o", tmp_path / "out")
    assert ran.code == 2
    if command == ["generate"]:
        assert "'https://example.com/a.mp3' does not exist; HAFM opens files, not addresses" in ran.error
    assert tree(tmp_path) == {}


@pytest.mark.slow
def test_a_plot_of_a_name_that_is_not_utf8(hafm: Hafm, vocal: Path, bundle: Path, tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/lat\xe9in.wav")
    os.link(vocal, odd)
    words = ("-o", tmp_path / "out", "--bundle", bundle, "--skip-fine", "--guidance", 1, "--plot")
    ran = hafm("generate", odd, *words)
    assert ran.code == 0, ran.err
    assert (tmp_path / "out" / "plot.png").read_bytes()[:4] == b"\x89PNG"
    assert "note" not in ran.err


def test_a_plot_that_fails_does_not_take_the_sound_with_it(
    hafm: Hafm, vocal: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> bytes:
        raise ValueError("no such font")

    monkeypatch.setattr("hafm.app.plot.draw", fail)
    words = ("-o", tmp_path / "out", "--bundle", bundle, "--skip-fine", "--guidance", 1, "--plot")
    ran = hafm("generate", vocal, *words)
    assert ran.code == 0, ran.err
    assert "note: no plot of take 1 could be made (ValueError: no such font)" in ran.err
    assert (tmp_path / "out" / "mix.wav").is_file()
