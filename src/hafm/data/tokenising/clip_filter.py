"""Which clips of a track are fit for training (paper 3.6).

In: vocal and instrumental of a track. Out: their levels on a grid of clips, and the stretches that a filter
keeps.

    vocal         ~~~~~~~~~~ ~~~~~~~~~~ ~~~~~~~~~~ .......... ~~~~~
    instrumental  ########## ########## ....#..... ########## #####
                  clip 0     clip 1     clip 2     clip 3     clip 4 (shorter)
    kept          |----- a run -------|            |---- a run ----|

Levels are RMS in dBFS (20 log10, full scale = 1). They are kept in the ledger and the index, so that another
filter needs no other separation. The thresholds are the paper's: an instrumental under -25 dBFS is dropped,
and so is a vocal more than 5 dB above it. A clip exactly on a threshold is kept.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float
from torch import Tensor

from hafm.data.result import ClipLevel
from hafm.errors import UsageError

__all__ = ["FLOOR_DBFS", "ClipFilter", "DropReason", "Runs", "measure_levels"]

FLOOR_DBFS = -120.0
"""What digital silence counts as, and whatever lies below."""

DropReason: TypeAlias = Literal["quiet instrumental", "loud vocal"]
Runs: TypeAlias = tuple[tuple[float, float], ...]
"""Stretches of a track as (start, end) in seconds, in order, none touching the next."""

_DECIMALS = 3


def measure_levels(
    vocal: Float[Tensor, " T"], instrumental: Float[Tensor, " T"], sample_rate: int, clip_seconds: Fraction
) -> tuple[ClipLevel, ...]:
    """Levels of both stems in every clip.

    Clip `i` begins at sample `ceil(i * clip_seconds * sample_rate)` and ends where the next begins; the last
    ends with the track. Levels are rounded to 0.001 dB: what the order of a summation changes lies far below.

    Raises:
        UsageError: a clip is shorter than a sample.

    Source: paper 3.6.

    >>> import torch
    >>> loud, soft = torch.full((5,), 1.0), torch.full((5,), 0.1)
    >>> levels = measure_levels(soft, loud, 2, Fraction(2))
    >>> [(each.seconds, each.vocal_dbfs, each.instrumental_dbfs) for each in levels]
    [(2.0, -20.0, 0.0), (0.5, -20.0, 0.0)]
    """
    (num_samples,) = vocal.shape
    clip_samples = clip_seconds * sample_rate
    if clip_samples < 1:
        raise UsageError(
            f"clips of {clip_seconds} s are shorter than a sample at {sample_rate} Hz; take longer ones"
        )
    total_seconds = Fraction(num_samples, sample_rate)
    levels: list[ClipLevel] = []
    # Clip i has a sample exactly if i * clip_samples <= T - 1.
    for number in range((num_samples - 1) // clip_samples + 1):
        inside = slice(math.ceil(number * clip_samples), math.ceil((number + 1) * clip_samples))
        start_seconds = number * clip_seconds
        end_seconds = start_seconds + clip_seconds if inside.stop < num_samples else total_seconds
        levels.append(
            ClipLevel(
                start_seconds=float(start_seconds),
                seconds=float(end_seconds - start_seconds),
                vocal_dbfs=_level(vocal[inside]),
                instrumental_dbfs=_level(instrumental[inside]),
            )
        )
    return tuple(levels)


@dataclass(frozen=True, kw_only=True)
class ClipFilter:
    """The paper's rule for clips.

    Args:
        min_instrumental_dbfs: a quieter instrumental is dropped; -120 to 0. At -120 none is.
        max_vocal_over_db: a vocal louder than the instrumental by more is dropped; -120 to 120.

    Raises:
        UsageError: a threshold is out of range.

    Source: paper 3.6.

    >>> grid = [(0.0, -20.0, -18.0), (10.0, -20.0, -25.0), (20.0, -9.0, -18.0), (30.0, -13.0, -18.0)]
    >>> levels = [
    ...     ClipLevel(start_seconds=start, seconds=10.0, vocal_dbfs=vocal, instrumental_dbfs=instrumental)
    ...     for start, vocal, instrumental in grid
    ... ]
    >>> ClipFilter().kept_runs(levels)
    ((0.0, 20.0), (30.0, 40.0))
    >>> ClipFilter().count_drops(levels)
    Counter({'loud vocal': 1})
    """

    min_instrumental_dbfs: float = -25.0
    max_vocal_over_db: float = 5.0

    def __post_init__(self) -> None:
        for name, highest in (("min_instrumental_dbfs", 0.0), ("max_vocal_over_db", 120.0)):
            value = getattr(self, name)
            if not FLOOR_DBFS <= value <= highest:
                raise UsageError(f"{name} {value:g}: give a level from {FLOOR_DBFS:g} to {highest:g} dB")

    def drop_reason(self, level: ClipLevel) -> DropReason | None:
        """Why a clip is dropped; None for one that is kept. A clip with both faults has the first."""
        if level.instrumental_dbfs < self.min_instrumental_dbfs:
            return "quiet instrumental"
        # Rounded as levels are: in binary -15.998 + 20.998 is more than 5.
        if round(level.vocal_dbfs - level.instrumental_dbfs, _DECIMALS) > self.max_vocal_over_db:
            return "loud vocal"
        return None

    def kept_runs(self, levels: Sequence[ClipLevel]) -> Runs:
        """Runs of adjacent kept clips of one track."""
        groups = groupby(levels, key=lambda level: self.drop_reason(level) is None)
        runs = [list(clips) for are_kept, clips in groups if are_kept]
        return tuple((run[0].start_seconds, run[-1].start_seconds + run[-1].seconds) for run in runs)

    def count_drops(self, levels: Iterable[ClipLevel]) -> Counter[DropReason]:
        """How many clips are dropped for which reason."""
        return Counter(reason for level in levels if (reason := self.drop_reason(level)) is not None)


def _level(waveform: Tensor) -> float:
    # By numpy, whose sums do not depend on the number of threads; float32 would lose quiet clips.
    mean_square = float(np.mean(np.square(waveform.numpy(force=True), dtype=np.float64)))
    lowest = 10 ** (FLOOR_DBFS / 10)
    return round(10 * math.log10(max(mean_square, lowest)), _DECIMALS) + 0.0  # no -0.0 in JSON
