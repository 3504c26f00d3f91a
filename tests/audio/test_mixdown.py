"""The mix: what it promises about the vocal, the levels and the peaks."""

import json
import math
from dataclasses import asdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hafm.audio import mixdown as module
from hafm.audio.loudness import integrated_lufs
from hafm.audio.mixdown import MAX_REDUCTION_DB, mixdown
from hafm.audio.true_peak import true_peak_dbtp
from hafm.errors import UsageError
from tests.audio.test_true_peak import slow_oversampled
from tests.crossed import crossed

RATE = 24_000


def singing(channels: int = 1, seed: int = 0) -> torch.Tensor:
    """Phrases and pauses, with soft attacks."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(3 * RATE) / RATE
    envelope = (torch.sin(2 * torch.pi * 0.7 * time)).clamp(min=0).sqrt()
    vibrato = 0.5 * torch.sin(35 * time)
    tones = [torch.sin(2 * torch.pi * hz * time + vibrato) for hz in (262.0, 524.0, 786.0)]
    sides = 0.9 + 0.1 * torch.rand(channels, 1, generator=generator)
    return 0.05 * sides * envelope * sum(tones)


def band(channels: int = 2, seed: int = 1) -> torch.Tensor:
    """Drum hits on a hum."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(3 * RATE) / RATE
    hits = torch.randn(channels, 3 * RATE, generator=generator) * torch.exp(-40 * (time * 3 % 1))
    return 0.2 * hits + 0.05 * torch.sin(2 * torch.pi * 131 * time)


def gain(db: float) -> float:
    return 10 ** (db / 20)


@crossed(vocal_channels=[1, 2], band_channels=[1, 2], loudness=[-30.0, -14.0, -6.0])
def test_the_vocal_in_the_mix_is_the_recording_times_one_constant(
    vocal_channels: int, band_channels: int, loudness: float
) -> None:
    vocal, accompaniment = singing(vocal_channels), band(band_channels)
    mix, levels = mixdown(vocal, accompaniment, RATE, loudness_lufs=loudness)
    assert mix.shape == (max(vocal_channels, band_channels), 3 * RATE)
    assert mix.isfinite().all()
    # What is left without the vocal is the accompaniment times a gain from 1 to the deepest reduction.
    rest = mix.double() - gain(levels.vocal_gain_db) * vocal.double()
    full = gain(levels.accompaniment_gain_db) * accompaniment.double().expand_as(rest)
    heard = full.abs() > 1e-3
    ratio = (rest / full)[heard]
    assert float(ratio.max()) < 1 + 1e-3
    assert float(ratio.min()) > gain(-levels.limiter_reduction_db) - 1e-3
    assert levels.limiter_reduction_db <= MAX_REDUCTION_DB + 1e-6
    assert (loudness == -30.0) == (levels.limiter_reduction_db == 0)
    if loudness == -6.0:
        assert levels.limiter_reduction_db == pytest.approx(MAX_REDUCTION_DB, abs=0.1)


@pytest.mark.long
@settings(max_examples=max(3, settings().max_examples // 16))
@given(
    st.integers(1, 2),
    st.integers(1, 2),
    st.floats(-12, 12),
    st.floats(-24, -4),
    st.floats(-6, 0),
    st.integers(0, 100),
)
def test_the_ceiling_holds(
    vocal_channels: int, band_channels: int, balance: float, loudness: float, ceiling: float, seed: int
) -> None:
    mix, levels = mixdown(
        singing(vocal_channels, seed), band(band_channels, seed),
        RATE, balance_db=balance, loudness_lufs=loudness, ceiling_dbtp=ceiling,
    )  # fmt: skip
    assert 20 * math.log10(float(slow_oversampled(mix).abs().max())) <= ceiling + 0.05
    assert levels.mix_true_peak_dbtp is not None
    assert levels.mix_lufs is not None
    assert levels.mix_true_peak_dbtp <= ceiling + 0.01
    assert levels.mix_lufs <= loudness + 0.2
    if levels.mix_lufs < loudness - 1:
        assert levels.mix_true_peak_dbtp > ceiling - 0.6, (
            "quieter than asked only where the ceiling is reached"
        )


@pytest.mark.parametrize("balance", [-10.0, 0.0, 6.0])
def test_balance_and_loudness_are_met_where_there_is_room(balance: float) -> None:
    vocal, accompaniment = singing(), band(1)
    mix, levels = mixdown(vocal, accompaniment, RATE, balance_db=balance, loudness_lufs=-30.0)
    assert levels.limiter_reduction_db == 0
    assert levels.mix_lufs == pytest.approx(-30, abs=1e-3)
    placed = integrated_lufs(accompaniment * gain(levels.accompaniment_gain_db), RATE)
    sung = integrated_lufs(vocal * gain(levels.vocal_gain_db), RATE)
    assert placed is not None
    assert sung is not None
    assert placed - sung == pytest.approx(balance, abs=1e-3)
    assert levels.mix_true_peak_dbtp == true_peak_dbtp(mix)


@pytest.mark.slow
def test_a_mix_upside_down_is_the_mix_upside_down() -> None:
    mix, _ = mixdown(singing(), band(), RATE, loudness_lufs=-6.0)
    mirrored, _ = mixdown(-singing(), -band(), RATE, loudness_lufs=-6.0)
    torch.testing.assert_close(mirrored, -mix)


def test_mono_stays_in_the_middle() -> None:
    mix, _ = mixdown(singing(1), band(1).repeat(2, 1), RATE)
    assert mix[0].equal(mix[1])
    mix, _ = mixdown(singing(1), band(1), RATE)
    assert mix.shape[0] == 1


def test_silence_on_either_side() -> None:
    silence = torch.zeros(1, 3 * RATE)
    mix, levels = mixdown(singing(), silence, RATE)
    torch.testing.assert_close(mix, singing() * gain(levels.vocal_gain_db))
    assert levels.accompaniment_lufs is None
    mix, levels = mixdown(silence, band(), RATE)
    assert levels.mix_lufs is not None
    assert true_peak_dbtp(mix) <= -0.99
    mix, levels = mixdown(silence, silence, RATE)
    assert not mix.any()
    assert levels.mix_true_peak_dbtp is None
    json.dumps(asdict(levels), allow_nan=False)


def test_a_whisper_and_an_impulse_give_finite_mixes() -> None:
    impulse = torch.zeros(1, 3 * RATE)
    impulse[0, 100] = 1.0
    for vocal in (1e-3 * singing(), impulse, singing()[:, : RATE // 10] + 0.7):
        mix, levels = mixdown(vocal, band()[:, : vocal.shape[1]], RATE)
        assert mix.isfinite().all()
        assert true_peak_dbtp(mix) <= -0.99
        json.dumps(asdict(levels), allow_nan=False)


@pytest.mark.parametrize(("loudness", "looks"), [(-30.0, 0), pytest.param(-14.0, 1, marks=pytest.mark.slow)])
def test_a_limiter_that_need_not_look_would_have_found_nothing(
    loudness: float, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, look = list[None](), module.reduced
    monkeypatch.setattr(module, "reduced", lambda *args: (looked.append(None), look(*args))[1])
    mix, levels = mixdown(singing(), band(), RATE, loudness_lufs=loudness)
    assert len(looked) == looks
    monkeypatch.setattr(module, "_CLOSE_DB", math.inf)
    always, same_levels = mixdown(singing(), band(), RATE, loudness_lufs=loudness)
    assert len(looked) == looks + 1
    assert mix.equal(always)
    assert levels == same_levels


def test_wrong_arguments() -> None:
    for wrong in (
        {"balance_db": math.nan},
        {"loudness_lufs": 3.0},
        {"ceiling_dbtp": 0.1},
        {"balance_db": -61.0},
    ):
        with pytest.raises(UsageError, match=r"--\w+ is .*; give -\d+ to \d+"):
            mixdown(singing(), band(), RATE, **wrong)
    with pytest.raises(Exception, match=r"they must agree|Type-check error"):
        mixdown(singing(), band()[:, 1:], RATE)
    with pytest.raises(ValueError, match=r"must be \[1 or 2, T\]"):
        mixdown(singing().repeat(3, 1), band(), RATE)
    with pytest.raises(ValueError, match="NaN"):
        mixdown(singing() / 0, band(), RATE)
