"""The order of a run: every unit once an epoch, and the same whoever asks, in whatever portions."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hafm.data.order import WORDS, Order, scaled, share_of_batch
from hafm.errors import UsageError


def units_of_run(order: Order, *, steps: range, batch: int, world_size: int) -> list[int]:
    units: list[int] = []
    for step in steps:
        for rank in range(world_size):
            units += order.samples(
                *share_of_batch(step, batch=batch, rank=rank, world_size=world_size)
            ).units.tolist()
    return units


@given(
    num_units=st.integers(1, 60),
    batch=st.integers(1, 8),
    world_size=st.integers(1, 4),
    seed=st.integers(0, 5),
    stop=st.integers(0, 50),
)
def test_every_unit_comes_once_an_epoch_across_ranks_and_a_resume(num_units, batch, world_size, seed, stop):
    batch *= world_size
    steps = -(-3 * num_units // batch)
    stop = min(stop, steps)
    # Stopped at `stop`, and gone on with by another process on one rank.
    units = units_of_run(
        Order(num_units=num_units, seed=seed), steps=range(stop), batch=batch, world_size=world_size
    )
    units += units_of_run(
        Order(num_units=num_units, seed=seed), steps=range(stop, steps), batch=batch, world_size=1
    )
    for epoch in range(3):
        counts = Counter(units[epoch * num_units : (epoch + 1) * num_units])
        assert counts == Counter(range(num_units))


@given(first=st.integers(0, 200), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_portions_are_those_of_one_stretch(first, cuts):
    """So gradient accumulation sees what one big batch would: units and random words alike."""
    order = Order(num_units=37, seed=4)
    whole = order.samples(first, sum(cuts))
    begins = [first + sum(cuts[:n]) for n in range(len(cuts))]
    parts = [order.samples(begin, count) for begin, count in zip(begins, cuts, strict=True)]
    np.testing.assert_array_equal(whole.units, np.concatenate([part.units for part in parts]))
    np.testing.assert_array_equal(whole.words, np.concatenate([part.words for part in parts]))
    assert whole.words.shape == (sum(cuts), WORDS)


def test_epochs_and_seeds_have_orders_and_words_of_their_own():
    epochs = [Order(num_units=50, seed=0).samples(50 * epoch, 50) for epoch in range(4)]
    others = [Order(num_units=50, seed=seed).samples(0, 50) for seed in (1, 2)]
    seen = [tuple(each.units.tolist()) for each in (*epochs, *others)]
    assert len(set(seen)) == len(seen)
    words = np.concatenate([each.words.reshape(-1) for each in (*epochs, *others)])
    assert len(np.unique(words)) == len(words)


def test_the_order_is_the_same_forever():
    """A run that goes on with a later version, or another numpy, must see the batches of an unbroken one."""
    samples = Order(num_units=10, seed=7).samples(8, 4)
    assert samples.units.tolist() == [9, 7, 7, 9]
    assert samples.words[:, 0].tolist() == [
        5007642277245737858,
        9311257637469964463,
        12398050857422058957,
        12336056931980974168,
    ]


@pytest.mark.parametrize("each", [100, pytest.param(500, marks=pytest.mark.slow)])
def test_every_order_is_as_likely_as_any_other(each):
    """6 orders of 3 units, so many expected of each: chi-squared with 5 degrees of freedom."""
    order = Order(num_units=3, seed=0)
    counts = Counter(tuple(order.samples(3 * epoch, 3).units.tolist()) for epoch in range(6 * each))
    assert sum((count - each) ** 2 / each for count in counts.values()) < 20.5  # 0.1 %
    assert len(counts) == 6


def test_scaled_words_are_uniform_and_below_their_bounds():
    words = Order(num_units=20_000, seed=1).samples(0, 20_000).words
    found = scaled(words[:, 0], 7)
    assert found.min() == 0
    assert found.max() == 6
    assert np.abs(np.bincount(found) - 20_000 / 7).max() < 4 * (20_000 / 7) ** 0.5
    bounds = np.arange(1, 20_001)
    assert (scaled(words[:, 1], bounds) < bounds).all()
    assert abs(np.corrcoef(words.astype(float), rowvar=False) - np.eye(WORDS)).max() < 0.03


@given(step=st.integers(0, 9), per_rank=st.integers(1, 9), world_size=st.integers(1, 9))
def test_shares_of_a_batch_lie_end_to_end(step, per_rank, world_size):
    batch = per_rank * world_size
    shares = [
        share_of_batch(step, batch=batch, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    assert shares[0][0] == step * batch
    assert all(first + count == following for (first, count), (following, _) in pairwise(shares))
    assert {count for _, count in shares} == {per_rank}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: share_of_batch(0, batch=10, rank=0, world_size=3), "multiple of 3"),
        (lambda: share_of_batch(0, batch=10, rank=2, world_size=2), "out of range"),
        (lambda: share_of_batch(-1, batch=10), "out of range"),
        (lambda: Order(num_units=0, seed=0), "needs a unit"),
        (lambda: Order(num_units=1, seed=-1), "seed of 0 or more"),
        (lambda: Order(num_units=1, seed=0).samples(0, 0), "one or more"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()
