"""From ledger to files: shards, the index, and a table for people.

In: a ledger. Out: in its folder

    train-00000.safetensors ...   as soon as all items of a shard are resolved, with its lead sheets
    tracks.jsonl, index.json      when no item is pending
    ledger.tsv                    at the end of each run

Every file is a function of the ledger's rows, so that a process that dies anywhere in here is made up for by
doing it again.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hafm.data.preparing.ledger import Ledger, LedgerRow, ShardKey
from hafm.data.result import ClipLevel
from hafm.data.shards.file import shard_name, write_shard
from hafm.data.shards.guides import write_sheets
from hafm.data.shards.track_entry import TrackEntry
from hafm.data.tokenising.clip_filter import ClipFilter
from hafm.files import atomic_file

__all__ = ["TABLE_FILE", "drop_reason", "track_entries", "write_ripe_shard", "write_table"]

TABLE_FILE = "ledger.tsv"


def write_ripe_shard(folder: Path, ledger: Ledger, key: ShardKey) -> None:
    """Writes a shard whose items are all resolved, and its tokens leave the ledger.

    A shard whose items all failed has no file.
    """
    tokens = ledger.tokens(key)
    if tokens:
        path = folder / shard_name(*key)
        write_sheets(path, tokens)
        sha256 = write_shard(path, tokens)
        ledger.record_shard(key, (sha256, path.stat().st_size))


def write_table(folder: Path, rows: Iterable[LedgerRow]) -> None:
    """Writes `ledger.tsv`: id, song, split, status, reason."""
    with atomic_file(folder / TABLE_FILE) as file:
        file.write(b"id\tsong\tsplit\tstatus\treason\n")
        for row in rows:
            cells = (row.track.id, row.track.song_id, row.split, row.status, row.reason or "")
            line = "\t".join(" ".join(cell.split()) for cell in cells)
            file.write(f"{line}\n".encode())


def drop_reason(clip_filter: ClipFilter, levels: Sequence[ClipLevel]) -> str | None:
    """Why a filter keeps nothing of a track; None if it keeps some of it.

    >>> quiet = ClipLevel(start_seconds=0.0, seconds=10.0, vocal_dbfs=-50.0, instrumental_dbfs=-40.0)
    >>> drop_reason(ClipFilter(), [quiet])
    'filter: quiet instrumental in 1 of 1 clips'
    """
    if clip_filter.kept_runs(levels):
        return None
    drops = clip_filter.count_drops(levels)
    causes = ", ".join(f"{cause} in {number}" for cause, number in sorted(drops.items()))
    return f"filter: {causes or 'nothing kept'} of {len(levels)} clips"


def track_entries(rows: Iterable[LedgerRow], clip_filter: ClipFilter) -> Iterator[TrackEntry]:
    """Where the tokens of each track are: tracks lie end to end, in the order of their positions."""
    starts: defaultdict[ShardKey, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.seconds is None or row.frames_50 is None or row.frames_75 is None:
            continue
        start = starts[row.split, row.shard]
        yield TrackEntry(
            id=row.track.id,
            song_id=row.track.song_id,
            split=row.split,
            shard=row.shard,
            start_50=start["50"],
            frames_50=row.frames_50,
            start_75=start["75"],
            frames_75=row.frames_75,
            seconds=row.seconds,
            levels=row.levels,
            kept=clip_filter.kept_runs(row.levels),
            known=row.track.known,
        )
        start["50"] += row.frames_50
        start["75"] += row.frames_75
