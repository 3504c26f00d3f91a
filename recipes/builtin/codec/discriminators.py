"""Two critics of the codec's spectrograms, for an optional adversarial last phase.

In:  levels [B, F, bins] (log10 of magnitude). Out: a score for every patch, higher = looks true, and the
inner features.

One critic sees the bins up to 3 kHz as they are (partials), the other all bins, averaged by fours (noise,
attacks). They are 2-D convolutions, which is why the phase is for the end of a run or for a GPU.

Source: patch critics on spectrograms and hinge loss with feature matching, as in Kumar et al.,
"High-fidelity audio compression with improved RVQGAN", 2023, section 3.4; ours see levels, since there are
no phases to judge.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SpectrogramCritics", "critic_loss", "generator_loss"]

LOW_BINS = 160
POOLED_BINS = 4


class SpectrogramCritics(nn.Module):
    """Both critics.

    Args:
        channels: of the convolutions.

    >>> scores, features = SpectrogramCritics(channels=4)(torch.zeros(2, 20, 641))
    >>> len(scores), len(features)
    (2, 8)
    """

    def __init__(self, *, channels: int = 16) -> None:
        super().__init__()
        self.low, self.whole = _Critic(channels), _Critic(channels)

    def forward(self, level: Float[Tensor, "B F bins"]) -> tuple[list[Tensor], list[Tensor]]:
        low, low_features = self.low(level[..., :LOW_BINS])
        whole, whole_features = self.whole(F.avg_pool1d(level, POOLED_BINS))
        return [low, whole], low_features + whole_features


class _Critic(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        shapes = ((1, (1, 1)), (channels, (1, 2)), (channels, (1, 2)), (channels, (1, 1)))
        self.layers = nn.ModuleList(
            norm(nn.Conv2d(inputs, channels, (3, 9), stride=stride, padding=(1, 4)))
            for inputs, stride in shapes
        )
        self.score = norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, level: Float[Tensor, "B F bins"]) -> tuple[Tensor, list[Tensor]]:
        hidden, features = level.unsqueeze(1) + 3.5, []
        for layer in self.layers:
            hidden = F.leaky_relu(layer(hidden), 0.1)
            features.append(hidden)
        return self.score(hidden), features


def critic_loss(true_scores: list[Tensor], made_scores: list[Tensor]) -> Float[Tensor, ""]:
    """Hinge loss of the critics: 0 when every true patch scores above 1 and every made one below -1.

    >>> float(critic_loss([torch.tensor([2.0])], [torch.tensor([-2.0])]))
    0.0
    """
    losses = [
        F.relu(1 - t).mean() + F.relu(1 + m).mean() for t, m in zip(true_scores, made_scores, strict=True)
    ]
    return torch.stack(losses).mean()


def generator_loss(
    made_scores: list[Tensor], made_features: list[Tensor], true_features: list[Tensor]
) -> Float[Tensor, ""]:
    """What the codec is trained for: higher scores, and features (relative to their own size) that match."""
    adversarial = torch.stack([-m.mean() for m in made_scores]).mean()
    matching = [
        (m - t.detach()).abs().mean() / t.detach().abs().mean().clamp_min(1e-6)
        for m, t in zip(made_features, true_features, strict=True)
    ]
    return adversarial + torch.stack(matching).mean()
