"""From logits to one token a take: temperature, top-k, and the draw.

In: logits ``[B, V]`` and one uniform number a row. Out: ids ``[B]``. The draw inverts the cumulative
distribution, so that a token is a pure function of its own logits and its own number:

    weight   |-- 17 --|--- 4 ---|- 250 -|- 3 -|      the top k, largest first, in float64
             0             ^                  1
                           uniform               ->  token 4

Source: paper 3.5, "Inference" (temperature 0.9, top-k 250, guidance 3.0).
"""

import math
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from hafm.arguments import whole_number
from hafm.errors import BundleError, UsageError

__all__ = ["LIKELIEST", "Chosen", "Sampling", "SamplingSettings", "require_scale", "sample"]

_VECTOR = 16
"""Numbers of float64 that the widest loop of any processor takes at a time, twice over."""


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How tokens are drawn.

    Args:
        temperature: divides the logits; 0 or more. At 0 the likeliest token is taken.
        top_k: how many of the likeliest tokens are drawn from; 1 or more. Beyond the vocabulary it means all.
        guidance: scale of eq. 5; 0 or more. 0 ignores the condition, 1 is the condition as trained (and
            costs half), more follows the condition more closely.
        guide_guidance: a scale of the guide's own (``hafm.generate.guidance``), which costs half as much
            again; None for that of everything.
        style_guidance, players_guidance: scales of the guide's style, and of who plays, each of which costs
            as much; None for that of the guide.

    Raises:
        UsageError: a value is out of range.

    >>> SamplingSettings(guidance=-1.0)
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: The guidance is -1.0; it must be a number of 0 or more.
    """

    temperature: float = 0.9
    top_k: int = 250
    guidance: float = 3.0
    guide_guidance: float | None = None
    style_guidance: float | None = None
    players_guidance: float | None = None

    def __post_init__(self) -> None:
        for name in ("temperature", "guidance", "guide_guidance", "style_guidance", "players_guidance"):
            if getattr(self, name) is not None:
                require_scale(name, getattr(self, name))
        whole_number("top_k", self.top_k, least=1)


def require_scale(name: str, value: Any) -> None:
    """Refuses what is no finite number of 0 or more.

    Raises:
        UsageError: it is not.
    """
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not (is_number and 0 <= value < math.inf):
        raise UsageError(f"The {name.replace('_', ' ')} is {value!r}; it must be a number of 0 or more.")


LIKELIEST = SamplingSettings(temperature=0.0, top_k=1, guidance=1.0)
"""The likeliest token of every row, under the condition as trained."""


class Chosen(TypedDict, total=False):
    """What may be chosen of a bundle's way to draw; what is absent or None is the bundle's."""

    temperature: float | None
    top_k: int | None
    guidance: float | None


class Sampling(Chosen, total=False):
    """All of it: what `Accompanist.generate` takes beside the vocal and the lead sheet."""

    guide_guidance: float | None
    coarse_guidance: float | None
    style_guidance: float | None
    players_guidance: float | None


def sample(
    logits: Float[Tensor, "B V"], *, settings: SamplingSettings, uniform: Float64[Tensor, " B"]
) -> Int[Tensor, " B"]:
    """One token a row.

    Args:
        logits: guided already.
        settings: temperature and top-k are used here.
        uniform: a number in [0, 1) a row, from the generator of that row's take.

    Raises:
        BundleError: a logit is not finite.

    >>> logits = torch.tensor([[0.0, 3.0, 2.0, 1.0]])
    >>> uniform = torch.tensor([0.99], dtype=torch.float64)
    >>> sample(logits, settings=SamplingSettings(top_k=2), uniform=uniform)
    tensor([2])
    """
    least, most = logits.aminmax()  # NaN if there is one; a tenth of the time of looking at each
    if not (math.isfinite(least) and math.isfinite(most)):
        raise BundleError(
            "The model's scores for the next token are not finite, so none can be drawn: its weights are "
            "damaged, or too large for their precision. Use another bundle, or float32 weights."
        )
    top, ids = logits.topk(min(settings.top_k, logits.shape[1]))
    if settings.temperature == 0:
        return ids[:, 0]
    # The largest goes first: subtracting it keeps exp() within (0, 1] at any temperature. Every row begins a
    # new vector, so that its bits do not depend on the rows before it (hafm/model/linear.py). What takes as
    # long to call as to compute is left to NumPy, whose calls are shorter.
    largest = top.double().cpu().numpy()
    B, k = largest.shape
    weights = np.zeros((B, k + -k % _VECTOR))
    np.subtract(largest, largest[:, :1], out=weights[:, :k])
    torch.from_numpy(weights).div_(settings.temperature).exp_()
    cumulative = weights[:, :k].cumsum(axis=1)
    # The first entry above the target, which always carries weight.
    target = uniform.cpu().numpy()[:, None] * cumulative[:, -1:]
    drawn = np.minimum((cumulative <= target).sum(axis=1), k - 1)
    return ids.gather(1, torch.from_numpy(drawn).to(ids.device)[:, None])[:, 0]
