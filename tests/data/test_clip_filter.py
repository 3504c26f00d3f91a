"""Levels and the paper's filter: against the formula written out, at the thresholds, at clips' ends."""

import math
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hafm.data.result import ClipLevel
from hafm.data.tokenising.clip_filter import ClipFilter, measure_levels
from hafm.errors import UsageError


def level(vocal: float, instrumental: float, number: int = 0) -> ClipLevel:
    return ClipLevel(
        start_seconds=10.0 * number, seconds=10.0, vocal_dbfs=vocal, instrumental_dbfs=instrumental
    )


# ---- levels


def dbfs(samples: list[float]) -> float:
    mean_square = math.fsum(x * x for x in samples) / len(samples)
    return max(-120.0, 20 * math.log10(math.sqrt(mean_square))) if mean_square else -120.0


@given(
    num_samples=st.integers(0, 400),
    sample_rate=st.sampled_from([7, 24, 44]),
    clip=st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(7, 3), Fraction(10)]),
)
def test_levels_are_those_of_a_loop_over_samples(num_samples, sample_rate, clip):
    vocal, instrumental = torch.randn(2, num_samples, generator=torch.Generator().manual_seed(num_samples))
    by_clip: dict[int, list[int]] = {}
    for sample in range(num_samples):
        by_clip.setdefault(int(Fraction(sample, sample_rate) / clip), []).append(sample)
    levels = measure_levels(vocal, instrumental, sample_rate, clip)
    assert len(levels) == len(by_clip)
    for found, (number, samples) in zip(levels, by_clip.items(), strict=True):
        assert found.start_seconds == float(number * clip)
        assert found.vocal_dbfs == pytest.approx(dbfs(vocal[samples].tolist()), abs=6e-4)
        assert found.instrumental_dbfs == pytest.approx(dbfs(instrumental[samples].tolist()), abs=6e-4)
    if levels:
        assert levels[-1].start_seconds + levels[-1].seconds == pytest.approx(num_samples / sample_rate)


def test_known_levels():
    sine = torch.sin(torch.arange(48_000) * (2 * math.pi * 100 / 48_000))
    silence, tiny = torch.zeros(48_000), torch.full((48_000,), 1e-7)
    (found,) = measure_levels(sine, silence, 48_000, Fraction(10))
    assert (found.vocal_dbfs, found.instrumental_dbfs, found.seconds) == (-3.01, -120.0, 1.0)
    (found,) = measure_levels(tiny, torch.ones(48_000), 48_000, Fraction(1))
    assert (found.vocal_dbfs, found.instrumental_dbfs) == (-120.0, 0.0)


def test_a_last_clip_of_one_sample_is_a_clip():
    levels = measure_levels(torch.ones(101), torch.ones(101), 10, Fraction(10))
    assert [(each.start_seconds, each.seconds) for each in levels] == [(0.0, 10.0), (10.0, 0.1)]


def test_clips_shorter_than_a_sample_are_refused():
    with pytest.raises(UsageError, match="shorter than a sample"):
        measure_levels(torch.ones(3), torch.ones(3), 10, Fraction(1, 11))


# ---- filter


@pytest.mark.parametrize(
    ("vocal", "instrumental", "reason"),
    [
        (-30.0, -25.0, None),  # on the threshold
        (-30.0, -25.001, "quiet instrumental"),
        (-13.2, -18.2, None),  # 5 dB above
        (-15.998, -20.998, None),  # and here 5.000000000000002 in binary
        (-13.199, -18.2, "loud vocal"),
        (-120.0, -10.0, None),  # a silent vocal is not the filter's matter (3.6)
        (-10.0, -40.0, "quiet instrumental"),  # both: the first counts
    ],
)
def test_the_thresholds_of_the_paper(vocal, instrumental, reason):
    assert ClipFilter().drop_reason(level(vocal, instrumental)) == reason


@given(st.lists(st.sampled_from("+ql"), max_size=30))
def test_runs_cover_the_kept_clips_and_no_other(kinds):
    levels = [
        {"+": level(-20, -18, n), "q": level(-20, -30, n), "l": level(-5, -18, n)}[kind]
        for n, kind in enumerate(kinds)
    ]
    runs = ClipFilter().kept_runs(levels)
    covered = [n for start, end in runs for n in range(int(start / 10), int(end / 10))]
    assert covered == [n for n, kind in enumerate(kinds) if kind == "+"]
    assert all(end < start for (_, end), (start, _) in pairwise(runs)), "runs that touch are one"
    counts = ClipFilter().count_drops(levels)
    assert counts["quiet instrumental"] == kinds.count("q")
    assert counts["loud vocal"] == kinds.count("l")


def test_another_filter_keeps_other_clips_of_the_same_levels():
    levels = [level(-20, -30, 0), level(-20, -18, 1)]
    assert ClipFilter(min_instrumental_dbfs=-40.0, max_vocal_over_db=20.0).kept_runs(levels) == ((0.0, 20.0),)


@pytest.mark.parametrize("changed", [{"min_instrumental_dbfs": 1.0}, {"max_vocal_over_db": float("nan")}])
def test_thresholds_out_of_range_are_refused(changed):
    with pytest.raises(UsageError, match=next(iter(changed))):
        ClipFilter(**changed)
