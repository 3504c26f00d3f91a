"""Training the built-in stages from shards: what a machine without audio packages must be able to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hafm.data.result import TrackTokens
from hafm.stages.bundle import Bundle
from hafm.stages.token_parts import open_parts
from tests.recipes.shards import make_shards

SECONDS = 12

BARE = """
import sys
for name in ("soundfile", "soxr", "typer", "fsspec", "sklearn"):
    sys.modules[name] = None  # importing it fails
import torch
torch.set_num_threads(1)
"""


def bare(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a program on a machine that lacks what reads audio and parses options."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.run(
        [sys.executable, "-c", BARE + program, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random ids of the built-in parts."""
    rng = np.random.default_rng(0)
    tracks = {
        split: [
            (
                f"{split}/{number}",
                f"{number}",
                TrackTokens(
                    vocal=rng.integers(500, size=(2, 50 * SECONDS), dtype=np.uint16),
                    instrumental=rng.integers(500, size=50 * SECONDS, dtype=np.uint16),
                    codes=rng.integers(1024, size=(8, 75 * SECONDS), dtype=np.uint16),
                ),
            )
            for number in range(3)
        ]
        for split in ("train", "valid")
    }
    return make_shards(tmp_path_factory.mktemp("data") / "shards", tracks, parts=open_parts("builtin"))  # type: ignore[arg-type]


@pytest.mark.slow
def test_shards_and_their_parts_open_without_audio_packages(shards: Path) -> None:
    ran = bare(
        "import recipes.builtin.train_stages\n"
        "from hafm.data.shards.reader import Shards\n"
        "from hafm.stages.token_parts import TokenParts\n"
        "shards = Shards.open(sys.argv[1])\n"
        "shards.verify()\n"
        "parts = TokenParts.load(shards.parts_folder())\n"
        "shards.require_parts(parts.fingerprints(), what='the parts')\n"
        "print(len(shards), shards.stream(0, 'fine_codes', 0).shape)\n",
        str(shards),
    )
    assert ran.stderr == ""
    assert ran.stdout == f"3 (4, {75 * SECONDS})\n"


@pytest.mark.slow
@pytest.mark.parametrize("start", [(), ("--init", "builtin")])
def test_a_stage_is_trained_for_the_bundle(shards: Path, tmp_path: Path, start: tuple[str, ...]) -> None:
    ran = bare(
        "from recipes.builtin.train_stages import main\nsys.exit(main(sys.argv[1:]))",
        *("fine", "--shards", str(shards), "--run", str(tmp_path), "--steps", "2", "--batch", "2", *start),
    )
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "model.safetensors").is_file()
    assert json.loads((tmp_path / "spec.json").read_text())["name"] == "fine"
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["training_pairs"] == metrics["held_out_pairs"] == 3
    assert min(metrics["held_out"]["right"]) > 1.0
    assert metrics["init"] == (Bundle.open("builtin").fingerprint if start else None)
