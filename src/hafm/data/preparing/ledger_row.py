"""What the ledger knows of one item of a collection.

In: what the scan found, then what became of the track. Out: `NewItem`, `LedgerRow`, `Counts`.

    pending ----> done          its tokens are kept, and the filter keeps some of its clips
             |--> dropped       a duplicate, or the filter keeps none of its clips
             `--> quarantined   it could not be used; the reason says why

An item has exactly one of these, at every moment.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from hafm.data.collection.track import Split, Track
from hafm.data.result import ClipLevel

__all__ = ["STATUSES", "Counts", "LedgerRow", "NewItem", "ShardKey", "Status"]

Status: TypeAlias = Literal["pending", "done", "dropped", "quarantined"]
STATUSES: tuple[Status, ...] = get_args(Status)

ShardKey: TypeAlias = tuple[Split, int]
"""Split and number of a shard."""


@dataclass(frozen=True, kw_only=True)
class NewItem:
    """An item as the scan found it.

    Args:
        track: what the source says.
        split: where its song belongs.
        shard: number, within the split, of the shard that will hold its tokens.
        sha256: of the bytes of its parts; None if they cannot be read.
        status: `pending`; `dropped` for a duplicate, `quarantined` for what cannot be read.
        reason: why it is not pending.
    """

    track: Track
    split: Split
    shard: int
    sha256: str | None
    status: Status = "pending"
    reason: str | None = None

    @property
    def shard_key(self) -> ShardKey:
        """Its shard among those of all splits."""
        return self.split, self.shard


@dataclass(frozen=True, kw_only=True)
class LedgerRow(NewItem):
    """An item, and what became of it.

    Args:
        position: number of the item, in the order in which items were found.
        seconds: duration; None unless it has tokens.
        frames_50: frames of semantic tokens.
        frames_75: frames of codes.
        levels: of its clips.
        notes: what a reader should know.
        spent: seconds of computing by step.
    """

    position: int
    seconds: float | None = None
    frames_50: int | None = None
    frames_75: int | None = None
    levels: tuple[ClipLevel, ...] = ()
    notes: tuple[str, ...] = ()
    spent: Mapping[str, float] = field(default_factory=dict)

    @property
    def prepared(self) -> bool:
        """Whether it has tokens, whatever the filter thinks of it."""
        return self.seconds is not None


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many items have which status.

    >>> counts = Counts(pending=3, done=5, quarantined=1)
    >>> counts.items, counts.resolved
    (9, 6)
    """

    pending: int = 0
    done: int = 0
    dropped: int = 0
    quarantined: int = 0

    @property
    def items(self) -> int:
        """All of them."""
        return self.pending + self.resolved

    @property
    def resolved(self) -> int:
        """Those that are not pending."""
        return self.done + self.dropped + self.quarantined

    def share_quarantined(self) -> float:
        """Of the resolved items, 0 to 1; 0 while there are none."""
        return self.quarantined / self.resolved if self.resolved else 0.0
