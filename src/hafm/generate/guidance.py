"""Classifier-free guidance: which rows a take has in the batch, and how their logits join.

    row         sources   guide                        it is there
    full        seen      seen                         always
    unstyled    seen      but its style                where the style has a weight of its own
    unplayered  seen      but who plays (nor style)    where who plays has a weight of its own
    sources     seen      -                            where sources and guide have weights of their own
    nothing     -         -                            unless the weight of the sources is 1

    nothing + guidance * (sources - nothing) + guide_guidance * (unplayered - sources)
            + players_guidance * (unstyled - unplayered) + style_guidance * (full - unstyled)

A row that is not there falls out, and the weight below it holds for both steps; with one weight for all, what
is left is eq. 5. All rows of a take see the same tokens, and stand side by side in the batch.

Source: paper 3.5, eq. 5; two weights as in Brooks et al. 2023 (InstructPix2Pix), eq. 3.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hafm.generate.sampling import Sampling, SamplingSettings
from hafm.guide.corrections import Corrections
from hafm.guide.frames import GROUPS, KNOWN
from hafm.guide.lead_sheet import LeadSheet

__all__ = ["PLAYERS_GUIDANCE", "STYLE_GUIDANCE", "Guidance", "asked_by", "asked_in"]

STYLE_GUIDANCE = 5.0
"""The weight of a style that somebody asks for. As trained, a style is hardly heard (docs/experiments.md)."""

PLAYERS_GUIDANCE = 3.0
"""The weight of who plays, where somebody says so. As trained, others play along (docs/experiments.md)."""


def asked_in(sheet: LeadSheet | None) -> Sampling:
    """The weights for a sheet that somebody chose, if it names a style or says who plays.

    >>> asked_in(LeadSheet(duration_seconds=4.0, style="funk"))
    {'style_guidance': 5.0}
    """
    says = sheet is not None and bool(sheet.arrangement) and sheet.origin("arrangement").source == "given"
    return _asked(style=sheet is not None and sheet.style is not None, players=says)


def asked_by(corrections: Corrections | None) -> Sampling:
    """The weights for what corrections ask for."""
    if corrections is None:
        return {}
    return _asked(style=corrections.style is not None, players=corrections.players is not None)


def _asked(*, style: bool, players: bool) -> Sampling:
    weights: Sampling = {"style_guidance": STYLE_GUIDANCE} if style else {}
    if players:
        weights["players_guidance"] = PLAYERS_GUIDANCE
    return weights


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """The weights, and the rows that they ask for.

    Args:
        sources: weight of the sources.
        guide: weight of the guide; None where it shares that of the sources, or where there is no guide.
        players: weight of who plays; None where it shares that of the guide.
        style: weight of the guide's style; None where it shares that of who plays.

    >>> Guidance(sources=3.0).num_rows, Guidance(sources=3.0, guide=2.0, style=5.0).num_rows
    (2, 4)
    """

    sources: float
    guide: float | None = None
    players: float | None = None
    style: float | None = None

    @classmethod
    def of(cls, settings: SamplingSettings, *, has_guide: bool) -> "Guidance":
        """The guidance of a stage that is given a guide, or is not."""
        if not has_guide:
            return cls(sources=settings.guidance)
        own = settings.guide_guidance
        return cls(
            sources=settings.guidance,
            guide=None if own == settings.guidance else own,
            players=settings.players_guidance,
            style=settings.style_guidance,
        )

    @property
    def num_rows(self) -> int:
        """Of a take."""
        return 1 + len(self._weights)

    @property
    def _groups(self) -> dict[str, float]:
        """Groups of the guide that have a weight of their own, in the order in which rows lose them."""
        weights = {"style": self.style, "arrangement": self.players}
        return {group: weight for group, weight in weights.items() if weight is not None}

    @property
    def _weights(self) -> list[float]:
        """Of the step from each row to the one before it; the first is that from the second to the full."""
        guide = [] if self.guide is None else [self.guide]
        return [*self._groups.values(), *guide, *([] if self.sources == 1 else [self.sources])]

    def without_sources(self, num_takes: int, *, device: torch.device) -> Bool[Tensor, " N"]:
        """The rows that do not see the sources."""
        row = torch.arange(num_takes * self.num_rows, device=device) % self.num_rows
        return (row == self.num_rows - 1) & (self.sources != 1)

    def guide_of_rows(self, guide: Float[Tensor, "B F G"]) -> Float[Tensor, "N F G"]:
        """The guide of every row: the take's own, then with a group less each, or none."""
        rows = guide.new_zeros(len(guide), self.num_rows, *guide.shape[1:])
        rows[:, : 1 + len(self._groups)] = guide[:, None]
        for row, group in enumerate(self._groups, start=1):
            rows[:, row:, :, GROUPS[group]] = 0
            rows[:, row:, :, KNOWN[group]] = 0
        return rows.flatten(0, 1)

    def join(self, logits: Float[Tensor, "N ..."]) -> Float[Tensor, "B ..."]:
        """One row a take.

        >>> Guidance(sources=3.0).join(torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
        tensor([[ 4., -2.]])
        """
        rows = [logits[row :: self.num_rows] for row in range(self.num_rows)]
        joined = rows[-1]
        for weight, row, below in reversed(list(zip(self._weights, rows, rows[1:], strict=False))):
            joined = (row - below).mul_(weight).add_(joined)
        return joined
