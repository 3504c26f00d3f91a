"""A moving average of the weights: smoother than the last step's, and often better.

In: the model after every applied step. Out: averaged weights, which can take the model's place for a while.

    average <- decay_n * average + (1 - decay_n) * weights        decay_n = min(decay, (1 + n) / (10 + n))

The rising decay lets the average forget where training began. Kept in float32 on the model's device.
"""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

__all__ = ["Ema"]


class Ema:
    """The average of one model's parameters.

    Args:
        model: whose parameters; their values now are where the average begins.
        decay: in [0, 1), as in `Recipe.ema_decay`.

    >>> layer = nn.Linear(1, 1, bias=False)
    >>> ema = Ema(layer, decay=0.9)
    >>> with torch.no_grad(): _ = layer.weight.fill_(5.0)
    >>> for _ in range(300): ema.update(layer)
    >>> round(ema.weights["weight"].item(), 3)
    5.0
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.weights = {name: value.detach().float().clone() for name, value in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Takes one step's weights in."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        values = [value.detach().float() for _, value in model.named_parameters()]
        torch._foreach_lerp_(list(self.weights.values()), values, 1 - decay)

    def load(self, weights: Mapping[str, Tensor], *, updates: int) -> None:
        """Takes over an average that was saved.

        Raises:
            KeyError: a weight is missing.
        """
        for name, value in self.weights.items():
            value.copy_(weights[name])
        self.updates = updates

    @contextlib.contextmanager
    def in_place_of(self, model: nn.Module) -> Iterator[None]:
        """A block in which the model has the averaged weights; then it has its own again, bit for bit."""
        own = {name: value.detach().clone() for name, value in model.named_parameters()}
        try:
            self._copy_into(model, self.weights)
            yield
        finally:
            self._copy_into(model, own)

    @staticmethod
    @torch.no_grad()
    def _copy_into(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        for name, value in model.named_parameters():
            value.copy_(weights[name])
