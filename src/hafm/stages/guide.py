"""The guide as a condition of a stage: which share of the training samples goes without which part of it.

In: a guide ``[B, F, G]`` (`hafm.guide.frames`) and which groups every row loses. Out: the guide of these
rows, the lost groups and their flags zero, as if nobody had known them. So one model serves a singer who
gives a whole lead sheet, the beats alone, or nothing.
"""

from dataclasses import asdict, dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from hafm.errors import UsageError
from hafm.guide.frames import GROUPS, GUIDE_CHANNELS, KNOWN

__all__ = ["GuideSpec", "drop_groups"]


@dataclass(frozen=True, kw_only=True)
class GuideSpec:
    """The guide of a stage. What is lost is drawn for every training sample and group by itself.

    Args:
        channels: G.
        beats, chords, arrangement, style: share of the samples that lose this group.
        sources: share that lose their tokens and keep the guide. Everything is lost by the share that
            `StageSpec.guidance_dropout` says.

    Raises:
        UsageError: a share is out of range, or this version of hafm makes guides of other channels.

    >>> GuideSpec(beats=1.0)
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: a stage's guide cannot work: beats must be in [0, 1), not 1.0
    """

    channels: int = GUIDE_CHANNELS
    beats: float = 0.3
    chords: float = 0.3
    arrangement: float = 0.5
    style: float = 0.5
    sources: float = 0.15

    def __post_init__(self) -> None:
        if self.channels != GUIDE_CHANNELS:
            raise UsageError(
                f"a stage's guide has {self.channels} channels, and this version of hafm makes guides of "
                f"{GUIDE_CHANNELS}; use the version that made the stage"
            )
        for name, share in asdict(self).items():
            if name != "channels" and not 0 <= share < 1:
                raise UsageError(f"a stage's guide cannot work: {name} must be in [0, 1), not {share}")

    @property
    def group_shares(self) -> tuple[float, ...]:
        """Of every group, in the order of `KNOWN`."""
        return tuple(getattr(self, name) for name in KNOWN)


def drop_groups(guide: Float[Tensor, "B F G"], dropped: Bool[Tensor, "B groups"]) -> Float[Tensor, "B F G"]:
    """The guide without some groups.

    Args:
        dropped: which groups each row loses, in the order of `KNOWN`.

    >>> import torch
    >>> guide = drop_groups(torch.ones(1, 1, 63), torch.tensor([[False, True, True, True]]))
    >>> guide.sum().item()  # six channels of the beats, and their flag
    7.0
    """
    B, _, G = guide.shape
    kept = guide.new_ones(B, G)
    for lost, (name, flag) in zip(dropped.unbind(1), KNOWN.items(), strict=True):
        kept[lost, GROUPS[name]] = 0
        kept[lost, flag] = 0
    return guide * kept[:, None]
