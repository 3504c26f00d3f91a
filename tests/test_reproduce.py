"""The dry run of docs/reproduce.md, command by command, as a user would run it."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


def dry_run() -> str:
    """The shell block below the heading."""
    page = (ROOT / "docs" / "reproduce.md").read_text()
    (block,) = re.findall(r"```bash\n(.*?)```", page.partition("## A dry run")[2], re.S)
    return block


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="MUSDB18's stems need the ffmpeg program")
def test_the_dry_run_goes_through(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", dry_run()],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    dry = tmp_path / "dry"
    for shards, songs in (("shards", 12), ("shards-musdb18hq", 12), ("shards-musdb18", 12)):
        with open(dry / shards / "ledger.tsv", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        assert len(rows) == songs
        assert {row["status"] for row in rows} <= {"done", "dropped"}
    kept = json.loads((dry / "shards" / "index.json").read_text())["filter"]
    assert kept == {"min_instrumental_dbfs": -40.0, "max_vocal_over_db": 20.0}
    assert (dry / "separated" / "vocal.wav").stat().st_size > 1_000_000
    assert (dry / "shards.png").stat().st_size > 10_000
    results = json.loads((dry / "evaluation" / "results.json").read_text())
    assert results["arms"] == ["isolated", "separated"]
    assert {row["name"] for row in results["systems"]} >= {"truth", "codec", "model", "retrieval", "random"}
    assert "From the paper" in (dry / "evaluation" / "report.html").read_text()
