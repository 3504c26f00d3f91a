"""The separator against an oracle in loops, at every length that could go wrong, and in every form."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from hafm.audio.resample import resample
from hafm.errors import UsageError
from tests.crossed import crossed
from tests.separate import onnx_nets, oracle
from tests.separate.conftest import Opened

CHUNK, MARGIN, SHARED, STEP = oracle.layout(onnx_nets.config())
WINDOW = onnx_nets.config().n_fft
LENGTHS = [1, 2]
LENGTHS += [each + by for each in (WINDOW, STEP - SHARED, STEP, CHUNK - MARGIN, CHUNK) for by in (-1, 0, 1)]
LENGTHS += [2 * STEP + SHARED, 3_001]


def music(samples: int, *, peak: float = 0.9, channels: int = 2, seed: int = 0) -> torch.Tensor:
    """Tones and noise, another on each side."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(samples) / onnx_nets.RATE
    hertz = torch.tensor([[440.0], [1_100.0]])[:channels]
    sound = torch.sin(2 * torch.pi * hertz * time) + 0.3 * torch.randn(channels, samples, generator=generator)
    return sound * (peak / sound.abs().max())


def low_band(image: np.ndarray) -> np.ndarray:
    return image * (np.arange(image.shape[1]) < 12)[None, :, None]


KNOWN: dict[str, tuple[onnx_nets.Net, Callable[[np.ndarray], np.ndarray]]] = {
    "identity": (onnx_nets.identity, lambda image: image),
    "gain": (onnx_nets.gain(0.5), lambda image: 0.5 * image),
    "band": (onnx_nets.band(lambda bins: bins < 12), low_band),
    "swap": (onnx_nets.swap_sides, lambda image: image[[2, 3, 0, 1]]),
    "real": (onnx_nets.real_parts, lambda image: image * np.array([1, 0, 1, 0])[:, None, None]),
}


@pytest.mark.parametrize("peak", [0.25, 0.9])
@pytest.mark.parametrize("name", KNOWN)
def test_known_nets_against_the_oracle(name: str, peak: float, opened: Opened) -> None:
    net, answer = KNOWN[name]
    separator, mix = opened(net), music(1_500, peak=peak)
    vocal, instrumental = separator.separate(mix)
    expected = oracle.chunked(mix.double().numpy(), separator.config, answer)
    np.testing.assert_allclose(vocal, expected, atol=1e-6)
    np.testing.assert_allclose(instrumental, mix.numpy() - expected, atol=1e-6)


@pytest.mark.parametrize("samples", LENGTHS)
def test_every_length_against_the_oracle(samples: int, opened: Opened) -> None:
    separator, mix = opened(onnx_nets.identity), music(samples)
    vocal, _ = separator.separate(mix)
    expected = oracle.chunked(mix.double().numpy(), separator.config, lambda image: image)
    np.testing.assert_allclose(vocal, expected, atol=1e-6)


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("samples", [1, CHUNK - 1, CHUNK, 2_001])
def test_there_are_no_seams(name: str, samples: int, opened: Opened) -> None:
    """A net that treats each frame by itself: the result is one transform over the whole, as if uncut."""
    net, answer = KNOWN[name]
    separator, mix = opened(net, compensate=1.03), music(samples)
    expected = oracle.seamless(mix.double().numpy(), separator.config, answer)
    np.testing.assert_allclose(separator.separate(mix)[0], expected, atol=2e-6)


@pytest.mark.parametrize(
    "changes", [{"n_fft": 48, "hop": 10}, {"hop": 8, "dim_t": 31}, {"dim_t": 8}, {"dim_f": 33}]
)
def test_other_shapes_against_the_oracle(changes: dict[str, int], opened: Opened) -> None:
    changes = {"dim_f": 20, **changes}
    separator, mix = opened(onnx_nets.identity, **changes), music(700)
    expected = oracle.chunked(mix.double().numpy(), separator.config, lambda image: image)
    np.testing.assert_allclose(separator.separate(mix)[0], expected, atol=1e-6)


def test_the_identity_gives_the_mix_back_but_for_the_bins_that_it_is_not_shown(opened: Opened) -> None:
    """A tone between them is the vocal, whole; a constant is no part of it."""
    angle = 2 * torch.pi / WINDOW * 16 * torch.arange(2_000, dtype=torch.float64)
    inside = 0.5 * torch.sin(angle).float().expand(2, -1)
    # A Hann window spreads a tone on a bin over its neighbours alone. The ends of the sound are steps.
    vocal, _ = opened(onnx_nets.identity).separate(inside)
    assert (vocal - inside)[:, WINDOW:-WINDOW].abs().max() < 2e-6
    below = torch.full((2, 2_000), 0.5)
    vocal, instrumental = opened(onnx_nets.identity).separate(below)
    assert vocal[:, WINDOW:-WINDOW].abs().max() < 2e-6
    assert (instrumental - below)[:, WINDOW:-WINDOW].abs().max() < 2e-6


@pytest.mark.parametrize("peak", [0.25, 0.9, 3.0])
def test_levels_are_not_touched(peak: float, opened: Opened) -> None:
    """Twice the mix is twice the stem. A separator that divides by the peak fails here."""
    separator, mix = opened(onnx_nets.band(lambda bins: bins < 12)), music(2_000, peak=0.25)
    vocal, _ = separator.separate(mix)
    louder, _ = separator.separate(mix * (peak / 0.25))
    torch.testing.assert_close(louder, vocal * (peak / 0.25), atol=1e-5, rtol=1e-5)


def test_compensation_and_the_other_stem(opened: Opened) -> None:
    mix = music(1_000)
    plain, _ = opened(onnx_nets.identity).separate(mix)
    vocal, instrumental = opened(onnx_nets.identity, compensate=1.25).separate(mix)
    torch.testing.assert_close(vocal, 1.25 * plain)
    torch.testing.assert_close(vocal + instrumental, mix)
    other_vocal, other = opened(onnx_nets.identity, primary_stem="instrumental").separate(mix)
    assert other.equal(plain)
    torch.testing.assert_close(other_vocal, mix - plain)


@crossed(rate=[onnx_nets.RATE, 11_025, 44_100], cut=[1, 77, 481, 100_000])
def test_blocks_are_the_whole_bit_for_bit(rate: int, cut: int, opened: Opened) -> None:
    separator, mix = opened(onnx_nets.band(lambda bins: bins < 12)), music(2_500)
    whole = separator.separate(mix, sample_rate=rate)
    parts = list(separator.separate_blocks(mix.split(cut, dim=1), sample_rate=rate))
    for stem in (0, 1):
        assert torch.cat([part[stem] for part in parts], dim=1).equal(whole[stem])


def test_threads_do_not_change_a_bit(opened: Opened) -> None:
    mix = music(5_000)
    one, _ = opened(onnx_nets.band(lambda bins: bins < 12)).separate(mix)
    four, _ = opened(onnx_nets.band(lambda bins: bins < 12), threads=4).separate(mix)
    assert one.equal(four)


def test_memory_is_bounded(opened: Opened) -> None:
    """Stems come while the mix is still being read: less than two chunks are held."""
    separator = opened(onnx_nets.identity)
    read = 0

    def blocks() -> "list[torch.Tensor]":
        nonlocal read
        for _ in range(200):
            read += 64
            yield music(64)

    written = 0
    for vocal, _ in separator.separate_blocks(blocks()):
        written += vocal.shape[1]
        assert read - written <= 2 * CHUNK
    assert read == written == 200 * 64


@pytest.mark.parametrize("rate", [7_999, 11_025, 22_050, 48_000])
@pytest.mark.parametrize("samples", [1, 479, 1_001])
def test_other_rates_have_the_mixs_length_and_sum_to_it(rate: int, samples: int, opened: Opened) -> None:
    mix = music(samples)
    vocal, instrumental = opened(onnx_nets.gain(0.7)).separate(mix, sample_rate=rate)
    assert vocal.shape == instrumental.shape == mix.shape
    torch.testing.assert_close(vocal + instrumental, mix, atol=1e-6, rtol=0)


def test_another_rate_is_resampling_around_the_nets(opened: Opened) -> None:
    separator, mix = opened(onnx_nets.band(lambda bins: bins < 12)), music(3_000)
    vocal, _ = separator.separate(mix, sample_rate=16_000)
    inner, _ = separator.separate(resample(mix, 16_000, onnx_nets.RATE))
    torch.testing.assert_close(vocal, resample(inner, onnx_nets.RATE, 16_000, 3_000), atol=1e-6, rtol=0)


def test_mono_is_heard_on_both_sides(opened: Opened) -> None:
    mix = music(1_000, channels=1)
    separator = opened(onnx_nets.band(lambda bins: bins < 12))
    vocal, instrumental = separator.separate(mix)
    stereo, _ = separator.separate(mix.expand(2, -1))
    assert vocal.shape == instrumental.shape == (1, 1_000)
    torch.testing.assert_close(vocal, stereo.mean(dim=0, keepdim=True))
    torch.testing.assert_close(vocal + instrumental, mix)


def test_silence_stays_silence_even_with_biases(opened: Opened) -> None:
    separator = opened(onnx_nets.offset(0.1))
    for stem in separator.separate(torch.zeros(2, 2_000)):
        assert not stem.any()
    assert separator.separate(music(2_000))[0].abs().max() > 0.01  # which the net would have hummed
    for stem in separator.separate(torch.zeros(2, 0)):
        assert stem.shape == (2, 0)


def test_what_is_not_finite_is_refused(opened: Opened) -> None:
    with pytest.raises(UsageError, match="gave numbers that are not finite"):
        opened(onnx_nets.inverse).separate(music(1_000))
    mix = music(1_000)
    mix[1, 700] = torch.nan
    with pytest.raises(ValueError, match="the mix holds NaN or infinity"):
        opened(onnx_nets.identity).separate(mix)


def test_three_channels_are_refused(opened: Opened) -> None:
    with pytest.raises(ValueError, match=r"must be \[1 or 2, T\]"):
        opened(onnx_nets.identity).separate(torch.rand(3, 100))


def test_no_threads_are_refused(opened: Opened) -> None:
    with pytest.raises(UsageError, match="threads is 0"):
        opened(onnx_nets.identity, threads=0)
