"""The prepare run: every item in one row, the same bytes from every way, and refusals in plain words."""

import json
import resource
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hafm.data.collection.sources import open_source
from hafm.data.collection.track import Track
from hafm.data.preparing import prepare as module
from hafm.data.preparing.before import PrepareConfig, rehearse
from hafm.data.preparing.ledger import LEDGER_FILE, Counts, Ledger
from hafm.data.preparing.prepare import prepare
from hafm.data.preparing.prepare_report import PrepareSummary
from hafm.data.preparing.scan import SplitRule
from hafm.data.preparing.track_preparer import TrackEngine, quarantine
from hafm.data.shards.file import ShardArrays, shard_name
from hafm.data.shards.folder import ShardFolder
from hafm.data.shards.index import read_index, read_tracks
from hafm.data.tokenising.clip_filter import ClipFilter
from hafm.errors import OutputError, QuarantineLimit, UsageError
from hafm.progress import Progress
from hafm.workers import Pool, SameProcess
from tests.data.music_collections import BAD_WAYS, MadeItems, make_items
from tests.data.stub_preparers import OpenQuick, OpenStub, Trouble

SPLITS = SplitRule(valid_share=0.1, test_share=0.1)


@dataclass(frozen=True)
class Prepared:
    """What a run left."""

    summary: PrepareSummary
    files: dict[str, bytes]


def run(
    out: Path,
    root: Path,
    *,
    engine: TrackEngine | None = None,
    opener: OpenStub | OpenQuick | None = None,
    **changes: Any,
) -> Prepared:
    values = {"tracks_per_shard": 16, "quarantine_limit": 1.0, "split_rule": SPLITS, **changes}
    summary = prepare(
        PrepareConfig(out=out, **values),
        open_source("pairs", root),
        opener or OpenStub(),
        engine=engine or SameProcess(),
    )
    return Prepared(summary, products(out))


def products(out: Path) -> dict[str, bytes]:
    """What training reads, and the table."""
    assert not list(out.glob(".*")), "nothing unfinished is left"
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not path.name.startswith(("ledger.sqlite", "ledger.lock"))
    }


def tokens_by_id(out: Path) -> dict[str, bytes]:
    """All ids of each track, read through the index."""
    folder = ShardFolder(out)
    found = {}
    for entry in read_tracks(folder, read_index(folder)):
        arrays = ShardArrays.open(out / shard_name(entry.split, entry.shard))
        at_50 = slice(entry.start_50, entry.start_50 + entry.frames_50)
        at_75 = slice(entry.start_75, entry.start_75 + entry.frames_75)
        parts = arrays.vocal[:, at_50], arrays.instrumental[at_50], arrays.codes[:, at_75]
        found[entry.id] = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    return found


def rows(out: Path) -> dict[str, tuple[str, str | None]]:
    with sqlite3.connect(out / LEDGER_FILE) as database:
        return {
            name: (status, why)
            for name, status, why in database.execute("SELECT id, status, reason FROM item")
        }


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> MadeItems:
    """36 items, 12 of them bad in the 12 ways."""
    return make_items(tmp_path_factory.mktemp("items") / "tree", good=24, bad=12)


@pytest.fixture(scope="module")
def clean(items: MadeItems, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """An undisturbed run on them."""
    return run(tmp_path_factory.mktemp("clean") / "out", items.root)


# ---- every item has its row


def check_rows(out: Path, items: MadeItems) -> None:
    found = rows(out)
    assert len(found) == len(items.good) + len(items.bad)
    assert {found[name] for name in items.good} == {("done", None)}
    for name, way in items.bad.items():
        status, reason = found[name]
        assert status == ("dropped" if way == "duplicate" else "quarantined"), name
        assert reason is not None
        assert BAD_WAYS[way][1] in reason


def test_every_item_ends_in_one_row(items: MadeItems, tmp_path: Path) -> None:
    done = run(tmp_path / "out", items.root)
    check_rows(tmp_path / "out", items)
    assert done.summary.counts == Counts(done=24, dropped=1, quarantined=11)
    table = (tmp_path / "out" / "ledger.tsv").read_text().splitlines()
    assert len(table) == 1 + 36
    assert Counter(line.split("\t")[3] for line in table[1:]) == {"done": 24, "dropped": 1, "quarantined": 11}


@pytest.mark.slow
def test_the_good_ones_are_those_of_a_clean_collection(items: MadeItems, tmp_path: Path) -> None:
    run(tmp_path / "with bad ones", items.root)
    only_good = make_items(tmp_path / "tree", good=24, bad=12, write_bad=False)
    run(tmp_path / "without", only_good.root)
    expected = tokens_by_id(tmp_path / "without")
    assert list(expected) == list(items.good)
    assert tokens_by_id(tmp_path / "with bad ones") == expected
    assert len(set(expected.values())) == len(expected), "the stub tells tracks apart"


@pytest.mark.slow
def test_two_thousand_items_of_which_three_hundred_are_bad(tmp_path: Path) -> None:
    items = make_items(tmp_path / "tree")
    done = run(tmp_path / "out", items.root, engine=Pool(workers=2, give_up=quarantine), tracks_per_shard=256)
    check_rows(tmp_path / "out", items)
    assert done.summary.counts == Counts(done=1700, dropped=25, quarantined=275)
    run(tmp_path / "clean", make_items(tmp_path / "good", write_bad=False).root, tracks_per_shard=256)
    assert tokens_by_id(tmp_path / "out") == tokens_by_id(tmp_path / "clean")


# ---- the same bytes from every way


@pytest.mark.long
@pytest.mark.parametrize(
    ("workers", "size"), [(2, 4), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((0, 4), (1, 1)))]
)
def test_workers_and_batches_change_nothing(
    items: MadeItems, tmp_path: Path, workers: int, size: int
) -> None:
    expected = run(tmp_path / "0 1", items.root, opener=OpenQuick()).files
    engine = Pool(workers=workers, give_up=quarantine) if workers else SameProcess()
    out = tmp_path / f"{workers} {size}"
    assert run(out, items.root, engine=engine, opener=OpenQuick(), batch_size=size).files == expected


@pytest.mark.slow
def test_the_order_of_results_changes_nothing(items: MadeItems, clean: Prepared, tmp_path: Path) -> None:
    class Backwards(SameProcess):
        def run(self, batches: Any, opener: Any) -> Any:
            yield from reversed(list(super().run(batches, opener)))

    assert run(tmp_path, items.root, engine=Backwards()).files == clean.files


@pytest.mark.slow
def test_a_finished_folder_is_left_as_it_is(items: MadeItems, tmp_path: Path) -> None:
    before = run(tmp_path, items.root)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")}
    again = run(tmp_path, items.root, opener=OpenStub(trouble=Trouble(fails_on=frozenset(items.good))))
    assert again.files == before.files
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")} == times


@pytest.mark.long
def test_a_run_that_was_stopped_goes_on(items: MadeItems, clean: Prepared, tmp_path: Path) -> None:
    """A mistake of ours on one track: what was before it is kept, and is not done again."""
    bad = items.good[15]
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, items.root, opener=OpenStub(trouble=Trouble(fails_on=frozenset({bad}))))
    kept = [name for name, (status, _) in rows(tmp_path).items() if status == "done"]
    assert kept == list(items.good[:15])
    assert not (tmp_path / "index.json").exists()
    again = OpenStub(trouble=Trouble(fails_on=frozenset(kept)))
    assert run(tmp_path, items.root, opener=again).files == clean.files


# ---- filter, intake, settings


class NoSound(OpenStub):
    """Its preparer may tell what it is made of, and nothing else."""

    def __call__(self) -> Any:
        def refuse(tracks: Any) -> Any:
            raise AssertionError(f"{tracks} were to be read")

        preparer = super().__call__()
        preparer.prepare = refuse
        return preparer


@pytest.mark.long
def test_another_filter_is_another_index_and_no_work(items: MadeItems, tmp_path: Path) -> None:
    first = run(tmp_path, items.root)
    strict = run(tmp_path, items.root, opener=NoSound(), clip_filter=ClipFilter(min_instrumental_dbfs=-5.0))
    assert strict.summary.counts == Counts(dropped=25, quarantined=11)
    assert strict.summary.kept_seconds == 0
    assert strict.summary.dropped == {"filter: quiet instrumental in N of N clips": 24, "duplicate": 1}
    changed = {name for name in first.files if strict.files[name] != first.files[name]}
    assert changed == {"index.json", "tracks.jsonl", "ledger.tsv"}
    assert run(tmp_path, items.root, opener=NoSound()).files == first.files


@pytest.mark.long
def test_new_files_are_a_new_intake(items: MadeItems, tmp_path: Path) -> None:
    """Old shards stay as they are; new items go to shards of their own; a copy of an old one is found."""
    root = tmp_path / "tree"
    shutil.copytree(items.root, root)
    out = tmp_path / "out"
    before = run(out, root)
    for name, old in (("00007x", "00000"), ("zz", items.good[5])):
        shutil.copytree(root / old, root / name)
    (root / "zz" / "vocals.wav").write_bytes((root / items.good[6] / "vocals.wav").read_bytes())
    after = run(out, root)
    with Ledger(out) as ledger:
        old_rows, new_rows = ledger.rows()[:36], ledger.rows()[36:]
    assert [row.track.id for row in new_rows] == ["00007x", "zz"]
    assert [(row.status, row.reason) for row in new_rows] == [
        ("dropped", "duplicate of 00000"),
        ("done", None),
    ]
    assert new_rows[1].shard == 1 + max(row.shard for row in old_rows if row.split == new_rows[1].split)
    shards = {name for name in before.files if name.endswith(".safetensors")}
    assert {name: after.files[name] for name in shards} == {name: before.files[name] for name in shards}
    assert list(tokens_by_id(out))[-1] == "zz"
    assert run(out, root).files == after.files


@pytest.mark.long
def test_mended_files_are_taken_when_asked(items: MadeItems, tmp_path: Path) -> None:
    """Quarantine is final until `retry`; what was mended comes after the others, which stay as they are."""
    root, out = tmp_path / "tree", tmp_path / "out"
    shutil.copytree(items.root, root)
    before = run(out, root)
    name = next(name for name, way in items.bad.items() if way == "NaN")
    for stem, good in (("vocals.wav", items.good[5]), ("instrumental.wav", items.good[6])):
        shutil.copy(root / good / stem, root / name / stem)
    assert run(out, root).files == before.files
    after = run(out, root, retry=True)
    assert rows(out)[name] == ("done", None)
    counts = before.summary.counts
    assert after.summary.counts == replace(counts, done=counts.done + 1, quarantined=counts.quarantined - 1)
    shards = {file for file in before.files if file.endswith(".safetensors")}
    assert {file: after.files[file] for file in shards} == {file: before.files[file] for file in shards}
    assert list(tokens_by_id(out))[-1] == name


@pytest.mark.slow
def test_a_limit_takes_the_first_and_later_the_rest(
    items: MadeItems, clean: Prepared, tmp_path: Path
) -> None:
    assert run(tmp_path, items.root, limit=10).summary.counts.items == 10
    rest = run(tmp_path, items.root)
    assert rest.summary.counts == clean.summary.counts


@pytest.mark.parametrize(
    ("opener", "changes", "words"),
    [
        (OpenStub(seed=1), {}, "made_by.seed = 0, and this run has made_by.seed = 1"),
        (OpenStub(), {"split_rule": SplitRule(seed=1)}, "split_seed = 0, and this run has split_seed = 1"),
        (OpenStub(), {"tracks_per_shard": 8}, "tracks_per_shard = 16, and this run has tracks_per_shard = 8"),
    ],
)
def test_other_settings_are_refused(
    items: MadeItems, tmp_path: Path, opener: OpenStub, changes: dict[str, Any], words: str
) -> None:
    before = run(tmp_path, items.root, limit=3, split_rule=SplitRule()).files
    with pytest.raises(UsageError, match=words):
        run(tmp_path, items.root, opener=opener, **{"split_rule": SplitRule(), **changes})
    assert products(tmp_path) == before


def test_another_collection_is_refused(items: MadeItems, tmp_path: Path) -> None:
    run(tmp_path / "out", items.root, limit=3)
    other = make_items(tmp_path / "other", good=3, bad=0)
    with pytest.raises(UsageError, match=r"source\.root = .*, and this run has source\.root = "):
        run(tmp_path / "out", other.root, limit=3)


# ---- what goes wrong


@pytest.mark.long
def test_too_many_bad_ones_stop_the_run(
    items: MadeItems, clean: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_JUDGED_FROM", 30)
    with pytest.raises(
        QuarantineLimit, match=r"10 of 30 tracks \(33\.3%\) cannot be used, more than 10\.0%: 2 × "
    ):
        run(tmp_path, items.root, quarantine_limit=0.1)
    assert Counter(status for status, _ in rows(tmp_path).values())["pending"] == 6
    assert (tmp_path / "ledger.tsv").exists()
    assert not (tmp_path / "index.json").exists()
    assert run(tmp_path, items.root).files == clean.files


def test_a_small_collection_is_judged_at_its_end(tmp_path: Path) -> None:
    items = make_items(tmp_path / "tree", good=9, bad=2)
    with pytest.raises(QuarantineLimit, match=r"2 of 11 tracks \(18\.2%\)"):
        run(tmp_path / "out", items.root, quarantine_limit=0.18)
    assert all(status != "pending" for status, _ in rows(tmp_path / "out").values())
    run(tmp_path / "out", items.root, quarantine_limit=0.19)


def test_a_file_that_disappears_is_quarantined(tmp_path: Path) -> None:
    items = make_items(tmp_path / "tree", good=6, bad=0)

    class Disappearing(SameProcess):
        def run(self, batches: Any, opener: Any) -> Any:
            (items.root / "00003" / "vocals.wav").unlink()
            yield from super().run(batches, opener)

    assert run(tmp_path / "out", items.root, engine=Disappearing()).summary.counts == Counts(
        done=5, quarantined=1
    )
    assert "does not exist" in str(rows(tmp_path / "out")["00003"][1])


def test_an_unreadable_folder_is_reported_and_nothing_is_lost(
    items: MadeItems, clean: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    run(tmp_path, items.root, limit=10)
    walk = os.walk

    def refused(top: Any, *, onerror: Any = None, **options: Any) -> Iterator[Any]:
        onerror(PermissionError(13, "Permission denied", str(top)))
        return walk(top, **options)

    with monkeypatch.context() as patched:
        patched.setattr("os.walk", refused)
        with pytest.raises(UsageError, match="cannot be read"):
            run(tmp_path, items.root)
    assert len(rows(tmp_path)) == 10
    assert run(tmp_path, items.root).summary.counts == clean.summary.counts


@pytest.mark.long
def test_two_runs_on_one_folder_are_refused(items: MadeItems, clean: Prepared, tmp_path: Path) -> None:
    with Ledger(tmp_path), pytest.raises(UsageError, match="another hafm writes to"):
        run(tmp_path, items.root)
    assert run(tmp_path, items.root).files == clean.files


def test_a_disk_that_is_too_small_is_reported_before_the_work(
    items: MadeItems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hafm.data.preparing.before.free_bytes", lambda folder: 1000)
    with pytest.raises(
        OutputError, match=r"the tokens need about \d+\.\d kB, and the disk of .* has 1\.0 kB free"
    ):
        run(tmp_path, items.root, opener=NoSound())


@pytest.mark.long
def test_a_disk_that_fills_up_is_reported_with_what_is_missing(
    items: MadeItems, clean: Prepared, tmp_path: Path
) -> None:
    """A limit on the size of files acts as a full disk: writes fail in the midst of the work."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
    try:
        with pytest.raises(
            OutputError, match=r"what is done is kept, the rest needs about \d+\.\d kB: make room"
        ):
            run(tmp_path, items.root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    counts = Counter(status for status, _ in rows(tmp_path).values())
    assert sum(counts.values()) == 36
    assert 0 < counts["done"] < 24
    assert run(tmp_path, items.root).files == clean.files


def test_mixes_need_a_separator(tmp_path: Path) -> None:
    items = make_items(tmp_path / "tree", good=2, bad=0)
    config = PrepareConfig(out=tmp_path / "out", quarantine_limit=1.0)
    mixes = open_source("mixes", items.root)
    with pytest.raises(UsageError, match="is a mix, and there is no separator"):
        prepare(config, mixes, OpenStub(), engine=SameProcess())
    summary = prepare(
        PrepareConfig(out=tmp_path / "other"), mixes, OpenStub(separates=True), engine=SameProcess()
    )
    assert summary.counts == Counts(done=4)
    assert set(summary.spent) == {"read", "separate", "tokens"}


def test_an_empty_collection_is_refused(tmp_path: Path) -> None:
    class Nothing:
        def describe(self) -> dict[str, Any]:
            return {"kind": "nothing"}

        def tracks(self) -> Iterator[Track]:
            return iter(())

    with pytest.raises(UsageError, match="there are no tracks"):
        prepare(PrepareConfig(out=tmp_path), Nothing(), OpenStub(), engine=SameProcess())


# ---- what is said


def test_progress_counts_every_item(items: MadeItems, tmp_path: Path) -> None:
    seen: list[Progress] = []
    values = {"quarantine_limit": 1.0, "tracks_per_shard": 16}
    config = PrepareConfig(out=tmp_path, limit=20, **values)
    prepare(
        config, open_source("pairs", items.root), OpenStub(), engine=SameProcess(), on_progress=seen.append
    )
    assert [each.done for each in seen if each.step == "scan"] == list(range(1, 21))
    work = [each for each in seen if each.step == "tokens"]
    assert work[-1] == Progress(step="tokens", done=20, total=20)
    assert [each.done for each in work] == list(range(work[0].done, 21))


def test_a_rehearsal_foretells_and_writes_nothing(items: MadeItems, tmp_path: Path) -> None:
    config = PrepareConfig(out=tmp_path / "out", quarantine_limit=1.0, tracks_per_shard=16, split_rule=SPLITS)
    source = open_source("pairs", items.root)
    found = rehearse(config, source, OpenStub())
    assert not (tmp_path / "out").exists()
    assert (found.new, found.known, found.pending) == (36, 0, 33)
    assert sum(found.lost.values()) == 3
    assert found.audio_seconds == pytest.approx(33 * 1.2, rel=0.3)
    assert len(found.tried) == 3
    assert json.dumps(found.to_json())
    prepare(replace(config, limit=20), source, OpenStub(), engine=SameProcess())
    before = products(tmp_path / "out")
    later = rehearse(config, source, OpenStub())
    assert (later.new, later.known) == (16, 20)
    assert products(tmp_path / "out") == before
    with pytest.raises(UsageError, match="seed"):
        rehearse(config, source, OpenStub(seed=1))


def test_the_index_knows_nothing_of_this_machine(items: MadeItems, tmp_path: Path) -> None:
    done = run(tmp_path, items.root, limit=5)
    for name in ("index.json", "tracks.jsonl"):
        assert str(tmp_path.parent).encode() not in done.files[name]
        assert str(items.root.parent).encode() not in done.files[name]


def test_values_out_of_range_are_refused(tmp_path: Path) -> None:
    for name, value in (("batch_size", 0), ("limit", 0), ("quarantine_limit", 1.5), ("tracks_per_shard", -1)):
        with pytest.raises(UsageError, match=name.replace("_", " ")):
            PrepareConfig(out=tmp_path, **{name: value})


def test_what_is_committed_is_the_only_thing_that_counts(
    items: MadeItems, clean: Prepared, tmp_path: Path
) -> None:
    """The control of the tests above: a run that writes shards without the ledger's word is found out."""

    def careless(folder: Path, ledger: Ledger, key: Sequence[Any]) -> None:
        return None  # the shard is not written

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "write_ripe_shard", careless)
        lost = run(tmp_path, items.root).files
    assert lost != clean.files
    assert run(tmp_path, items.root).files == clean.files
