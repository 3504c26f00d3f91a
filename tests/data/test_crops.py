"""Crops: aligned at both rates, of exact length, and a pure function of (seed, step)."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from hafm.data.crops import common_rate, crop_batch
from hafm.errors import UsageError
from hafm.stages.spec import COARSE, FINE, SEMANTIC


class ClockPairs:
    """Streams whose tokens are their own frame numbers, so that a crop tells where it was cut."""

    def __init__(self, seconds: int, pairs: int = 3, views: int = 2) -> None:
        self.seconds, self.pairs, self.views = seconds, pairs, views

    def __len__(self) -> int:
        return self.pairs

    def num_views(self) -> int:
        return self.views

    def stream(self, index: int, name: str, view: int) -> np.ndarray:
        if name.endswith("semantic"):
            frames = np.arange(50 * self.seconds)
            return frames[None] + 10_000 * (view if name == "vocal_semantic" else 0)
        return np.tile(np.arange(75 * self.seconds), (4, 1))


@pytest.mark.parametrize(
    ("spec", "frames"), [(SEMANTIC, 500), (COARSE, 375), (FINE, 225)], ids=lambda value: str(value)[:12]
)
def test_a_clip_has_exactly_the_papers_positions(spec, frames):
    target, conditions = crop_batch(ClockPairs(20), spec, batch=4, seed=0, step=0)
    assert target.shape == (4, spec.target.num_codebooks, frames)
    assert tuple(ids.shape[2] for ids in conditions) == spec.source_frames(frames)


def test_all_streams_of_a_crop_begin_at_the_same_instant():
    starts = set()
    for step in range(40):
        target, (vocal, instrumental) = crop_batch(
            ClockPairs(20, views=1), COARSE, batch=4, seed=3, step=step
        )
        for row in range(4):
            start = Fraction(int(target[row, 0, 0]), 75)
            assert start == Fraction(int(vocal[row, 0, 0]), 50) == Fraction(int(instrumental[row, 0, 0]), 50)
            starts.add(start)
    assert len(starts) > 100
    assert max(starts) <= 15


def test_the_last_possible_start_is_reached_and_never_passed():
    seen = [
        int(crop_batch(ClockPairs(11), SEMANTIC, batch=8, seed=1, step=step)[0].max()) for step in range(60)
    ]
    assert max(seen) == 549


def test_a_batch_depends_on_seed_and_step_alone():
    pairs = ClockPairs(20)
    again = [crop_batch(pairs, COARSE, batch=4, seed=0, step=7)[0] for _ in range(2)]
    assert torch.equal(*again)
    assert not torch.equal(again[0], crop_batch(pairs, COARSE, batch=4, seed=0, step=8)[0])
    assert not torch.equal(again[0], crop_batch(pairs, COARSE, batch=4, seed=1, step=7)[0])


def test_views_are_drawn_in_training_and_fixed_otherwise():
    pairs = ClockPairs(20)
    drawn = [crop_batch(pairs, SEMANTIC, batch=8, seed=0, step=s)[1][0].max() >= 10_000 for s in range(5)]
    fixed = [
        crop_batch(pairs, SEMANTIC, batch=8, seed=0, step=s, views=False)[1][0].max() >= 10_000
        for s in range(5)
    ]
    assert any(drawn)
    assert not any(fixed)


def test_a_pair_shorter_than_the_clip_is_named():
    with pytest.raises(UsageError, match="shorten the clip"):
        crop_batch(ClockPairs(2), replace(COARSE, clip_seconds=Fraction(3)), batch=1, seed=0, step=0)


def test_the_common_rate_is_exact():
    assert common_rate(Fraction(50), Fraction(75)) == 25
    assert common_rate(Fraction(25, 2), Fraction(75)) == Fraction(25, 2)
