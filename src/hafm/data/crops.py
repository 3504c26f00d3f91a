"""Training batches: time-aligned random crops of token pairs (paper 3.2 "Frame-rate alignment").

In: pairs of token streams at 50 and 75 Hz, with the guides of their lead sheets at 50 Hz. Out: a batch of
targets, conditions and, for a guided stage, guides.
All streams of a crop begin at the same instant, which must lie on a frame of every rate: 50 and
75 Hz meet every 1/25 s, at 2 and at 3 frames.

    50 Hz  |---|---|---|---|---|---|
    75 Hz  |--|--|--|--|--|--|--|--|--|
           ^       ^       ^       ^         possible starts

A pair gives as many *units* as clips lie end to end in it. An epoch takes each unit once: a clip of its pair,
at a random instant. A batch is a pure function of (seed, step, rank) by `hafm.data.order`, so that a resumed
run sees what an unbroken one saw.
"""

import math
from fractions import Fraction
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hafm.data.order import Numbers, Order, scaled, share_of_batch
from hafm.errors import UsageError
from hafm.rates import SEMANTIC_RATE
from hafm.stages.spec import StageSpec

__all__ = ["Batch", "Crops", "Pairs", "common_rate"]


class Batch(NamedTuple):
    """What a stage is trained on."""

    target: Int[Tensor, "B K F"]
    conditions: tuple[Int[Tensor, "B _K _F"], ...]
    """One per source."""
    guide: Float[Tensor, "B _F G"] | None
    """At 50 Hz; None for a stage without."""


@runtime_checkable
class Pairs(Protocol):
    """A set of pairs: token streams by name, the guide, and how many views of the vocal there are."""

    def __len__(self) -> int: ...

    def num_views(self) -> int:
        """Differently augmented versions of every vocal."""
        ...

    def frames(self, name: str) -> Numbers:
        """Frames F of a stream in every pair. Shape [pairs]."""
        ...

    def stream(self, index: int, name: str, view: int) -> np.ndarray:
        """Tokens ``[K, F]`` of one pair; ``name`` as in ``hafm.stages.spec``."""
        ...

    def guide(self, index: int, inside: slice = slice(None)) -> np.ndarray:
        """Guide ``[F, G]`` of one pair at 50 Hz, or some of its frames, see ``hafm.guide.frames``.

        Zeros where there is no lead sheet.
        """
        ...


def common_rate(*rates: Fraction) -> Fraction:
    """The highest rate whose every tick falls on a frame of all ``rates``.

    >>> common_rate(Fraction(50), Fraction(75))
    Fraction(25, 1)
    """
    numerator = math.gcd(*(rate.numerator for rate in rates))
    denominator = math.lcm(*(rate.denominator for rate in rates))
    return Fraction(numerator, denominator)


class Crops:
    """All crops that one stage can have of some pairs, in the order of a run.

    Args:
        pairs: where the tokens are. Those shorter than a clip are left out.
        spec: the stage: which streams it wants and how long.
        views: draw a view of the vocal at random; otherwise always view 0.

    Raises:
        UsageError: no pair is as long as a clip.
    """

    def __init__(self, *, pairs: Pairs, spec: StageSpec, seed: int, views: bool = True) -> None:
        self._pairs = pairs
        streams = (*spec.sources, spec.target)
        grid = common_rate(*(stream.frame_rate for stream in streams))
        self._guide_length = None if spec.guide is None else math.ceil(spec.clip_seconds * SEMANTIC_RATE)
        self._guide_frames_per_tick = SEMANTIC_RATE / grid  # whole: a guided stage has sources at this rate
        # Every stream with its frames per clip and per tick.
        self._streams = [
            (stream, math.ceil(spec.clip_seconds * stream.frame_rate), int(stream.frame_rate / grid))
            for stream in streams
        ]
        self._num_views = pairs.num_views() if views else 1
        # Possible starts and units of every pair, by its streams; the shortest decides.
        starts, units = np.full((2, len(pairs)), np.iinfo(np.int64).max)
        for stream, length, frames_per_tick in self._streams:
            frames = pairs.frames(stream.name)
            starts = np.minimum(starts, (frames - length) // frames_per_tick + 1)
            span = spec.clip_seconds * stream.frame_rate  # in frames, not rounded up as `length` is
            units = np.minimum(units, frames * span.denominator // span.numerator)
        self._starts = starts
        self._pair_of_unit = np.repeat(np.arange(len(pairs)), units)
        if len(self._pair_of_unit) == 0:
            raise UsageError(
                f"none of {len(pairs)} pairs is as long as the {spec.name} stage's clip of "
                f"{float(spec.clip_seconds):g} s; prepare longer ones or shorten the clip"
            )
        self._order = Order(num_units=len(self._pair_of_unit), seed=seed)

    def __len__(self) -> int:
        """Crops in an epoch."""
        return len(self._pair_of_unit)

    def batch(self, step: int, *, size: int, rank: int = 0, world_size: int = 1) -> Batch:
        """What one rank takes in one step.

        Args:
            step: of the run, 0 or more.
            size: rows of all ranks together; divisible by ``world_size``.
            rank: 0 to ``world_size - 1``.

        Returns:
            B = ``size / world_size`` clips.

        Raises:
            UsageError: a number is out of range.
        """
        return self.take(*share_of_batch(step, batch=size, rank=rank, world_size=world_size))

    def take(self, first: int, count: int) -> Batch:
        """Samples ``first`` to ``first + count - 1`` of the run, for a batch that is taken in parts."""
        samples = self._order.samples(first, count)
        pairs = self._pair_of_unit[samples.units]
        ticks = scaled(samples.words[:, 0], self._starts[pairs])
        views = scaled(samples.words[:, 1], self._num_views)
        tokens: list[Tensor] = []
        for stream, length, frames_per_tick in self._streams:
            crops = np.empty((count, stream.num_codebooks, length), np.int64)
            firsts = ticks * frames_per_tick
            chosen = zip(pairs.tolist(), firsts.tolist(), views.tolist(), strict=True)
            for row, (pair, begin, view) in enumerate(chosen):
                crops[row] = self._pairs.stream(pair, stream.name, view)[:, begin : begin + length]
            tokens.append(torch.from_numpy(crops))
        *conditions, target = tokens
        return Batch(target, tuple(conditions), self._guides(pairs, ticks))

    def _guides(self, pairs: Numbers, ticks: Numbers) -> Float[Tensor, "B F G"] | None:
        length = self._guide_length
        if length is None:
            return None
        begins = ticks * int(self._guide_frames_per_tick)
        chosen = zip(pairs.tolist(), begins.tolist(), strict=True)
        guides = (self._pairs.guide(pair, slice(begin, begin + length)) for pair, begin in chosen)
        return torch.stack([torch.from_numpy(guide) for guide in guides])
