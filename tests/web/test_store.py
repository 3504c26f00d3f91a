"""Projects in a folder: lifetimes, names, and what a killed studio leaves."""

from pathlib import Path

import pytest

from hafm.app.cli import run
from hafm.web.store import Store, clean_name


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_what_nobody_kept_or_used_goes_and_all_else_stays(tmp_path: Path) -> None:
    clock = Clock()
    store = Store(tmp_path, now=clock)
    old, kept, busy, used = (store.create(name) for name in ("old", "kept", "busy", "used"))
    store.update(kept.id, is_kept=True)
    (store.path(old.id) / "takes" / "001").mkdir(parents=True)
    clock.now += 50
    store.update(used.id)
    clock.now += 60
    assert store.sweep(100, busy={busy.id}) == [old.id]
    assert {project.name for project in store.all()} == {"kept", "busy", "used"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([kept.id, busy.id, used.id])
    clock.now += 1000
    assert set(store.sweep(100, busy=set())) == {busy.id, used.id}


def test_a_folder_that_is_no_project_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "my music").mkdir()
    (tmp_path / "my music" / "song.wav").write_bytes(b"mine")
    store = Store(tmp_path, now=lambda: 1e12)
    assert store.all() == []
    assert store.sweep(1, busy=set()) == []
    assert (tmp_path / "my music" / "song.wav").read_bytes() == b"mine"


def test_what_a_killed_studio_left_half_done_is_not_seen(tmp_path: Path) -> None:
    store = Store(tmp_path)
    project = store.create("song")
    (tmp_path / ".0123456789abcdef.part").mkdir()
    take = store.path(project.id) / "takes" / ".003.1234.part" / "results"
    take.mkdir(parents=True)
    (take / "take.json").write_text('{"number": 3}')
    again = Store(tmp_path)
    assert again.takes(project.id) == []
    assert again.next_take(project.id) == 1
    assert not (tmp_path / ".0123456789abcdef.part").exists()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("My song.wav", "My song"),
        ("a\u202eb\x00c\nd", "a b c d"),
        ("x" * 500, "x" * 80),
        ("   ", "Untitled"),
    ],
)
def test_names_are_one_clean_line(given: str, kept: str) -> None:
    assert clean_name(given) == kept


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "add --password"),
        (["--host", "0.0.0.0", "--password", "short"], "8 or more"),
        (["--port", "70000"], "--port is 70000"),
        (["--upload-mb", "0"], "--upload-mb is 0"),
        (["--device", "abacus"], "there is no device"),
    ],
)
def test_the_command_refuses_before_anything_is_opened(
    words: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["web", "--folder", str(tmp_path / "studio"), "--no-browser", *words]) == 2
    assert said in capfd.readouterr().err
    assert not (tmp_path / "studio").exists()
