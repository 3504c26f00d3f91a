"""The analyser's network: features of a sound at a tempo in; beats, chords and key of each moment out.

In:  features `[B, 2N, D]` (`hafm.tokens.spectral`), sampled 24 times per beat of a tempo that is tried, with
what of them lies inside the sound, and that tempo. Out: `Activations` of the N ticks, 12 per beat.

    features [2N, D]
      |  scaled; two samples, whether they are inside, and the tempo as one vector; linear
      |  11 convolutions: 1 to 4 ticks away, then 3 to 96: half beats, beats, bars, phrases
      |  linear
      `------> tick of the beat, tick of the bar, meter, whether this is the tempo, chord, key

Every convolution (kernel 5) sees its input with each tick brought to one size, and its output is added to
what went in. In beat time a rhythm looks alike at every tempo, so that little has to be learnt twice; which
tempo is the right one, the network says itself, when it is asked for several.

Source: ours; convolutions over time for beats after Davies and Boeck, "Temporal convolutional networks for
musical audio beat tracking" (2019); phases as classes after Oyama et al., "Phase-aware joint beat and
downbeat estimation based on periodicity of metrical structure" (2021).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import conv1d, dropout1d, relu

from hafm.errors import UsageError

__all__ = [
    "CHORD_STATES",
    "SAMPLES_PER_TICK",
    "TICKS_PER_BEAT",
    "Activations",
    "AnalyserNetwork",
    "NetworkConfig",
]

CHORD_STATES = 25
"""Roots of major chords (0 to 11), of minor ones (12 to 23), no chord (24)."""

TICKS_PER_BEAT = 12
SAMPLES_PER_TICK = 2

_KERNEL = 5
_DILATIONS = (1, 2, 4, 3, 6, 12, 24, 48, 96, 12, 48)
_MIDDLE_BPM = 100.0


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Shapes of the network.

    Args:
        num_features: D.
        channels: of the convolutions.
        dropout: share of a convolution's input channels that are zeroed in training, below 1.
    """

    num_features: int
    channels: int = 96
    dropout: float = 0.05

    def __post_init__(self) -> None:
        for name in ("num_features", "channels"):
            if getattr(self, name) < 1:
                raise UsageError(f"NetworkConfig: {name} must be 1 or more, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"NetworkConfig: dropout must be from 0 to below 1, got {self.dropout}")


class Activations(NamedTuple):
    """Logits of each tick."""

    beat: Float[Tensor, "B N 12"]
    """How many ticks ago the beat began."""
    bar_of_four: Float[Tensor, "B N 48"]
    """How many ticks ago the bar began, if it has 4 beats."""
    bar_of_three: Float[Tensor, "B N 36"]
    """The same, if it has 3 (of 6, half a bar)."""
    meter: Float[Tensor, "B N 2"]
    """Bars of 4 or of 3 beats."""
    tempo: Float[Tensor, "B N"]
    """That the tempo is that of the beat, not half, not twice, not another."""
    root: Float[Tensor, "B N 13"]
    """Pitch class of the chord's root, or 12 where no chord sounds."""
    pitch_classes: Float[Tensor, "B N 12"]
    key: Float[Tensor, "B N 24"]
    """Tonic, major (0 to 11) and minor (12 to 23)."""


_SIZES = (12, 48, 36, 2, 1, 13, 12, 24)


class AnalyserNetwork(nn.Module):
    """Shape: `[B, 2N, D], [B, 2N], [B] -> Activations`.

    >>> network = AnalyserNetwork(NetworkConfig(num_features=44))
    >>> inside = torch.ones(3, 48, dtype=torch.bool)
    >>> activations = network(torch.zeros(3, 48, 44), inside, torch.tensor([60.0, 90.0, 120.0]))
    >>> activations.beat.shape, activations.tempo.shape
    (torch.Size([3, 24, 12]), torch.Size([3, 24]))
    """

    mean: Tensor
    deviation: Tensor
    chord_transitions: Tensor
    """Log-probability of the next chord given the one before: mode of the key, before, after; see
    `hafm.guide.chords`. Counted and not trained, it travels with the weights."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.num_features))
        self.register_buffer("deviation", torch.ones(config.num_features))
        self.register_buffer("chord_transitions", torch.zeros(2, CHORD_STATES, CHORD_STATES))
        self.inlet = nn.Linear((config.num_features + 1) * SAMPLES_PER_TICK + 1, config.channels)
        self.layers = nn.Sequential(*(_Layer(config.channels, each, config.dropout) for each in _DILATIONS))
        self.heads = nn.Linear(config.channels, sum(_SIZES))

    def forward(
        self, features: Float[Tensor, "B S D"], inside: Bool[Tensor, "B S"], bpm: Float[Tensor, " B"]
    ) -> Activations:
        """What each tick says.

        Args:
            features: two samples per tick.
            inside: which of them lie inside the sound; the others are not looked at.
            bpm: the tempo that is tried.
        """
        known = inside[..., None].to(features.dtype)
        scaled = torch.cat([(features - self.mean) / self.deviation * known, known], dim=2)
        ticks = scaled.reshape(len(scaled), -1, SAMPLES_PER_TICK * scaled.shape[2])
        tempo = torch.log2(bpm / _MIDDLE_BPM)[:, None, None].expand(-1, ticks.shape[1], 1)
        hidden = self.inlet(torch.cat([ticks, tempo], dim=2)).transpose(1, 2)
        hidden = _of_one_size(self.layers(hidden)).transpose(1, 2)
        beat, four, three, meter, is_tempo, *harmony = self.heads(hidden).float().split(_SIZES, dim=2)
        return Activations(beat, four, three, meter, is_tempo[..., 0], *harmony)


class _Layer(nn.Module):
    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dilation, self.dropout = dilation, dropout
        # Both convolutions are kept as matrices, one row per channel that comes out: rows are what int8
        # storage scales.
        self.kernel, self.bias = _matrix(channels, channels * _KERNEL)
        self.outlet, self.outlet_bias = _matrix(channels, channels)

    def forward(self, hidden: Float[Tensor, "B C N"]) -> Float[Tensor, "B C N"]:
        seen = dropout1d(_of_one_size(hidden), self.dropout, self.training)
        channels = hidden.shape[1]
        inner = conv1d(
            seen,
            self.kernel.view(channels, channels, _KERNEL),
            self.bias,
            padding=self.dilation * (_KERNEL // 2),
            dilation=self.dilation,
        )
        return hidden + conv1d(relu(inner), self.outlet[..., None], self.outlet_bias)


def _matrix(rows: int, columns: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Weights and biases that start as those of `nn.Linear`."""
    limit = columns**-0.5
    weights = torch.empty(rows, columns).uniform_(-limit, limit)
    return nn.Parameter(weights), nn.Parameter(torch.empty(rows).uniform_(-limit, limit))


def _of_one_size(hidden: Float[Tensor, "B C N"]) -> Float[Tensor, "B C N"]:
    """Every tick scaled to a mean square of 1 over its channels."""
    return hidden * (hidden.square().mean(dim=1, keepdim=True) + 1e-5).rsqrt()
