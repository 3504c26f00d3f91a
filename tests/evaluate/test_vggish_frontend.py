"""VGGish's front end against the published formulas, written as slow loops in numpy."""

import math

import numpy as np
import pytest
import torch

from hafm.errors import AudioContentError
from hafm.evaluate.embeddings.vggish_frontend import log_mel_patches, num_patches, vggish_mel_filters


def mel(hz: float) -> float:
    """HTK's mel scale, in its natural-log form."""
    return 1127.0 * math.log(1.0 + hz / 700.0)


def slow_filters() -> np.ndarray:
    """A weight at a time."""
    filters = np.zeros((257, 64))
    step = (mel(7500.0) - mel(125.0)) / 65
    for band in range(64):
        lower = mel(125.0) + band * step
        centre, upper = lower + step, lower + 2 * step
        for fft_bin in range(1, 257):  # 0 Hz counts nothing
            here = mel(fft_bin * 16_000 / 512)
            rising, falling = (here - lower) / (centre - lower), (upper - here) / (upper - centre)
            filters[fft_bin, band] = max(0.0, min(rising, falling))
    return filters


def slow_log_mel(samples: np.ndarray) -> np.ndarray:
    """A frame at a time, with the Fourier sum written out."""
    window = np.array([0.5 - 0.5 * math.cos(2 * math.pi * n / 400) for n in range(400)])
    fourier = np.exp(-2j * np.pi * np.outer(np.arange(257), np.arange(400)) / 512)
    filters = slow_filters()
    rows = []
    start = 0
    while start + 400 <= len(samples):
        spectrum = np.abs(fourier @ (samples[start : start + 400] * window))
        rows.append(np.log(spectrum @ filters + 0.01))
        start += 160
    return np.array(rows)


def test_the_filters_are_the_published_ones() -> None:
    np.testing.assert_allclose(vggish_mel_filters().numpy(), slow_filters(), atol=1e-12)


def test_the_filters_are_htks_in_its_base_ten_form_up_to_its_rounding() -> None:
    """2595 log10(1 + f / 700) differs from 1127 ln(1 + f / 700) by 3e-6 of itself."""
    assert 2595 * math.log10(1 + 4000 / 700) == pytest.approx(mel(4000.0), rel=1e-5)


def test_patches_agree_with_the_slow_route() -> None:
    generator = torch.Generator().manual_seed(1)
    waveform = torch.randn(40_000, generator=generator) * torch.linspace(0.0, 0.5, 40_000)
    patches = log_mel_patches(waveform)
    rows = slow_log_mel(waveform.double().numpy())
    assert len(rows) == 1 + (40_000 - 400) // 160 == 248
    assert patches.dtype == torch.float32
    expected = rows[: 2 * 96].reshape(2, 96, 64)  # 56 frames are left over
    np.testing.assert_allclose(patches.numpy(), expected, rtol=2e-7, atol=1e-6)


def test_long_sounds_go_through_in_blocks_without_a_seam() -> None:
    waveform = torch.randn(18 * 96 * 160 + 400)
    patches = log_mel_patches(waveform)
    assert patches.shape == (18, 96, 64)
    for index in (0, 15, 16, 17):
        alone = log_mel_patches(waveform[index * 96 * 160 :][: 95 * 160 + 400])
        torch.testing.assert_close(patches[index : index + 1], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("num_samples", "count"), [(0, 0), (399, 0), (15_599, 0), (15_600, 1), (30_959, 1), (30_960, 2)]
)
def test_only_whole_patches_count(num_samples: int, count: int) -> None:
    assert num_patches(num_samples) == count
    if count:
        assert len(log_mel_patches(torch.zeros(num_samples))) == count


def test_a_tone_sounds_in_its_band() -> None:
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(16_000) / 16_000)
    band = int(log_mel_patches(tone)[0].mean(0).argmax())
    centres = [mel(125.0) + (n + 1) * (mel(7500.0) - mel(125.0)) / 65 for n in range(64)]
    assert abs(centres[band] - mel(1000.0)) <= 0.5 * (centres[1] - centres[0])


def test_sounds_that_it_cannot_hear_are_refused() -> None:
    with pytest.raises(AudioContentError, match=r"0\.975 s of sound are too short for VGGish, which needs"):
        log_mel_patches(torch.zeros(15_599))
    with pytest.raises(AudioContentError, match="NaN or infinity"):
        log_mel_patches(torch.full((16_000,), math.nan))
