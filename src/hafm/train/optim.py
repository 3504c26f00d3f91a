"""How weights move: the optimisers, their rates, and a moving average of what they reach.

AdamW alone is the paper's (section 3.5). Muon, for the matrices inside the Transformer, orthogonalises the
update of a matrix; in our runs it needs fewer steps for the same held-out loss (docs/experiments.md).
Embeddings, heads, norms and the position bias stay with AdamW.

Rates: a step number in, the share of the peak rate out.

    cosine       /\\_           paper 3.5: linear warm-up, then a cosine down to a floor
                /    \\_
    trapezoid   /-----\\        linear warm-up, flat, linear down: the flat part can be prolonged later,
                                which a cosine that has already come down cannot

The average is smoother than the last step's weights, and often better. Its rising decay lets it forget where
training began:

    average <- decay_n * average + (1 - decay_n) * weights        decay_n = min(decay, (1 + n) / (10 + n))
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hafm.device import half_dtype

__all__ = ["Ema", "Muon", "OptimizerKind", "build_optimizers", "cosine", "set_rate_share", "trapezoid"]

OptimizerKind = Literal["adamw", "muon"]


def build_optimizers(
    model: nn.Module,
    *,
    kind: OptimizerKind,
    peak_rate: float,
    embedding_rate: float | None = None,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.98),
) -> list[torch.optim.Optimizer]:
    """One or two optimisers that together hold every parameter once.

    Args:
        kind: `adamw` is the paper's: one rate and one weight decay for everything.
        peak_rate: highest learning rate; with `muon` that of the matrices, scaled as if for AdamW.
        embedding_rate: with `muon`, the highest rate of everything else. A row of an embedding is
            touched only when its token occurs, and can take larger steps. None is `peak_rate`.
        weight_decay: decoupled weight decay, on matrices only with `muon`.
    """
    fused = all(parameter.is_cuda for parameter in model.parameters()) or None  # one kernel for all of them
    if kind == "adamw":
        adamw = torch.optim.AdamW(
            model.parameters(), lr=peak_rate, betas=betas, weight_decay=weight_decay, fused=fused
        )
        return [_remember_peak(adamw)]
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (matrices if parameter.ndim == 2 and ".blocks." in f".{name}" else others).append(parameter)
    is_short = half_dtype(matrices[0].device) == torch.bfloat16
    muon = (torch.optim.Muon if is_short else Muon)(
        matrices, lr=peak_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    other_rate = peak_rate if embedding_rate is None else embedding_rate
    adamw = torch.optim.AdamW(others, lr=other_rate, betas=betas, weight_decay=0.0, fused=fused)
    return [_remember_peak(muon), _remember_peak(adamw)]


class Muon(torch.optim.Muon):
    """`torch.optim.Muon` in float32, for devices that only imitate its bfloat16, at twenty times the time.

    Its arguments and its state are torch's; of the scales of a rate, `match_rms_adamw` alone is here.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every matrix that has a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter.grad)
                moving = state["momentum_buffer"].lerp_(parameter.grad, 1 - momentum)
                update = _orthogonal(parameter.grad.lerp(moving, momentum), group)
                parameter.mul_(1 - rate * group["weight_decay"])
                parameter.sub_(update, alpha=rate * 0.2 * math.sqrt(max(parameter.shape)))
        return loss


def _orthogonal(matrix: Float[Tensor, "A B"], group: Mapping[str, Any]) -> Float[Tensor, "A B"]:
    """About U V of its singular value decomposition U S V, by iterations of Newton and Schulz."""
    a, b, c = group["ns_coefficients"]
    is_high = matrix.shape[0] > matrix.shape[1]
    near = matrix.mT if is_high else matrix
    near = near / near.norm().clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        square = near @ near.mT
        near = torch.addmm(near, torch.addmm(square, square, square, beta=b, alpha=c), near, beta=a)
    return near.mT if is_high else near


def set_rate_share(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Sets every rate to a share of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * share


def _remember_peak(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
    return optimizer


def cosine(step: int, *, warmup: int, total: int, floor: float) -> float:
    """Linear warm-up to 1, then a half cosine to `floor` at `total`.

    >>> [round(cosine(s, warmup=4, total=12, floor=0.0), 3) for s in (0, 3, 8, 12, 99)]
    [0.25, 1.0, 0.5, 0.0, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def trapezoid(step: int, *, warmup: int, total: int, cooldown: int, floor: float) -> float:
    """Linear warm-up to 1, flat, then linear to `floor` over the last `cooldown` steps.

    >>> [round(trapezoid(s, warmup=2, total=10, cooldown=4, floor=0.0), 3) for s in (0, 1, 6, 8, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    remaining = max(0, total - step) / max(1, cooldown)
    return floor + (1 - floor) * min(1.0, remaining)


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
        """Takes over an average that was saved; a `KeyError` if a weight is missing."""
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
