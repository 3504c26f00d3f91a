"""The scan: which items a collection has, what they hold, which are copies, and where each belongs.

In: a source, and what the ledger knows already. Out: the items that it does not know. No audio is decoded.

    source --tracks--> new ones --hash_track, in threads--> duplicates and splits --> shards

Items of a split are dealt to shards in the order of the scan, whatever their results, so a shard's contents
follow from the collection alone:

    train  | 0 ... 255 | 256 ... 511 | 512 .. 600 |  first intake
           |  shard 0  |   shard 1   |  shard 2   |
                                                   | 601 ... 856 |  files that were added later
                                                   |   shard 3   |
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from hafm.data.collection.duplicates import ScanFailure, hash_all, hash_track
from hafm.data.collection.splits import Assignment, ScannedTrack, assign
from hafm.data.collection.track import Source, Split
from hafm.data.preparing.ledger import NewItem
from hafm.errors import UsageError
from hafm.progress import OnProgress, Progress

__all__ = ["SplitRule", "scan"]


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """How songs that the source does not assign are split; see `hafm.data.collection.splits.assign`."""

    seed: int = 0
    valid_share: float = 0.02
    test_share: float = 0.02

    def __post_init__(self) -> None:
        self.assign([])

    def assign(self, rows: Sequence[ScannedTrack]) -> list[Assignment]:
        return assign(rows, seed=self.seed, valid_share=self.valid_share, test_share=self.test_share)


def scan(
    source: Source,
    *,
    known: Sequence[ScannedTrack],
    next_shards: dict[Split, int],
    rule: SplitRule,
    tracks_per_shard: int,
    limit: int | None = None,
    on_progress: OnProgress | None = None,
) -> list[NewItem]:
    """The items of a source that are not known yet.

    Args:
        known: items of earlier scans, in order.
        next_shards: by split, the first number that none of them has.
        limit: tracks of the source to look at; None for all.

    Returns:
        New items in the order of the source.

    Raises:
        UsageError: the source is not what it should be, or two of its tracks have one id.
    """
    old = {row.id for row in known}
    tracks = [track for track in islice(source.tracks(), limit) if track.id not in old]
    if repeated := [name for name, times in Counter(track.id for track in tracks).items() if times > 1]:
        raise UsageError(f"two tracks are called {repeated[0]!r}; rename one of them")
    report = on_progress or (lambda progress: None)
    hashes = hash_all(
        tracks, hash_track, lambda done, total: report(Progress(step="scan", done=done, total=total))
    )
    new = [ScannedTrack.of(track, found) for track, found in zip(tracks, hashes, strict=True)]
    assignments = rule.assign([*known, *new])[len(known) :]
    dealt: Counter[Split] = Counter()
    items = []
    for track, found, assignment in zip(tracks, hashes, assignments, strict=True):
        split = assignment.split
        shard = next_shards.get(split, 0) + dealt[split] // tracks_per_shard
        item = NewItem(track=track, split=split, shard=shard, sha256=None)
        if isinstance(found, ScanFailure):
            item = replace(item, status="quarantined", reason=found.reason)
        elif assignment.duplicate_of is not None:
            reason = f"duplicate of {assignment.duplicate_of}"
            item = replace(item, sha256=found, status="dropped", reason=reason)
        else:
            item = replace(item, sha256=found)
        items.append(item)
        dealt[split] += 1
    return items
