"""Two ranks by gloo are one process are accumulation; and they stop and go on together."""

from pathlib import Path

import numpy as np
import pytest

from tests.train.echo_pairs import losses


def gradients(forked_runs, folder: Path, world: int, **arguments) -> list[np.ndarray]:
    return [
        np.array(row)
        for row in forked_runs("ranks", folder=str(folder), world=world, work="gradient", **arguments)
    ]


def relative(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(one))


@pytest.mark.long
@pytest.mark.parametrize(
    ("stage", "conditioning", "batch"),
    [
        pytest.param("semantic", "aligned", 8, marks=pytest.mark.slow),
        ("coarse", "prefix", 7),  # 7 clips do not go evenly into 2 ranks or 2 pieces
        pytest.param("semantic", "prefix", 7, marks=pytest.mark.slow),
        pytest.param("coarse", "aligned", 8, marks=pytest.mark.slow),
        pytest.param("fine", "aligned", 7, marks=pytest.mark.slow),
        pytest.param("fine", "prefix", 8, marks=pytest.mark.slow),
    ],
)
def test_ranks_and_pieces_give_the_gradient_of_the_whole_batch(
    forked_runs, tmp_path, stage, conditioning, batch
):
    arguments = {"stage": stage, "conditioning": conditioning, "batch": batch}
    (whole,) = gradients(forked_runs, tmp_path, 1, accumulation=1, **arguments)
    (pieces,) = gradients(forked_runs, tmp_path, 1, accumulation=3, **arguments)
    two = gradients(forked_runs, tmp_path, 2, accumulation=1, **arguments)
    both = gradients(forked_runs, tmp_path, 2, accumulation=2, **arguments)
    assert np.linalg.norm(whole[1:]) > 1e-3
    for other in (pieces, *two, *both):
        assert relative(whole, other) <= 1e-6
    assert np.array_equal(*two)  # every rank takes the same step
    (different,) = gradients(forked_runs, tmp_path, 1, accumulation=1, **{**arguments, "batch": batch - 1})
    assert relative(whole, different) > 1e-3  # the control: one clip less is noticed


@pytest.mark.long
def test_gradients_are_summed_over_the_ranks_once_a_step(forked_runs, tmp_path):
    (one, other) = forked_runs("ranks", folder=str(tmp_path), world=2, work="reductions", accumulation=3)
    assert one == other == [False, False, True]


@pytest.mark.long
def test_two_ranks_stop_together_and_go_on_with_the_same_losses(forked_runs, tmp_path):
    """Rank 1 alone is sent the signal. Every pair is taken once an epoch, by one of the two."""
    arguments = {"folder": str(tmp_path), "world": 2, "work": "fit", "steps": 12}
    whole = forked_runs("ranks", name="whole", **arguments)
    stopped = forked_runs("ranks", name="parts", stop_at=5, **arguments)
    assert all(row["outcome"].startswith("Stopped: stopped by SIGTERM") for row in stopped)
    assert stopped[0]["step"] == stopped[1]["step"] < 12
    resumed = forked_runs("ranks", name="parts", **arguments)
    assert [row["outcome"] for row in resumed] == ["finished", "finished"]
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == 12
    assert {row["weights"] for row in whole} == {row["weights"] for row in resumed}
    at, share = stopped[0]["step"], 2
    for epoch in range(3):
        ids = []
        for step in range(4 * epoch, 4 * epoch + 4):
            rows, first = (stopped, 0) if step < at else (resumed, at)
            for row in rows:
                ids += row["taken"][share * (step - first) : share * (step - first + 1)]
        assert sorted(ids) == list(range(16))


@pytest.mark.slow
def test_another_number_of_ranks_is_refused_unless_asked_for(forked_runs, tmp_path):
    arguments = {"folder": str(tmp_path), "work": "fit", "name": "run"}
    forked_runs("ranks", world=1, steps=2, **arguments)
    refused = forked_runs("ranks", world=2, steps=2, **arguments)
    assert all("world: was 1, is 2" in row["outcome"] for row in refused)
    allowed = forked_runs("ranks", world=2, steps=4, allow=["world", "recipe"], **arguments)
    assert [row["outcome"] for row in allowed] == ["finished", "finished"]
    assert [row["step"] for row in allowed] == [4, 4]
