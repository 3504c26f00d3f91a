"""The second version's synthesis: held bass notes, texture, the join of the two windows, and its settings."""

import math
from dataclasses import replace

import pytest
import torch

from hafm.errors import BundleDamaged
from hafm.tokens.codec.config import CodecConfig, LowsConfig
from hafm.tokens.codec.lows import (
    TEXTURE_FRAMES,
    TYPICAL_NOISE,
    centred_start,
    join_lows,
    low_sound,
    textured,
)
from hafm.tokens.codec.model import SpectralCodec
from hafm.tokens.codec.phase import accumulate, advances
from hafm.tokens.codec.stft import analyse, overlap_add

CONFIG = CodecConfig(lows=LowsConfig())
LOWS = LowsConfig()


def tones(*hertz: float, seconds: float = 3.0) -> torch.Tensor:
    time = torch.arange(round(24_000 * seconds), dtype=torch.float64) / 24_000
    return sum((0.1 * torch.sin(2 * math.pi * hz * time) for hz in hertz), torch.zeros_like(time)).float()[
        None
    ]


def held(values: torch.Tensor, frames: int = 225) -> torch.Tensor:
    """One frame from the middle, again and again: what constant codes decode to."""
    return values[:, 112:113].expand(-1, frames, -1)


def strengths(sound: torch.Tensor, *hertz: float) -> list[float]:
    """Share of the energy within 1.5 Hz of each frequency, edges left out."""
    middle = sound[0, 12_000:60_000]
    power = torch.fft.rfft(middle * torch.hann_window(len(middle))).abs().square()
    return [float(power[round(2 * hz) - 3 : round(2 * hz) + 4].sum() / power.sum()) for hz in hertz]


def held_by_long_windows(sound: torch.Tensor) -> torch.Tensor:
    grid = CONFIG.low_grid
    spectrum = analyse(sound, grid)[..., : LOWS.num_bins]
    turn = torch.nn.functional.pad(advances(spectrum, grid), (0, 0, 1, 0))
    phase = accumulate(held(turn), centred_start(LOWS.num_bins, 1, sound.device), grid)
    return low_sound(held(spectrum.abs()), phase, CONFIG)


def held_by_short_windows(sound: torch.Tensor) -> torch.Tensor:
    spectrum = analyse(sound, CONFIG)
    turn = torch.nn.functional.pad(advances(spectrum, CONFIG), (0, 0, 1, 0))
    phase = accumulate(held(turn), torch.zeros(1, CONFIG.num_bins), CONFIG)
    return overlap_add(torch.polar(held(spectrum.abs()), phase.float()), CONFIG)


def test_constant_codes_hold_two_bass_notes_and_short_windows_cannot() -> None:
    """C2 and E flat 2, 12 Hz apart: the reason for the long window."""
    chord = (65.41, 77.78)
    assert min(strengths(held_by_long_windows(tones(*chord)), *chord)) > 0.4
    assert min(strengths(held_by_short_windows(tones(*chord)), *chord)) < 0.2


def test_the_low_path_returns_its_sound_at_the_full_rate() -> None:
    """True magnitudes and phases come back as the sound, though it was made at a tenth of the rate."""
    sound = tones(110, 311)
    spectrum = analyse(sound, CONFIG.low_grid)[..., : LOWS.num_bins]
    made = low_sound(spectrum.abs(), spectrum.angle(), CONFIG)
    error = (made - sound)[:, 4_000:-4_000]
    assert float(error.square().mean()) < 1e-4 * float(sound.square().mean())


def test_sure_bins_keep_their_phase_and_unsure_ones_scatter_like_noise() -> None:
    magnitude, phase = torch.ones(1, 200, CONFIG.num_bins), torch.zeros(1, 200, CONFIG.num_bins)
    steady = textured(magnitude, phase, torch.full_like(magnitude, 0.99), 0, CONFIG)
    assert torch.equal(steady, magnitude.to(steady.dtype))
    noise = textured(magnitude, phase, torch.full_like(magnitude, 0.6), 0, CONFIG)[..., 1:-1].abs()
    assert float(noise.square().mean().sqrt()) == pytest.approx(1 / TYPICAL_NOISE, rel=0.02)
    # Magnitudes of Gaussian noise are spread as Rayleigh says: standard deviation over mean .523.
    assert float(noise.std() / noise.mean()) == pytest.approx(math.sqrt(4 / math.pi - 1), rel=0.03)


def test_texture_is_laid_by_absolute_frame() -> None:
    magnitude, phase = torch.ones(1, 40, CONFIG.num_bins), torch.zeros(1, 40, CONFIG.num_bins)
    whole = textured(magnitude, phase, 0 * magnitude, TEXTURE_FRAMES - 20, CONFIG)
    part = textured(magnitude[:, 15:], phase[:, 15:], 0 * magnitude[:, 15:], TEXTURE_FRAMES - 5, CONFIG)
    assert torch.equal(part, whole[:, 15:])
    again = textured(magnitude[:, 20:], phase[:, 20:], 0 * magnitude[:, 20:], 0, CONFIG)
    assert torch.equal(again, whole[:, 20:])


def test_lows_come_from_the_long_window_and_the_rest_from_the_short_one() -> None:
    plain = replace(CONFIG, lows=replace(LOWS, envelope_share=0.0))
    high = analyse(tones(300, 2_000), plain)
    made = join_lows(high, tones(150), plain)
    low, replaced, kept = strengths(made, 150, 300, 2_000)
    assert (low, kept) == (pytest.approx(0.5, abs=0.03), pytest.approx(0.5, abs=0.03))
    assert replaced < 1e-4


def test_the_short_window_says_how_loud_the_lows_are() -> None:
    follow = replace(CONFIG, lows=replace(LOWS, envelope_share=1.0))
    wanted = analyse(tones(150), follow)
    made = join_lows(wanted, 1.7 * tones(150), follow)
    assert float(made[:, 4_000:-4_000].std()) == pytest.approx(0.1 / math.sqrt(2), rel=0.02)


def test_resynthesis_keeps_level_and_pitch() -> None:
    codec = SpectralCodec(config=replace(CONFIG, width=8, hidden=8))
    made = codec.resynthesise(tones(82.41, 1_234.5)[None])[0]
    assert min(strengths(made, 82.41, 1_234.5)) > 0.45


def test_settings_survive_json_and_the_first_version_has_none() -> None:
    assert CodecConfig.from_json(CONFIG.to_json()) == CONFIG
    first = CodecConfig().to_json()
    assert "lows" not in first
    assert CodecConfig.from_json(first).lows is None


def test_unknown_settings_of_the_lows_are_refused() -> None:
    values = CONFIG.to_json()
    values["lows"]["colour"] = values["lows"].pop("num_bins")
    with pytest.raises(BundleDamaged, match=r"unknown \['colour'\], missing \['num_bins'\]"):
        CodecConfig.from_json(values)
    with pytest.raises(BundleDamaged, match="not an object"):
        CodecConfig.from_json({**values, "lows": 3})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("window_samples", 1_280, "longer than window_samples"),
        ("window_samples", 4_000, "multiple of hop_samples"),
        ("decimation", 7, "must divide the hop"),
        ("num_bins", 193, "below half of it"),
        ("num_bins", 80, "above the low path's highest bin"),
        ("crossover_low_bin", 32, "must be above"),
        ("phase_iterations", -1, "whole number"),
        ("envelope_share", 1.5, "from 0 to 1"),
        ("noise_tonality", 0.995, "the second above the first"),
        ("tone_tonality", 1.1, "from 0 to 1"),
    ],
)
def test_settings_out_of_range_are_refused(field: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, lows=replace(LOWS, **{field: value}))
