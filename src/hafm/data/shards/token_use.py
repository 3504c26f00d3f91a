"""How often each id of a token stream occurs.

In: pairs. Out: counts of every codebook, and what they say: ids that never occur, entropy, perplexity.

A codebook of which few ids are used, or one of them most of the time, says little: a k-means with dead
clusters, a codec that gets silence. The perplexity 2^H is the number of ids that would have the same entropy
H if all were equally frequent.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from hafm.data.crops import Pairs
from hafm.data.order import Numbers
from hafm.stages.spec import TokenStream

__all__ = ["TokenUse", "count_tokens"]

_PAIRS_AT_ONCE = 256  # about a shard


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenUse:
    """Counts of one codebook.

    Args:
        counts: of every id. Shape [V].

    >>> use = TokenUse(counts=np.array([2, 0, 1, 1]))
    >>> use.dead, use.entropy_bits, use.most_frequent(1)
    (1, 1.5, [(0, 0.5)])
    """

    counts: Numbers

    @property
    def used(self) -> int:
        """Ids that occur."""
        return int(np.count_nonzero(self.counts))

    @property
    def dead(self) -> int:
        """Ids that do not."""
        return len(self.counts) - self.used

    @property
    def shares(self) -> np.ndarray:
        """Of each id, in all tokens. Shape [V]; zeros if there are no tokens."""
        shares: np.ndarray = self.counts / max(int(self.counts.sum()), 1)
        return shares

    @property
    def entropy_bits(self) -> float:
        """H of the shares."""
        shares = self.shares[self.counts > 0]
        return float(-(shares * np.log2(shares)).sum()) + 0.0

    @property
    def perplexity(self) -> float:
        """2^H; from 1 to the number of ids."""
        return float(2**self.entropy_bits)

    def most_frequent(self, number: int) -> list[tuple[int, float]]:
        """The most frequent ids and their shares, falling; of equals the smaller id first."""
        order = np.argsort(-self.counts, kind="stable")[:number]
        return [(int(each), float(self.shares[each])) for each in order if self.counts[each]]


def count_tokens(sets: Iterable[Pairs], stream: TokenStream) -> tuple[TokenUse, ...]:
    """Counts of all tokens of a stream, every view of a vocal included.

    Args:
        sets: where the tokens are: one set of pairs, or several.
        stream: which, and how many ids it has at least; ids beyond make the counts longer.

    Returns:
        One entry per codebook.
    """
    counts: Numbers = np.zeros((stream.num_codebooks, stream.cardinality), np.int64)
    for ids in _parts(sets, stream.name):
        length = max(counts.shape[1], int(ids.max(initial=0)) + 1)
        counts = np.pad(counts, ((0, 0), (0, length - counts.shape[1])))
        counts += np.stack([np.bincount(row, minlength=length) for row in ids])
    return tuple(TokenUse(counts=row) for row in counts)


def _parts(sets: Iterable[Pairs], name: str) -> Iterator[np.ndarray]:
    """All tokens of a stream `[K, F]`, about a shard at a time."""
    for pairs in sets:
        views = range(pairs.num_views() if name == "vocal_semantic" else 1)
        for first in range(0, len(pairs), _PAIRS_AT_ONCE):
            some = range(first, min(first + _PAIRS_AT_ONCE, len(pairs)))
            yield np.concatenate(
                [pairs.stream(index, name, view) for index in some for view in views], axis=1
            )
