"""Crops: aligned at both rates, of exact length, each unit once an epoch, the same for everybody who asks."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hafm.data.crops import Crops, Pairs, common_rate
from hafm.errors import UsageError
from hafm.guide.frames import GUIDE_CHANNELS
from hafm.stages.guide import GuideSpec
from hafm.stages.spec import COARSE, FINE, SEMANTIC
from tests.data.numbered_pairs import ClockPairs


@pytest.mark.parametrize(
    ("spec", "frames"), [(SEMANTIC, 500), (COARSE, 375), (FINE, 225)], ids=lambda value: str(value)[:12]
)
def test_a_clip_has_exactly_the_papers_positions(spec, frames):
    target, conditions, _ = Crops(pairs=ClockPairs(20), spec=spec, seed=0).batch(0, size=4)
    assert target.shape == (4, spec.target.num_codebooks, frames)
    assert tuple(ids.shape[2] for ids in conditions) == spec.source_frames(frames)
    assert target.dtype == torch.int64


def test_all_streams_of_a_crop_begin_at_the_same_instant():
    crops = Crops(pairs=ClockPairs(20, views=1), spec=COARSE, seed=3)
    starts = set()
    for step in range(40):
        target, (vocal, instrumental), _ = crops.batch(step, size=4)
        for row in range(4):
            start = Fraction(int(target[row, 0, 0]), 75)
            assert start == Fraction(int(vocal[row, 0, 0]), 50) == Fraction(int(instrumental[row, 0, 0]), 50)
            starts.add(start)
    assert len(starts) > 100
    assert max(starts) <= 15


def test_crops_are_stretches_of_the_streams():
    pairs = ClockPairs(7, 12, 31)
    crops = Crops(pairs=pairs, spec=COARSE, seed=1)
    target, (vocal, _), _ = crops.batch(0, size=len(crops))
    for row in range(len(crops)):
        first, number, view = int(target[row, 0, 0]), int(target[row, 3, 0]), int(vocal[row, 0, 0]) // 10_000
        assert torch.equal(
            target[row], torch.from_numpy(pairs.stream(number, "coarse_codes", 0))[:, first : first + 375]
        )
        begin = first * 2 // 3
        whole = torch.from_numpy(pairs.stream(number, "vocal_semantic", view))
        assert torch.equal(vocal[row], whole[:, begin : begin + 250])


@pytest.mark.parametrize(("spec", "rate"), [(SEMANTIC, 50), (COARSE, 75)], ids=["semantic", "coarse"])
def test_a_guide_begins_at_the_same_instant(spec, rate):
    spec = replace(spec, conditioning="aligned", guide=GuideSpec())
    batch = Crops(pairs=ClockPairs(20, 31), spec=spec, seed=1).take(0, 30)
    length = int(spec.clip_seconds * 50)
    assert batch.guide.shape == (30, length, GUIDE_CHANNELS)
    assert batch.guide.dtype == torch.float32
    starts = batch.guide[:, 0, 0]
    assert torch.equal(starts * rate, batch.target[:, 0, 0] * 50)
    assert starts.unique().numel() > 10
    expected = starts[:, None, None] + torch.arange(length)[:, None] + torch.arange(GUIDE_CHANNELS) / 100
    torch.testing.assert_close(batch.guide, expected)


def test_a_stage_without_a_guide_gets_none():
    assert Crops(pairs=ClockPairs(20), spec=SEMANTIC, seed=1).take(0, 2).guide is None


def test_the_first_and_the_last_possible_start_are_reached_and_none_passed():
    crops = Crops(pairs=ClockPairs(11), spec=SEMANTIC, seed=1)
    batches = [crops.batch(step, size=8)[0] for step in range(60)]
    assert min(int(target.min()) for target in batches) == 0
    assert max(int(target.max()) for target in batches) == 549


@pytest.mark.parametrize("steps", [8, pytest.param(30, marks=pytest.mark.slow)])
def test_instants_are_uniform(steps):
    crops = Crops(pairs=ClockPairs(12), spec=SEMANTIC, seed=2)
    starts = torch.cat([crops.batch(step, size=101)[0][:, 0, 0] for step in range(steps)])
    counts = torch.bincount(starts, minlength=101)
    assert len(counts) == 101
    expected = len(starts) / 101
    assert (
        float(((counts - expected) ** 2 / expected).sum()) < 150
    )  # chi-squared, 100 degrees of freedom, 0.1 %


@given(
    seconds=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    clip=st.sampled_from([Fraction(10), Fraction(5), Fraction(3), Fraction(3, 2)]),
    seed=st.integers(0, 3),
)
def test_an_epoch_takes_as_many_clips_from_a_pair_as_fit_in_it(seconds, clip, seed):
    spec = replace(COARSE, clip_seconds=clip)
    expected = Counter({number: int(each / clip) for number, each in enumerate(seconds) if each >= clip})
    if not expected:
        with pytest.raises(UsageError, match="as long as"):
            Crops(pairs=ClockPairs(*seconds), spec=spec, seed=seed)
        return
    crops = Crops(pairs=ClockPairs(*seconds), spec=spec, seed=seed)
    assert len(crops) == expected.total()
    for epoch in range(2):
        target, *_ = crops.take(epoch * len(crops), len(crops))
        assert Counter(target[:, 3, 0].tolist()) == expected


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
def test_ranks_share_one_batch_and_a_resume_goes_on_with_it(world_size):
    whole = Crops(pairs=ClockPairs(20, 35, 50), spec=COARSE, seed=5)
    for step in (0, 3, 4):  # 21 units: step 3 ends an epoch and begins the next
        expected_target, expected_conditions, _ = whole.batch(step, size=6)
        again = Crops(pairs=ClockPairs(20, 35, 50), spec=COARSE, seed=5)  # another process
        shares = [again.batch(step, size=6, rank=rank, world_size=world_size) for rank in range(world_size)]
        assert torch.equal(torch.cat([target for target, *_ in shares]), expected_target)
        for number, ids in enumerate(expected_conditions):
            assert torch.equal(torch.cat([conditions[number] for _, conditions, _ in shares]), ids)


def test_a_batch_depends_on_seed_and_step():
    first, second = (Crops(pairs=ClockPairs(20), spec=COARSE, seed=seed) for seed in (0, 1))
    assert not torch.equal(first.batch(7, size=4)[0], first.batch(8, size=4)[0])
    assert not torch.equal(first.batch(7, size=4)[0], second.batch(7, size=4)[0])


def test_views_are_drawn_in_training_and_fixed_otherwise():
    drawn = Crops(pairs=ClockPairs(20), spec=SEMANTIC, seed=0)
    fixed = Crops(pairs=ClockPairs(20), spec=SEMANTIC, seed=0, views=False)
    seen = Counter(
        int(vocal[0, 0] // 10_000) for step in range(30) for vocal in drawn.batch(step, size=4)[1][0]
    )
    assert min(seen[0], seen[1]) > 35
    assert not any((fixed.batch(step, size=8)[1][0] >= 10_000).any() for step in range(5))


def test_views_and_instants_are_independent():
    vocal = Crops(pairs=ClockPairs(20), spec=SEMANTIC, seed=0).take(0, 200)[1][0][:, 0, 0]
    views, starts = vocal // 10_000, vocal % 10_000
    for half in (starts < 250, starts >= 250):
        assert 25 < views[half].sum() < 75


def test_the_grid_follows_the_streams_of_the_stage():
    """At 50 Hz alone a crop may begin on odd frames, which have no partner at 75 Hz."""
    semantic = Crops(pairs=ClockPairs(20), spec=SEMANTIC, seed=0)
    coarse = Crops(pairs=ClockPairs(20), spec=COARSE, seed=0)
    starts = [int(semantic.batch(step, size=1)[0][0, 0, 0]) for step in range(20)]
    assert {start % 2 for start in starts} == {0, 1}
    assert {int(coarse.batch(step, size=1)[0][0, 0, 0]) % 3 for step in range(20)} == {0}


def test_pairs_too_short_are_left_out_and_none_at_all_is_an_error():
    crops = Crops(pairs=ClockPairs(2, 20, 4), spec=COARSE, seed=0)
    assert set(crops.take(0, 40)[0][:, 3, 0].tolist()) == {1}
    with pytest.raises(UsageError, match="none of 2 pairs is as long as the coarse stage's clip of 5 s"):
        Crops(pairs=ClockPairs(2, 4), spec=COARSE, seed=0)


def test_clock_pairs_are_pairs():
    assert isinstance(ClockPairs(1), Pairs)


def test_the_common_rate_is_exact():
    assert common_rate(Fraction(50), Fraction(75)) == 25
    assert common_rate(Fraction(25, 2), Fraction(75)) == Fraction(25, 2)
    assert common_rate(Fraction(50)) == 50
