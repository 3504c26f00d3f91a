"""The codec's signal processing against slow oracles: frames and samples one by one, phases step by step."""

import cmath
import math

import pytest
import torch

from hafm.tokens.codec.config import CodecConfig
from hafm.tokens.codec.phase import accumulate, advances, make_consistent
from hafm.tokens.codec.stft import analyse, analyse_padded, overlap_add

SMALL = CodecConfig(hop_samples=8, window_samples=32, sample_rate=600, phase_iterations=3, phase_momentum=0.5)
BUILTIN = CodecConfig()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def window(config: CodecConfig) -> torch.Tensor:
    n = config.window_samples
    return torch.tensor([0.5 - 0.5 * math.cos(2 * math.pi * i / n) for i in range(n)], dtype=torch.float64)


def slow_analyse(sound: torch.Tensor, config: CodecConfig) -> torch.Tensor:
    """One frame and one sample at a time; samples outside the sound are 0."""
    frames = math.ceil(len(sound) / config.hop_samples)
    shape = window(config)
    rows = torch.zeros(frames, config.window_samples, dtype=torch.float64)
    for t in range(frames):
        for i in range(config.window_samples):
            sample = t * config.hop_samples - config.margin_samples + i
            if 0 <= sample < len(sound):
                rows[t, i] = sound[sample] * shape[i]
    return torch.fft.rfft(rows) * 2 / shape.sum()


def slow_overlap_add(spectrum: torch.Tensor, config: CodecConfig) -> torch.Tensor:
    """Sample by sample: sum of windowed frames over the sum of squared windows."""
    shape = window(config)
    frames = torch.fft.irfft(spectrum, n=config.window_samples) * shape.sum() / 2
    total = torch.zeros(len(frames) * config.hop_samples, dtype=torch.float64)
    weight = torch.zeros_like(total)
    for t, frame in enumerate(frames):
        for i in range(config.window_samples):
            sample = t * config.hop_samples - config.margin_samples + i
            if 0 <= sample < len(total):
                total[sample] += frame[i] * shape[i]
                weight[sample] += shape[i] ** 2
    return total / weight


@pytest.mark.parametrize("length", [1, 7, 8, 9, 31, 32, 33, 100])
def test_analysis_is_that_of_frames_one_by_one(length: int) -> None:
    sound = noise(length)
    torch.testing.assert_close(analyse(sound[None], SMALL)[0], slow_analyse(sound, SMALL))


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 11])
def test_overlap_add_is_that_of_samples_one_by_one(frames: int) -> None:
    spectrum = torch.complex(noise(2, frames, SMALL.num_bins), noise(2, frames, SMALL.num_bins, seed=1))
    expected = torch.stack([slow_overlap_add(row, SMALL) for row in spectrum])
    torch.testing.assert_close(overlap_add(spectrum, SMALL), expected)


@pytest.mark.parametrize("frames", [1, 2, 5, 40])
def test_overlap_add_inverts_analysis(frames: int) -> None:
    sound = noise(3, frames * BUILTIN.hop_samples)
    torch.testing.assert_close(overlap_add(analyse(sound, BUILTIN), BUILTIN), sound)


def test_true_margins_make_a_crop_the_same_as_the_whole() -> None:
    sound, hop, margin = noise(1, 20 * 320), BUILTIN.hop_samples, BUILTIN.margin_samples
    crop = sound[:, 5 * hop - margin : 9 * hop + margin]
    torch.testing.assert_close(analyse_padded(crop, BUILTIN), analyse(sound, BUILTIN)[:, 5:9])


def test_a_sine_of_amplitude_1_has_magnitude_1() -> None:
    seconds = torch.arange(24_000, dtype=torch.float64) / 24_000
    tone = torch.sin(2 * math.pi * 100 * 18.75 * seconds)[None]
    assert float(analyse(tone, BUILTIN)[0, 30, 100].abs()) == pytest.approx(1, abs=1e-6)


def test_accumulated_phase_is_the_sum_step_by_step() -> None:
    advance, start = noise(1, 6, SMALL.num_bins), noise(1, SMALL.num_bins, seed=1)
    phases = accumulate(advance, start, SMALL)
    turn = 2 * math.pi * SMALL.hop_samples / SMALL.window_samples
    for b in range(SMALL.num_bins):
        expected = float(start[0, b])
        for t in range(6):
            expected += turn * b + float(advance[0, t, b])
            assert cmath.exp(1j * float(phases[0, t, b])) == pytest.approx(cmath.exp(1j * expected))


def test_accumulating_in_pieces_is_accumulating_at_once() -> None:
    advance, start = noise(2, 50, SMALL.num_bins), torch.zeros(2, SMALL.num_bins)
    first = accumulate(advance[:, :23], start, SMALL)
    second = accumulate(advance[:, 23:], first[:, -1], SMALL)
    whole = accumulate(advance, start, SMALL)
    # Compared on the circle: 0 and 2 pi are one phase.
    difference = torch.cat((first, second), dim=1) - whole
    torch.testing.assert_close(difference.cos(), torch.ones_like(whole))


def test_ten_minutes_of_turning_keep_their_precision() -> None:
    turn = torch.full((1, 45_000, SMALL.num_bins), 0.123_456_7)
    end = accumulate(turn, torch.zeros(1, SMALL.num_bins), SMALL)[0, -1, 0]
    expected = math.remainder(45_000 * float(turn[0, 0, 0]), 2 * math.pi)
    assert math.remainder(float(end) - expected, 2 * math.pi) == pytest.approx(0, abs=1e-6)


def test_accumulating_the_advances_of_a_spectrum_gives_its_phases_back() -> None:
    spectrum = analyse(noise(1, 30 * SMALL.hop_samples), SMALL)
    rebuilt = accumulate(advances(spectrum, SMALL), torch.angle(spectrum[:, 0]), SMALL)
    torch.testing.assert_close(torch.cos(rebuilt - torch.angle(spectrum[:, 1:])), torch.ones_like(rebuilt))


def test_consistency_follows_griffin_and_lim_with_momentum() -> None:
    magnitude, phase = noise(1, 9, SMALL.num_bins).abs(), noise(1, 9, SMALL.num_bins, seed=1)
    spectrum = torch.polar(magnitude, phase)[0]
    before = None
    for _ in range(SMALL.phase_iterations):
        projected = slow_analyse(slow_overlap_add(spectrum, SMALL), SMALL)
        aimed = projected if before is None else projected + SMALL.phase_momentum * (projected - before)
        spectrum, before = torch.polar(magnitude[0], torch.angle(aimed)), projected
    torch.testing.assert_close(make_consistent(magnitude, phase, SMALL)[0], spectrum)


def test_a_true_spectrum_is_consistent_already() -> None:
    spectrum = analyse(noise(1, 40 * 320), BUILTIN)
    kept = make_consistent(spectrum.abs(), torch.angle(spectrum), BUILTIN)
    torch.testing.assert_close(kept, spectrum, atol=1e-6, rtol=1e-4)


def test_a_steady_tone_between_bins_stays_a_steady_tone() -> None:
    """The point of it all: constant magnitudes and advances, at a pitch that fits no frame."""
    hertz = 443.21
    seconds = torch.arange(24_000 * 2, dtype=torch.float64) / 24_000
    spectrum = analyse(torch.sin(2 * math.pi * hertz * seconds)[None] * 0.1, BUILTIN)
    middle = spectrum.abs()[:, 75:76].expand(-1, 150, -1)
    turn = advances(spectrum, BUILTIN)[:, 75:76].expand(-1, 150, -1)
    phase = accumulate(turn, torch.zeros(1, BUILTIN.num_bins), BUILTIN)
    sound = overlap_add(make_consistent(middle, phase, BUILTIN), BUILTIN)[0, 12_000:36_000]
    spectrum_of_result = torch.fft.rfft(sound * torch.hann_window(24_000, dtype=torch.float64)).abs()
    assert abs(int(spectrum_of_result.argmax()) - hertz) <= 1
    near = spectrum_of_result[440:447].square().sum() / spectrum_of_result.square().sum()
    assert float(near) > 0.99
