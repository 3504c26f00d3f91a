"""Classifier-free guidance: which rows a take has in the batch, and how their logits join.

    row       sources   guide           it is there
    full      seen      seen            always
    unstyled  seen      but its style   where the style has a weight of its own
    sources   seen      -               where sources and guide have weights of their own
    nothing   -         -               unless the weight of the sources is 1

    nothing + guidance * (sources - nothing) + guide_guidance * (unstyled - sources)
            + style_guidance * (full - unstyled)

With one weight for all, the rows in the middle fall out, and what is left is eq. 5. All rows of a take see
the same tokens, and stand side by side in the batch.

Source: paper 3.5, eq. 5; two weights as in Brooks et al. 2023 (InstructPix2Pix), eq. 3.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hafm.generate.sampling import SamplingSettings
from hafm.guide.frames import GROUPS, KNOWN
from hafm.guide.lead_sheet import LeadSheet

__all__ = ["STYLE_GUIDANCE", "Guidance", "apply_guidance", "style_guidance"]

STYLE_GUIDANCE = 5.0
"""The weight of a style that somebody asks for. As trained, a style is hardly heard (docs/experiments.md)."""


def style_guidance(sheet: LeadSheet) -> float | None:
    """The weight for a sheet that somebody chose: `STYLE_GUIDANCE` where it names a style."""
    return None if sheet.style is None else STYLE_GUIDANCE


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """The weights, and the rows that they ask for.

    Args:
        sources: weight of the sources.
        guide: weight of the guide; None where it shares that of the sources, or where there is no guide.
        style: weight of the guide's style; None where it shares that of the guide.

    >>> Guidance(sources=3.0).num_rows, Guidance(sources=3.0, guide=2.0, style=5.0).num_rows
    (2, 4)
    """

    sources: float
    guide: float | None = None
    style: float | None = None

    @classmethod
    def of(cls, settings: SamplingSettings, *, has_guide: bool) -> "Guidance":
        """The guidance of a stage that is given a guide, or is not."""
        own = settings.guide_guidance if has_guide else None
        style = settings.style_guidance if has_guide else None
        return cls(sources=settings.guidance, guide=None if own == settings.guidance else own, style=style)

    @property
    def num_rows(self) -> int:
        """Of a take."""
        return 1 + (self.style is not None) + (self.guide is not None) + (self.sources != 1)

    def without_sources(self, num_takes: int, *, device: torch.device) -> Bool[Tensor, " N"]:
        """The rows that do not see the sources."""
        row = torch.arange(num_takes * self.num_rows, device=device) % self.num_rows
        return (row == self.num_rows - 1) & (self.sources != 1)

    def guide_of_rows(self, guide: Float[Tensor, "B F G"]) -> Float[Tensor, "N F G"]:
        """The guide of every row: the take's own in the first, without its style in the next, or none."""
        rows = guide.new_zeros(len(guide), self.num_rows, *guide.shape[1:])
        rows[:, 0] = guide
        if self.style is not None:
            rows[:, 1] = guide
            rows[:, 1, :, GROUPS["style"]] = 0
            rows[:, 1, :, KNOWN["style"]] = 0
        return rows.flatten(0, 1)

    def join(self, logits: Float[Tensor, "N ..."]) -> Float[Tensor, "B ..."]:
        """One row a take.

        >>> Guidance(sources=3.0).join(torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
        tensor([[ 4., -2.]])
        """
        if self.num_rows == 1:
            return logits
        full, *others = (logits[row :: self.num_rows] for row in range(self.num_rows))
        if self.style is None:
            return self._without_style(full, others)
        unstyled, *others = others
        return self._without_style(unstyled, others) + self.style * (full - unstyled)

    def _without_style(self, full: Tensor, others: list[Tensor]) -> Tensor:
        if self.guide is None:
            return apply_guidance(full, others[0], self.sources) if others else full
        sources = others[0]
        joined: Tensor = sources if len(others) == 1 else apply_guidance(sources, others[1], self.sources)
        return joined + self.guide * (full - sources)


def apply_guidance(
    conditional: Float[Tensor, "*N"], unconditional: Float[Tensor, "*N"], scale: float
) -> Float[Tensor, "*N"]:
    """Away from the unconditional logits, through the conditional ones (eq. 5)."""
    return (conditional - unconditional).mul_(scale).add_(unconditional)
