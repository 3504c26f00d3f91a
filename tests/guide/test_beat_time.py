"""Beat time: sampling, phases that agree, and the way back to frames."""

import numpy as np
import pytest
from scipy.ndimage import convolve1d

from hafm.guide import beat_time
from hafm.guide.beat_time import at_rate, beginnings, sample_ticks, smoothed, tick_seconds


def test_features_are_sampled_where_they_are() -> None:
    """A feature that is its own time is read off at the ticks and half-way between them."""
    features = ((np.arange(101) + 0.5) / 50)[:, None]
    seconds = tick_seconds(100.0, 2.02)
    assert len(seconds) == 4 * 12
    samples, inside = sample_ticks(features, seconds)
    times = np.arange(len(samples)) * 60 / 100 / 24
    assert inside.tolist() == (times < 2.02).tolist()
    held = (times >= 0.01) & (times <= 2.01)  # between the centres of the first and last frame
    assert np.abs(samples[held, 0] - times[held]).max() < 1e-6


@pytest.mark.parametrize(("frames", "within"), [(1, 1), (3, 2)])
def test_a_sound_of_a_frame_or_three_has_samples(frames: int, within: int) -> None:
    samples, inside = sample_ticks(np.ones((frames, 3)), tick_seconds(60.0, frames / 50))
    assert samples.shape == (24, 3)
    assert (samples == 1).all()
    assert inside.sum() == within


@pytest.mark.parametrize("period", [12, 36, 48])
def test_beginnings_are_where_the_ticks_say(period: int) -> None:
    """Each tick is unsure, and a third of them are wrong; together they are sure and right."""
    ticks = np.arange(10 * period)
    ago = (ticks + 5) % period
    ago[::3] = (ago[::3] + 4) % period
    logits = 5.0 * np.eye(period)[ago]
    chance = beginnings(logits)
    first = np.flatnonzero(chance > 0.5)
    assert first.tolist() == list(range(period - 5, 10 * period, period))


def test_a_phase_that_drifts_is_followed() -> None:
    """A tick per three beats: over the whole, every phase is said as often as any other."""
    places = np.arange(36 * 12) * (1 + 1 / 36)
    chance = beginnings(4.0 * np.eye(12)[np.round(places).astype(int) % 12])
    wanted = (np.arange(1, 36) * 12) / (1 + 1 / 36)
    found = np.flatnonzero(chance > 0.4)
    assert all(np.abs(found - place).min() <= 1 for place in wanted)


def test_values_go_back_to_frames() -> None:
    seconds = tick_seconds(120.0, 4.0)
    values = np.stack([seconds, -seconds], axis=1)
    frames = at_rate(values, seconds, size=150, rate=50)
    np.testing.assert_allclose(frames[:, 0], (np.arange(150) + 0.5) / 50)
    np.testing.assert_allclose(frames[:, 1], -frames[:, 0])


@pytest.mark.parametrize(("num_ticks", "period", "reach"), [(1, 12, 48), (40, 12, 48), (300, 48, 96)])
def test_smoothing_is_scipys(
    num_ticks: int, period: int, reach: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beat_time, "_NUMBERS_AT_ONCE", 700)  # so that there are several blocks
    values = np.random.default_rng(0).normal(size=(num_ticks, period))
    window = np.hanning(2 * reach + 1)[1:-1]
    # Not bit by bit on every processor: some compilers fuse scipy's products with its sums.
    expected = convolve1d(values, window, axis=0, mode="constant")
    np.testing.assert_allclose(smoothed(values, window), expected, rtol=0, atol=1e-12)
