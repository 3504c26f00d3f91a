"""Augmentation: a pure function, same length, finite, and each link does what it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hafm.data.tokenising.augment import (
    SAMPLE_RATE,
    _band,
    _bleed,
    _drift,
    _dropouts,
    _hum,
    _level,
    _lossy,
    _noise,
    _pops,
    _squash,
    _tilt,
    active_rms,
    augment,
)


def tone(hz: float = 300.0, seconds: float = 1.0, level: float = 0.3) -> np.ndarray:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def decibels(waveform: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(waveform.astype(np.float64) ** 2))))


@given(seed=st.integers(0, 2**31), num_samples=st.integers(1, 9000), silent=st.booleans())
def test_any_vocal_keeps_its_length_and_stays_finite(seed: int, num_samples: int, silent: bool) -> None:
    rng = np.random.default_rng(seed)
    vocal = (0 if silent else 0.3) * rng.standard_normal(num_samples).astype(np.float32)
    band = 0.1 * rng.standard_normal(num_samples).astype(np.float32)
    output = augment(vocal, band, np.random.default_rng(seed))
    assert output.shape == vocal.shape
    assert output.dtype == np.float32
    assert np.isfinite(output).all()
    assert np.abs(output).max() <= 1.0


def test_the_same_generator_gives_the_same_recording_and_another_does_not() -> None:
    vocal, band = tone(), tone(90.0)
    first, again, other = (augment(vocal, band, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(vocal, tone())  # the input is left alone


def test_the_accompaniment_changes_nothing_but_the_bleed() -> None:
    """Without one, the other links draw what they drew with one."""
    vocal = tone()
    for seed in range(20):
        silent = augment(vocal, np.zeros_like(vocal), np.random.default_rng(seed))
        np.testing.assert_array_equal(augment(vocal, None, np.random.default_rng(seed)), silent)


def test_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        augment(tone(), tone(seconds=0.5), np.random.default_rng(0))


def test_levels_cover_the_promised_range() -> None:
    levels = [decibels(_level(tone(), np.random.default_rng(seed))) for seed in range(200)]
    assert -35 <= min(levels) < -33
    assert -12 < max(levels) <= -9.9


def test_noise_lies_10_to_40_db_below_or_at_the_papers_sigma() -> None:
    vocal = tone(level=0.05)
    fixed, ratios = 0, []
    for seed in range(200):
        added = _noise(vocal, np.random.default_rng(seed)) - vocal
        if abs(added.std() - 0.01) < 2e-4:
            fixed += 1
        else:
            ratios.append(decibels(vocal) - decibels(added))
    assert 40 < fixed < 100
    assert 9.5 < min(ratios) < 14
    assert 36 < max(ratios) < 40.5


def test_bleed_is_as_loud_as_asked_for() -> None:
    vocal, band = tone(), tone(90.0, level=0.01)
    assert decibels(_bleed(vocal, band, -30.0) - vocal) - decibels(vocal) == pytest.approx(-30.0, abs=0.01)


def test_tilt_turns_about_one_kilohertz() -> None:
    for seed in range(10):
        rise = [
            decibels(_tilt(tone(hz), np.random.default_rng(seed))) - decibels(tone(hz))
            for hz in (125, 1000, 8000)
        ]
        assert rise[1] == pytest.approx(0.0, abs=0.05)
        assert rise[0] == pytest.approx(-rise[2], abs=0.1)
        assert abs(rise[2]) <= 3.05


@pytest.mark.long
def test_one_band_in_four_is_that_of_a_telephone() -> None:
    phones = 0
    for seed in range(60):
        bass, treble = (
            decibels(_band(tone(hz), np.random.default_rng(seed))) - decibels(tone())
            for hz in (120.0, 6000.0)
        )
        phones += bass < -22 and treble < -14
    assert 6 <= phones <= 26


def test_hum_lies_below_the_voice_at_multiples_of_the_mains() -> None:
    for seed in range(10):
        added = _hum(tone(), np.random.default_rng(seed)) - tone()
        assert -51 < decibels(added) - decibels(tone()) < -24
        power = np.abs(np.fft.rfft(added)) ** 2  # one second: a bin per hertz
        mains = 50 if power[50] > power[60] else 60
        assert power[mains * np.arange(1, 6)].sum() > 0.99 * power.sum()


def test_pops_are_few_deep_and_no_louder_than_the_voice() -> None:
    for seed in range(10):
        added = _pops(tone(), np.random.default_rng(seed)) - tone()
        assert 0 < np.abs(added).max() < 6 * 0.3
        power = np.abs(np.fft.rfft(added)) ** 2
        assert power[:400].sum() > 0.9 * power.sum()
        assert np.mean(np.abs(added) > 1e-4) < 0.7


def test_a_lossy_codec_keeps_strong_tones_and_drops_weak_ones_and_treble() -> None:
    weak, strong = tone(1010.0, level=0.002), tone(1000.0, level=0.3)
    for seed in range(10):
        output = _lossy(strong + weak + tone(11_500.0, level=0.1), np.random.default_rng(seed))
        power = np.abs(np.fft.rfft(output * np.hanning(len(output)))) ** 2
        assert power[11_400:11_600].sum() < 1e-4 * power.sum()
        assert decibels(output) == pytest.approx(decibels(strong), abs=2.0)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(SAMPLE_RATE).astype(np.float32)
    error = [decibels(_lossy(noise, np.random.default_rng(seed)) - noise) for seed in range(10)]
    assert min(error) > -20
    assert max(error) < 0


def test_band_limits_take_away_what_lies_outside() -> None:
    for seed in range(10):
        assert decibels(_band(tone(20.0), np.random.default_rng(seed))) < decibels(tone(20.0)) - 20
        kept = _band(tone(1500.0), np.random.default_rng(seed))
        assert decibels(kept) == pytest.approx(decibels(tone(1500.0)), abs=1.0)


def test_squashing_narrows_the_distance_of_loud_and_soft() -> None:
    vocal = np.concatenate([tone(level=0.5), tone(level=0.1)])
    ranges = []
    for seed in range(30):
        output = _squash(vocal, np.random.default_rng(seed))
        loud, soft = (decibels(half[4800:-4800]) for half in np.split(output, 2))
        ranges.append(loud - soft)
    before = 20 * np.log10(5)
    assert max(ranges) < before + 1e-3
    assert np.mean(ranges) < before - 3


def test_dropouts_are_short_and_leave_most_of_the_sound() -> None:
    for seed in range(10):
        output = _dropouts(np.ones(SAMPLE_RATE, np.float32), np.random.default_rng(seed))
        assert 0.005 < np.mean(output == 0.0) < 4 * 0.06
        assert np.abs(np.diff(output)).max() < 0.1  # faded


def test_drift_stays_within_30_cents_and_20_ms() -> None:
    time = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    for seed in range(10):
        displacement = _drift(time.astype(np.float32), np.random.default_rng(seed)) - time
        inner = slice(SAMPLE_RATE // 2, -SAMPLE_RATE // 2)
        assert 0.0005 < np.abs(displacement[inner]).max() < 0.02


def test_active_rms_ignores_rests() -> None:
    sung = np.concatenate([tone(), np.zeros(3 * SAMPLE_RATE, np.float32)])
    assert active_rms(sung) == pytest.approx(active_rms(tone()), rel=1e-3)
    assert active_rms(np.zeros(10, np.float32)) == 0.0
