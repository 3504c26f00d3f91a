"""True peaks against interpolation of the whole waveform at once."""

import math

import pytest
import torch

from hafm.audio.true_peak import OVERSAMPLING, oversampled_blocks, true_peak_dbtp


def slow_oversampled(waveform: torch.Tensor) -> torch.Tensor:
    """`[C, T] -> [C, T, 4]` by one FFT of everything, in float64, with silence around it."""
    channels, samples = waveform.shape
    padded = torch.nn.functional.pad(waveform.double(), (2048, 2048 + samples % 2))
    length = padded.shape[1]
    spectrum = torch.fft.rfft(padded)
    spectrum[:, -1] /= 2
    finer = torch.fft.irfft(spectrum, n=OVERSAMPLING * length) * OVERSAMPLING
    return finer.reshape(channels, length, OVERSAMPLING)[:, 2048 : 2048 + samples]


def joined(waveform: torch.Tensor) -> torch.Tensor:
    return torch.cat([block for _, block in oversampled_blocks(waveform)], dim=1)


@pytest.mark.parametrize("samples", [1, 2, 1023, 30_719, 30_720, 30_721, 70_001])
def test_blocks_equal_the_whole(samples: int) -> None:
    waveform = torch.randn(2, samples)
    result = joined(waveform)
    assert result.shape == (2, samples, OVERSAMPLING)
    assert result[:, :, 0].equal(waveform), "phase 0 is the waveform"
    # White noise is the worst case: what it has at the Nyquist frequency itself (1 / sqrt(32768) of it) has
    # no phase, and two blockings may read it differently.
    assert float((result - slow_oversampled(waveform)).abs().max()) < 3e-2


def test_music_like_sound_is_interpolated_closely() -> None:
    waveform = torch.nn.functional.avg_pool1d(torch.randn(1, 100_000), 4, 1)
    assert float((joined(waveform) - slow_oversampled(waveform)).abs().max()) < 1e-3


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("cycles", [0.01, 0.11, 0.25, 0.4])
def test_a_tone_peaks_where_it_does(phase: float, cycles: float) -> None:
    time = torch.arange(8_000, dtype=torch.float64)
    tone = torch.sin(2 * torch.pi * (cycles * time + phase)) * torch.hann_window(8_000, dtype=torch.float64)
    worst_at_4x = 20 * math.log10(math.cos(math.pi * cycles / OVERSAMPLING))
    peak = true_peak_dbtp(0.5 * tone.float()[None])
    assert peak is not None
    assert worst_at_4x - 0.01 < peak - 20 * math.log10(0.5) < 0.01


def test_silence_has_no_peak() -> None:
    assert true_peak_dbtp(torch.zeros(2, 100)) is None
    assert true_peak_dbtp(torch.zeros(1, 0)) is None
    with pytest.raises(ValueError, match="NaN or infinity"):
        true_peak_dbtp(torch.tensor([[torch.nan]]))
