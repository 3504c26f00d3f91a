"""SIGKILL during preparation, at any moment: the next run gives what an undisturbed one gives, byte for byte.

Runs happen in forked processes, which start in no time; their workers are spawned as always. The control is a
writer without a commit point, which the same kills corrupt.
"""

import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import pytest

from hafm.data.collection.sources import open_source
from hafm.data.preparing import prepare
from hafm.data.preparing.database import Database
from hafm.data.preparing.track_preparer import quarantine
from hafm.workers import Pool
from tests.data.music_collections import MadeItems, make_items
from tests.data.stub_preparers import OpenQuick, Trouble
from tests.data.test_prepare import rows, run
from tests.test_workers import workers_of

TRACK_SECONDS = 0.02


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> MadeItems:
    return make_items(tmp_path_factory.mktemp("items") / "tree", good=40, bad=6)


@pytest.fixture(scope="module")
def clean(items: MadeItems, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return run(tmp_path_factory.mktemp("clean"), items.root, opener=OpenQuick()).files


def forked(work: Callable[[], Any]) -> ForkProcess:
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def killed(work: Callable[[], Any]) -> None:
    """Runs what kills its own process."""
    process = forked(work)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def kill_me() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# ---- at moments that are chosen for their danger


def before(owner: Any, name: str, *, call: int) -> Callable[[], None]:
    """A process that dies when `owner.name` is called for the `call`-th time."""

    def arrange() -> None:
        real, calls = getattr(owner, name), iter(range(1, 10**6))

        def fatal(*args: Any, **options: Any) -> Any:
            if next(calls) == call:
                kill_me()
            return real(*args, **options)

        setattr(owner, name, fatal)

    return arrange


def before_a_file_takes_its_name(name: str) -> Callable[[], None]:
    """A process that dies when everything of a file is written but its name."""

    def arrange() -> None:
        real = os.replace

        def fatal(partial: Any, target: Any) -> None:
            if Path(target).name == name:
                kill_me()
            real(partial, target)

        os.replace = fatal

    return arrange


def in_the_midst_of_a_commit() -> None:
    real = Database.execute

    def fatal(self: Database, sql: str, values: Any = ()) -> int:
        if sql.startswith("UPDATE item SET status = ?") and values[-1] == "00020":
            kill_me()
        return real(self, sql, values)

    Database.execute = fatal  # type: ignore[method-assign]


MOMENTS = {
    "before the first row": before(Database, "execute_each", call=1),
    "in the midst of a commit": in_the_midst_of_a_commit,
    "before the second shard is there": before_a_file_takes_its_name("train-00001.safetensors"),
    "between a shard and its record": before(prepare.Ledger, "record_shard", call=1),
    "before the index": before(prepare, "write_index", call=1),
    "between tracks.jsonl and index.json": before_a_file_takes_its_name("index.json"),
    "before the table": before(prepare, "write_table", call=1),
}


@pytest.mark.long
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(moment, marks=() if moment == "between a shard and its record" else pytest.mark.slow)
        for moment in MOMENTS
    ],
)
def test_a_kill_at_a_bad_moment(
    items: MadeItems, clean: dict[str, bytes], tmp_path: Path, moment: str
) -> None:
    def work() -> None:
        MOMENTS[moment]()
        run(tmp_path, items.root, opener=OpenQuick())

    killed(work)
    seen = {name for name, (status, _) in rows(tmp_path).items() if status == "done"}
    opener = OpenQuick(trouble=Trouble(fails_on=frozenset(seen)))  # what is done is not done again
    assert (moment == "before the first row") == (not seen)
    assert run(tmp_path, items.root, opener=opener).files == clean


# ---- at random moments


def kill_at_random(
    work: Callable[[], Any], *, kills: int, most_seconds: float, seed: int, finished: Callable[[], bool]
) -> Counter[str]:
    """Starts `work` again and again, and kills it or one of its workers; who was killed how often."""
    rng, victims = random.Random(seed), Counter[str]()
    while victims.total() < kills and not finished():
        process = forked(work)
        if rng.random() < 0.4:
            # One worker, and the parent later: an item on which a worker died twice in a run is quarantined,
            # as it should be, and that would be another result.
            time.sleep(rng.uniform(0, most_seconds))
            workers = sorted(workers_of(process.pid or 0))
            if workers and process.is_alive():
                os.kill(rng.choice(workers), signal.SIGKILL)
                victims["worker"] += 1
        time.sleep(rng.uniform(0, most_seconds))
        if process.is_alive():
            process.kill()
            victims["parent"] += 1
        process.join()
    return victims


@pytest.mark.slow
def test_kills_at_random_moments(items: MadeItems, clean: dict[str, bytes], tmp_path: Path) -> None:
    opener = OpenQuick(trouble=Trouble(wait_seconds=TRACK_SECONDS))

    def work() -> None:
        run(tmp_path, items.root, opener=opener)

    victims = kill_at_random(
        work, kills=6, most_seconds=0.4, seed=0, finished=(tmp_path / "ledger.tsv").exists
    )
    assert victims["parent"] >= 3
    assert run(tmp_path, items.root, opener=OpenQuick()).files == clean


@pytest.mark.slow
def test_a_hundred_kills(tmp_path: Path) -> None:
    """Folder after folder until a hundred processes are killed, parents and workers; each comes out right."""
    items = make_items(tmp_path / "tree", good=170, bad=30)
    expected = run(tmp_path / "clean", items.root, opener=OpenQuick(), tracks_per_shard=64).files
    opener = OpenQuick(trouble=Trouble(wait_seconds=TRACK_SECONDS))
    victims, folders = Counter[str](), 0
    while victims.total() < 100:
        out = tmp_path / str(folders)

        def work(out: Path = out) -> None:
            run(
                out,
                items.root,
                engine=Pool(workers=2, give_up=quarantine),
                opener=opener,
                tracks_per_shard=64,
            )

        victims += kill_at_random(
            work,
            kills=100 - victims.total(),
            most_seconds=2.0,
            seed=folders,
            finished=(out / "ledger.tsv").exists,
        )
        assert run(out, items.root, opener=OpenQuick(), tracks_per_shard=64).files == expected
        folders += 1
    print(f"killed {dict(victims)} in {folders} folders, none came out different")
    assert victims["worker"] >= 10


# ---- the control: what has no commit point is corrupted


class InPlaceWriter:
    """Prepares as one does without thinking of it: tokens are appended, and a list is rewritten in place."""

    def __init__(self, out: Path, root: Path) -> None:
        out.mkdir(exist_ok=True)
        self.shard, self.list = out / "tokens.bin", out / "done.json"
        self.root = root

    def __call__(self) -> None:
        preparer = OpenQuick(trouble=Trouble(wait_seconds=TRACK_SECONDS / 10))()
        try:
            done = json.loads(self.list.read_text()) if self.list.exists() else []
        except ValueError:
            raise SystemExit("the list is corrupted") from None
        for track in open_source("pairs", self.root).tracks():
            if track.id in done:
                continue
            (result,) = preparer.prepare([track])
            done.append(track.id)
            with self.shard.open("ab", buffering=0) as file:
                data = getattr(result, "tokens", None)
                for array in () if data is None else (data.vocal, data.instrumental, data.codes):
                    file.write(array.tobytes())
                    time.sleep(TRACK_SECONDS / 10)  # a disk that is busy
            with self.list.open("w") as file:
                text = json.dumps(done)
                file.write(text[: len(text) // 2])
                file.flush()
                time.sleep(TRACK_SECONDS / 10)
                file.write(text[len(text) // 2 :])


def corrupted(kills: int, items: MadeItems, folder: Path) -> tuple[int, int]:
    """How many folders of the in-place writer came out wrong, of how many."""
    InPlaceWriter(folder / "clean", items.root)()
    expected = (folder / "clean" / "tokens.bin").read_bytes()
    total = wrong = number = 0
    while total < kills:
        writer = InPlaceWriter(folder / str(number), items.root)
        total += kill_at_random(
            writer, kills=3, most_seconds=0.2, seed=number, finished=lambda: False
        ).total()
        process = forked(writer)
        process.join()
        wrong += process.exitcode != 0 or writer.shard.read_bytes() != expected
        number += 1
    return wrong, number


@pytest.mark.slow
def test_a_writer_without_a_commit_point_is_corrupted(items: MadeItems, tmp_path: Path) -> None:
    wrong, of = corrupted(6, items, tmp_path)
    assert wrong >= 1, f"of {of}"


@pytest.mark.slow
def test_a_hundred_kills_corrupt_the_writer_without_a_commit_point(items: MadeItems, tmp_path: Path) -> None:
    wrong, of = corrupted(100, items, tmp_path)
    print(f"{wrong} of {of} folders were corrupted")
    assert wrong >= of // 2
