"""The program as a process: help, version, closed pipes, exit codes."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hafm import __version__
from hafm.app.generate import Generate
from hafm.app.generate_options import BESIDE_REPLAY
from tests.app.conftest import Hafm

HAFM = [sys.executable, "-c", "from hafm.app.cli import main; main()"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_version(hafm: Hafm) -> None:
    assert hafm("--version").out == f"hafm {__version__}\n"


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_names_the_commands(hafm: Hafm, words: list[str]) -> None:
    ran = hafm(*words)
    assert (ran.code, ran.err) == (0, "")
    assert "generate" in ran.out
    assert "info" in ran.out


@pytest.mark.parametrize("columns", ["80", "120"])
def test_help_of_generate_is_complete(hafm: Hafm, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = hafm("generate", "--help").out
    for panel in ("What to accompany", "What is written", "How it is made", "How it runs"):
        assert panel in text
    options = ["--" + name.replace("_", "-") for name in inspect.signature(Generate).parameters]
    for option in options:
        if option not in ("--vocal", "--as-json"):
            assert option in text
    assert "hafm generate --replay out/generation.json" in text
    assert text.count("<bool>") <= 1  # beside --help, which is typer's own


def test_a_replay_settles_every_option_but_these() -> None:
    """Whatever is not in `BESIDE_REPLAY` is refused beside `--replay`; a new option is decided on here."""
    free = {"output", "vocal", "replay", "separator", "bundle", "device", "plot", "stems", "overwrite"}
    free |= {"json", "quiet", "debug"}
    assert {name.removeprefix("--") for name in BESIDE_REPLAY} == free
    assert free - {"json"} <= set(inspect.signature(Generate).parameters)


@pytest.mark.long
def test_a_real_process_exits_as_it_should(tmp_path: Path) -> None:
    """Though it has to tell of a name that is no text, to a terminal that knows ASCII alone."""
    done = subprocess.run(
        [*HAFM, "generate", "vocal.wav", b"\xff\xe9.wav", "-o", "out", "--json"],
        capture_output=True,
        cwd=tmp_path,
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 2
    assert done.stdout.startswith(b'{"error": {"kind": "UsageError"')
    (line,) = done.stderr.splitlines()
    assert line.startswith(b"error: ")
    assert b"\\udcff\\udce9.wav" in line


def test_names_that_are_no_text_can_be_reported() -> None:
    code = "from hafm.app import cli; cli.run = lambda words: print(*words) or 3; cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, b"\xff.wav"],
        capture_output=True,
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, b"\\udcff.wav\n", b"")


@pytest.mark.long
@pytest.mark.parametrize("words", [["--help"], pytest.param(["--version"], marks=pytest.mark.slow)])
def test_nobody_reads_the_output(words: list[str]) -> None:
    """As in `hafm info | head -0`: no traceback, no 'Exception ignored'."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*HAFM, *words], stdout=writer, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_the_output_cannot_be_written() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*HAFM, "--version"], stdout=full, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
    assert "Traceback" not in done.stderr
    assert done.returncode != 0


@pytest.mark.long
def test_a_command_is_loaded_without_the_others_and_a_list_with_all() -> None:
    program = "\n".join(
        [
            "import sys",
            "from hafm.app.cli import run",
            "run(['info', '--help'])",
            "print('alone:', 'hafm.app.info' in sys.modules, 'hafm.app.evaluate' in sys.modules)",
            "run(['--help'])",
            "print('listed:', 'hafm.app.evaluate' in sys.modules)",
        ]
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    said = ran.stdout
    assert "alone: True False" in said
    assert "listed: True" in said
