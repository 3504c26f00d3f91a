"""Training batches: time-aligned random crops of token pairs (paper 3.2 "Frame-rate alignment").

In: pairs of token streams at 50 and 75 Hz. Out: a batch of targets and conditions for one stage.
All streams of a crop begin at the same instant, which must lie on a frame of every rate: 50 and
75 Hz meet every 1/25 s, at 2 and at 3 frames.

    50 Hz  |---|---|---|---|---|---|
    75 Hz  |--|--|--|--|--|--|--|--|--|
           ^       ^       ^       ^         possible starts

A batch is a pure function of (seed, step), so that a resumed run sees what an unbroken one saw.
"""

import math
from fractions import Fraction
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from hafm.errors import UsageError
from hafm.stages.spec import StageSpec, TokenStream

Batch = tuple[Int[Tensor, "B K F"], tuple[Int[Tensor, "B _K _F"], ...]]


@runtime_checkable
class Pairs(Protocol):
    """A set of pairs: token streams by name, and how many views of the vocal there are."""

    def __len__(self) -> int: ...

    def num_views(self) -> int:
        """Differently augmented versions of every vocal."""
        ...

    def stream(self, index: int, name: str, view: int) -> np.ndarray:
        """Tokens ``[K, F]`` of one pair; ``name`` as in ``hafm.stages.spec``."""
        ...


def common_rate(*rates: Fraction) -> Fraction:
    """The highest rate whose every tick falls on a frame of all ``rates``.

    >>> common_rate(Fraction(50), Fraction(75))
    Fraction(25, 1)
    """
    numerator = math.gcd(*(rate.numerator for rate in rates))
    denominator = math.lcm(*(rate.denominator for rate in rates))
    return Fraction(numerator, denominator)


def crop_batch(
    pairs: Pairs, spec: StageSpec, *, batch: int, seed: int, step: int, views: bool = True
) -> Batch:
    """One batch of random crops of ``spec.clip_seconds``.

    Args:
        pairs: where the tokens are.
        spec: the stage: which streams it wants and how long.
        batch: rows B.
        seed: of the whole run.
        step: which batch of the run.
        views: draw a view of the vocal at random; otherwise always view 0.

    Returns:
        The target ``[B, K, F]`` and one condition ``[B, K, F]`` a source.

    Raises:
        UsageError: a pair is shorter than the clip.
    """
    rng = np.random.default_rng((seed, step))
    rows = rng.integers(len(pairs), size=batch)
    instants = rng.random(batch)
    view = rng.integers(pairs.num_views(), size=batch) if views else np.zeros(batch, dtype=int)
    return crops_at(pairs, spec, rows=rows, instants=instants, views=view)


def crops_at(
    pairs: Pairs, spec: StageSpec, *, rows: np.ndarray, instants: np.ndarray, views: np.ndarray
) -> Batch:
    """Crops of given pairs; an instant in [0, 1) says where between the first and the last start."""
    streams = (*spec.sources, spec.target)
    grid = common_rate(*(stream.frame_rate for stream in streams))
    tokens: list[list[Tensor]] = [[] for _ in streams]
    for row, instant, view in zip(rows, instants, views, strict=True):
        whole = [pairs.stream(int(row), stream.name, int(view)) for stream in streams]
        ticks = _num_starts(whole, streams, spec.clip_seconds, grid, int(row))
        start = Fraction(int(instant * ticks)) / grid
        for out, ids, stream in zip(tokens, whole, streams, strict=True):
            first = int(start * stream.frame_rate)
            length = math.ceil(spec.clip_seconds * stream.frame_rate)
            out.append(torch.from_numpy(ids[:, first : first + length].astype(np.int64)))
    *conditions, target = (torch.stack(out) for out in tokens)
    return target, tuple(conditions)


def _num_starts(
    whole: list[np.ndarray],
    streams: tuple[TokenStream, ...],
    clip_seconds: Fraction,
    grid: Fraction,
    row: int,
) -> int:
    """How many grid ticks leave room for a whole clip in every stream."""
    room: list[int] = []
    for ids, stream in zip(whole, streams, strict=True):
        spare = int(ids.shape[1]) - math.ceil(clip_seconds * stream.frame_rate)
        if spare < 0:
            raise UsageError(
                f"Pair {row} has {ids.shape[1]} frames of {stream.name}, less than a clip of "
                f"{float(clip_seconds):g} s; leave it out or shorten the clip."
            )
        room.append(math.floor(spare / stream.frame_rate * grid))
    return min(room) + 1
