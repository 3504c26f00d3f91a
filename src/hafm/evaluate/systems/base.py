"""The contract of a system: vocals in, accompaniments out.

In: clips of a test set, with their sounds. Out: for each clip as many accompaniments as the system makes
takes, each exactly as long as its vocal.

    kind       systems                               what it is there for
    ceiling    true instrumental; through the codec  nothing here can be expected to do better
    model      a bundle, one take or the best of N   what is evaluated
    baseline   retrieval                             what can be had without a model
    control    random pairing, noise, silence        what a measure says of an accompaniment that cannot fit

Conventions: a system is a pure function of its identity and the clip; `identity()` holds what decides its
sounds (fingerprints, seeds, settings) and no paths. Systems that do not use the vocal make one sound for
both arms.
"""

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from hafm.evaluate.testset import Clip
from hafm.guide.lead_sheet import LeadSheet

__all__ = ["ClipByClip", "ClipSound", "Guided", "Kind", "OnShare", "System", "repeated"]

Kind: TypeAlias = Literal["ceiling", "model", "baseline", "control"]

OnShare: TypeAlias = Callable[[float], None]
"""Called with the share of a batch that is done, 0 to 1; what it raises stops the batch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipSound:
    """A clip, the vocal as a system gets it, and what is true of it; mono, at the protocol's rate."""

    clip: Clip
    vocal: Float[Tensor, " T"]
    instrumental: Float[Tensor, " T"]
    sheet: LeadSheet | None = None


@runtime_checkable
class System(Protocol):
    """Makes accompaniments.

    Attributes:
        kind: see the table of this module.
        uses_vocal: whether the vocal decides its sounds.
        takes: how many it makes of a clip.
        batch_clips: clips that it takes best at a time.
    """

    name: str
    title: str
    kind: Kind
    uses_vocal: bool
    takes: int
    batch_clips: int

    def identity(self) -> dict[str, Any]:
        """What decides its sounds; JSON values."""
        ...

    def accompany(
        self, clips: Sequence[ClipSound], *, sample_rate: int, on_share: OnShare
    ) -> list[list[Float[Tensor, " T"]]]:
        """The takes of every clip; the clips are of one length, and `batch_clips` at most."""
        ...


class ClipByClip(abc.ABC):
    """A system that accompanies one clip after the other."""

    uses_vocal = False
    takes = 1
    batch_clips = 8
    _identity: Mapping[str, Any] = MappingProxyType({})

    def identity(self) -> dict[str, Any]:
        """See `System`."""
        return dict(self._identity)

    def accompany(
        self, clips: Sequence[ClipSound], *, sample_rate: int, on_share: OnShare
    ) -> list[list[Float[Tensor, " T"]]]:
        """See `System`."""
        made = []
        for number, each in enumerate(clips, start=1):
            made.append(self._takes_of(each, sample_rate))
            on_share(number / len(clips))
        return made

    @abc.abstractmethod
    def _takes_of(self, clip: ClipSound, sample_rate: int) -> list[Float[Tensor, " T"]]:
        """The takes of one clip."""


@runtime_checkable
class Guided(Protocol):
    """A system that may make its accompaniments from lead sheets."""

    def sheet_of(self, clip: ClipSound) -> LeadSheet | None:
        """The sheet from which the accompaniments of a clip are made; None for none."""
        ...


def repeated(sound: Float[Tensor, " T"], samples: int) -> Float[Tensor, " T2"]:
    """Cut, or repeated from its beginning, to a length.

    >>> import torch
    >>> repeated(torch.tensor([1.0, 2.0]), 5)
    tensor([1., 2., 1., 2., 1.])
    """
    return sound.repeat(-(-samples // len(sound)))[:samples]
