"""What is not finite: skipped in float16, the schedule waiting; the end otherwise, with the batch kept."""

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from hafm.errors import NonFinite
from hafm.stages.stage_model import StageModel
from hafm.train import update
from hafm.train.checkpoint import Checkpoints
from hafm.train.metrics import read_metrics
from hafm.train.optim import Muon, build_optimizers
from hafm.train.recipe import tiny
from hafm.train.run_folder import load_trained
from hafm.train.update import PATIENCE, make_scaler, resolve_precision
from tests.train.echo_pairs import RECIPE, Recorder, trainer
from tests.unchecked import unchecked


@pytest.fixture(autouse=True)
def without_type_checks():
    with unchecked():
        yield


SHORT = replace(RECIPE, steps=6, batch=4, evaluate_every=100, evaluate_clips=4, save_every=3)


@pytest.fixture
def poison(monkeypatch):
    """Makes the loss of given steps NaN or the gradient infinite; steps are counted from 1."""

    def apply(steps, *, how="loss"):
        exact, count = update.stage_loss, 0

        def poisoned(logits, target):
            nonlocal count
            count += 1
            loss = exact(logits, target)
            if count not in steps:
                return loss
            return (
                loss * math.nan if how == "loss" else loss + (logits.sum() * 0 + 1e-30).sqrt() * math.inf * 0
            )

        monkeypatch.setattr(update, "stage_loss", poisoned)

    return apply


def rates(run):
    return [line["rate"] for line in read_metrics(run) if "rate" in line]


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_without_scaling_the_first_one_ends_the_run(tmp_path, poison, precision):
    poison({5})
    with pytest.raises(NonFinite, match="step 5 was not finite"):
        trainer(tmp_path, replace(SHORT, precision=precision)).fit()
    assert Checkpoints(tmp_path).steps() == [0, 3]
    assert load_trained(tmp_path).updates == 3
    (kept,) = (tmp_path / "stopped-by").iterdir()
    batch = load_file(kept)
    assert batch["0.target"].shape == (4, 1, 24)
    assert batch["0.condition.0"].shape == (4, 1, 24)


@pytest.mark.long
def test_float16_skips_a_step_and_the_schedule_waits(tmp_path, poison):
    recipe = replace(SHORT, precision="float16")
    trainer(tmp_path / "clean", recipe).fit()
    poison({2, 4, 5})
    recorder = Recorder()
    run = trainer(tmp_path / "skipped", recipe, listener=recorder)
    run.fit()
    assert run.state.position.step == 9
    assert run.state.position.updates == 6
    assert run.state.position.skips.total == 3
    assert rates(tmp_path / "skipped") == rates(tmp_path / "clean")
    assert sum("was skipped" in note for note in recorder.notes) == 3
    assert [line.get("skipped") for line in read_metrics(tmp_path / "skipped")][:6] == [0, 1, 1, 2, 3, 3]


def test_a_skipped_step_changes_no_weight_and_halves_the_scale(tmp_path, poison):
    run = trainer(tmp_path, replace(SHORT, precision="float16"))
    run.begin()
    run.step(run.pieces(0), 1.0)
    before = {name: value.clone() for name, value in run.state.model.state_dict().items()}
    assert run.state.scaler is not None
    scale = run.state.scaler.get_scale()
    poison({1})
    assert not run.step(run.pieces(1), 1.0).finite
    assert all(torch.equal(value, before[name]) for name, value in run.state.model.state_dict().items())
    assert run.state.scaler.get_scale() == scale / 2
    assert run.step(run.pieces(2), 1.0).finite
    assert run.state.position.skips.in_a_row == 0


@pytest.mark.long
def test_twenty_in_a_row_end_the_run(tmp_path, poison):
    poison(range(3, 100))
    run = trainer(tmp_path, replace(SHORT, precision="float16"))
    with pytest.raises(NonFinite, match=f"{PATIENCE} steps in a row were not finite.*batch lies in"):
        run.fit()
    assert PATIENCE == 20
    assert run.state.position.step == 22
    assert [path.name for path in (tmp_path / "stopped-by").iterdir()] == ["step-00000022-rank-0.safetensors"]
    assert load_trained(tmp_path).updates == 0  # step 0 was saved; the two good steps were not yet


@pytest.mark.slow
def test_skips_survive_a_stop(tmp_path, poison):
    poison({1, 2})
    recipe = replace(SHORT, precision="float16", save_every=1)
    trainer(tmp_path, recipe).fit()
    position = load_trained(tmp_path).facts["position"]
    assert position["skips"] == {"total": 2, "in_a_row": 0}
    assert (position["step"], position["updates"]) == (8, 6)
    run = trainer(tmp_path, replace(recipe, steps=7), allow=["recipe"])
    run.fit()
    assert run.state.position.skips.total == 2


def test_half_means_what_the_device_has():
    cpu = torch.device("cpu")
    known = torch.cpu.get_capabilities()
    has = bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    assert resolve_precision("half", cpu) == (torch.bfloat16 if has else torch.float32)
    assert resolve_precision("half", torch.device("mps")) == torch.float32
    assert resolve_precision("float32", cpu) == torch.float32
    assert make_scaler(torch.bfloat16, cpu) is None
    assert make_scaler(torch.float16, cpu) is not None


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16)])
def test_muon_in_float32_is_torchs(shape):
    """Torch's own works in bfloat16, whose unit in the last place is 1/128 of a number."""
    torch.manual_seed(0)
    start, steps = torch.randn(shape), torch.randn(3, *shape)
    moved = []
    for kind in (torch.optim.Muon, Muon):
        weight = torch.nn.Parameter(start.clone())
        optimizer = kind([weight], lr=0.1, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
        for gradient in steps:
            weight.grad = gradient.clone()
            optimizer.step()
        moved.append((weight.detach(), optimizer.state_dict()))
    (torchs, of_torch), (ours, of_ours) = moved
    update = (torchs - start).norm()
    assert (ours - torchs).norm() < 0.02 * update
    assert of_ours["param_groups"] == of_torch["param_groups"]
    assert torch.equal(of_ours["state"][0]["momentum_buffer"], of_torch["state"][0]["momentum_buffer"])


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float32])
def test_muon_is_torchs_where_bfloat16_is_fast(monkeypatch, half):
    monkeypatch.setattr("hafm.train.optim.half_dtype", lambda _: half)
    muon, _ = build_optimizers(StageModel(tiny("fine").spec), kind="muon", peak_rate=1e-3, weight_decay=0.0)
    assert type(muon) is (torch.optim.Muon if half == torch.bfloat16 else Muon)
