"""The built-in embedding: known levels and rates come out where they belong; the name is its own."""

import math

import numpy as np
import pytest
import torch

from hafm.errors import AudioContentError
from hafm.evaluate.embeddings.base import Embedding, embed_sound
from hafm.evaluate.embeddings.builtin import RATE_EDGES_HZ, MelModulation


def beating_noise(rate_hz: float, depth_bels: float, seconds: int = 4) -> torch.Tensor:
    """Noise whose level swings by a sine of `depth_bels`."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(seconds * 24_000) / 24_000
    level = depth_bels * torch.sin(2 * math.pi * rate_hz * time)
    return 0.05 * torch.randn(len(time), generator=generator) * 10 ** (level / 2)


def test_it_is_an_embedding_of_its_own_name() -> None:
    embedding = MelModulation()
    assert isinstance(embedding, Embedding)
    assert embedding.name == "hafm-mel-modulation"
    assert embedding.dim == 128
    assert len(embedding.fingerprint()) == 64
    assert embed_sound(embedding, torch.zeros(10 * 16_000), sample_rate=16_000).shape == (5, 128)


def test_the_level_of_a_tone_stands_in_its_band_in_bels() -> None:
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(48_000) / 24_000)
    loud, soft = MelModulation().embed(tone)[0], MelModulation().embed(0.1 * tone)[0]
    band = int(loud[:32].argmax())
    assert loud[band] == pytest.approx(0.0, abs=0.4)
    assert loud[band] - soft[band] == pytest.approx(2.0, abs=0.01)  # 20 dB
    assert loud[32 + band] < 0.1  # it holds its level, but for the window's ends


@pytest.mark.parametrize("rate_hz", [2.5, 4.0, 6.5, 10.0, 17.0])
def test_a_swing_is_found_at_its_rate_with_its_depth(rate_hz: float) -> None:
    modulation = MelModulation().embed(beating_noise(rate_hz, 0.6))[:, 64:].reshape(-1, 8, 8).mean((0, 1))
    [expected] = [n for n in range(8) if RATE_EDGES_HZ[n] <= rate_hz < RATE_EDGES_HZ[n + 1]]
    assert modulation.argmax() == expected
    assert modulation[expected] == pytest.approx(0.6 / math.sqrt(2), rel=0.25)
    assert np.median(modulation) < 0.5 * modulation[expected]


def test_a_point_depends_on_its_own_stretch_alone() -> None:
    waveform = 0.1 * torch.randn(6 * 24_000 + 5000)
    points = MelModulation().embed(waveform)
    assert points.shape == (3, 128)
    for index, point in enumerate(points):
        alone = MelModulation().embed(waveform[index * 48_000 :][:48_000])[0]
        np.testing.assert_allclose(point, alone, atol=1e-5)
    np.testing.assert_array_equal(points, MelModulation().embed(waveform))


def test_silence_is_finite_and_sounds_that_it_cannot_hear_are_refused() -> None:
    silence = MelModulation().embed(torch.zeros(48_000))
    np.testing.assert_allclose(silence[0, :32], -8.0, atol=1e-5)
    np.testing.assert_allclose(silence[0, 32:], 0.0, atol=1e-5)
    with pytest.raises(AudioContentError, match=r"1\.000 s of sound are too short for hafm-mel-modulation"):
        MelModulation().embed(torch.zeros(24_000))
    with pytest.raises(AudioContentError, match="NaN or infinity"):
        MelModulation().embed(torch.full((48_000,), math.nan))
