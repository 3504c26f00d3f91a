"""Which split a track belongs to, and which tracks are copies of others.

In: what the scan knows of every track, in scan order. Out: one `Assignment` a track.

    rows --same hash--> copies: the first stays, the others are its duplicates
      |
      +--same song, or songs that share a copy--> groups --> one split a group

A group is never divided. Its split is the one that the source states; where the source contradicts itself,
the one that is held out most (test, then valid, then train), so that nothing of the test set is trained on.
Where the source is silent, it is a pure function of the seed and the group's smallest song id: the same in
every run, and whatever else is in the collection.

A later intake gives the old rows too, with the splits that they have, and takes over what is new.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from hafm.data.collection.duplicates import ScanFailure
from hafm.data.collection.track import Split, Track
from hafm.errors import UsageError

__all__ = ["Assignment", "ScannedTrack", "assign"]

_HELD_OUT_MOST: tuple[Split, ...] = ("test", "valid", "train")


@dataclass(frozen=True, kw_only=True)
class ScannedTrack:
    """What the scan knows of a track.

    Args:
        split: that the source states, or that an earlier intake settled; None if neither.
        sha256: what `hash_track` gave; None where it failed. A track without one has no duplicates.
    """

    id: str
    song_id: str
    split: Split | None
    sha256: str | None

    @classmethod
    def of(cls, track: Track, found: str | ScanFailure) -> Self:
        sha256 = None if isinstance(found, ScanFailure) else found
        return cls(id=track.id, song_id=track.song_id, split=track.split, sha256=sha256)


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Where a track belongs.

    Args:
        duplicate_of: id of the earlier track that holds the same; None if no other does.
    """

    split: Split
    duplicate_of: str | None = None


def assign(
    rows: Sequence[ScannedTrack], *, seed: int = 0, valid_share: float = 0.02, test_share: float = 0.02
) -> list[Assignment]:
    """Settle duplicates and splits.

    Args:
        rows: all tracks, in scan order.
        valid_share, test_share: of the songs that the source does not assign, 0 or more, together below 1.
            They are met on average; a few songs may all fall into `train`.

    Returns:
        One assignment per row, in the order of the rows.

    Raises:
        UsageError: the shares leave nothing to train on.

    >>> rows = [
    ...     ScannedTrack(id="a/1", song_id="a", split=None, sha256="11"),
    ...     ScannedTrack(id="b/1", song_id="b", split="test", sha256="22"),
    ...     ScannedTrack(id="a/2", song_id="a", split=None, sha256="22"),
    ... ]
    >>> [(row.split, row.duplicate_of) for row in assign(rows)]  # b holds what a holds: one group
    [('test', None), ('test', None), ('test', 'b/1')]
    """
    if not (valid_share >= 0 and test_share >= 0 and valid_share + test_share < 1):
        raise UsageError(
            f"shares of {valid_share} for valid and {test_share} for test cannot be; give 0 or more each, "
            "and below 1 together"
        )
    first_of: dict[str, ScannedTrack] = {}
    for row in rows:
        if row.sha256 is not None:
            first_of.setdefault(row.sha256, row)
    pairs = [(row, row if row.sha256 is None else first_of[row.sha256]) for row in rows]
    group_of = _groups((row.song_id, original.song_id) for row, original in pairs)

    stated: defaultdict[str, set[Split]] = defaultdict(set)
    for row in rows:
        if row.split is not None:
            stated[group_of[row.song_id]].add(row.split)

    def split_of(group: str) -> Split:
        said = stated.get(group)
        if said:
            return next(split for split in _HELD_OUT_MOST if split in said)
        # Ids are file names, which may hold bytes that are no text.
        digest = hashlib.sha256(f"{seed}\n{group}".encode("utf-8", "surrogateescape")).digest()
        draw = int.from_bytes(digest[:8], "big") / 2**64
        return "test" if draw < test_share else "valid" if draw < test_share + valid_share else "train"

    return [
        Assignment(split=split_of(group_of[row.song_id]), duplicate_of=None if first is row else first.id)
        for row, first in pairs
    ]


def _groups(links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Songs that hang together, each mapped to the smallest of its group (union-find)."""
    above: dict[str, str] = {}

    def root(song: str) -> str:
        above.setdefault(song, song)
        while above[song] != song:
            above[song] = above[above[song]]
            song = above[song]
        return song

    for one, other in links:
        low, high = sorted((root(one), root(other)))
        above[high] = low
    return {song: root(song) for song in list(above)}
