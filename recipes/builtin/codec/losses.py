"""What the codec is trained to do: the losses, each on frames of magnitude and phase advance.

In:  the target spectrum, the decoder's prediction, the quantiser's inner values. Out: scalars.

| loss | measures | unit |
|---|---|---|
| `BandLoss` | levels of mel bands at several resolutions: energy, hence timbre and noise | log10 |
| `bin_loss` | levels of single bins, weighed like mel bands: partials, hence pitch | log10 |
| `direction_loss` | phase advances where there is sound: the exact frequency of partials | 1 - cos |
| `commitment_loss` | distance of the latents from their entries | 1 - cos |
| `smoothness_loss` | change of the first codebooks' latents between frames: for predictable codes | 1 - cos |

Conventions: levels are log10 of magnitude, so 0.05 is 1 dB. No loss looks at the waveform: phases are not
coded (see `hafm.tokens.codec`).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from hafm.tokens.codec.config import CodecConfig
from hafm.tokens.codec.model import Prediction, level_of, magnitude_of
from hafm.tokens.codec.phase import advances
from hafm.tokens.codec.quantizer import Quantised

__all__ = [
    "BandLoss",
    "LossWeights",
    "bin_loss",
    "codec_losses",
    "commitment_loss",
    "direction_loss",
    "smoothness_loss",
]

TINY = 1e-8


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """How much each loss counts. Zero turns one off."""

    band: float = 4.0
    bin: float = 2.0
    direction: float = 0.5
    commitment: float = 1.0
    smoothness: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ValueError(f"loss weight {name}={value}: must be 0 or more")


def mel_filters(*, num_bins: int, sample_rate: int, num_bands: int) -> Float[Tensor, "bins bands"]:
    """Triangles evenly spaced in mel from 0 Hz to half the sample rate, each of sum 1.

    Bands so narrow that no bin lies in them are left out.

    >>> mel_filters(num_bins=641, sample_rate=24_000, num_bands=40).shape
    torch.Size([641, 40])
    """
    hertz = torch.linspace(0, sample_rate / 2, num_bins, dtype=torch.float64)
    highest_mel = 2595 * math.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, highest_mel, num_bands + 2, dtype=torch.float64) / 2595) - 1)
    rising = (hertz[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz[:, None]) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp_min(0)
    filters = filters[:, filters.sum(0) > 0]
    return (filters / filters.sum(0)).float()


class BandLoss(nn.Module):
    """Mean absolute difference of mel band levels, averaged over resolutions.

    Args:
        config: the codec's sizes.
        resolutions: numbers of bands.

    >>> loss = BandLoss(CodecConfig())
    >>> sound = torch.rand(1, 4, 641)
    >>> float(loss(sound, sound)), round(float(loss(10 * sound, sound)), 3)
    (0.0, 1.0)
    """

    def __init__(self, config: CodecConfig, resolutions: tuple[int, ...] = (10, 20, 40, 80, 160)) -> None:
        super().__init__()
        banks = [
            mel_filters(num_bins=config.num_bins, sample_rate=config.sample_rate, num_bands=bands)
            for bands in resolutions
        ]
        self.register_buffer("filters", torch.cat(banks, dim=1), persistent=False)
        shares = [torch.full((bank.shape[1],), 1 / (len(banks) * bank.shape[1])) for bank in banks]
        self.register_buffer("shares", torch.cat(shares), persistent=False)

    def forward(
        self, predicted: Float[Tensor, "B F bins"], target: Float[Tensor, "B F bins"]
    ) -> Float[Tensor, ""]:
        """Of magnitudes."""
        difference = level_of(predicted @ self.filters) - level_of(target @ self.filters)
        loss: Tensor = (difference.abs().mean((0, 1)) * self.shares).sum()
        return loss


def bin_loss(
    predicted: Float[Tensor, "B F bins"], target: Float[Tensor, "B F bins"], config: CodecConfig
) -> Float[Tensor, ""]:
    """Mean absolute difference of bin levels; a bin counts as much as the mels it spans."""
    hertz = torch.arange(config.num_bins, device=target.device) * (config.sample_rate / config.window_samples)
    mels_a_hertz = 1 / (700 + hertz)
    return ((predicted - target).abs().mean((0, 1)) * (mels_a_hertz / mels_a_hertz.sum())).sum()


def direction_loss(
    direction: Float[Tensor, "B F bins 2"], spectrum: Complex[Tensor, "B F bins"], config: CodecConfig
) -> Float[Tensor, ""]:
    """1 - cos of the error of the phase advance, weighed by magnitude to the power 0.6 (loudness, roughly).

    The first frame has no advance and is left out.
    """
    magnitude = spectrum.abs()
    weight = (magnitude[:, 1:] * magnitude[:, :-1] + TINY**2).pow(0.3)
    advance = advances(spectrum, config)
    x, y = direction[:, 1:, :, 0], direction[:, 1:, :, 1]
    cosine = (x * advance.cos() + y * advance.sin()) * torch.rsqrt(x.square() + y.square() + TINY)
    return (weight * (1 - cosine)).sum() / weight.sum()


def commitment_loss(quantised: Quantised) -> Float[Tensor, ""]:
    """1 - cos between looked-up points and their entries, mean over everything; only the points move."""
    return (1 - (quantised.points * quantised.entries).sum(-1)).mean()


def smoothness_loss(quantised: Quantised, num_codebooks: int = 4) -> Float[Tensor, ""]:
    """1 - cos between the points of neighbouring frames, in the first codebooks."""
    points = quantised.points[:num_codebooks]
    return (1 - (points[:, :, 1:] * points[:, :, :-1]).sum(-1)).mean()


def codec_losses(
    spectrum: Complex[Tensor, "B F bins"],
    prediction: Prediction,
    quantised: Quantised,
    band_loss: BandLoss,
    config: CodecConfig,
) -> dict[str, Float[Tensor, ""]]:
    """Every loss by the name that `LossWeights` has for it."""
    magnitude = spectrum.abs()
    return {
        "band": band_loss(magnitude_of(prediction.level), magnitude),
        "bin": bin_loss(prediction.level, level_of(magnitude), config),
        "direction": direction_loss(prediction.direction, spectrum, config),
        "commitment": commitment_loss(quantised),
        "smoothness": smoothness_loss(quantised),
    }
