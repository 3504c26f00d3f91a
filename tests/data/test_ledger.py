"""The ledger: one row an item at every moment, one writer, and plain words when its disk fails."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hafm.data.collection.track import SoundPart, Track
from hafm.data.preparing.ledger import LEDGER_FILE, Counts, Ledger, NewItem
from hafm.data.result import ClipLevel, Prepared, Quarantined, TrackTokens
from hafm.errors import OutputError, UsageError
from tests.data.stub_preparers import track

LEVEL = ClipLevel(start_seconds=0.0, seconds=10.0, vocal_dbfs=-20.0, instrumental_dbfs=-18.0)


def item(name: str, **changes: Any) -> NewItem:
    return replace(NewItem(track=track(name), split="train", shard=0, sha256=name * 64), **changes)


def prepared(name: str, *, frames: int = 4) -> Prepared:
    rng = np.random.default_rng(len(name) + frames)

    def ids(*shape: int) -> np.ndarray:
        return rng.integers(0, 1024, shape).astype(np.uint16)

    tokens = TrackTokens(vocal=ids(2, frames), instrumental=ids(frames), codes=ids(8, frames * 3 // 2))
    return Prepared(
        track_id=name,
        tokens=tokens,
        levels=(LEVEL,),
        seconds=frames / 50,
        notes=("a note",),
        spent={"read": 0.5},
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path) as opened:
        yield opened


def looked_at(ledger: Ledger, sql: str) -> list[Any]:
    """What another process sees."""
    with sqlite3.connect(ledger.path) as database:
        return database.execute(sql).fetchall()


def test_a_result_is_kept_whole(ledger: Ledger) -> None:
    known = {"title": "Ä\n1", "genre": None}
    song = Track(id="a", song_id="s", mix=SoundPart(path="a.mp4", stream=0), known=known)
    ledger.add([item("a", track=song, split="test", shard=3)])
    result = prepared("a", frames=7)
    ledger.commit(result)
    (row,) = ledger.rows()
    assert row.track == song
    assert (row.position, row.split, row.shard, row.status, row.reason) == (0, "test", 3, "done", None)
    assert (row.seconds, row.frames_50, row.frames_75) == (7 / 50, 7, 10)
    assert (row.levels, row.notes, row.spent) == ((LEVEL,), ("a note",), {"read": 0.5})
    (tokens,) = ledger.tokens(("test", 3))
    for name in ("vocal", "instrumental", "codes"):
        assert np.array_equal(getattr(tokens, name), getattr(result.tokens, name))


def test_every_item_has_one_status_at_every_moment(ledger: Ledger) -> None:
    names = [f"{number:02d}" for number in range(20)]
    ledger.add([item(name) for name in names[:15]])
    ledger.add([item(name, status="dropped", reason="duplicate of 00") for name in names[15:]])
    for number, name in enumerate(names[:15]):
        if number % 3 == 0:
            ledger.commit(Quarantined(track_id=name, reason="broken"))
        else:
            ledger.commit(prepared(name), dropped="filter" if number % 3 == 1 else None)
        counts = ledger.counts()
        assert counts.items == len(names)
        assert counts.pending == 14 - number
        assert looked_at(ledger, "SELECT count(*) FROM item WHERE status = 'pending'") == [(14 - number,)]
    assert ledger.counts() == Counts(pending=0, done=5, dropped=10, quarantined=5)


@pytest.mark.parametrize(
    "values",
    [
        "status = 'lost'",
        "status = NULL",
        "status = 'dropped', reason = NULL",
        "status = 'done', seconds = NULL",
        "split = 'dev'",
    ],
)
def test_the_schema_refuses_what_cannot_be(ledger: Ledger, values: str) -> None:
    ledger.add([item("a")])
    with sqlite3.connect(ledger.path) as database, pytest.raises(sqlite3.IntegrityError):
        database.execute(f"UPDATE item SET {values}")


def test_an_item_is_resolved_once(ledger: Ledger) -> None:
    ledger.add([item("a")])
    ledger.commit(prepared("a"))
    for result in (Quarantined(track_id="a", reason="late"), Quarantined(track_id="b", reason="unknown")):
        with pytest.raises(AssertionError, match="was not pending"):
            ledger.commit(result)
    with pytest.raises((AssertionError, sqlite3.IntegrityError)):
        ledger.commit(prepared("a", frames=9))
    assert [row.frames_50 for row in ledger.rows()] == [4]


def test_items_come_all_or_none(ledger: Ledger) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        ledger.add([item("a"), item("b"), item("a")], facts={"settings": 1})
    assert ledger.counts().items == 0
    assert ledger.fact("settings") is None
    ledger.add([item("a"), item("b")], facts={"settings": {"x": [1, None]}})
    ledger.add([item("c")])
    assert [(row.position, row.track.id) for row in ledger.rows()] == [(0, "a"), (1, "b"), (2, "c")]
    assert ledger.fact("settings") == {"x": [1, None]}


def test_shards_ripen_and_leave(ledger: Ledger) -> None:
    places = [("train", 0), ("valid", 0), ("train", 0), ("train", 1)]
    ledger.add([item(str(number), split=split, shard=shard) for number, (split, shard) in enumerate(places)])
    assert ledger.next_shards() == {"train": 2, "valid": 1}
    ledger.commit(prepared("2"))
    assert ledger.ripe_shards() == []
    ledger.commit(prepared("3"))
    assert ledger.ripe_shards() == [("train", 1)]
    ledger.commit(prepared("0", frames=6))
    assert ledger.ripe_shards() == [("train", 0), ("train", 1)]
    assert [each.vocal.shape[1] for each in ledger.tokens(("train", 0))] == [6, 4]  # by position
    ledger.record_shard(("train", 0), ("ab", 100))
    assert ledger.ripe_shards() == [("train", 1)]
    assert ledger.tokens(("train", 0)) == []
    assert ledger.shards() == {("train", 0): ("ab", 100)}
    ledger.commit(Quarantined(track_id="1", reason="broken"))  # a shard of which nothing is left
    assert ("valid", 0) not in ledger.ripe_shards()


def test_another_filter_moves_prepared_items_only(ledger: Ledger) -> None:
    ledger.add([item("a"), item("b"), item("c", status="dropped", reason="duplicate of a"), item("d")])
    ledger.commit(prepared("a"))
    ledger.commit(prepared("b"), dropped="filter: loud")
    verdicts = [("a", "filter: quiet"), ("b", None), ("c", None), ("d", None)]
    ledger.redrop(verdicts, facts={"filter": {"x": 1}})
    found = [(row.status, row.reason) for row in ledger.rows()]
    assert found == [
        ("dropped", "filter: quiet"),
        ("done", None),
        ("dropped", "duplicate of a"),
        ("pending", None),
    ]
    assert ledger.fact("filter") == {"x": 1}


@pytest.mark.long
def test_what_was_committed_outlives_a_kill(tmp_path: Path) -> None:
    code = f"""
import os, signal, sys
from pathlib import Path
from hafm.data.preparing.ledger import Ledger
from hafm.data.result import Quarantined
from tests.data.test_ledger import item
ledger = Ledger(Path({str(tmp_path)!r}))
ledger.add([item("a"), item("b")])
ledger.commit(Quarantined(track_id="a", reason="broken"))
ledger._database.execute("BEGIN IMMEDIATE")
ledger._database.execute("UPDATE item SET status = 'quarantined', reason = 'never' WHERE id = 'b'")
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == -signal.SIGKILL
    with Ledger(tmp_path) as ledger:
        assert [(row.status, row.reason) for row in ledger.rows()] == [
            ("quarantined", "broken"),
            ("pending", None),
        ]


def test_a_second_writer_is_refused_and_a_reader_is_not(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="another hafm writes to"):
        Ledger(ledger.path.parent)
    ledger.add([item("a")])
    assert looked_at(ledger, "SELECT id FROM item") == [("a",)]
    ledger.close()
    with Ledger(ledger.path.parent) as again:
        assert again.counts().items == 1
    ledger._database = Ledger(ledger.path.parent)._database  # for the fixture, which closes it


@pytest.mark.parametrize("damage", ["no database", "cut", "zeros"])
def test_a_damaged_ledger_is_reported(tmp_path: Path, damage: str) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.add([item(f"{number:03d}") for number in range(200)])
    path = tmp_path / LEDGER_FILE
    data = bytearray(path.read_bytes())
    if damage == "no database":
        data[:] = b"nothing of the kind" * 1000
    elif damage == "cut":
        data = data[: len(data) // 2]
    else:
        data[8192:20480] = bytes(12288)
    path.write_bytes(data)
    with pytest.raises(OutputError, match=r"is damaged \(.*\); put a copy") as caught:
        Ledger(tmp_path)
    assert LEDGER_FILE in str(caught.value)
    path.unlink()
    Ledger(tmp_path).close()  # the lock is free again


def test_a_bit_that_flips_in_tokens_is_noticed(ledger: Ledger) -> None:
    ledger.add([item("a")])
    ledger.commit(prepared("a"))
    with sqlite3.connect(ledger.path) as database:
        ((data,),) = database.execute("SELECT bytes FROM tokens")
        database.execute("UPDATE tokens SET bytes = ?", (data[:-1] + bytes([data[-1] ^ 1]),))
    with pytest.raises(OutputError, match="tokens of train shard 0 changed"):
        ledger.tokens(("train", 0))


def test_another_format_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    with sqlite3.connect(tmp_path / LEDGER_FILE) as database:
        database.execute("UPDATE fact SET value = ? WHERE name = 'format'", (json.dumps(7),))
    with pytest.raises(OutputError, match="format 7, and this hafm writes 1"):
        Ledger(tmp_path)


def test_a_full_disk_changes_nothing(ledger: Ledger) -> None:
    ledger.add([item("a"), item("b")])
    ledger.commit(prepared("a"))
    (pages,) = ledger._database.one("PRAGMA page_count")
    ledger._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutputError, match="the disk is full"):
        ledger.commit(prepared("b", frames=50_000))
    assert ledger.counts() == Counts(pending=1, done=1)
    ledger._database.execute("PRAGMA max_page_count = 1000000")
    ledger.commit(prepared("b", frames=50_000))
    assert ledger.counts() == Counts(done=2)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write to"):
        Ledger(tmp_path / "file" / "out")
