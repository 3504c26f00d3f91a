"""The index on disk: what is in it, what is refused, and that a kill costs nothing but time."""

import json
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from hafm.data.collection.sources import open_source
from hafm.data.collection.track import SoundPart, Track
from hafm.errors import IndexDamaged, IndexNotFound, OutputError, UsageError
from hafm.evaluate.retrieval import building
from hafm.evaluate.retrieval.building import build_index
from hafm.evaluate.retrieval.descriptors import Descriptors
from hafm.evaluate.retrieval.index import RetrievalIndex
from hafm.locks import locked_folder
from tests.evaluate.fit.band import RATE
from tests.evaluate.retrieval.songs import band, write_collection

FILES = 6  # that take their names in a build: four pieces, descriptors, index.json


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bands = {song: band(tonic=number, beats=8) for number, song in enumerate("abcd")}
    return write_collection(tmp_path_factory.mktemp("music") / "pairs", bands)


def build(collection: Path, folder: Path, **options: Any) -> RetrievalIndex:
    return build_index(open_source("pairs", collection), folder, **options)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@pytest.fixture(scope="module")
def clean(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("clean") / "index"
    build(collection, folder)
    return files(folder)


def test_what_is_in_it(collection, clean, tmp_path):
    assert len(clean) == 2
    index = build(collection, tmp_path / "index")
    assert [entry.track_id for entry in index.entries] == list("abcd")
    assert [entry.parts[0].path for entry in index.entries] == [f"{song}/instrumental.wav" for song in "abcd"]
    assert all(isinstance(known, Descriptors) for known in index.descriptors)
    assert index.seconds == pytest.approx(4 * 4.25)
    assert files(tmp_path / "index") == clean


def test_a_second_run_describes_nothing_and_changes_nothing(collection, clean, tmp_path, monkeypatch):
    build(collection, tmp_path)
    monkeypatch.setattr(building, "describe", None)
    build(collection, tmp_path)
    assert files(tmp_path) == clean


def test_a_limit_is_a_beginning(collection, clean, tmp_path, monkeypatch):
    assert len(build(collection, tmp_path, limit=2).entries) == 2
    described: Counter[str] = Counter()
    real = building.read_instrumental
    monkeypatch.setattr(
        building, "read_instrumental", lambda track: described.update(track.id) or real(track)
    )
    build(collection, tmp_path)
    assert described == {"c": 1, "d": 1}
    assert files(tmp_path) == clean


@pytest.mark.slow
def test_workers_give_the_same(collection, clean, tmp_path):
    build(collection, tmp_path, workers=2)
    assert files(tmp_path) == clean


# ---- kills


def killed(work: Callable[[], Any]) -> None:
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def dies_before_file(number: int) -> None:
    """This process ends when everything of the `number`-th file is written but its name."""
    real, calls = os.replace, iter(range(1, 100))

    def fatal(*args: Any) -> None:
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*args)

    os.replace = fatal


@pytest.mark.parametrize(
    "number", [1, *(pytest.param(number, marks=pytest.mark.slow) for number in range(2, FILES + 1))]
)
def test_a_killed_build_goes_on(number, collection, clean, tmp_path, monkeypatch):
    folder = tmp_path / "index"

    def work() -> None:
        dies_before_file(number)
        build(collection, folder)

    killed(work)
    with pytest.raises(IndexNotFound):
        RetrievalIndex.open(folder)
    described: list[str] = []
    real = building.read_instrumental
    monkeypatch.setattr(
        building, "read_instrumental", lambda track: described.append(track.id) or real(track)
    )
    build(collection, folder)
    assert files(folder) == clean
    assert described == list("abcd")[number - 1 :]  # what was done is not done again


def test_a_grown_index_that_is_killed_stays_the_old_one(collection, clean, tmp_path):
    build(collection, tmp_path, limit=2)
    before = RetrievalIndex.open(tmp_path).fingerprint

    def work() -> None:
        dies_before_file(4)  # two pieces, descriptors, and then the index
        build(collection, tmp_path)

    killed(work)
    assert RetrievalIndex.open(tmp_path).fingerprint == before
    build(collection, tmp_path)
    assert files(tmp_path) == clean


def test_half_a_piece_is_not_believed(collection, clean, tmp_path):
    """The control: a writer that does not rename leaves this, and its name alone says nothing."""

    def work() -> None:
        dies_before_file(4)
        build(collection, tmp_path)

    killed(work)
    piece = next((tmp_path / "pieces").glob("*.safetensors"))
    piece.write_bytes(piece.read_bytes()[:500])
    build(collection, tmp_path)
    assert files(tmp_path) == clean


# ---- what does not belong in it


class Stated:
    """A source whose tracks are given."""

    def __init__(self, root: Path, tracks: list[Track]) -> None:
        self._root, self._tracks = root, tracks

    def describe(self) -> dict[str, Any]:
        return {"kind": "stated", "root": str(self._root)}

    def tracks(self) -> Iterator[Track]:
        return iter(self._tracks)


def track(
    collection: Path, song: str, split: str, *, id: str | None = None, vocal: str | None = None
) -> Track:
    return Track(
        id=song if id is None else id,
        song_id=song if id is None else id,
        split=split,
        vocal=(SoundPart(path=str(collection / (song if vocal is None else vocal) / "vocals.wav")),),
        instrumental=(SoundPart(path=str(collection / song / "instrumental.wav")),),
    )


def test_songs_of_other_splits_and_copies_are_left_out(collection, tmp_path):
    tracks = [
        track(collection, "a", "train"),
        track(collection, "b", "test"),
        track(collection, "a", "train", id="a again"),
        track(collection, "b", "train", id="b sung by another", vocal="a"),
        track(collection, "c", "valid"),
    ]
    source = Stated(collection, tracks)
    index = build_index(source, tmp_path / "index")
    assert [entry.track_id for entry in index.entries] == ["a"]
    assert {each.track_id: each.reason for each in index.left_out} == {
        "a again": "duplicate of a",
        "b sung by another": "shares an instrumental with a song of test",
    }
    assert index.elsewhere == 2
    assert [entry.song_id for entry in build_index(source, tmp_path / "test", split="test").entries] == ["b"]


def test_what_cannot_be_read_is_named_and_tried_again(tmp_path):
    root = write_collection(tmp_path / "pairs", {"good": band(beats=4), "mute": torch.zeros(RATE)})
    (root / "none").mkdir()
    (root / "none" / "vocals.wav").write_bytes((root / "good" / "vocals.wav").read_bytes())
    index = build(root, tmp_path / "index")
    assert [entry.track_id for entry in index.entries] == ["good"]
    reasons = {each.track_id: each.reason for each in index.left_out}
    assert "is silent" in reasons["mute"]
    assert "does not exist" in reasons["none"]
    soundfile.write(root / "mute" / "instrumental.wav", band(beats=4, tonic=1).numpy(), RATE)
    assert [entry.track_id for entry in build(root, tmp_path / "index").entries] == ["good", "mute"]
    soundfile.write(root / "good" / "instrumental.wav", torch.zeros(RATE).numpy(), RATE)
    (root / "mute" / "instrumental.wav").unlink()
    with pytest.raises(UsageError, match="no instrumental of train can be read"):
        build(root, tmp_path / "index")


def test_mixes_other_splits_and_other_folders_are_refused(collection, tmp_path):
    with pytest.raises(UsageError, match="is a mix"):
        build_index(open_source("mixes", collection), tmp_path / "index")
    with pytest.raises(UsageError, match="no instrumental of test"):
        build(collection, tmp_path / "index", split="test")
    with pytest.raises(UsageError, match="limit 0"):
        build(collection, tmp_path / "index", limit=0)
    assert not (tmp_path / "index").exists()
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds files, and no index"):
        build(collection, tmp_path)
    build(collection, tmp_path / "index", limit=1)
    other = write_collection(tmp_path / "other", {"e": band(beats=4)})
    with pytest.raises(OutputError, match="another collection or split"):
        build(other, tmp_path / "index")


def test_two_builds_at_a_time_are_refused(collection, tmp_path):
    with locked_folder(tmp_path, name=building._LOCK), pytest.raises(UsageError, match="another hafm writes"):
        build(collection, tmp_path)


# ---- damage


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


DAMAGES = [
    lambda folder: flip_a_bit(next(folder.glob("desc*"))),
    lambda folder: (folder / "index.json").write_text("{}"),
    lambda folder: (folder / "index.json").write_text("no"),
    lambda folder: next(folder.glob("desc*")).unlink(),
    lambda folder: next(folder.glob("desc*")).write_bytes(b"0" * 100),
    lambda folder: (folder / "index.json").write_text(
        json.dumps({**json.loads((folder / "index.json").read_text()), "entries": []})
    ),
    lambda folder: (folder / "index.json").write_text(
        json.dumps({**json.loads((folder / "index.json").read_text()), "format": 99})
    ),
]


@pytest.mark.long
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(damage, id=str(number), marks=() if number in (0, 1, 3) else pytest.mark.slow)
        for number, damage in enumerate(DAMAGES)
    ],
)
def test_damage_is_refused_and_mended_by_another_build(damage, collection, clean, tmp_path):
    build(collection, tmp_path)
    damage(tmp_path)
    with pytest.raises(IndexDamaged, match=r"make .*again"):
        RetrievalIndex.open(tmp_path)
    build(collection, tmp_path)
    assert files(tmp_path) == clean


def test_no_index_says_how_to_make_one(tmp_path):
    with pytest.raises(IndexNotFound, match=r"hafm retrieve-index COLLECTION -o"):
        RetrievalIndex.open(tmp_path)
    with pytest.raises(IndexNotFound):
        RetrievalIndex.open(tmp_path / "none" / "here")


def test_the_fingerprint_is_of_what_decides(collection, tmp_path):
    index = build(collection, tmp_path / "index")
    assert replace(index, source={"root": "elsewhere"}).fingerprint == index.fingerprint
    assert RetrievalIndex.open(tmp_path / "index").fingerprint == index.fingerprint
    entries = (*index.entries[:-1], replace(index.entries[-1], song_id="other"))
    assert replace(index, entries=entries).fingerprint != index.fingerprint
    assert replace(index, descriptors=index.descriptors[::-1]).fingerprint != index.fingerprint
