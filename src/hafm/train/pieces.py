"""What one rank takes in one step: its share of the batch, in as many pieces as the recipe says.

In: a step's number. Out: its pieces, a pure function of (seed, step, rank, world), ready for the model.

    batch of 42 on 4 ranks in 2 pieces     rank   0        1        2         3
                                  piece 0         0-4      5-9      10-14     15-20
                                  piece 1         21-25    26-30    31-35     36-41

Shares may differ by one clip. A piece weighs what it holds of the batch, so that the gradient is that of the
mean over the batch, however it was divided. Dropouts, and which codebook of a clip a parallel stage predicts,
are drawn for the whole batch and divided like the clips.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hafm.data.crops import Crops
from hafm.errors import UsageError
from hafm.guide.frames import KNOWN
from hafm.stages.guide import drop_groups
from hafm.stages.spec import TokenStream
from hafm.train.distributed import Ranks
from hafm.train.recipe import Recipe

__all__ = ["Draws", "Piece", "draws_of_step", "pieces_of_step", "require_enough_clips", "rows_of_piece"]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some clips of a batch.

    Args:
        guide: of a guided stage, what was lost taken out already.
        drop: clips without the conditions of the sources (paper 3.5).
        hide: target steps whose tokens are hidden; None hides none.
        codebook: of every clip, the one that a parallel stage predicts; None for the other patterns.
        share: of the batch's clips that these are.
    """

    target: Int[Tensor, "B K F"]
    conditions: tuple[Int[Tensor, "B _K _F"], ...]
    guide: Float[Tensor, "B _F G"] | None
    drop: Bool[Tensor, " B"]
    hide: Bool[Tensor, "B S"] | None
    codebook: Int[Tensor, " B"] | None
    share: float

    @property
    def predicted(self) -> Int[Tensor, "B _K F"]:
        """What of the target the stage is asked for: all of it, or one codebook of every clip."""
        if self.codebook is None:
            return self.target
        return self.target[torch.arange(len(self.target), device=self.target.device), self.codebook][:, None]

    def first(self, clips: int) -> "Piece":
        """The first clips alone, weighing the same each."""
        share = self.share * min(1.0, clips / len(self.target))
        return replace(self._changed(lambda tensor: tensor[:clips]), share=share)

    def pin(self) -> "Piece":
        """The same in memory from which a GPU can copy by itself."""
        return self._changed(lambda tensor: tensor.pin_memory())

    def to(self, device: torch.device) -> "Piece":
        """The same on a device."""
        return self._changed(lambda tensor: tensor.to(device, non_blocking=True))

    def _changed(self, change: Callable[[Tensor], Tensor]) -> "Piece":
        tensors: dict[str, Any] = {
            name: change(value) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors, conditions=tuple(map(change, self.conditions)))


def pieces_of_step(crops: Crops, recipe: Recipe, *, step: int, ranks: Ranks) -> tuple[Piece, ...]:
    """All pieces of this rank in a step.

    Args:
        crops: of the training pairs, with the recipe's seed.
        step: batches taken so far, 0 or more.

    Raises:
        UsageError: the data has an id that the stage has no class for.
    """
    draws = draws_of_step(recipe, step)
    pieces = []
    for number in range(recipe.accumulation):
        rows = rows_of_piece(
            recipe.batch, piece=number, pieces=recipe.accumulation, rank=ranks.rank, world=ranks.world
        )
        count = rows.stop - rows.start
        target, conditions, guide = crops.take(step * recipe.batch + rows.start, count)
        streams = (*recipe.spec.sources, recipe.spec.target)
        for stream, ids in zip(streams, (*conditions, target), strict=True):
            _require_classes(stream, ids)
        pieces.append(
            Piece(
                target=target,
                conditions=conditions,
                guide=None if guide is None else drop_groups(guide, draws.groups[rows]),
                drop=draws.sources[rows],
                hide=None if draws.history is None else draws.history[rows],
                codebook=None if draws.codebook is None else draws.codebook[rows],
                share=count / recipe.batch,
            )
        )
    return tuple(pieces)


def _require_classes(stream: TokenStream, ids: Int[Tensor, "B K F"]) -> None:
    """On a GPU, an id too high would end the process without a word of where it came from."""
    if ids.shape[1] != stream.num_codebooks or int(ids.max()) >= stream.cardinality:
        raise UsageError(
            f"the shards hold {ids.shape[1]} codebooks of {stream.name} with ids up to {int(ids.max())}, and "
            f"the stage has {stream.num_codebooks} of {stream.cardinality} classes; train it on other shards"
        )


def rows_of_piece(batch: int, *, piece: int, pieces: int, rank: int, world: int) -> slice:
    """Which rows of the batch a piece of a rank holds.

    >>> [rows_of_piece(42, piece=1, pieces=2, rank=rank, world=4) for rank in (0, 3)]
    [slice(21, 26, None), slice(36, 42, None)]
    """
    place, places = piece * world + rank, pieces * world
    return slice(batch * place // places, batch * (place + 1) // places)


def require_enough_clips(recipe: Recipe, ranks: Ranks) -> None:
    """Refuses a batch that leaves a rank without a clip, by a `UsageError`."""
    if recipe.batch < recipe.accumulation * ranks.world:
        raise UsageError(
            f"a batch of {recipe.batch} clips cannot be shared by {ranks.world} ranks in "
            f"{recipe.accumulation} pieces each; start fewer ranks, make batch larger or accumulation smaller"
        )


class Draws(NamedTuple):
    """What the clips of a whole batch go without, and what is asked of them."""

    sources: Bool[Tensor, " B"]
    """Clips that lose the conditions of the sources (3.5)."""
    groups: Bool[Tensor, "B groups"]
    """Groups of the guide that each clip loses, in the order of `hafm.guide.frames.KNOWN`."""
    history: Bool[Tensor, "B S"] | None
    """Steps that lose their tokens; None hides none."""
    codebook: Int[Tensor, " B"] | None
    """The codebook that a parallel stage predicts; None for the other patterns."""


def draws_of_step(recipe: Recipe, step: int) -> Draws:
    """Those of the batch of a step: a function of the recipe's seed and the step."""
    B, S = recipe.batch, recipe.spec.target_steps
    generator = torch.Generator().manual_seed((recipe.seed << 32) + step)
    everything = torch.rand(B, generator=generator) < recipe.spec.guidance_dropout
    history = None
    if recipe.history_dropout > 0:
        chosen = torch.rand(B, 1, generator=generator) < recipe.history_dropout
        share = (2 * torch.rand(B, 1, generator=generator)).clamp_max(1)
        history = chosen & (torch.rand(B, S, generator=generator) < share)
    sources, groups = everything, everything[:, None].expand(-1, len(KNOWN))
    guide = recipe.spec.guide
    if guide is not None:
        sources = sources | (torch.rand(B, generator=generator) < guide.sources)
        shares = torch.tensor(guide.group_shares)
        groups = groups | (torch.rand(B, len(KNOWN), generator=generator) < shares)
    codebook = None
    if recipe.spec.pattern == "parallel":
        # As many clips for one codebook as for another, to one clip, and none favoured over the steps.
        K = recipe.spec.target.num_codebooks
        first = torch.randint(K, (), generator=generator)
        codebook = (torch.randperm(B, generator=generator) + first) % K
    return Draws(sources=sources, groups=groups, history=history, codebook=codebook)
