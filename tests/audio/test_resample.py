"""Resampling: lengths, timing, and how clean it is."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hafm.audio.resample import resample

RATES = st.sampled_from([8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 44_101, 48_000, 96_000, 192_000])


def sine(hz: float, rate: int, seconds: float = 1.0) -> torch.Tensor:
    return torch.sin(
        2 * torch.pi * hz * torch.arange(round(rate * seconds), dtype=torch.float64) / rate
    ).float()[None]


@given(st.integers(0, 3000), RATES, RATES, st.integers(1, 2))
def test_the_length_is_the_ceiling(samples: int, from_hz: int, to_hz: int, channels: int) -> None:
    result = resample(torch.ones(channels, samples), from_hz, to_hz)
    assert result.shape == (channels, math.ceil(Fraction(samples * to_hz, from_hz)))
    assert result.dtype == torch.float32
    assert resample(result, to_hz, from_hz, samples).shape == (channels, samples)


@pytest.mark.parametrize("wanted", [0, 1, 16_000, 15_999, 20_000])
def test_a_length_that_is_asked_for(wanted: int) -> None:
    whole = resample(sine(440, 24_000), 24_000, 16_000)
    result = resample(sine(440, 24_000), 24_000, 16_000, wanted)
    assert result.shape == (1, wanted)
    assert result[:, :16_000].equal(whole[:, :wanted])
    assert not result[:, 16_000:].any()


def test_equal_rates_change_nothing() -> None:
    waveform = torch.randn(2, 1000)
    result = resample(waveform, 44_100, 44_100)
    assert result.equal(waveform)
    assert result.data_ptr() != waveform.data_ptr()


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(44_100, 24_000), (24_000, 44_100), (44_101, 24_000), (192_000, 8_000)]
)
def test_a_tone_stays_that_tone_at_that_time(from_hz: int, to_hz: int) -> None:
    result = resample(sine(997, from_hz), from_hz, to_hz)
    expected = sine(997, to_hz)
    away_from_the_ends = slice(to_hz // 10, -to_hz // 10)
    error = (result - expected)[0, away_from_the_ends]
    noise_db = 10 * math.log10(float(error.square().mean() / expected.square().mean()))
    assert noise_db < -120


def test_the_pass_band_and_what_lies_over_it() -> None:
    middle = slice(2_000, -2_000)
    kept = resample(sine(0.9 * 12_000, 48_000), 48_000, 24_000)[0, middle]
    assert 20 * math.log10(float(kept.square().mean().sqrt()) * math.sqrt(2)) == pytest.approx(0, abs=0.05)
    gone = resample(sine(1.02 * 12_000, 48_000), 48_000, 24_000)[0, middle]
    assert float(gone.abs().max()) < 1e-5


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        resample(torch.tensor([[0.0, torch.nan]]), 24_000, 16_000)
