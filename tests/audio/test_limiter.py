"""The limiter against a slow one, and its promises on loud sounds of all kinds."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from hafm.audio import limiter
from hafm.audio.limiter import LOOKAHEAD_SECONDS, RELEASE_DB_PER_SECOND, limit_peaks
from hafm.audio.true_peak import true_peak_dbtp
from tests.audio.test_true_peak import slow_oversampled
from tests.crossed import crossed

RATE = 8_000


def smooth_reduction(needed: np.ndarray, rate: int, lengths: Sequence[int] = ()) -> np.ndarray:
    """In one stretch, or in some of these lengths and the rest."""
    return np.concatenate(list(limiter.smooth_reduction(np.split(needed, np.cumsum(lengths)), rate)))


def slow_reduction(needed: np.ndarray, rate: int) -> np.ndarray:
    """The three steps of the module's drawing, sample by sample."""
    half = int(np.ceil(LOOKAHEAD_SECONDS * rate / 4))
    reach = 2 * half + 2
    count = len(needed)
    held = [max(needed[max(0, t - reach) : t + reach + 1]) for t in range(count)]
    level, released = 0.0, []
    for value in held:
        level = max(value, level - RELEASE_DB_PER_SECOND / rate)
        released.append(level)
    for _ in range(2):
        padded = [released[0]] * half + released + [released[-1]] * half
        released = [float(np.mean(padded[t : t + 2 * half + 1])) for t in range(count)]
    return np.maximum(released, needed)


@pytest.mark.long
@settings(max_examples=max(3, settings().max_examples // 12))
@given(
    st.lists(st.tuples(st.integers(0, 1999), st.floats(0, 30)), max_size=12), st.sampled_from([4_000, 8_000])
)
def test_fast_equals_slow(peaks: list[tuple[int, float]], rate: int) -> None:
    needed = np.zeros(2000)
    for at, value in peaks:
        needed[at] = value
    fast = smooth_reduction(needed, rate)
    np.testing.assert_allclose(fast, slow_reduction(needed, rate), atol=1e-8)
    assert (fast >= needed).all()
    assert fast.max() <= needed.max() + 1e-8


@pytest.mark.parametrize("lengths", [(), (1,), (7, 1, 0, 50, 2, 900), (1023, 1024), [1] * 200])
@pytest.mark.parametrize("rate", [4_000, 44_100])
def test_stretches_do_not_show(lengths: Sequence[int], rate: int) -> None:
    """To the bit: as scipy has it over the whole."""
    chance = np.random.default_rng(0)
    needed = np.maximum(chance.normal(size=5000) - 1.5, 0) * (np.arange(5000) % 1700 < 600)
    half = int(np.ceil(LOOKAHEAD_SECONDS * rate / 4))
    held = maximum_filter1d(needed, 2 * (2 * half + 2) + 1, mode="constant", cval=0.0)
    fall = RELEASE_DB_PER_SECOND / rate * np.arange(5000)
    held = np.maximum(np.maximum.accumulate(held + fall) - fall, 0)
    for _ in range(2):
        held = uniform_filter1d(held, 2 * half + 1, mode="nearest")
    held[held < 1e-9] = 0
    assert np.array_equal(smooth_reduction(needed, rate, lengths), np.maximum(held, needed))


@pytest.mark.parametrize("seed", range(5))
def test_no_dust_is_left_behind(seed: int) -> None:
    """Running sums leave 1e-16 where there should be nothing; the samples there must not be touched."""
    chance = np.random.default_rng(seed)
    needed = np.zeros(40_000)
    needed[chance.integers(0, 10_000, 50)] = chance.uniform(0, 20, 50)
    assert not smooth_reduction(needed, RATE)[10_000 + int(20 / RELEASE_DB_PER_SECOND * RATE) + 100 :].any()


def test_the_gain_moves_slowly_and_rests_at_zero() -> None:
    needed = np.zeros(48_000)
    needed[20_000] = 12.0
    reduction = smooth_reduction(needed, 48_000)
    steps = np.abs(np.diff(reduction))
    assert steps.max() < 12 / 100, "a fall of 12 dB takes over a hundred samples"
    first = np.flatnonzero(reduction)[0]
    assert 20_000 - first == pytest.approx(LOOKAHEAD_SECONDS * 48_000, abs=10)
    assert not reduction[:first].any()
    assert not reduction[20_000 + int(48_000 * 12.0 / RELEASE_DB_PER_SECOND) + 300 :].any()


def loud_sound(kind: str, rate: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, rate, generator=generator)
    time = torch.arange(rate) / rate
    if kind == "noise":
        return noise
    if kind == "low":
        return 4 * torch.nn.functional.avg_pool1d(noise, 9, 1, 4)
    if kind == "chord":
        return sum(torch.sin(2 * torch.pi * hz * time + hz)[None] for hz in (110.0, 554.4, 0.31 * rate))  # type: ignore[return-value]
    if kind == "bursts":
        return noise * (time * 8 % 1 < 0.1) * 5
    clicks = torch.zeros(1, rate)
    clicks[0, :: rate // 13] = 7.0
    return clicks


@crossed(
    kind=["noise", "low", "chord", "bursts", "clicks"],
    rate=[8_000, 24_000, 44_100],
    ceiling=[-1.0, 0.0, -12.0],
)
def test_the_true_peak_stays_under_the_ceiling(kind: str, rate: int, ceiling: float) -> None:
    sound = loud_sound(kind, rate, seed=rate)
    limited = limit_peaks(sound, rate, ceiling_dbtp=ceiling)
    assert limited.shape == sound.shape
    assert limited.dtype == torch.float32
    assert true_peak_dbtp(sound) > ceiling + 0.1
    measured = true_peak_dbtp(limited)
    assert measured is not None
    assert measured <= ceiling + 1e-3
    peak = 20 * np.log10(float(slow_oversampled(limited).abs().max()))
    assert peak <= ceiling + 0.05
    assert peak > ceiling - 1.0, "and no further down than that"


def test_channels_share_the_gain_and_signs_stay() -> None:
    sound = torch.stack([loud_sound("bursts", RATE, 0)[0], 0.1 * torch.ones(RATE)])
    limited = limit_peaks(sound, RATE)
    gain = limited[1] / sound[1]
    assert float(gain.min()) > 0
    torch.testing.assert_close(limited[0], gain * sound[0])
    assert gain.max() <= 1


@pytest.mark.parametrize("level", [0.0, 0.1, 0.4])
def test_what_lies_under_the_ceiling_is_left_alone(level: float) -> None:
    sound = level * torch.sin(torch.arange(RATE) / 10)[None].repeat(2, 1)
    assert limit_peaks(sound, RATE) is sound


def test_far_from_peaks_the_samples_are_left_alone() -> None:
    sound = 0.1 * torch.randn(1, RATE).clamp(-2, 2)
    sound[0, RATE // 2] = 1.0
    limited = limit_peaks(sound, RATE)
    assert limited[:, : RATE // 2 - 100].equal(sound[:, : RATE // 2 - 100])
    assert limited[:, -1000:].equal(sound[:, -1000:])


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match=r"0 or less, got 0\.5"):
        limit_peaks(torch.ones(1, 100), RATE, ceiling_dbtp=0.5)
    with pytest.raises(ValueError, match="NaN or infinity"):
        limit_peaks(torch.full((1, 100), torch.nan), RATE)
