"""Which unit each sample of a training run takes: a pure function of (seed, epoch, position).

In: the number of units and a seed. Out: for samples `g, g + 1, ...` of a run their units and random words.

    sample    g = 0 ............................ n - 1 | n ............................ 2n - 1 | 2n ...
    epoch     0                                        | 1                                     | 2
    position  0 ............................ n - 1     | 0 ............................ n - 1  | 0
    unit      a permutation of all n                   | another                               | ...

A step of a run takes `batch` samples, and each rank its own slice of them: so every unit comes once per
epoch, whatever the number of ranks, and a run that goes on after a stop needs to know its step alone.

Randomness is Philox 4x64-10, which computes the words of position `p` from a key (here from seed and epoch)
and the counter `p`. Only its raw words are used: numpy promises that they stay the same, unlike what it makes
of them.

Source: rule 14 of the house; Philox: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hafm.errors import UsageError

__all__ = ["WORDS", "Numbers", "Order", "Samples", "scaled", "share_of_batch"]

Numbers: TypeAlias = NDArray[np.int64]
Words: TypeAlias = NDArray[np.uint64]

WORDS = 4
"""Random words of 64 bits that each sample has: what Philox gives for one counter."""

_UNITS, _SAMPLES = 0, 1  # keys of their own, so that the permutation and the samples' words do not meet


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """A stretch of samples.

    Args:
        units: which unit each takes. Shape [samples].
        words: random words of each. Shape [samples, WORDS].
    """

    units: Numbers
    words: Words


@dataclass(frozen=True, kw_only=True)
class Order:
    """The order of a run.

    Args:
        num_units: units n to choose from, 1 or more.
        seed: of the run, 0 or more.

    Raises:
        UsageError: a number is out of range.

    >>> order = Order(num_units=5, seed=0)
    >>> sorted(order.samples(0, 5).units.tolist()), sorted(order.samples(5, 5).units.tolist())
    ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    >>> order.samples(3, 4).units.tolist() == [*order.samples(0, 5).units[3:], *order.samples(5, 2).units]
    True
    """

    num_units: int
    seed: int

    def __post_init__(self) -> None:
        if self.num_units < 1 or self.seed < 0:
            raise UsageError(
                f"an order needs a unit and a seed of 0 or more, not {self.num_units} and {self.seed}"
            )

    def samples(self, first: int, count: int) -> Samples:
        """Samples `first` to `first + count - 1` of the run, which may lie in several epochs."""
        if first < 0 or count < 1:
            raise UsageError(f"samples {first} to {first + count - 1}: ask for one or more, from 0 on")
        units: list[Numbers] = []
        words: list[Words] = []
        while count > 0:
            epoch, position = divmod(first, self.num_units)
            inside = min(count, self.num_units - position)
            permutation = _permutation(self.seed, epoch, self.num_units)
            units.append(permutation[position : position + inside])
            words.append(_words(self.seed, epoch, _SAMPLES, first=position, count=inside))
            first, count = first + inside, count - inside
        return Samples(units=np.concatenate(units), words=np.concatenate(words))


def share_of_batch(step: int, *, batch: int, rank: int = 0, world_size: int = 1) -> tuple[int, int]:
    """The samples of one rank in one step, as (first, count). Shares of a step lie end to end.

    Args:
        step: of the run, 0 or more.
        batch: samples per step over all ranks; divisible by `world_size`, so that all ranks weigh the same.
        rank: 0 to `world_size - 1`.

    Raises:
        UsageError: a number is out of range, or the batch cannot be divided.

    >>> [share_of_batch(10, batch=8, rank=rank, world_size=2) for rank in (0, 1)]
    [(80, 4), (84, 4)]
    """
    if step < 0 or batch < 1 or not 0 <= rank < world_size:
        raise UsageError(f"step {step}, batch {batch}, rank {rank} of {world_size}: one is out of range")
    if batch % world_size:
        raise UsageError(
            f"a batch of {batch} cannot be divided among {world_size} ranks; take a multiple of {world_size}"
        )
    count = batch // world_size
    return step * batch + rank * count, count


def scaled(words: Words, bounds: "Numbers | int") -> Numbers:
    """Random words as whole numbers from 0 to below `bounds`.

    The upper 32 bits as a fraction of 1, times the bound: one number is likelier than another by 2^-32 times
    the bound at most.

    Args:
        words: any shape.
        bounds: 1 to 2^31, one for all or one each.

    >>> scaled(np.array([0, 2**63, 2**64 - 1], np.uint64), 10).tolist()
    [0, 5, 9]
    """
    upper = words >> np.uint64(32)
    return ((upper * np.asarray(bounds, np.uint64)) >> np.uint64(32)).astype(np.int64)


# Two for a batch in which one epoch ends and another begins, and two for another order (held-out) in between.
@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, num_units: int) -> Numbers:
    # Not `Generator.permutation`, whose result may change with numpy.
    keys = _words(seed, epoch, _UNITS, first=0, count=-(-num_units // WORDS)).reshape(-1)[:num_units]
    order: Numbers = np.argsort(keys, kind="stable").astype(np.int64)
    order.flags.writeable = False
    return order


def _words(seed: int, epoch: int, use: int, *, first: int, count: int) -> Words:
    key = np.random.SeedSequence((seed, epoch, use)).generate_state(2, np.uint64)
    philox = np.random.Philox(key=key).advance(first)
    words: Words = philox.random_raw(WORDS * count).reshape(count, WORDS)
    return words
