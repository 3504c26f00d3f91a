"""A stopped run goes on as if nothing had stopped it, to the last bit; another run is refused."""

import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hafm.errors import UsageError
from hafm.train import state, update
from hafm.train.checkpoint import Checkpoints
from hafm.train.distributed import Ranks
from hafm.train.metrics import Listener, StepReport, read_metrics
from hafm.train.run_folder import load_trained
from hafm.train.state import TrainState
from tests.train.echo_pairs import GUIDED, RECIPE, EchoPairs, Recorder, losses, trainer
from tests.unchecked import unchecked

# Everything that has a state of its own is switched on: two optimisers, a moving average, hidden history.
PLAIN = replace(RECIPE, steps=10, batch=4, save_every=3, evaluate_every=5, evaluate_clips=4)
FULL = replace(PLAIN, optimizer="muon", ema_decay=0.9, history_dropout=0.5, precision="bfloat16")
CRASH_STEP = 8
"""Two steps after the last checkpoint."""
NEXT_STEP = 7


class Crash(RuntimeError):
    """In place of a power cut."""


class CrashAt(Listener):
    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, report: StepReport) -> None:
        if report.position.step == self.at:
            raise Crash


@pytest.fixture(autouse=True)
def a_loss_that_draws_from_generators(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages themselves draw nothing while they train, so a forgotten generator would go unnoticed.

    Python's own is left out: beartype, which checks types in tests, draws from it. `tests.train.forked_runs`
    has it.
    """
    exact = update.stage_loss

    def noisy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        noise = np.random.random() + torch.rand(()).item()
        return exact(logits, target) * (1 + 0.01 * noise)

    monkeypatch.setattr(update, "stage_loss", noisy)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing stopped; made by the first test that wants it."""
    return tmp_path_factory.mktemp("unbroken")


@pytest.fixture(scope="module")
def crashed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that crashed; made by the first test that wants it."""
    return tmp_path_factory.mktemp("crashed")


@pytest.fixture
def crashed(crashed_once: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    if not (crashed_once / "recipe.json").exists():
        crash(crashed_once)
    shutil.copytree(crashed_once, tmp_path / "run")
    return tmp_path / "run"


def whole(folder: Path, recipe=FULL) -> dict[int, str]:
    if not (folder / "outcome.json").exists():
        trainer(folder, recipe).fit()
    return losses(folder)


def crash(folder: Path, recipe=FULL) -> None:
    with pytest.raises(Crash):
        trainer(folder, recipe, listener=CrashAt(CRASH_STEP)).fit()


def go_on(folder: Path, recipe=FULL, **options) -> Recorder:
    np.random.seed(99)
    torch.manual_seed(99)  # nothing may come from where the process happens to stand
    recorder = Recorder()
    trainer(folder, recipe, listener=recorder, **options).fit()
    return recorder


@pytest.mark.long
@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(FULL, id="everything"),
        pytest.param(PLAIN, id="paper's optimiser", marks=pytest.mark.slow),
        pytest.param(replace(FULL, spec=GUIDED), id="guided", marks=pytest.mark.slow),
    ],
)
def test_losses_are_hexadecimally_those_of_an_unbroken_run(tmp_path, unbroken, recipe):
    expected = whole(unbroken if recipe is FULL else tmp_path / "whole", recipe)
    crash(tmp_path / "parts", recipe)
    recorder = go_on(tmp_path / "parts", recipe)
    assert recorder.steps[0] == NEXT_STEP
    assert len(expected) == 10
    assert losses(tmp_path / "parts") == expected
    best, last = (load_trained(tmp_path / "parts", newest=newest) for newest in (False, True))
    assert last.updates == 10
    assert best.held_out_loss is not None


def test_weights_and_metrics_are_those_of_an_unbroken_run(crashed, unbroken):
    whole(unbroken)
    reported = [line["step"] for line in read_metrics(crashed) if "loss" in line]
    assert reported[-1] == CRASH_STEP - 1  # further than the last checkpoint: these lines must go
    go_on(crashed)
    one, other = (load_trained(folder, newest=True) for folder in (unbroken, crashed))
    assert all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())
    timeless = [
        [
            {k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second", "waiting_share")}
            for line in run
        ]
        for run in (read_metrics(unbroken), read_metrics(crashed))
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.slow
def test_every_pair_comes_once_an_epoch_across_a_stop(tmp_path):
    """16 pairs, 4 a step: four steps are an epoch. What was made ahead and never taken does not count."""
    taken: dict[int, list[int]] = {}

    def run(first: int, listener: Listener) -> None:
        pairs = EchoPairs()
        with contextlib.suppress(Crash):
            trainer(tmp_path, PLAIN, listener=listener, training=pairs).fit()
        for step, index in enumerate(range(0, len(pairs.taken), 4), start=first):
            taken[step] = pairs.taken[index : index + 4]

    run(0, CrashAt(CRASH_STEP))
    before = dict(taken)
    run(NEXT_STEP - 1, Listener())
    both = before.keys() & range(NEXT_STEP - 1, 10)
    assert both
    assert {step: before[step] for step in both} == {step: taken[step] for step in both}
    for epoch in (0, 1):
        ids = [index for step in range(4 * epoch, 4 * epoch + 4) for index in taken[step]]
        assert sorted(ids) == list(range(16))


FORGET = {
    "numpy": lambda run: np.random.seed(1),
    "torch": lambda run: torch.manual_seed(1),
    "optimizer": lambda run: run.optimizers[0].state.clear(),
    "second optimizer": lambda run: run.optimizers[1].state.clear(),
    "schedule": lambda run: setattr(run.position, "updates", run.position.updates - 1),
    "data position": lambda run: setattr(run.position, "step", run.position.step - 1),
}


@unchecked()
@pytest.mark.parametrize(
    "what",
    [
        "data position",
        *(
            pytest.param(what, marks=pytest.mark.slow)
            for what in ("torch", "numpy", "second optimizer", "schedule", "optimizer")
        ),
    ],
)
def test_whatever_is_forgotten_is_noticed(crashed, unbroken, monkeypatch, what):
    """The controls: a resume that forgets one thing gives other losses."""
    expected = whole(unbroken)
    restore = TrainState.restore

    def forgetful(self, checkpoint, ranks):
        restore(self, checkpoint, ranks)
        FORGET[what](self)

    monkeypatch.setattr(TrainState, "restore", forgetful)
    go_on(crashed)
    found = losses(crashed)
    assert any(found[step] != expected[step] for step in range(NEXT_STEP, 11))


def test_a_forgotten_average_is_noticed(crashed, unbroken, monkeypatch):
    whole(unbroken)
    monkeypatch.setattr("hafm.train.optim.Ema.load", lambda self, weights, updates: None)
    go_on(crashed)
    one, other = (load_trained(folder, newest=True).weights for folder in (unbroken, crashed))
    assert any(not torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("missing", ["rng.0", "optimizer.0.0.momentum_buffer", "ema.heads", "model.heads"])
def test_a_missing_tensor_is_an_error(crashed, missing):
    checkpoints = Checkpoints(crashed)
    newest = checkpoints.load_newest()
    assert newest is not None
    tensors = {name: value for name, value in newest.tensors.items() if name != missing}
    assert len(tensors) == len(newest.tensors) - 1
    checkpoints.save(replace(newest, tensors=tensors))
    with pytest.raises(UsageError, match="does not fit this run"):
        go_on(crashed)


@pytest.mark.parametrize(
    "missing", ["position", "scaler", "ema_updates", "position.step", "position.best_loss"]
)
def test_a_missing_fact_is_an_error(crashed, missing):
    checkpoints = Checkpoints(crashed)
    newest = checkpoints.load_newest()
    assert newest is not None
    facts = json.loads(json.dumps(newest.facts))
    place, _, name = missing.rpartition(".")
    del (facts[place] if place else facts)[name]
    checkpoints.save(replace(newest, facts=facts))
    with pytest.raises(UsageError, match="does not fit this run"):
        go_on(crashed)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            {"recipe": replace(FULL, peak_rate=2e-2)},
            ["peak_rate was 0.01, is 0.02", "--allow recipe"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"recipe": replace(FULL, steps=11)},
            ["steps was 10, is 11", "--allow recipe"],
            marks=pytest.mark.slow,
        ),
        ({"data": "other"}, ["data: was echo, is other", "--allow data"]),
    ],
)
def test_another_run_is_refused_unless_asked_for(crashed, change, words):
    change = dict(change)
    recipe = change.pop("recipe", FULL)
    with pytest.raises(UsageError) as caught:
        go_on(crashed, recipe, **change)
    for word in words:
        assert word in str(caught.value)
    recorder = go_on(crashed, recipe, allow=[words[-1].removeprefix("--allow ")], **change)
    assert any("going on with another" in note for note in recorder.notes)
    assert recorder.steps[0] == NEXT_STEP


@pytest.mark.long
def test_other_software_is_refused_unless_asked_for(crashed, monkeypatch):
    monkeypatch.setattr(state, "__version__", "99")
    with pytest.raises(UsageError, match=r"software: hafm was .*, is 99"):
        go_on(crashed)
    assert go_on(crashed, allow=["software"]).steps[0] == NEXT_STEP


def test_what_changes_no_loss_may_change(crashed, unbroken):
    expected = whole(unbroken)
    go_on(crashed, replace(FULL, save_every=7, evaluate_every=9, evaluate_clips=4))
    assert losses(crashed) == expected


def test_another_stage_is_always_refused(crashed):
    other = replace(FULL, spec=replace(FULL.spec, width=16))
    with pytest.raises(UsageError, match=r"another stage \(recipe: spec.width was 32, is 16\)"):
        go_on(crashed, other, allow=["recipe"])


def test_shards_of_other_ids_are_named_as_what_differs(crashed):
    target = replace(FULL.spec.target, cardinality=FULL.spec.target.cardinality + 1)
    with pytest.raises(UsageError, match="shards whose tokens have other ids than these"):
        go_on(crashed, replace(FULL, spec=replace(FULL.spec, target=target)), allow=["recipe"])


@pytest.mark.long
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(crashed, unbroken):
    expected = whole(unbroken)
    path = Checkpoints(crashed).path(6) / "state.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    recorder = go_on(crashed)
    assert "00000006' is damaged" in recorder.notes[0]
    assert recorder.steps[0] == 6
    assert losses(crashed) == expected


def test_a_run_that_is_done_stays_done(tmp_path, unbroken):
    expected = whole(unbroken)
    assert go_on(unbroken).steps == []
    assert losses(unbroken) == expected


def test_a_batch_too_small_for_the_ranks_is_refused(tmp_path):
    with pytest.raises(UsageError, match="9 ranks in 1 pieces"):
        trainer(tmp_path, ranks=Ranks(rank=0, world=9))


def test_pairs_shorter_than_a_clip_are_refused(tmp_path):
    with pytest.raises(UsageError, match="shorten the clip"):
        trainer(tmp_path, training=EchoPairs(seconds=RECIPE.spec.clip_seconds / 2))
