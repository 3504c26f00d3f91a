"""`hafm prepare` as a user meets it: tables, JSON, refusals, Ctrl-C, and going on."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hafm.app.prepare import Prepare, parse_clip_seconds
from hafm.errors import UsageError
from tests.app.conftest import Hafm, tree
from tests.data.music_collections import MadeItems, make_items

HAFM = [sys.executable, "-c", "from hafm.app.cli import main; main()"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> MadeItems:
    return make_items(tmp_path_factory.mktemp("items") / "tree", good=6, bad=2)


def products(out: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(out).items() if not name.startswith("ledger.")}


def test_a_collection_becomes_shards(hafm: Hafm, items: MadeItems, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    words = ["prepare", items.root, "-o", out, "--workers", 0]
    refused = hafm(*words)
    assert refused.code == 2
    assert "2 of 8 tracks (25.0%) cannot be used, more than 2.0%" in refused.error
    assert "go on with a higher --quarantine-limit" in refused.error

    done = hafm(*words, "--quarantine-limit", 0.3, "--json")
    assert done.code == 0
    values = done.json
    assert (values["kind"], values["items"], values["done"], values["pending"]) == ("pairs", 8, 6, 0)
    assert values["quarantined"]["items"] == 2
    assert values["audio_seconds_per_core_second"].keys() >= {"read", "codec", "k-means"}
    assert (out / "parts" / "parts.json").exists()
    before = products(out)

    again = hafm(*words, "--quarantine-limit", 0.3)
    assert again.code == 0
    assert re.search(r"^done +6   train \d", again.out, re.MULTILINE)
    assert re.search(r"^quarantined +2$", again.out, re.MULTILINE)
    assert "1 × '…' does not exist" in again.out
    assert "seconds of audio per second of one core:" in again.out
    assert products(out) == before


@pytest.mark.slow
def test_another_filter_is_another_index_and_another_seed_is_refused(
    hafm: Hafm, items: MadeItems, tmp_path: Path
) -> None:
    out = tmp_path / "shards"
    words = ["prepare", items.root, "-o", out, "--workers", 0]
    assert hafm(*words, "--quarantine-limit", 0.3).code == 0
    strict = hafm(*words, "--quarantine-limit", 0.3, "--min-instrumental", -3, "--quiet")
    assert (strict.code, strict.out, strict.err) == (0, "", "")
    assert json.loads((out / "index.json").read_text())["filter"]["min_instrumental_dbfs"] == -3

    other = hafm(*words, "--seed", 1)
    assert other.code == 2
    assert "made_by.seed = 0, and this run has made_by.seed = 1" in other.error


def test_a_dry_run_writes_nothing(hafm: Hafm, items: MadeItems, tmp_path: Path) -> None:
    ran = hafm("prepare", items.root, "-o", tmp_path / "shards", "--dry-run", "--workers", 2)
    assert ran.code == 0, ran.err
    assert "nothing was written" in ran.out
    assert "to be done" in ran.out
    assert "with 2 workers" in ran.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--separator", "m.onnx"], "a collection of kind pairs has stems"),
        (["--kind", "mixes"], "no separator was given"),
        (["--subset", "small"], "a source of kind pairs has no option subset"),
        (["--address", "auto"], "use it with --engine ray"),
        (["--engine", "ray", "--workers", 0], "which Ray does not"),
        (["--workers", -1], "--workers is -1"),
        (["--clip-seconds", "none"], "--clip-seconds is 'none'"),
        (["--clip-seconds", "0"], "--clip-seconds is 0"),
        (["--valid-share", 0.6, "--test-share", 0.5], "below 1 together"),
        (["--min-instrumental", 7], "min_instrumental_dbfs 7"),
        (["--batch-size", 0], "batch size 0"),
        (["--views", 0], "views 0"),
        (["--seed", -1], "--seed is -1"),
        (["--parts", "paper"], "fit"),
        (["--device", "gpu"], "there is no device 'gpu'"),
    ],
)
def test_what_cannot_be_is_refused(
    hafm: Hafm,
    items: MadeItems,
    tmp_path: Path,
    words: list[object],
    error: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HAFM_SEPARATOR", raising=False)
    ran = hafm("prepare", items.root, "-o", tmp_path / "shards", *words)
    assert ran.code == 2
    assert error in ran.error
    assert not (tmp_path / "shards").exists()


def test_folders_that_cannot_be_are_refused(hafm: Hafm, items: MadeItems, tmp_path: Path) -> None:
    assert "name one with -o" in hafm("prepare", items.root).error
    assert "is the collection itself" in hafm("prepare", items.root, "-o", items.root).error
    assert "does not exist" in hafm("prepare", tmp_path / "no", "-o", tmp_path / "o").error
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no audio file" in hafm("prepare", empty, "-o", tmp_path / "o").error


def test_the_number_of_workers_is_that_of_the_cores() -> None:
    request = Prepare(source=Path("a"), output=Path("b"))
    assert request.num_workers >= 1
    assert Prepare(source=Path("a"), output=Path("b"), device="cuda").num_workers == 1
    assert Prepare(source=Path("a"), output=Path("b"), workers=0).num_workers == 0
    with pytest.raises(UsageError):
        parse_clip_seconds("1/0")


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """A terminal sends SIGINT to all processes; one line says so, and the shards come out as without it."""
    items = make_items(tmp_path / "tree", good=30, bad=0)
    out, words = tmp_path / "out", ["prepare", str(tmp_path / "tree"), "--workers", "1", "-o"]
    process = subprocess.Popen(
        [*HAFM, *words, str(out)], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "preparing 1 of 30" in line or "preparing 0 of 30" in line:
            break
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not _some_done(out):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 130
    last = rest.splitlines()[-1]
    assert last.startswith("interrupted: ")
    assert last.endswith(" of 30 tracks are done; run the same command to go on")
    assert "Traceback" not in rest
    for folder in (out, tmp_path / "undisturbed"):
        subprocess.run([*HAFM, *words, str(folder), "--quiet"], check=True, env=ENVIRONMENT)
    assert products(out) == products(tmp_path / "undisturbed")
    assert len(items.good) == 30


def _some_done(out: Path) -> bool:
    import sqlite3

    try:
        with sqlite3.connect(out / "ledger.sqlite") as database:
            return bool(database.execute("SELECT count(*) FROM item WHERE status = 'done'").fetchone()[0])
    except sqlite3.Error:
        return False
