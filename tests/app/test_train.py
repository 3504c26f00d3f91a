"""`hafm train`: a dry run, a run that goes on, refusals, signals, samples; and under torchrun."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile
import yaml

from hafm.app.train_display import PlainTraining
from hafm.train.checkpoint import Checkpoints
from hafm.train.heldout import HeldOut
from hafm.train.metrics import StepReport, read_metrics
from hafm.train.recipe import tiny
from hafm.train.state import Position
from hafm.train.update import Skips, Update
from tests.app.conftest import Hafm
from tests.train.training_shards import make_training_shards

SHORT = ("--recipe", "tiny", "--set", "steps=4", "--set", "batch=2", "--set", "evaluate_clips=2")
CLIP = ("--set", "spec.clip_seconds=6/25")
ROOT = Path(__file__).parents[2]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.long
def test_a_dry_run_shows_what_is_to_come_and_leaves_nothing(
    hafm: Hafm, tiny_shards: Path, tmp_path: Path
) -> None:
    words = ("train", "coarse", "--data", tiny_shards, "--run", tmp_path / "a" / "run", *SHORT, "--dry-run")
    ran = hafm(*words)
    assert ran.code == 0, ran.err
    assert files(tmp_path) == []
    shown = yaml.safe_load(ran.out.split("\n\n")[0])
    assert (shown["steps"], shown["batch"], shown["warm_start"]) == (4, 2, False)
    assert shown["spec"]["target"]["cardinality"] == 16  # as many as the shards' codec has
    for word in ("parameters", "600 per step in 600 positions", "8 clips per epoch", "memory", "h in all"):
        assert word in ran.out
    dry = hafm(*words, "--json").json["dry_run"]
    assert dry["parameters"] == 158_976
    assert dry["checkpoint_bytes"] > 3 * 4 * dry["parameters"]
    assert dry["state_bytes"] == pytest.approx(4 * 4 * dry["parameters"], rel=0.01)
    assert 0 < dry["seconds_per_step"] < 60
    assert files(tmp_path) == []


@pytest.mark.long
def test_a_stage_that_follows_sheets_is_not_trained_without_any(
    hafm: Hafm, tiny_shards: Path, tmp_path: Path
) -> None:
    guided = (*SHORT, *CLIP, "--set", "spec.guide={beats: 0.2}")
    ran = hafm("train", "semantic", "--data", tiny_shards, "--run", tmp_path / "run", *guided)
    assert ran.code == 2
    assert "no track of" in ran.err
    assert "prepare it with --guide, or train without: --set spec.guide=null" in ran.err
    assert not (tmp_path / "run").exists()
    make_training_shards(tmp_path / "shards", songs=4, held_out=2, with_sheet=3)
    ran = hafm("train", "semantic", "--data", tmp_path / "shards", "--run", tmp_path / "run", *guided)
    assert ran.code == 0, ran.err
    assert "3 of 4 tracks have a lead sheet" in ran.err
    other = hafm("train", "fine", "--data", tmp_path / "shards", "--run", tmp_path / "run", *SHORT)
    assert (other.code, "holds a run of the semantic stage, and this is fine" in other.err) == (2, True)


@pytest.mark.long
def test_a_run_goes_on_and_other_recipes_are_refused(hafm: Hafm, tiny_shards: Path, tmp_path: Path) -> None:
    run, words = tmp_path / "run", ("train", "fine", "--data", tiny_shards, *SHORT)
    ran = hafm(*words, "--run", run, "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["step"], ran.json["updates"]) == (4, 4)
    assert ran.json["best_loss"] == read_metrics(run)[-1]["held_out"]["right"] or ran.json["best_loss"] > 0
    assert "hafm: fine, 4 steps" in ran.err
    again = hafm(*words, "--run", run)
    assert again.code == 0
    assert "4 steps done" in again.out
    other = hafm(*words, "--run", run, "--set", "peak_rate=2e-2")
    assert other.code == 2
    assert "peak_rate was 0.01, is 0.02" in other.err
    dry = hafm(*words, "--run", run, "--dry-run")
    assert dry.code == 0
    assert "holds this run after step 4" in dry.err
    allowed = hafm(*words, "--run", run, "--set", "seed=1", "--allow", "recipe")
    assert allowed.code == 0
    assert "going on with another recipe: seed was 0, is 1" in allowed.err


def test_a_signal_ends_it_with_the_requeue_code(
    hafm: Hafm, tiny_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train", "semantic", "--data", tiny_shards, "--run", tmp_path, *SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(PlainTraining, "step", lambda *_: signal.raise_signal(signal.SIGTERM))
        stopped = hafm(*words)
    assert stopped.code == 75
    assert stopped.err.splitlines()[-1].startswith("stopped by SIGTERM after step")  # and not "error: "
    assert json.loads((tmp_path / "outcome.json").read_text())["exit_code"] == 75
    ran = hafm(*words)
    assert ran.code == 0
    assert "going on after step" in ran.err
    assert [line["loss"] for line in read_metrics(tmp_path) if "loss" in line]


@pytest.mark.slow
def test_samples_are_sounds_of_one_clip(hafm: Hafm, tiny_shards: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("train", "fine", "--data", tiny_shards, "--run", run, *SHORT, "--sample-every", "2", *CLIP)
    assert hafm(*words).code == 0
    assert sorted(path.name for path in (run / "samples").iterdir()) == [
        "step-00000002.wav",
        "step-00000004.wav",
        "truth.wav",
    ]
    for path in (run / "samples").iterdir():
        sound, rate = soundfile.read(path)
        assert (rate, len(sound)) == (24_000, 24_000 * 6 // 25)
    refused = hafm(
        "train", "semantic", "--data", tiny_shards, "--run", tmp_path / "s", *SHORT, "--sample-every", "2"
    )
    assert refused.code == 2
    assert "--sample-bundle" in refused.error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fine", "--run", "r"), "--data"),
        (("fine", "--data", "d"), "--run"),
        (("drums", "--data", "SHARDS", "--run", "r"), "semantic, coarse, fine"),
        (("fine", "--data", "nowhere", "--run", "r"), "nowhere"),
        (("fine", "--data", "SHARDS", "--run", "r", "--recipe", "papers"), "paper, builtin, tiny"),
        (("fine", "--data", "SHARDS", "--run", "r", "--set", "bach=1"), "did you mean batch"),
        (("fine", "--data", "SHARDS", "--run", "r", "--allow", "all"), "data, recipe, world, software"),
        (("fine", "--data", "SHARDS", "--run", "r", "--threads", "0"), "--threads 0"),
        (("fine", "--data", "SHARDS", "--run", "r", "--sample-bundle", "builtin"), "--sample-every"),
        (("fine", "--data", "SHARDS", "--run", "r", "--device", "tpu"), "tpu"),
        (("fine", "--data", "SHARDS", "--run", "r"), "as long as the fine stage's clip of 3 s"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(
    hafm: Hafm,
    tiny_shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = hafm("train", *(str(tiny_shards) if word == "SHARDS" else word for word in words))
    assert ran.code == 2
    assert message in ran.error
    assert files(tmp_path) == []


@dataclass
class Clock:
    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


def report(step: int, loss: float) -> StepReport:
    return StepReport(
        position=Position(step=step, updates=step, skips=Skips()),
        update=Update(loss=loss, norm=1.0, finite=True),
        rate=0.1,
        seconds=2.0 * step,
        tokens_per_second=1234.5,
        waiting_share=0.004,
    )


def test_plain_lines_are_sparse() -> None:
    lines: list[str] = []
    clock = Clock()
    plain = PlainTraining(lines.append, now=clock)
    plain.begins(tiny("fine"), Position())
    for step in range(1, 13):
        clock.seconds = 2.0 * step
        plain.step(report(step, 5.0))
    scores = HeldOut(right=(4.0, 5.0), wrong=(6.0, 6.0), wrong_vocal=None, accuracy=(0.1, 0.3))
    plain.evaluated(Position(step=12, updates=12, best_step=12), scores)
    plain.note("skipped")
    assert lines == [
        "hafm: fine, 200 steps",
        "hafm: fine, step 1 of 200, loss 5.0000, 1234 tokens/s, waiting 0 %, 6:38 left",
        "hafm: fine, step 6 of 200, loss 5.0000, 1234 tokens/s, waiting 0 %, 6:28 left",
        "hafm: fine, step 11 of 200, loss 5.0000, 1234 tokens/s, waiting 0 %, 6:18 left",
        "hafm: fine, step 12: held-out 4.5000, with another condition 6.0000, right 20.0 %, the best so far",
        "hafm: skipped",
    ]


def test_a_terminal_gets_a_bar() -> None:
    import io

    from rich.console import Console

    from hafm.app.train_display import training_display

    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with training_display(console, quiet=False) as shown:
        shown.begins(tiny("fine"), Position())
        shown.step(report(100, 2.5))
        shown.saved(Path("x"))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "step 100/200" in text
    assert "loss 2.5000" in text
    assert "3:20 left" in text


@pytest.mark.slow
def test_two_ranks_of_torchrun_train_and_stop_together(tiny_shards: Path, tmp_path: Path) -> None:
    words = [
        "train",
        "coarse",
        "--data",
        str(tiny_shards),
        "--run",
        str(tmp_path / "run"),
        "--device",
        "cpu",
        *SHORT,
    ]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "-m",
        "--",
        "hafm",
        *words,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("4 steps done") == 1
    assert Checkpoints(tmp_path / "run").load(4).facts["run"]["world"] == 2
