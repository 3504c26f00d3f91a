"""A collection that changes between runs is noticed, and a first run that came to nothing blocks no other."""

import shutil
from pathlib import Path

import pytest

from hafm.data.collection.sources import open_source
from hafm.data.collection.track import Source
from hafm.evaluate.run.changes import changes, forget_if_nothing_came
from hafm.evaluate.run.clips import build_test_set
from hafm.evaluate.run.folder import RESULTS_FILE, RunFolder
from hafm.evaluate.testset import Manifest, Protocol
from tests.evaluate.songs import make_songs

PROTOCOL = Protocol(clip_seconds=4.0, min_clip_seconds=4.0)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_songs(tmp_path_factory.mktemp("songs"), songs=3)


def collection(three: Path, folder: Path, *numbers: int) -> Source:
    """Some of the songs, as they are in the folder from now on."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "test").mkdir(parents=True)
    for number in numbers:
        for path in (three / "test").glob(f"{number:06d}.*"):
            shutil.copy2(path, folder / "test" / path.name)
    return open_source("rendered", folder, subset=None, song_from=None)


def begin(run: RunFolder, source: Source) -> Manifest:
    return build_test_set(run, source, PROTOCOL)


def test_what_was_added_removed_or_edited_is_named(three: Path, tmp_path: Path) -> None:
    songs, run = tmp_path / "songs", RunFolder(tmp_path / "run")
    manifest = begin(run, collection(three, songs, 0, 1))
    assert changes(run, collection(three, songs, 0, 1)) == (), "the control"
    source = collection(three, songs, 1, 2)
    vocal = songs / "test" / "000001.vocal.wav"
    vocal.write_bytes(vocal.read_bytes()[:-2])
    (note,) = changes(run, source)
    for words in ("1 track added (", "000002", "1 track removed (", "000000", "1 track edited (", "000001"):
        assert words in note
    assert "those of the clips that it began with" in note
    assert not forget_if_nothing_came(run, source), "two songs can be measured"
    assert begin(run, source) == manifest


def test_a_first_run_of_one_song_does_not_block_the_next(three: Path, tmp_path: Path) -> None:
    songs, run = tmp_path / "songs", RunFolder(tmp_path / "run")
    begin(run, collection(three, songs, 0))
    assert not forget_if_nothing_came(run, collection(three, songs, 0)), "nothing changed"
    source = collection(three, songs, 0, 1, 2)
    assert forget_if_nothing_came(run, source)
    assert len(begin(run, source).songs) == 3
    assert len(run.manifest.songs) == 3, "the one that is there, not the one that was read before"
    assert changes(run, source) == ()


def test_results_are_never_forgotten(three: Path, tmp_path: Path) -> None:
    songs, run = tmp_path / "songs", RunFolder(tmp_path / "run")
    manifest = begin(run, collection(three, songs, 0))
    run.write(RESULTS_FILE, "{}")
    source = collection(three, songs, 0, 1)
    assert not forget_if_nothing_came(run, source)
    assert begin(run, source) == manifest
