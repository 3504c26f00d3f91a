"""Training: it learns, it uses its condition, and a stopped run goes on as if it had not stopped."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from hafm.errors import UsageError
from hafm.stages.spec import COARSE, SEMANTIC, TokenStream
from hafm.stages.stage_model import StageModel
from hafm.train.checkpoint import load_latest
from hafm.train.heldout import held_out_loss, unigram_entropy
from hafm.train.loop import NonFiniteLoss, TrainSettings, train_stage

SMALL = {"width": 32, "num_heads": 2, "num_layers": 1, "conditioning": "aligned", "encoder_layers": 1}
SPEC = replace(
    SEMANTIC,
    sources=(TokenStream(name="vocal_semantic", cardinality=8, frame_rate=Fraction(50)),),
    target=TokenStream(name="instrumental_semantic", cardinality=8, frame_rate=Fraction(50)),
    clip_seconds=Fraction(1, 2),
    **SMALL,
)
SETTINGS = TrainSettings(
    steps=30, batch=8, peak_rate=1e-2, warmup_steps=3, evaluate_every=30, save_every=10, evaluate_batches=2
)


class EchoPairs:
    """The instrumental repeats the vocal one frame later, plus one: only who hears the vocal can know."""

    def __init__(self, first_seed: int) -> None:
        self.first_seed = first_seed

    def __len__(self) -> int:
        return 16

    def num_views(self) -> int:
        return 1

    def stream(self, index: int, name: str, view: int) -> np.ndarray:
        vocal = np.random.default_rng(self.first_seed + index).integers(8, size=(1, 100))
        if name == "vocal_semantic":
            return vocal
        return (np.roll(vocal, 1, axis=1) + 1) % 8


def run(folder, *, settings=SETTINGS, reports=None):
    torch.manual_seed(0)
    return train_stage(
        StageModel(SPEC),
        settings=settings,
        training=EchoPairs(0),
        held_out=EchoPairs(100),
        run=folder,
        on_report=None if reports is None else reports.append,
        report_every=1,
    )


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_resumed_run_has_hexadecimally_the_same_losses(tmp_path, optimizer):
    settings = replace(SETTINGS, optimizer=optimizer)
    whole, first, second = [], [], []
    run(tmp_path / "whole", settings=settings, reports=whole)

    class Stop(Exception):
        pass

    def stop_at_14(line):
        first.append(line)
        if line["step"] == 14:
            raise Stop

    torch.manual_seed(0)
    with pytest.raises(Stop):
        train_stage(
            StageModel(SPEC),
            settings=settings,
            training=EchoPairs(0),
            held_out=EchoPairs(100),
            run=tmp_path / "parts",
            on_report=stop_at_14,
            report_every=1,
        )
    torch.manual_seed(99)  # other initial weights: all must come from the checkpoint
    train_stage(
        StageModel(SPEC),
        settings=settings,
        training=EchoPairs(0),
        held_out=EchoPairs(100),
        run=tmp_path / "parts",
        on_report=second.append,
        report_every=1,
    )
    losses = {line["step"]: float(line["loss"]).hex() for line in whole if "loss" in line}
    parts = {line["step"]: float(line["loss"]).hex() for line in (*first, *second) if "loss" in line}
    assert second[0]["step"] == 11
    assert parts == losses
    lines = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert lines == json.loads(json.dumps([*first, *second]))


def test_a_forgotten_optimizer_would_be_noticed(tmp_path):
    """The control of the test above."""
    whole, second = [], []
    run(tmp_path / "whole", reports=whole)
    run(tmp_path / "parts", settings=replace(SETTINGS, steps=10))
    torch.manual_seed(0)
    from hafm.train import loop

    def forgetful(run, *, model, optimizers, settings):
        fresh = [type(o)(o.param_groups[0]["params"], lr=1.0) for o in optimizers]
        return load_latest(run, model=model, optimizers=fresh, settings=settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "load_latest", forgetful)
        run(tmp_path / "parts", reports=second)
    losses = {line["step"]: line["loss"] for line in whole if "loss" in line}
    assert any(line["loss"] != losses[line["step"]] for line in second if "loss" in line)


def test_a_stage_learns_to_hear_the_vocal(tmp_path):
    model = run(tmp_path, settings=replace(SETTINGS, steps=150, optimizer="muon"))
    scores = held_out_loss(model, EchoPairs(100), batches=4, batch=8, precision=torch.float32)
    (entropy,) = unigram_entropy(EchoPairs(0), "instrumental_semantic", cardinality=8)
    assert entropy == pytest.approx(np.log(8), abs=0.02)
    assert scores.mean_right < 0.5 * entropy
    assert scores.mean_wrong > 2 * scores.mean_right
    assert scores.wrong_vocal == scores.wrong  # the vocal is the only source


def test_other_settings_are_refused(tmp_path):
    run(tmp_path, settings=replace(SETTINGS, steps=10))
    with pytest.raises(UsageError, match="peak_rate"):
        run(tmp_path, settings=replace(SETTINGS, peak_rate=2e-2))
    run(tmp_path, settings=replace(SETTINGS, steps=12))  # more steps are fine


def test_a_changed_byte_sends_the_run_back_to_the_checkpoint_before(tmp_path):
    run(tmp_path)
    newest = sorted((tmp_path / "checkpoints").iterdir())[-1] / "state.safetensors"
    data = bytearray(newest.read_bytes())
    data[-5] ^= 1
    newest.write_bytes(bytes(data))
    reports = []
    run(tmp_path, reports=reports)
    assert reports[0]["step"] == 21


def test_only_two_checkpoints_stay_and_nothing_half_written(tmp_path):
    run(tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["000020", "000030"]


def test_divergence_is_named_and_keeps_the_checkpoint(tmp_path):
    run(tmp_path, settings=replace(SETTINGS, steps=10))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hafm.train.loop.stage_loss", lambda *_: torch.tensor(float("nan"), requires_grad=True))
        with pytest.raises(NonFiniteLoss, match="step 10"):
            run(tmp_path)
    assert (tmp_path / "checkpoints" / "000010" / "manifest.json").exists()


def test_several_codebooks_are_reported_one_by_one():
    spec = replace(COARSE, **SMALL, clip_seconds=Fraction(1, 5))

    class Codes(EchoPairs):
        def stream(self, index, name, view):
            if name == "coarse_codes":
                return np.random.default_rng(index).integers(1024, size=(4, 150))
            return np.random.default_rng(index).integers(500, size=(1, 100))

    scores = held_out_loss(StageModel(spec), Codes(0), batches=1, batch=4, precision=torch.float32)
    assert len(scores.right) == 4
    assert len(scores.wrong) == 4
    assert scores.mean_right == pytest.approx(np.log(1024), abs=0.5)
