"""The last step of training: decoded sound gets, band by band, the mean level that it should have.

In:  a trained codec and the files it was trained on. Out: its last layer's biases, moved.

Losses look at what the decoder says, not at what is heard. Medians of levels are below their means, texture
scatters, and magnitudes that no sound has lose energy when they are made consistent: together 1 to 2 dB,
which no loss sees and a Fréchet distance of levels does. So training crops are decoded, compared, and the
difference of the mean log level of each band is put into the biases of the bins there, a few times over.

Conventions: only training crops are used. Half of them decode from the coarse codebooks, half from all.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.tokens.codec.model import SpectralCodec
from hafm.tokens.codec.stft import analyse
from recipes.builtin.codec.augment import augmented_batch
from recipes.builtin.codec.data import SoundFile
from recipes.builtin.codec.losses import mel_filters

__all__ = ["calibrate_levels"]

NUM_BANDS = 40
POWER_FLOOR = 1e-9
CROP_FRAMES = 300
COARSE_CODEBOOKS = 4
CALIBRATION_STEP = 2_000_000_000
"""Crops of a step that no run reaches."""


@torch.no_grad()
def calibrate_levels(
    codec: SpectralCodec, sounds: Sequence[SoundFile], *, seed: int, crops: int = 32, rounds: int = 3
) -> list[float]:
    """Move the biases in place.

    Args:
        codec: trained.
        sounds: what it was trained on.
        seed: of the run.
        crops: how many, an even number.
        rounds: each decodes all crops once.

    Returns:
        Before each round, and after the last one, the mean absolute difference of a band's level in dB.
    """
    config = codec.config
    waveform = augmented_batch(
        sounds,
        seed=seed,
        step=CALIBRATION_STEP,
        batch_size=crops,
        crop_samples=CROP_FRAMES * config.hop_samples,
    ).to(codec.level_mean.device)
    codes, half = codec.encode(waveform[:, None]), crops // 2
    filters = mel_filters(num_bins=config.num_bins, sample_rate=config.sample_rate, num_bands=NUM_BANDS)
    filters = filters.to(waveform.device)
    wanted = _band_levels(waveform, filters, codec)
    found = []
    for turn in range(rounds + 1):
        decoded = torch.cat((codec.decode(codes[:half]), codec.decode(codes[half:, :COARSE_CODEBOOKS])))
        missing = wanted - _band_levels(decoded[:, 0], filters, codec)
        found.append(float(10 * missing.abs().mean()))
        if turn < rounds:
            _raise_levels(codec, _by_bin(missing, filters) / 2)  # band levels are of powers
    return found


def _by_bin(bands: Float[Tensor, " bands"], filters: Float[Tensor, "bins bands"]) -> Float[Tensor, " bins"]:
    """Each bin takes the values of the bands that hold it, by their shares in it."""
    values: Tensor = (filters / filters.sum(1, keepdim=True).clamp_min(1e-9)) @ bands
    return values


def _raise_levels(codec: SpectralCodec, raised: Float[Tensor, " bins"]) -> None:
    """Add to the decoder's levels: of the short window as given, of the long one between its bins."""
    bins, lows = codec.config.num_bins, codec.config.lows
    bias = codec.decoder[-1].bias
    assert isinstance(bias, Tensor)
    bias[:bins] += raised
    if lows is not None:
        places = torch.arange(lows.num_bins, device=bias.device) * (
            codec.config.window_samples / lows.window_samples
        )
        below = places.long()
        bias[3 * bins : 3 * bins + lows.num_bins] += torch.lerp(
            raised[below], raised[below + 1], places - below
        )


def _band_levels(
    waveform: Float[Tensor, "B T"], filters: Float[Tensor, "bins bands"], codec: SpectralCodec
) -> Float[Tensor, " bands"]:
    """Mean over crops and frames of log10 of the power of each band."""
    power = analyse(waveform, codec.config).abs().square() @ filters
    return (power + POWER_FLOOR).log10().mean((0, 1))
