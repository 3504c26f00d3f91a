"""Onsets: a known delay is the lag, of either sign, and noise correlates with nothing."""

import pytest
import torch

from hafm.audio.resample import resample
from hafm.evaluate.fit.onsets import align_onsets, onset_envelope
from tests.evaluate.fit.band import RATE, accompaniment, delayed, tone, vocal


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.1, 0.2, 0.28])
def test_a_delay_is_the_lag(seconds):
    played = torch.cat([tone(60, length) for length in (0.4, 0.7, 0.33, 0.9, 0.55)])
    late = delayed(played, seconds)
    assert align_onsets(played, late, RATE).lag_seconds == pytest.approx(seconds, abs=0.011)
    assert align_onsets(late, played, RATE).lag_seconds == pytest.approx(-seconds, abs=0.011)


def test_the_vocal_comes_with_its_band():
    alignment = align_onsets(vocal(), accompaniment(), RATE)
    assert alignment.lag_seconds == pytest.approx(0.0, abs=0.021)
    noise = 0.1 * torch.randn(len(vocal()), generator=torch.Generator().manual_seed(0))
    assert alignment.correlation > 0.5 > 0.2 > align_onsets(vocal(), noise, RATE).correlation


def test_the_sums_are_those_of_the_definition():
    first, second = (onset_envelope(s, RATE).double() for s in (vocal(), delayed(accompaniment(), 0.07)))
    first, second = first - first.mean(), second - second.mean()
    slow = max(
        float(
            (
                first[max(0, -lag) : len(first) - max(0, lag)]
                * second[max(0, lag) :][: len(first) - abs(lag)]
            ).sum()
        )
        for lag in range(-30, 31)
    )
    found = align_onsets(vocal(), delayed(accompaniment(), 0.07), RATE)
    assert found.correlation == pytest.approx(slow / float(first.norm() * second.norm()), abs=1e-4)


def test_silence_and_a_single_sample_align_with_nothing():
    assert align_onsets(vocal(), torch.zeros(len(vocal())), RATE) is None
    assert align_onsets(torch.ones(1), torch.ones(1), RATE) is None


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_other_rates_say_the_same(rate):
    first, second = (
        resample(s[None], RATE, rate)[0] for s in (accompaniment(), delayed(accompaniment(), 0.1))
    )
    assert align_onsets(first, second, rate).lag_seconds == pytest.approx(0.1, abs=0.011)
