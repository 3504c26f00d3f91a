"""The small parts of the loop: feed, metrics, moving average, held-out scores, pieces, warm classes."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from hafm.data.crops import Crops
from hafm.errors import UsageError
from hafm.stages.guide import GuideSpec, drop_groups
from hafm.stages.spec import COARSE, FINE, SEMANTIC
from hafm.stages.stage_model import StageModel, codebook_losses
from hafm.stages.token_parts import fit_to_parts
from hafm.train.distributed import Ranks, join_ranks
from hafm.train.feed import Feed
from hafm.train.heldout import held_out_loss, unigram_entropy
from hafm.train.metrics import METRICS_FILE, Metrics, read_metrics
from hafm.train.optim import Ema
from hafm.train.pieces import draws_of_step, pieces_of_step, rows_of_piece
from hafm.train.state import capture_rng, restore_rng
from tests.crossed import crossed
from tests.train.echo_pairs import CARDINALITY, GUIDED, RECIPE, SPECS, EchoPairs, Recorder, small, trainer
from tests.unchecked import unchecked

# ---- feed


def test_the_feed_works_ahead_but_not_too_far():
    made: list[int] = []
    with Feed(lambda step: made.append(step) or step, first=5, ahead=2) as feed:
        deadline = time.monotonic() + 5
        while len(made) < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        assert made == [5, 6, 7]  # two wait, and one is in hand
        assert [feed.take(), feed.take()] == [5, 6]
    assert "hafm-feed_0" not in [thread.name for thread in threading.enumerate()]


def test_an_error_in_the_feed_is_raised_where_it_is_taken():
    def make(step: int) -> int:
        if step == 1:
            raise UsageError("no pair")
        return step

    with Feed(make, first=0) as feed:
        assert feed.take() == 0
        with pytest.raises(UsageError, match="no pair"):
            feed.take()


def test_waiting_is_counted():
    with Feed(lambda step: time.sleep(0.05), first=0) as feed:
        feed.take()
        feed.take()
        assert 0.05 < feed.waited_seconds < 1.0


@pytest.mark.long
def test_the_device_hardly_waits_for_data(tmp_path):
    """Making a step's batch takes a small share of the step itself, and happens beside it."""

    class Last(Recorder):
        share = 1.0

        def step(self, report):
            self.share = report.waiting_share

    last = Last()
    trainer(tmp_path, replace(RECIPE, steps=8, save_every=100, evaluate_every=100), listener=last).fit()
    assert last.share < 0.5  # a busy machine and a stage that is next to nothing


# ---- metrics


def test_lines_after_the_resumed_step_and_torn_ones_are_taken_out(tmp_path):
    path = tmp_path / METRICS_FILE
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    with Metrics(tmp_path, step=2) as metrics:
        metrics.write({"step": 3, "loss": 1.0})
    assert read_metrics(tmp_path) == [{"step": 1}, {"step": 2}, {"step": 3, "loss": 1.0}]


def test_a_missing_tensorboard_is_explained(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"hafm\[train\]"):
        Metrics(tmp_path, step=0, tensorboard=True)


def test_tensorboard_gets_every_figure(tmp_path):
    pytest.importorskip("tensorboard")
    with Metrics(tmp_path, step=0, tensorboard=True) as metrics:
        metrics.write({"step": 1, "loss": 2.5, "held_out": {"right": [1.0, 2.0]}})
    (file,) = (tmp_path / "tensorboard").iterdir()
    data = file.read_bytes()
    for name in (b"loss", b"held_out/right/0", b"held_out/right/1"):
        assert name in data


# ---- moving average and generators


def test_the_average_follows_its_formula_and_steps_aside():
    layer = torch.nn.Linear(2, 1, bias=False)
    expected, ema = layer.weight.detach().double().clone(), Ema(layer, decay=0.5)
    for n in range(12):
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[float(n), -float(n)]]))
        ema.update(layer)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * layer.weight.detach().double()
    torch.testing.assert_close(ema.weights["weight"].double(), expected, rtol=1e-5, atol=1e-5)
    own = layer.weight.detach().clone()
    with ema.in_place_of(layer):
        assert torch.equal(layer.weight, ema.weights["weight"])
    assert torch.equal(layer.weight, own)


def test_random_states_that_are_none_are_refused():
    with pytest.raises(ValueError, match="no random states"):
        restore_rng(torch.zeros(10, dtype=torch.uint8), torch.device("cpu"))
    state = capture_rng(torch.device("cpu"))
    restore_rng(state, torch.device("cpu"))
    assert torch.equal(state, capture_rng(torch.device("cpu")))


# ---- held-out


def oracle(model, crops, clips, roll):
    """One clip at a time, rolled inside the groups of eight."""
    target, conditions, _ = crops.take(0, clips)
    rows = [ids.clone() for ids in conditions]
    if roll:
        groups = -(-clips // 8)
        for group in range(groups):
            inside = slice(clips * group // groups, clips * (group + 1) // groups)
            rows = [
                torch.cat([ids[: inside.start], ids[inside].roll(1, 0), ids[inside.stop :]]) for ids in rows
            ]
    losses = [
        codebook_losses(model(target[i : i + 1], tuple(ids[i : i + 1] for ids in rows)), target[i : i + 1])
        for i in range(clips)
    ]
    return torch.stack(losses).mean(0).detach()


@pytest.mark.long
@crossed(name=list(SPECS))
def test_held_out_losses_are_those_of_clips_one_by_one(name):
    model = StageModel(SPECS[name]).train()
    crops = Crops(pairs=EchoPairs(100), spec=model.spec, seed=1, views=False)
    scores = held_out_loss(model, crops, clips=11, dtype=torch.float32)
    torch.testing.assert_close(torch.tensor(scores.right), oracle(model, crops, 11, roll=False))
    torch.testing.assert_close(torch.tensor(scores.wrong), oracle(model, crops, 11, roll=True))
    assert (scores.wrong_vocal is None) == ("fine" in name)
    if name == "semantic":
        assert scores.wrong_vocal == scores.wrong  # the vocal is the only source
    assert all(0 <= share <= 1 for share in scores.accuracy)


def test_held_out_losses_of_a_guided_stage_say_what_each_part_is_worth():
    model = StageModel(GUIDED)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    crops = Crops(pairs=EchoPairs(100), spec=GUIDED, seed=1, views=False)
    scores = held_out_loss(model, crops, clips=8, dtype=torch.float32)
    target, (vocal,), guide = crops.take(0, 8)

    def loss(guide=guide, vocal=vocal):
        return codebook_losses(model(target, (vocal,), guide=guide), target).tolist()

    beats, chords = guide.clone(), guide.clone()
    beats[..., :6], beats[..., 59] = 0, 0
    chords[..., 6:43], chords[..., 60] = 0, 0
    wrong = vocal.roll(1, 0)
    expected = {
        "beats": loss(beats),
        "chords": loss(chords),
        "guide": loss(None),
        "guide and right vocal": loss(None, wrong),
    }
    assert list(scores.without) == list(expected)
    for name, losses in expected.items():
        assert list(scores.without[name]) == pytest.approx(losses, rel=1e-5)
    assert list(scores.right) == pytest.approx(loss(), rel=1e-5)
    assert list(scores.wrong_vocal) == pytest.approx(loss(vocal=wrong), rel=1e-5)
    assert list(scores.wrong) == pytest.approx(loss(guide.roll(1, 0), wrong), rel=1e-5)
    every = [scores.right, scores.wrong, scores.wrong_vocal, *scores.without.values()]
    assert len(set(every)) == len(every)


@pytest.mark.slow
@unchecked()
def test_a_stage_learns_to_hear_the_vocal(tmp_path):
    recipe = replace(RECIPE, steps=80, optimizer="muon", evaluate_every=80, save_every=80)
    recorder = Recorder()
    trainer(tmp_path, recipe, listener=recorder, training=EchoPairs(0, count=200)).fit()
    (scores,) = recorder.scores
    (entropy,) = unigram_entropy(EchoPairs(0), "instrumental_semantic", cardinality=CARDINALITY)
    assert entropy == pytest.approx(np.log(CARDINALITY), abs=0.02)
    assert scores.mean_right < 0.7 * entropy
    assert scores.mean_wrong > 1.5 * scores.mean_right
    assert scores.accuracy[0] > 0.5


# ---- pieces


def test_pieces_of_all_ranks_are_the_batch_each_row_once():
    for batch, pieces, world in ((42, 2, 4), (8, 1, 3), (7, 3, 2), (210, 1, 7)):
        rows = [
            row
            for piece in range(pieces)
            for rank in range(world)
            for row in range(batch)[rows_of_piece(batch, piece=piece, pieces=pieces, rank=rank, world=world)]
        ]
        assert rows == list(range(batch))


@pytest.mark.parametrize("changes", [{"history_dropout": 0.5}, {"spec": SPECS["parallel fine"]}])
def test_pieces_hold_what_the_whole_batch_holds(changes):
    recipe = replace(RECIPE, batch=7, **changes)
    crops = Crops(pairs=EchoPairs(), spec=recipe.spec, seed=0)
    (whole,) = pieces_of_step(crops, recipe, step=3, ranks=Ranks())
    split = [
        piece
        for rank in range(2)
        for piece in pieces_of_step(
            crops, replace(recipe, accumulation=2), step=3, ranks=Ranks(rank=rank, world=2)
        )
    ]
    split = [split[0], split[2], split[1], split[3]]
    assert torch.equal(torch.cat([piece.target for piece in split]), whole.target)
    assert torch.equal(torch.cat([piece.drop for piece in split]), whole.drop)
    assert torch.equal(torch.cat([piece.predicted for piece in split]), whole.predicted)
    assert (whole.hide is None) == ("spec" in changes)
    if whole.hide is not None:
        assert torch.equal(torch.cat([piece.hide for piece in split]), whole.hide)
    assert sum(piece.share for piece in split) == pytest.approx(1)


def test_dropouts_come_as_often_as_the_recipe_says():
    recipe = replace(RECIPE, batch=4000, history_dropout=0.5)
    drop, groups, hide, _ = draws_of_step(recipe, 0)
    assert drop.float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert hide is not None
    assert hide.all(1).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert hide.any(1).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(groups, drop[:, None].expand(-1, 4))
    assert torch.equal(drop, draws_of_step(recipe, 0).sources)
    assert not torch.equal(drop, draws_of_step(recipe, 1).sources)


def test_groups_of_a_guide_are_lost_one_by_one_and_all_together():
    guide = GuideSpec(beats=0.3, chords=0.2, arrangement=0.5, style=0.4, sources=0.15)
    recipe = replace(RECIPE, batch=20_000, spec=replace(GUIDED, guide=guide, guidance_dropout=0.1))
    sources, groups = draws_of_step(recipe, 0)[:2]
    shares = torch.tensor(guide.group_shares)
    torch.testing.assert_close(groups.float().mean(0), 0.1 + 0.9 * shares, rtol=0, atol=0.02)
    assert sources.float().mean().item() == pytest.approx(0.1 + 0.9 * 0.15, abs=0.01)
    nothing_left = (groups.all(1) & sources).float().mean().item()
    assert nothing_left == pytest.approx(0.1, abs=0.01)
    kept = groups[~(groups.all(1) & sources)].float()
    assert torch.corrcoef(kept.T).triu(1).abs().max() < 0.05
    plain = draws_of_step(replace(recipe, spec=replace(GUIDED, guide=None)), 0)
    assert (plain.sources <= sources).all()  # a guide leaves the draws of a stage without as they are
    assert (plain.groups <= groups).all()


def test_pieces_carry_the_guide_without_what_is_lost():
    recipe = replace(RECIPE, batch=16, spec=GUIDED)
    crops = Crops(pairs=EchoPairs(), spec=GUIDED, seed=recipe.seed)
    (piece,) = pieces_of_step(crops, recipe, step=3, ranks=Ranks())
    whole, groups = crops.take(3 * 16, 16).guide, draws_of_step(recipe, 3).groups
    assert torch.equal(piece.guide, drop_groups(whole, groups))
    assert 0 < groups.float().mean() < 1
    assert torch.equal(piece.first(2).guide, piece.guide[:2])
    assert torch.equal(piece.to(torch.device("cpu")).guide, piece.guide)


def test_hidden_positions_are_the_steps_of_the_pattern():
    spec = small(COARSE)
    for pattern, steps in (("flat", spec.target_slots), ("delay", spec.target_frames + 1)):
        recipe = replace(RECIPE, spec=replace(spec, pattern=pattern), history_dropout=0.5)
        assert draws_of_step(recipe, 0).history.shape == (RECIPE.batch, steps)


def test_every_codebook_of_a_parallel_stage_is_predicted_as_often():
    """Within a batch as evenly as its size allows, over the steps by chance, and the same when resumed."""
    recipe = replace(RECIPE, batch=6, spec=replace(FINE, conditioning="aligned", pattern="parallel"))
    drawn = torch.stack([draws_of_step(recipe, step).codebook for step in range(400)])
    counts = torch.stack([(drawn == k).sum(1) for k in range(4)])
    assert counts.min() == 1
    assert counts.max() == 2
    assert (counts.sum(1) / 2400 - 0.25).abs().max() < 0.03
    assert ((drawn == 0).float().mean(0) - 0.25).abs().max() < 0.07  # no clip of the batch is favoured
    assert torch.equal(draws_of_step(recipe, 7).codebook, drawn[7])
    assert draws_of_step(RECIPE, 7).codebook is None


def test_what_a_parallel_stage_is_asked_for():
    recipe = replace(RECIPE, batch=6, spec=SPECS["parallel fine"])
    crops = Crops(pairs=EchoPairs(), spec=recipe.spec, seed=0)
    (piece,) = pieces_of_step(crops, recipe, step=3, ranks=Ranks())
    assert piece.codebook is not None
    for row, (codebook, predicted) in enumerate(zip(piece.codebook, piece.predicted, strict=True)):
        assert torch.equal(predicted[0], piece.target[row, codebook])
    assert torch.equal(piece.first(2).predicted, piece.predicted[:2])
    (flat,) = pieces_of_step(crops, replace(recipe, spec=SPECS["fine"]), step=3, ranks=Ranks())
    assert flat.predicted is flat.target


def test_ids_beyond_the_classes_are_named(tmp_path):
    spec = small(SEMANTIC)
    narrow = replace(spec, target=replace(spec.target, cardinality=4))
    with pytest.raises(UsageError, match=r"instrumental_semantic with ids up to 7.*4 classes"):
        trainer(tmp_path, replace(RECIPE, spec=narrow)).fit()


def test_a_stage_gets_the_classes_of_the_parts(tiny_shards):
    spec = fit_to_parts(SEMANTIC, tiny_shards / "parts")
    assert (spec.sources[0].cardinality, spec.target.cardinality) == (16, 16)
    assert replace(spec, sources=SEMANTIC.sources, target=SEMANTIC.target) == SEMANTIC


# ---- ranks


def test_incomplete_variables_of_torchrun_are_named(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UsageError, match=r"MASTER_ADDR.*torchrun"), join_ranks("cpu"):
        pass
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(UsageError, match="WORLD_SIZE='two'"), join_ranks("cpu"):
        pass
