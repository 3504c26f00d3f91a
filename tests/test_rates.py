"""Counts of frames against oracles that never divide."""

import runpy
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hafm import rates
from hafm.rates import CODEC_RATE, SEMANTIC_RATE, convert_frames, frames_for, samples_for
from tests.crossed import crossed

RATES = st.one_of(
    st.integers(1, 400_000), st.fractions(min_value=Fraction(1, 100), max_value=400_000, max_denominator=1001)
)


# The module as it is in the file: the type checks that the tests import it through cost 50 us a call.
UNCHECKED = runpy.run_path(rates.__file__)


@crossed(sample_rate=[24_000, 16_000, 44_100, 11_025], frame_rate=[CODEC_RATE, SEMANTIC_RATE])
def test_every_length_up_to_two_seconds(sample_rate: int, frame_rate: Fraction) -> None:
    """Frame k ends at sample k * sample_rate / frame_rate; a sound needs the first k it does not pass.

    Ends of frames fall on samples again after a second at the latest, so two seconds hold every case twice.
    """
    lengths = np.arange(1, 2 * sample_rate + 1)
    ends_times_rate = np.arange(0, 2 * int(frame_rate) + 2) * sample_rate
    expected = np.searchsorted(ends_times_rate, lengths * int(frame_rate), side="left")
    counted = [
        UNCHECKED["frames_for"](n, sample_rate=sample_rate, frame_rate=frame_rate) for n in lengths.tolist()
    ]
    np.testing.assert_array_equal(counted, expected)
    assert counted[-1] == 2 * frame_rate


@given(st.integers(0, 10**9), RATES, RATES)
def test_frames_cover_the_sound_and_no_frame_is_idle(
    n: int, sample_rate: Fraction, frame_rate: Fraction
) -> None:
    frames = frames_for(n, sample_rate=sample_rate, frame_rate=frame_rate)
    assert frames * sample_rate >= n * frame_rate
    assert n == frames == 0 or (frames - 1) * sample_rate < n * frame_rate


@given(st.integers(0, 10**6), st.integers(1, 500), st.integers(1, 500))
def test_whole_frames_come_back(frames: int, frame_rate: int, hop: int) -> None:
    samples = samples_for(frames, frame_rate=frame_rate, sample_rate=frame_rate * hop)
    assert samples == frames * hop
    assert frames_for(samples, sample_rate=frame_rate * hop, frame_rate=frame_rate) == frames
    assert frames_for(samples + 1, sample_rate=frame_rate * hop, frame_rate=frame_rate) == frames + 1


@given(st.integers(0, 10**6), RATES, RATES)
def test_converted_frames_cover(frames: int, from_rate: Fraction, to_rate: Fraction) -> None:
    converted = convert_frames(frames, from_rate, to_rate)
    assert converted * from_rate >= frames * to_rate
    assert converted == 0 or (converted - 1) * from_rate < frames * to_rate
    assert convert_frames(frames, from_rate, from_rate) == frames


def test_the_traps_of_floating_point() -> None:
    assert convert_frames(499, SEMANTIC_RATE, CODEC_RATE) == 749  # int(499 * 1.5) is 748
    assert frames_for(10**18 + 1, sample_rate=10**18, frame_rate=1) == 2  # float(10**18 + 1) == 1e18


def test_frames_that_end_between_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="640/3 samples"):
        samples_for(1, frame_rate=CODEC_RATE, sample_rate=16_000)


def test_wrong_counts_and_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="num_samples must be 0 or more, got -1"):
        frames_for(-1, sample_rate=24_000, frame_rate=75)
    with pytest.raises(ValueError, match="rate must be above 0 Hz, got 0"):
        frames_for(1, sample_rate=0, frame_rate=75)
    with pytest.raises(ValueError, match="rate must be above 0 Hz, got -50"):
        convert_frames(1, -50, 75)


@pytest.mark.parametrize("call", [
    lambda: frames_for(1.0, sample_rate=24_000, frame_rate=75),
    lambda: frames_for(1, sample_rate=44_100.0, frame_rate=75),
    lambda: convert_frames(1, 50, 75.0),
])  # fmt: skip
def test_floats_are_refused(call) -> None:  # type: ignore[no-untyped-def]
    # TypeError of ours, or of the type checker that the tests import the package through.
    with pytest.raises(Exception, match=r"must be an int\b|Type-check error"):
        call()
