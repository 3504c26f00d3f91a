"""Two at once, and what a killed process left: one is refused by name, and nothing delivered is lost."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hafm.errors import OutputError, UsageError
from hafm.files import staged_folder
from hafm.locks import claimed_place, locked_folder, reading_folder, remove_leftovers, require_no_readers

WRITER = "writer.lock"


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("is_there", [True, False])
def test_the_second_into_one_place_is_refused_by_name(is_there: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if is_there:
        out.mkdir()
    with staged_folder(out, overwrite=False) as first:
        (first.staging / "a").write_text("first")
        second = staged_folder(out)
        with pytest.raises(UsageError, match=r"another hafm makes '.*out' at this moment"), second:
            pass
    assert names(tmp_path) == ["out", "out/a"]
    assert (out / "a").read_text() == "first"


def test_a_folder_that_cannot_be_made_is_not_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> None:  # as for a folder in /proc
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    block = staged_folder(tmp_path / "out")
    with pytest.raises(OutputError, match=r"folder '.*out' cannot be made \(No such file"), block:
        pass


@pytest.mark.parametrize("is_there", [True, False])
def test_a_signal_on_the_way_to_a_lock_leaves_nothing(
    is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_there:
        (tmp_path / "new" / "out").mkdir(parents=True)
    before = names(tmp_path)

    def stop(path: Path) -> None:
        assert path.parent.is_dir(), "the control: there is something to leave"
        raise KeyboardInterrupt

    monkeypatch.setattr("hafm.locks._lock", stop)
    target = tmp_path / "new" / "out"
    for block in (staged_folder(target), locked_folder(target, name="lock")):
        with pytest.raises(KeyboardInterrupt), block:
            pass
        assert names(tmp_path) == before


def test_who_left_takes_nothing_away_from_who_came_next(tmp_path: Path) -> None:
    left = []
    with contextlib.ExitStack() as stack:
        with claimed_place(tmp_path / "a", shown=tmp_path) as leave:
            leave()
            second = stack.enter_context(claimed_place(tmp_path / "a", shown=tmp_path))
            (tmp_path / "a" / "results").mkdir()
        left = names(tmp_path)
        second()
    assert left == ["a", "a/lock", "a/results"]
    assert names(tmp_path) == []


def test_two_into_folders_side_by_side_do_not_meet(tmp_path: Path) -> None:
    with staged_folder(tmp_path / "new" / "a") as one, staged_folder(tmp_path / "new" / "b") as two:
        for folder in (one, two):
            (folder.staging / "x").touch()
    assert names(tmp_path) == ["new", "new/a", "new/a/x", "new/b", "new/b/x"]


def test_who_comes_after_the_first_is_done_finds_its_results(tmp_path: Path) -> None:
    """The check before the work was passed when the folder was still empty."""
    with staged_folder(tmp_path / "out") as first:
        (first.staging / "a").touch()
    refused = staged_folder(tmp_path / "out", overwrite=False)
    with pytest.raises(OutputError, match=r"already holds files; .*--overwrite"), refused:
        pass


@pytest.mark.parametrize("overwrite", [True, False])
def test_what_came_into_its_place_meanwhile_is_not_replaced(overwrite: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def fill() -> None:
        with staged_folder(out, overwrite=overwrite) as folder:
            (folder.staging / "a").write_text("ours")
            out.mkdir()
            (out / "a").write_text("theirs")

    if overwrite:
        fill()
        assert (out / "a").read_text() == "ours"
        return
    with pytest.raises(OutputError, match=r"they are in '.*out-1'"):
        fill()
    assert (out / "a").read_text() == "theirs"
    assert (tmp_path / "out-1" / "a").read_text() == "ours"
    assert names(tmp_path) == ["out", "out-1", "out-1/a", "out/a"]


def test_a_folder_where_a_file_should_go_keeps_the_results_beside_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "b").mkdir(parents=True)
    (out / "a").write_text("old")

    def fill() -> None:
        with staged_folder(out) as folder:
            (folder.staging / "a").write_text("new")
            (folder.staging / "b").write_text("new")

    with pytest.raises(OutputError, match="they are in"):
        fill()
    assert (out / "a").read_text() == "old", "all or nothing"
    assert names(tmp_path) == ["out", "out-1", "out-1/a", "out-1/b", "out/a", "out/b"]


def test_what_was_finished_is_kept_when_the_rest_fails(tmp_path: Path) -> None:
    def fill() -> None:
        with staged_folder(tmp_path / "out") as folder:
            for number in (1, 2):
                (folder.staging / f"take-{number}").mkdir()
                (folder.staging / f"take-{number}" / "a").touch()
                if number == 1:
                    folder.finish(folder.staging / "take-1")
            raise OutputError("the disk is full")

    with pytest.raises(OutputError, match=r"the disk is full; what was finished is in '.*out'"):
        fill()
    assert (tmp_path / "out" / "take-1" / "a").is_file()
    assert not (tmp_path / "out" / "take-2" / "a").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from hafm.files import staged_folder
from hafm.locks import reading_folder
with staged_folder(sys.argv[1]) as folder, reading_folder(Path(sys.argv[1]).parent, writer="writer.lock"):
    (folder.staging / "half").write_bytes(bytes(1000))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a system without SIGKILL")
@pytest.mark.parametrize("is_there", [True, False])
def test_what_sigkill_leaves_is_removed_by_the_next(is_there: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if is_there:
        out.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", KILLED, out], env=environment, check=False)
    assert any(name.endswith("half") for name in names(tmp_path)), "the control: something is left"
    with staged_folder(out, overwrite=False) as folder:
        assert names(folder.staging) == []
        (folder.staging / "a").touch()
    require_no_readers(tmp_path)
    assert names(tmp_path) == ["out", "out/a"]


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    with locked_folder(tmp_path / "run", name=WRITER, elsewhere="--run", stays=False):
        again = locked_folder(tmp_path / "run", name=WRITER, elsewhere="--run")
        with pytest.raises(UsageError, match=r"another hafm writes to '.*run'; .* with --run"), again:
            pass
        (tmp_path / "run" / "result").touch()
    assert names(tmp_path) == ["run", "run/result"]
    with locked_folder(tmp_path / "deep" / "other", name=WRITER, stays=False):
        pass
    assert names(tmp_path) == ["run", "run/result"], "no empty folder is left"
    with locked_folder(tmp_path / "run", name=WRITER):
        pass


def test_readers_and_a_writer_exclude_each_other(tmp_path: Path) -> None:
    with (
        reading_folder(tmp_path, writer=WRITER),
        reading_folder(tmp_path, writer=WRITER),
        locked_folder(tmp_path, name=WRITER),
        pytest.raises(UsageError, match="another hafm reads"),
    ):
        require_no_readers(tmp_path)
    with locked_folder(tmp_path, name=WRITER):
        require_no_readers(tmp_path)
        reading = reading_folder(tmp_path, writer=WRITER)
        with pytest.raises(UsageError, match=r"another hafm writes to .*\(hafm prepare\)"), reading:
            pass
    assert names(tmp_path) == [WRITER]


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    for name in (".a.wav.0123.part", "sounds/.b.wav.4567.part", "sounds/b.wav", ".data.89.partial"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["sounds", "sounds/b.wav"]
