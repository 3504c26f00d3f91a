"""Which instrumentals of a collection belong in an index, and how one is read.

In: a source, and the split that is wanted. Out: `Listing`: the tracks to be described, each with a hash;
those that are left out, each with a reason.

    source --scan--> splits, as `hafm prepare` settles them --same instrumental?--> wanted | left out

No song of another split may be found, so an instrumental that a held-out song has too counts as held out,
whatever its own track says: songs that share one form a group, and a group is held out with any of its songs.

The hash of an instrumental covers the bytes of its files, part by part; the vocal is not read.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hafm.data.collection.duplicates import ScanFailure, hash_all, hash_track
from hafm.data.collection.intake import Stems, read_stems
from hafm.data.collection.splits import ScannedTrack, assign
from hafm.data.collection.track import Source, Split, Track
from hafm.data.preparing.scan import SplitRule, scan
from hafm.errors import UsageError

__all__ = ["LeftOut", "WantedTrack", "first_reasons", "hash_instrumental", "list_tracks", "read_instrumental"]


@dataclass(frozen=True, kw_only=True)
class WantedTrack:
    """A track whose instrumental belongs in the index, and the hash of that."""

    track: Track
    sha256: str


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A track of the split that the index does without, and the reason in one line."""

    track_id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The tracks of a split, in the order of the source, and how many belong to other splits."""

    wanted: tuple[WantedTrack, ...]
    left_out: tuple[LeftOut, ...]
    elsewhere: int


def list_tracks(
    source: Source,
    *,
    split: Split,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Listing:
    """Looks through a collection.

    Args:
        split: the one that the index is made of; of songs whose split the source does not state, as in
            `hafm prepare`.
        limit: look at this many tracks; None for all. Copies among the rest are not seen then.

    Raises:
        UsageError: the source is not what it should be, or it holds mixes, which have no instrumental.
    """
    items = scan(source, known=(), next_shards={}, rule=SplitRule(), tracks_per_shard=1, limit=limit)
    tracks = [replace(item.track, split=item.split) for item in items]
    mix = next((track for track in tracks if track.needs_separation), None)
    if mix is not None:
        raise UsageError(
            f"track {mix.id!r} is a mix, and retrieval plays instrumentals; take songs apart with "
            "`hafm separate` first, or give a collection of pairs"
        )
    hashes = hash_all(tracks, hash_instrumental, on_progress)
    rows = [ScannedTrack.of(track, found) for track, found in zip(tracks, hashes, strict=True)]
    wanted: list[WantedTrack] = []
    left_out: list[LeftOut] = []
    for track, found, assigned in zip(tracks, hashes, assign(rows), strict=True):
        if track.split != split:
            continue
        if isinstance(found, ScanFailure):
            left_out.append(LeftOut(track_id=track.id, reason=found.reason))
        elif assigned.split != split:
            reason = f"shares an instrumental with a song of {assigned.split}"
            left_out.append(LeftOut(track_id=track.id, reason=reason))
        elif assigned.duplicate_of is not None:
            left_out.append(LeftOut(track_id=track.id, reason=f"duplicate of {assigned.duplicate_of}"))
        else:
            wanted.append(WantedTrack(track=track, sha256=found))
    return Listing(
        wanted=tuple(wanted),
        left_out=tuple(left_out),
        elsewhere=sum(track.split != split for track in tracks),
    )


def first_reasons(left_out: Sequence[LeftOut]) -> str:
    """Three of the reasons, in one line.

    >>> first_reasons([LeftOut(track_id="a", reason="it is empty"), LeftOut(track_id="b", reason="a copy")])
    'a: it is empty; b: a copy'
    """
    return "; ".join(f"{each.track_id}: {each.reason}" for each in left_out[:3])


def hash_instrumental(track: Track) -> str | ScanFailure:
    """What the files of a track's instrumental hold: 64 hex digits, or why there are none."""
    digests = []
    for part in track.instrumental:
        found = hash_track(Track(id=track.id, song_id=track.song_id, mix=part))
        if isinstance(found, ScanFailure):
            return found
        digests.append(found)
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def read_instrumental(track: Track) -> Stems:
    """The instrumental of a track, under the rules of training (AudioError); the vocal need not be there."""
    return read_stems(replace(track, vocal=track.instrumental), separator=None)
