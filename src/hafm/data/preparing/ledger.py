"""The ledger: one row for every item of a collection, and the one place where work becomes done.

In: items from the scan, then results, one transaction each. Out: rows, counts, and the tokens that no shard
holds yet.

    OUT/ledger.sqlite     fact    settings that decide the tokens; the filter of the last run
                          item    one row per item
                          tokens  of prepared items, until their shard is written
                          shard   the shards that are written, with their hashes
    OUT/ledger.lock       held while a process writes (`database.py`)

An item has exactly one of these statuses, at every moment:

    pending ----> done          its tokens are kept, and the filter keeps some of its clips
             |--> dropped       a duplicate, or the filter keeps none of its clips
             `--> quarantined   it could not be used; the reason says why
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, get_args

from hafm.data.collection.splits import ScannedTrack
from hafm.data.collection.track import Split, Track
from hafm.data.preparing.database import Database, damaged
from hafm.data.result import ClipLevel, Prepared, Quarantined, TrackResult, TrackTokens
from hafm.errors import OutputError

__all__ = ["LEDGER_FILE", "STATUSES", "Counts", "Ledger", "LedgerRow", "NewItem", "ShardKey", "Status"]

Status: TypeAlias = Literal["pending", "done", "dropped", "quarantined"]
STATUSES: tuple[Status, ...] = get_args(Status)

ShardKey: TypeAlias = tuple[Split, int]
"""Split and number of a shard."""


@dataclass(frozen=True, kw_only=True)
class NewItem:
    """An item as the scan found it.

    Args:
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


@dataclass(frozen=True, kw_only=True)
class LedgerRow(NewItem):
    """An item and its result.

    Args:
        position: number of the item, in the order in which items were found.
        seconds: duration; None unless it has tokens.
        frames_50, frames_75: of semantic tokens, and of codes.
        spent: seconds of computing by step.
    """

    position: int
    seconds: float | None = None
    frames_50: int | None = None
    frames_75: int | None = None
    levels: tuple[ClipLevel, ...] = ()
    notes: tuple[str, ...] = ()
    spent: Mapping[str, float] = field(default_factory=dict)


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
        return self.pending + self.resolved

    @property
    def resolved(self) -> int:
        """Those that are not pending."""
        return self.done + self.dropped + self.quarantined

    def share_quarantined(self) -> float:
        """Of the resolved items, 0 to 1; 0 while there are none."""
        return self.quarantined / self.resolved if self.resolved else 0.0


LEDGER_FILE = "ledger.sqlite"
FORMAT = 1

ShardRecord: TypeAlias = tuple[str, int]
"""SHA-256 and bytes of a shard's file."""

_SCHEMA = f"""
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE item (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    song_id TEXT NOT NULL,
    split TEXT NOT NULL CHECK (split IN ('train', 'valid', 'test')),
    shard INTEGER NOT NULL,
    sha256 TEXT,
    track TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'done', 'dropped', 'quarantined')),
    reason TEXT CHECK (reason IS NOT NULL OR status IN ('pending', 'done')),
    seconds REAL CHECK (seconds IS NOT NULL OR status != 'done'),
    frames_50 INTEGER,
    frames_75 INTEGER,
    levels TEXT NOT NULL DEFAULT '[]',
    notes TEXT NOT NULL DEFAULT '[]',
    spent TEXT NOT NULL DEFAULT '{{}}'
);
CREATE INDEX item_by_shard ON item (split, shard, status);
CREATE TABLE tokens (position INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, bytes BLOB NOT NULL);
CREATE TABLE shard (
    split TEXT NOT NULL, number INTEGER NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (split, number)
);
INSERT INTO fact VALUES ('format', '{FORMAT}');
"""
_COLUMNS = tuple(each.name for each in fields(LedgerRow))


class Ledger:
    """The ledger of one output folder, open for writing. Use it in a `with` block.

    Args:
        folder: OUT; made if missing. A ledger that is there is opened, otherwise an empty one is made.

    Raises:
        UsageError: another process writes to it.
        OutputError: it is damaged, of another format, or cannot be written. Every method may raise this one.

    >>> import tempfile
    >>> from hafm.data.collection.track import SoundPart, Track
    >>> track = Track(id="a", song_id="a", mix=SoundPart(path="a.mp3"))
    >>> with tempfile.TemporaryDirectory() as out, Ledger(Path(out)) as ledger:
    ...     ledger.add([NewItem(track=track, split="train", shard=0, sha256="0" * 64)])
    ...     _ = ledger.commit(Quarantined(track_id="a", reason="'a.mp3' is empty"))
    ...     ledger.counts()
    Counts(pending=0, done=0, dropped=0, quarantined=1)
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LEDGER_FILE
        self._database = Database(self.path, schema=_SCHEMA)
        try:
            if (found := self.fact("format")) != FORMAT:
                raise OutputError(
                    f"ledger '{self.path}' is of format {found}, and this hafm writes {FORMAT}; "
                    "give another folder with -o"
                )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def fact(self, name: str) -> Any:
        """A JSON value that was stored; None if nothing was."""
        found = self._database.all("SELECT value FROM fact WHERE name = ?", (name,))
        return json.loads(found[0][0]) if found else None

    def _set_facts(self, facts: Mapping[str, Any]) -> None:
        for name, value in facts.items():
            self._database.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, json.dumps(value)))

    def add(self, items: Iterable[NewItem], *, facts: Mapping[str, Any] | None = None) -> None:
        """Appends items that the ledger does not know, and stores facts, all or nothing."""
        with self._database.transaction():
            (first,) = self._database.one("SELECT coalesce(max(position) + 1, 0) FROM item")
            self._database.execute_each(
                "INSERT INTO item (position, id, song_id, split, shard, sha256, track, status, reason) "
                "VALUES (:position, :id, :song_id, :split, :shard, :sha256, :track, :status, :reason)",
                (
                    {**_columns(item), "position": position}
                    for position, item in enumerate(items, start=first)
                ),
            )
            self._set_facts(facts or {})

    def commit(self, result: TrackResult, *, dropped: str | None = None) -> Status:
        """Makes a pending item done, dropped or quarantined; the one commit point of its work.

        Args:
            dropped: the reason, if the filter keeps nothing of it.
        """
        status: Status = "done" if dropped is None else "dropped"
        with self._database.transaction():
            if isinstance(result, Quarantined):
                status, dropped = "quarantined", result.reason
            else:
                self._store(result)
            changed = self._database.execute(
                "UPDATE item SET status = ?, reason = ? WHERE id = ? AND status = 'pending'",
                (status, dropped, result.track_id),
            )
            assert changed == 1, f"{result.track_id!r} was not pending"
        return status

    def _store(self, result: Prepared) -> None:
        data = result.tokens.to_bytes()
        self._database.execute(
            "INSERT INTO tokens SELECT position, ?, ? FROM item WHERE id = ?",
            (hashlib.sha256(data).hexdigest(), data, result.track_id),
        )
        self._database.execute(
            "UPDATE item SET seconds = ?, frames_50 = ?, frames_75 = ?, levels = ?, notes = ?, spent = ? "
            "WHERE id = ? AND status = 'pending'",
            (
                result.seconds,
                result.tokens.vocal.shape[-1],
                result.tokens.codes.shape[-1],
                json.dumps([asdict(level) for level in result.levels]),
                json.dumps(list(result.notes)),
                json.dumps(dict(result.spent)),
                result.track_id,
            ),
        )

    def redrop(self, reasons: Iterable[tuple[str, str | None]], *, facts: Mapping[str, Any]) -> None:
        """What another filter thinks of prepared items: (track id, why it keeps nothing of it, or None)."""
        with self._database.transaction():
            self._database.execute_each(
                "UPDATE item SET status = ?, reason = ? WHERE id = ? AND seconds IS NOT NULL",
                (("done" if why is None else "dropped", why, track_id) for track_id, why in reasons),
            )
            self._set_facts(facts)

    def forget_quarantined(self) -> None:
        """Drops the rows of quarantined items, so that the next scan takes their files for new ones."""
        with self._database.transaction():
            self._database.execute("DELETE FROM item WHERE status = 'quarantined'")

    def rows(self, status: Status | None = None) -> list[LedgerRow]:
        """The items of a status, or all of them, in the order of their positions."""
        where, values = ("WHERE status = ?", (status,)) if status is not None else ("", ())
        query = f"SELECT {', '.join(_COLUMNS)} FROM item {where} ORDER BY position"
        return [_row(found) for found in self._database.all(query, values)]

    def scanned(self) -> list[ScannedTrack]:
        """What the scan knew of all items, in the order of their positions."""
        query = "SELECT id, song_id, split, sha256 FROM item ORDER BY position"
        return [
            ScannedTrack(id=track_id, song_id=song_id, split=split, sha256=sha256)
            for track_id, song_id, split, sha256 in self._database.all(query)
        ]

    def counts(self) -> Counts:
        """How many items have which status."""
        return Counts(**dict(self._database.all("SELECT status, count(*) FROM item GROUP BY status")))

    def next_shards(self) -> dict[Split, int]:
        """The first shard number that no item has, by split; splits without items are missing."""
        return dict(self._database.all("SELECT split, max(shard) + 1 FROM item GROUP BY split"))

    def ripe_shards(self) -> list[ShardKey]:
        """Shards to be written: none of their items is pending, and the ledger holds tokens of them."""
        query = """
            SELECT DISTINCT split, shard FROM item JOIN tokens USING (position) WHERE NOT EXISTS (
                SELECT 1 FROM item AS other
                WHERE other.split = item.split AND other.shard = item.shard AND other.status = 'pending'
            ) ORDER BY split, shard
        """
        return [(split, number) for split, number in self._database.all(query)]

    def tokens(self, key: ShardKey) -> list[TrackTokens]:
        """Tokens of a shard that is not written yet, in the order of the positions; refused if changed."""
        found = self._database.all(
            "SELECT tokens.sha256, bytes FROM tokens JOIN item USING (position) "
            "WHERE split = ? AND shard = ? ORDER BY position",
            key,
        )
        for sha256, data in found:
            if hashlib.sha256(data).hexdigest() != sha256:
                raise damaged(self.path, f"tokens of {key[0]} shard {key[1]} changed")
        return [TrackTokens.from_bytes(data) for _, data in found]

    def record_shard(self, key: ShardKey, record: ShardRecord) -> None:
        """A shard's file is on the disk: its tokens leave the ledger."""
        with self._database.transaction():
            self._database.execute("INSERT OR REPLACE INTO shard VALUES (?, ?, ?, ?)", (*key, *record))
            self._database.execute(
                "DELETE FROM tokens WHERE position IN "
                "(SELECT position FROM item WHERE split = ? AND shard = ?)",
                key,
            )

    def shards(self) -> dict[ShardKey, ShardRecord]:
        """The shards that are written."""
        found = self._database.all("SELECT split, number, sha256, bytes FROM shard ORDER BY split, number")
        return {(split, number): (sha256, num_bytes) for split, number, sha256, num_bytes in found}


def _columns(item: NewItem) -> dict[str, Any]:
    track = item.track
    return {**vars(item), "id": track.id, "song_id": track.song_id, "track": json.dumps(track.to_dict())}


def _row(values: Sequence[Any]) -> LedgerRow:
    found = dict(zip(_COLUMNS, values, strict=True))
    texts = {name: json.loads(found.pop(name)) for name in ("track", "levels", "notes", "spent")}
    return LedgerRow(
        track=Track.from_dict(texts["track"]),
        levels=tuple(ClipLevel(**level) for level in texts["levels"]),
        notes=tuple(texts["notes"]),
        spent=texts["spent"],
        **found,
    )
