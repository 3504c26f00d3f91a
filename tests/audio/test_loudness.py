"""Loudness against the standard's own figures and a meter written from its text."""

import math

import numpy as np
import pyloudnorm
import pytest
import torch
from scipy.signal import lfilter

from hafm.audio.loudness import integrated_lufs, level_db, normalise_loudness
from tests.crossed import crossed

RATE = 48_000


def slow_lufs(waveform: torch.Tensor) -> float:
    """BS.1770-4 at 48 kHz, from the coefficients that its tables 1 and 2 print, block by block."""
    samples = waveform.double().numpy()
    samples = lfilter([1.53512485958697, -2.69169618940638, 1.19839281085285],
                      [1.0, -1.69065929318241, 0.73248077421585], samples)  # fmt: skip
    samples = lfilter([1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621], samples)
    block, hop = 19_200, 4_800
    starts = range(0, samples.shape[1] - block + 1, hop)
    powers = [float((samples[:, start : start + block] ** 2).mean(axis=1).sum()) for start in starts]
    over_gate = [power for power in powers if -0.691 + 10 * math.log10(power + 1e-30) > -70]
    relative = -0.691 + 10 * math.log10(np.mean(over_gate)) - 10
    return -0.691 + 10 * math.log10(np.mean([p for p in over_gate if -0.691 + 10 * math.log10(p) > relative]))


@pytest.mark.parametrize("channels", [1, 2])
def test_against_a_slow_meter(channels: int) -> None:
    envelope = torch.linspace(0, 1, 5 * RATE) * (torch.arange(5 * RATE) // RATE % 2)  # pauses, for the gates
    waveform = 0.3 * torch.randn(channels, 5 * RATE) * envelope
    assert integrated_lufs(waveform, RATE) == pytest.approx(slow_lufs(waveform), abs=0.1)


@crossed(
    channels=[1, 2],
    seconds=[0.4, 0.45, 1.03, 4.34],  # one block, and up to seven pieces
    rate=[8_000, 11_025, 44_100, 96_000],
)
def test_against_pyloudnorm(channels: int, seconds: float, rate: int) -> None:
    time = torch.arange(math.ceil(seconds * rate)) / rate
    pauses = torch.linspace(0, 1, len(time)) * (2 * time).floor().remainder(3) / 2
    noise = torch.randn(channels, len(time), generator=torch.Generator().manual_seed(0))
    for sound in (
        0.3 * noise * pauses + 0.1,  # gated, with an offset
        2e-4 * noise,  # its blocks lie around the absolute gate
        torch.sin(60 * torch.pi * time).repeat(channels, 1) * pauses,  # rings
    ):
        meter = pyloudnorm.Meter(rate, block_size=0.4)
        expected = float(meter.integrated_loudness(sound.double().T.numpy().copy()))
        found = integrated_lufs(sound, rate)
        assert (-math.inf if found is None else found) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100, 192_000])
@pytest.mark.parametrize("gain_db", [0.0, -23.0, -40.0])
def test_a_tone_at_997_hz(rate: int, gain_db: float) -> None:
    sine = torch.sin(2 * torch.pi * 997 * torch.arange(3 * rate, dtype=torch.float64) / rate).float()[None]
    sine = sine * 10 ** (gain_db / 20)
    # At 8 kHz the K-weighting, made for 48 kHz, is off by 0.2 dB.
    assert integrated_lufs(sine, rate) == pytest.approx(gain_db - 3.01, abs=0.2)
    assert integrated_lufs(sine.repeat(2, 1), rate) == pytest.approx(gain_db, abs=0.2)


def test_what_counts_as_silent() -> None:
    noise = torch.randn(1, RATE)
    for silent in (
        torch.zeros(1, RATE),
        torch.zeros(1, 100),
        torch.zeros(1, 0),
        1e-5 * noise,
        1e-5 * noise[:, :100],
    ):
        assert integrated_lufs(silent, RATE) is None
        same, gain_db = normalise_loudness(silent, RATE, -14.0)
        assert gain_db == 0
        assert same.equal(silent)


@pytest.mark.parametrize("samples", [1, 100, 19_199, 19_200, 19_201])
def test_short_sounds_have_a_level(samples: int) -> None:
    sound = 0.1 * torch.ones(1, samples) * (-1) ** torch.arange(samples)
    loudness = integrated_lufs(sound, RATE)
    assert loudness is not None
    assert -21 < loudness < -10  # the K-weighting lifts such a high tone by up to 4 dB


def test_normalising_hits_the_target() -> None:
    louder, gain_db = normalise_loudness(0.01 * torch.randn(2, 2 * RATE), RATE, -14.0)
    assert gain_db > 10
    assert integrated_lufs(louder, RATE) == pytest.approx(-14, abs=1e-4)


def test_what_has_no_loudness_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        integrated_lufs(torch.full((1, RATE), torch.inf), RATE)
    with pytest.raises(ValueError, match="zeros has no level"):
        level_db(torch.zeros(1, 10))
