"""Levelling and noise before the vocal is tokenised."""

import pytest
import torch

from hafm.tokens.level import NOISE_SIGMA, VOCAL_RMS, active_rms, add_noise, prepare_vocal


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_noise_has_its_sigma_and_its_seed() -> None:
    silence = torch.zeros(3, 40_000)
    noisy = add_noise(silence, sigma=0.01, generator=generator())
    assert noisy.std().item() == pytest.approx(0.01, rel=0.02)
    assert abs(noisy.mean().item()) < 2e-4
    assert torch.equal(add_noise(silence, sigma=0.01, generator=generator()), noisy)
    assert not torch.equal(add_noise(silence, sigma=0.01, generator=generator(1)), noisy)
    assert torch.equal(silence, torch.zeros(3, 40_000))


def test_no_sigma_no_noise() -> None:
    sound = torch.randn(1, 500)
    assert torch.equal(add_noise(sound, sigma=0.0, generator=generator()), sound)
    with pytest.raises(ValueError, match="0 or more"):
        add_noise(sound, sigma=-0.1, generator=generator())


@pytest.mark.parametrize("gain", [1e-3, 1.0, 20.0])
def test_the_noise_is_as_far_below_the_voice_at_any_recording_level(gain: float) -> None:
    voice = torch.sin(torch.arange(48_000) * 0.05)[None]
    prepared = prepare_vocal(gain * voice, sample_rate=24_000, generator=generator())
    clean = prepare_vocal(gain * voice, sample_rate=24_000, generator=generator(), sigma=0.0)
    torch.testing.assert_close(
        active_rms(clean, sample_rate=24_000), torch.tensor([VOCAL_RMS]), rtol=1e-4, atol=0
    )
    assert (prepared - clean).std().item() == pytest.approx(NOISE_SIGMA, rel=0.02)
