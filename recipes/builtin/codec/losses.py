"""What the codec is trained to do: the losses, each on frames of magnitude and phase advance.

In:  the target spectrum, the decoder's prediction, the quantiser's inner values. Out: scalars.

| loss | measures | unit |
|---|---|---|
| `BandLoss` | levels of mel bands at several resolutions: energy, hence timbre and noise | log10 |
| `bin_loss` | levels of single bins, weighed like mel bands: partials, hence pitch | log10 |
| `direction_loss` | phase advances where there is sound: exact frequencies, and how sure | squared distance |
| `NoteLoss` | which semitones of the lows stand out, frame by frame | 1 - correlation |
| `commitment_loss` | distance of the latents from their entries | 1 - cos |
| `smoothness_loss` | change of the first codebooks' latents between frames: for predictable codes | 1 - cos |

Conventions: levels are log10 of magnitude, so 0.05 is 1 dB. No loss looks at the waveform: phases are not
coded (see `hafm.tokens.codec`).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hafm.tokens.chroma import semitone_filters
from hafm.tokens.codec.config import CodecConfig
from hafm.tokens.codec.phase import advances
from hafm.tokens.codec.quantizer import Quantised
from hafm.tokens.codec.spectra import Prediction, Views, level_of, magnitude_of

__all__ = [
    "BandLoss",
    "LossWeights",
    "NoteLoss",
    "bin_loss",
    "codec_losses",
    "commitment_loss",
    "direction_loss",
    "smoothness_loss",
]

TINY = 1e-8
NOTE_RANGES = ((31, 48), (43, 60), (55, 76))
"""MIDI numbers (G1 to E5), overlapping, so that a loud bass does not hide what is above it."""
NOTE_FLOOR = 1e-4


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """How much each loss counts. Zero turns one off."""

    band: float = 4.0
    bin: float = 2.0
    direction: float = 0.5
    commitment: float = 1.0
    smoothness: float = 0.0
    low_bin: float = 2.0
    low_direction: float = 1.0
    note: float = 1.0

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
    predicted: Float[Tensor, "B F bins"], target: Float[Tensor, "B F bins"], bin_hz: float
) -> Float[Tensor, ""]:
    """Mean absolute difference of bin levels; a bin counts as much as the mels it spans."""
    hertz = torch.arange(target.shape[-1], device=target.device) * bin_hz
    mels_per_hertz = 1 / (700 + hertz)
    return ((predicted - target).abs().mean((0, 1)) * (mels_per_hertz / mels_per_hertz.sum())).sum()


def direction_loss(
    direction: Float[Tensor, "B F bins 2"],
    magnitude: Float[Tensor, "B F bins"],
    advance: Float[Tensor, "B F-1 bins"],
) -> Float[Tensor, ""]:
    """Half the squared distance to the advance's unit vector, weighed by magnitude to the power 0.6.

    The best prediction is the mean of the unit vectors that are possible: its length says how sure it is. The
    first frame has no advance and is left out.
    """
    weight = (magnitude[:, 1:] * magnitude[:, :-1] + TINY**2).pow(0.3)
    x, y = direction[:, 1:, :, 0], direction[:, 1:, :, 1]
    distance = (x - advance.cos()).square() + (y - advance.sin()).square()
    return (weight * distance).sum() / (2 * weight.sum())


class NoteLoss(nn.Module):
    """1 - correlation of the notes that stand out, in three ranges of pitch, from the long window.

    Args:
        config: gives the bins of the long window.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        assert config.lows is not None
        filters = semitone_filters(
            size=config.lows.window_samples,
            sample_rate=config.sample_rate,
            low_note=NOTE_RANGES[0][0],
            high_note=NOTE_RANGES[-1][1] - 1,
        )
        self.register_buffer("filters", filters[: config.lows.num_bins].clone(), persistent=False)

    def forward(
        self, predicted: Float[Tensor, "B F lows"], target: Float[Tensor, "B F lows"]
    ) -> Float[Tensor, ""]:
        """Of magnitudes. Each frame counts by its target's loudness in the range, to the power 0.6."""
        made, true = (self._amplitudes(magnitude) for magnitude in (predicted, target))
        losses = []
        for low, high in NOTE_RANGES:
            notes = slice(low - NOTE_RANGES[0][0], high - NOTE_RANGES[0][0])
            weight = true[..., notes].sum(-1).pow(0.6)
            a, b = (x[..., notes] - x[..., notes].mean(-1, keepdim=True) for x in (made, true))
            similarity = torch.nn.functional.cosine_similarity(a, b, dim=-1, eps=1e-6)
            losses.append((weight * (1 - similarity)).sum() / weight.sum().clamp_min(TINY))
        return torch.stack(losses).mean()

    def _amplitudes(self, magnitude: Tensor) -> Tensor:
        return (magnitude.square() @ self.filters + NOTE_FLOOR**2).sqrt()


def commitment_loss(quantised: Quantised) -> Float[Tensor, ""]:
    """1 - cos between looked-up points and their entries, mean over everything; only the points move."""
    return (1 - (quantised.points * quantised.entries).sum(-1)).mean()


def smoothness_loss(quantised: Quantised, num_codebooks: int = 4) -> Float[Tensor, ""]:
    """1 - cos between the points of neighbouring frames, in the first codebooks."""
    points = quantised.points[:num_codebooks]
    return (1 - (points[:, :, 1:] * points[:, :, :-1]).sum(-1)).mean()


def codec_losses(
    views: Views,
    prediction: Prediction,
    quantised: Quantised,
    band_loss: BandLoss,
    note_loss: NoteLoss | None,
    config: CodecConfig,
) -> dict[str, Float[Tensor, ""]]:
    """Every loss by the name that `LossWeights` has for it."""
    magnitude = views.spectrum.abs()
    losses = {
        "band": band_loss(magnitude_of(prediction.level), magnitude),
        "bin": bin_loss(prediction.level, level_of(magnitude), config.sample_rate / config.window_samples),
        "direction": direction_loss(prediction.direction, magnitude, advances(views.spectrum, config)),
        "commitment": commitment_loss(quantised),
        "smoothness": smoothness_loss(quantised),
    }
    lows = prediction.lows
    if (
        lows is not None
        and note_loss is not None
        and views.low_spectrum is not None
        and views.low_advance is not None
    ):
        magnitude = views.low_spectrum.abs()
        grid = config.low_grid
        losses |= {
            "low_bin": bin_loss(lows.level, level_of(magnitude), config.sample_rate / grid.window_samples),
            "low_direction": direction_loss(lows.direction, magnitude, views.low_advance[:, 1:]),
            "note": note_loss(magnitude_of(lows.level), magnitude),
        }
    return losses
