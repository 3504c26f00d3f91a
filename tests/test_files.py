"""Files that appear whole or not at all, and folders that are refused before work begins."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hafm.errors import OutputError
from hafm.files import atomic_file, check_output_folder, replaced_folder


def test_a_file_appears_when_its_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a"
    with atomic_file(target) as file:
        file.write(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_whatever_is_raised_the_old_bytes_stay(error: BaseException, tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")

    def write_and_fail() -> None:
        with atomic_file(target) as file:
            file.write(b"new")
            raise error

    with pytest.raises(type(error)):
        write_and_fail()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, r"the disk is full \(.* free\); make room"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EACCES, "no permission; choose a folder that is yours"),
        (errno.EIO, "Input/output error; write elsewhere"),
    ],
)
def test_errors_of_the_disk(
    step: str, number: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")

    def fail(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(f"hafm.files.os.{step}", fail)
    with pytest.raises(OutputError, match=says), atomic_file(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_long_names(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 255)
    with atomic_file(target) as file:
        file.write(b"new")
    assert os.listdir(tmp_path) == [target.name]


WRITER = """
import sys, time
sys.path.insert(0, "src")
from hafm.files import atomic_file
target, how = sys.argv[1:]
with (atomic_file(target) if how == "atomic" else open(target, "wb")) as file:
    file.write(bytes(500_000))
    file.flush()
    print("half", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(("how", "survives"), [("atomic", True), ("in place", False)])
def test_a_writer_that_is_killed_half_way(how: str, survives: bool, tmp_path: Path) -> None:
    """The old file survives; the control, writing in place, shows that it need not."""
    target = tmp_path / "a"
    target.write_bytes(b"old")
    with subprocess.Popen([sys.executable, "-c", WRITER, target, how], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        writer.kill()
    assert (target.read_bytes() == b"old") == survives


def test_folders_that_are_fit(tmp_path: Path) -> None:
    assert check_output_folder(tmp_path) == tmp_path
    assert check_output_folder(tmp_path / "new" / "deep") == tmp_path / "new" / "deep"
    assert os.listdir(tmp_path) == [], "the check creates nothing"
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mix.wav").touch()
    check_output_folder(tmp_path / "old", overwrite=True, needed_bytes=1)
    check_output_folder(tmp_path / "old", overwrite=True, source=tmp_path / "vocal.wav")


def test_folders_that_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("none")
    with pytest.raises(OutputError, match=r"already holds files; .*--overwrite"):
        check_output_folder(tmp_path)
    with pytest.raises(OutputError, match=r"'.*file' is a file; give another"):
        check_output_folder(tmp_path / "file", overwrite=True)
    with pytest.raises(OutputError, match=r"cannot be made: '.*file' is a file"):
        check_output_folder(tmp_path / "file" / "deeper")
    with pytest.raises(OutputError, match="a link that points to nothing"):
        check_output_folder(tmp_path / "link")
    with pytest.raises(OutputError, match=r"disk with .* free, and 10000000\.0 GB are needed; make room"):
        check_output_folder(tmp_path / "new", needed_bytes=10**16)
    (tmp_path / "other").symlink_to(tmp_path)
    with pytest.raises(OutputError, match="holds the vocal itself"):
        check_output_folder(tmp_path / "other", overwrite=True, source=tmp_path / "file")
    monkeypatch.setattr("hafm.files.os.access", lambda *args: False)  # the tests may run as root
    with pytest.raises(OutputError, match="no permission to write"):
        check_output_folder(tmp_path / "new")
    monkeypatch.undo()
    monkeypatch.setattr("hafm.files.shutil.disk_usage", lambda path: SimpleNamespace(free=999))
    with pytest.raises(OutputError, match=r"1\.0 kB free, and 1\.0 kB are needed"):
        check_output_folder(tmp_path / "new", needed_bytes=1000)
    check_output_folder(tmp_path / "new", needed_bytes=999)


@pytest.mark.parametrize(
    ("number", "says"), [(errno.ENOSPC, "the disk is full"), (errno.EFBIG, "limit .*size")]
)
def test_a_folder_that_cannot_be_replaced_for_want_of_room(number: int, says: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_text("old")

    def fill() -> None:
        with replaced_folder(tmp_path / "data") as staging:
            (staging / "a").write_text("half")
            raise OSError(number, os.strerror(number))

    with pytest.raises(OutputError, match=says) as caught:
        fill()
    assert len(str(caught.value)) < 300
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "a"]
    assert (tmp_path / "data" / "a").read_text() == "old"


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_text("old")
    with replaced_folder(tmp_path / "data") as staging:
        (staging / "b").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "b"]
    (tmp_path / "data").rename(
        tmp_path / ".data.hafm.old"
    )  # as a process leaves it that is killed in between
    again = replaced_folder(tmp_path / "data")
    with pytest.raises(ValueError, match="no"), again:
        raise ValueError("no")
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "b"]
