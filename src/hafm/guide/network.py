"""The analyser's network: features of a sound in, what each frame says about beats, chords and key out.

In:  features `[B, F, D]` at 50 Hz (`hafm.tokens.spectral`). Out: `Activations`: logits of beats at 50 Hz, of
chords and key at 12.5 Hz.

    features [F, D]
      |  scaled, linear, 3 convolutions              attacks, note by note                50 Hz
      |----------------------.
      |  mean of 4 frames    |
      |  convolutions        |                       bars and phrases                     12.5 Hz
      |------> chord, key
      |  every frame 4 times |
      |  linear              |
      +<---------------------'
      |  1 convolution
      `------> beat, downbeat                                                             50 Hz

Every convolution (kernel 5, dilations 1, 2, 4, ... in each part) sees its input with each frame brought to
one size, and its output is added to what went in. No frame depends on how long the sound is; past its ends
there are zeros. The slow convolutions reach 20 s to either side.

Source: temporal convolution for beats after Davies and Boeck, "Temporal convolutional networks for musical
audio beat tracking" (2019).
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, conv1d, dropout1d, pad, relu

from hafm.errors import UsageError

__all__ = [
    "CHORD_STATES",
    "POOL",
    "Activations",
    "AnalyserNetwork",
    "NetworkConfig",
]

CHORD_STATES = 25
"""Roots of major chords (0 to 11), of minor ones (12 to 23), no chord (24)."""

POOL = 4
"""Frames of 50 Hz in one of 12.5 Hz."""

_KERNEL = 5
_FAST_DILATIONS = (1, 2, 4)
_SLOW_DILATIONS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Shapes of the network.

    Args:
        num_features: D.
        fast_channels: of the convolutions at 50 Hz.
        slow_channels: of those at 12.5 Hz.
        slow_rounds: how often the dilations 1 to 64 come.
        dropout: share of a convolution's input channels that are zeroed in training, below 1.
    """

    num_features: int
    fast_channels: int = 64
    slow_channels: int = 96
    slow_rounds: int = 1
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("num_features", "fast_channels", "slow_channels", "slow_rounds"):
            if getattr(self, name) < 1:
                raise UsageError(f"NetworkConfig: {name} must be 1 or more, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"NetworkConfig: dropout must be from 0 to below 1, got {self.dropout}")

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `NetworkConfig(**config.to_dict()) == config`."""
        return asdict(self)


class Activations(NamedTuple):
    """Logits. `S = ceil(F / POOL)` slow frames."""

    beat: Float[Tensor, "B F"]
    downbeat: Float[Tensor, "B F"]
    root: Float[Tensor, "B S 13"]
    """Pitch class of the chord's root, or 12 where no chord sounds."""
    pitch_classes: Float[Tensor, "B S 12"]
    key: Float[Tensor, "B S 24"]
    """Tonic, major (0 to 11) and minor (12 to 23)."""


class AnalyserNetwork(nn.Module):
    """Shape: `[B, F, D] -> Activations`.

    >>> network = AnalyserNetwork(NetworkConfig(num_features=44))
    >>> activations = network(torch.zeros(2, 101, 44))
    >>> activations.beat.shape, activations.root.shape
    (torch.Size([2, 101]), torch.Size([2, 26, 13]))
    """

    mean: Tensor
    deviation: Tensor
    chord_transitions: Tensor
    """Log-probability of the next chord given the one before: mode of the key, before, after; see
    `hafm.guide.chords`. Counted and not trained, it travels with the weights."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        fast, slow, drop = config.fast_channels, config.slow_channels, config.dropout
        self.register_buffer("mean", torch.zeros(config.num_features))
        self.register_buffer("deviation", torch.ones(config.num_features))
        self.register_buffer("chord_transitions", torch.zeros(2, CHORD_STATES, CHORD_STATES))
        self.inlet = nn.Linear(config.num_features, fast)
        self.fast = nn.Sequential(*(_Layer(fast, dilation, drop) for dilation in _FAST_DILATIONS))
        self.down = nn.Linear(fast, slow)
        dilations = _SLOW_DILATIONS * config.slow_rounds
        self.slow = nn.Sequential(*(_Layer(slow, dilation, drop) for dilation in dilations))
        self.slow_heads = nn.Linear(slow, sum(_SLOW_SIZES))
        self.up = nn.Linear(slow, fast)
        self.last = _Layer(fast, 1, drop)
        self.fast_heads = nn.Linear(fast, 2)

    def forward(self, features: Float[Tensor, "B F D"]) -> Activations:
        num_frames = features.shape[1]
        scaled = pad((features - self.mean) / self.deviation, (0, 0, 0, -num_frames % POOL))
        fast = self.fast(self.inlet(scaled).transpose(1, 2))
        pooled = self.down(avg_pool1d(fast, POOL).transpose(1, 2)).transpose(1, 2)
        slow = _of_one_size(self.slow(pooled)).transpose(1, 2)
        fast = fast + self.up(slow).transpose(1, 2).repeat_interleave(POOL, dim=2)
        beats = self.fast_heads(_of_one_size(self.last(fast)).transpose(1, 2)).float()[:, :num_frames]
        root, pitch_classes, key = self.slow_heads(slow).float().split(_SLOW_SIZES, dim=2)
        return Activations(beats[..., 0], beats[..., 1], root, pitch_classes, key)


class _Layer(nn.Module):
    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dilation, self.dropout = dilation, dropout
        # Both convolutions are kept as matrices, one row per channel that comes out: rows are what int8
        # storage scales.
        self.kernel, self.bias = _matrix(channels, channels * _KERNEL)
        self.outlet, self.outlet_bias = _matrix(channels, channels)

    def forward(self, hidden: Float[Tensor, "B C F"]) -> Float[Tensor, "B C F"]:
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


def _of_one_size(hidden: Float[Tensor, "B C F"]) -> Float[Tensor, "B C F"]:
    """Every frame scaled to a mean square of 1 over its channels."""
    return hidden * (hidden.square().mean(dim=1, keepdim=True) + 1e-5).rsqrt()


_SLOW_SIZES = (13, 12, 24)
