"""Shards: what was written is read, from a disk or an object store; only what was asked for, nothing else."""

import pickle  # noqa: TID251 - what worker processes do with a reader
from pathlib import Path

import fsspec
import numpy as np
import pytest

from hafm.data.crops import Crops, Pairs
from hafm.data.shards.folder import ShardFolder, default_cache_folder
from hafm.data.shards.index import INDEX_FILE, TRACKS_FILE
from hafm.data.shards.reader import STREAMS, Shards
from hafm.errors import BundleMismatch, ShardsDamaged, ShardsError, ShardsNotFound, UsageError
from hafm.stages.spec import COARSE, SEMANTIC
from tests.data.numbered_shards import FINGERPRINTS, MadeTrack, clock_tokens, make_shards

TRACKS = [
    MadeTrack(30, "+q+"),
    MadeTrack(20, "ll"),
    MadeTrack(12.345, "++"),
    MadeTrack(25, "+++", "valid"),
    MadeTrack(40, "l++q"),
]
RUNS = [(0, 0.0, 10.0), (0, 20.0, 30.0), (2, 0.0, 12.345), (4, 10.0, 30.0)]


def oracle(number: int, start: float, end: float, name: str, view: int) -> np.ndarray:
    """A run of a track, cut out of its whole tokens."""
    tokens = clock_tokens(number, TRACKS[number].seconds)
    rate = 50 if name.endswith("semantic") else 75
    inside = slice(int(start * rate), int(np.ceil(end * rate)))
    whole = {
        "vocal_semantic": tokens.vocal[view : view + 1],
        "instrumental_semantic": tokens.instrumental[None],
        "coarse_codes": tokens.codes[:4],
        "fine_codes": tokens.codes[4:],
    }[name]
    return whole[:, inside]


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def in_memory(folder: Path, name: str) -> str:
    """A copy of a folder in fsspec's store in memory."""
    url = f"memory://{name}"
    store = fsspec.filesystem("memory")
    store.put(f"{folder}/", f"/{name}/", recursive=True)
    return url


# ---- pairs


@pytest.mark.parametrize("place", ["local", "memory"])
def test_pairs_are_the_kept_runs_of_a_split(tmp_path, place):
    make_shards(tmp_path / "shards", TRACKS)
    url = tmp_path / "shards" if place == "local" else in_memory(tmp_path / "shards", "pairs")
    shards = Shards.open(url, cache_folder=tmp_path / "cache")
    assert isinstance(shards, Pairs)
    assert len(shards) == len(RUNS)
    assert shards.ids == [f"track-{number}" for number, _, _ in RUNS]
    assert shards.num_views() == 2
    for name in STREAMS:
        for view in range(2 if name == "vocal_semantic" else 1):
            for index, run in enumerate(RUNS):
                ids = shards.stream(index, name, view)
                np.testing.assert_array_equal(ids, oracle(*run, name, view))
                assert ids.shape[1] == shards.frames(name)[index]
    (valid,) = Shards.open(url, "valid", cache_folder=tmp_path / "cache").frames("fine_codes")
    assert valid == 25 * 75


def test_crops_of_shards_lie_in_one_kept_run_and_are_aligned(tmp_path):
    make_shards(tmp_path, TRACKS)
    for spec in (SEMANTIC, COARSE):
        crops = Crops(pairs=Shards.open(tmp_path), spec=spec, seed=0)
        seconds = float(spec.clip_seconds)
        assert len(crops) == sum(int((end - start) / seconds) for _, start, end in RUNS)
        target, (vocal, *_), _ = crops.take(0, 200)
        for row in range(200):
            start = int(vocal[row, 0, 0]) % 20_000 / 50
            assert any(first <= start and start + seconds <= end for _, first, end in RUNS)
            if spec is COARSE:
                assert int(target[row, 0, 0]) / 75 == start


def test_a_run_that_begins_between_frames_begins_on_the_next_common_one(tmp_path):
    """Levels on a grid of 0.3 s: 0.3 s is frame 15 at 50 Hz and 22.5 at 75 Hz; 0.32 s is 16 and 24."""
    from hafm.data.shards.index import read_index, read_tracks, write_index
    from hafm.data.shards.track_entry import TrackEntry

    before = make_shards(tmp_path, [MadeTrack(10)])
    folder = ShardFolder(tmp_path)
    (track,) = read_tracks(folder, read_index(folder))
    moved = TrackEntry(**{**track.__dict__, "kept": ((0.3, 0.1 * 3 * 7),)})
    shards = {name: entry.sha256 for name, entry in before.files.items() if name.startswith("train")}
    write_index(
        tmp_path,
        tracks=[moved],
        made_by={},
        filter=before.filter,
        clip_seconds=before.clip_seconds,
        shards=shards,
    )
    shards = Shards.open(tmp_path)
    at_50, at_75 = shards.stream(0, "instrumental_semantic", 0)[0], shards.stream(0, "coarse_codes", 0)[0]
    assert (at_50[0], at_75[0]) == (16, 24)
    assert (at_50[-1], at_75[-1]) == (104, 157)  # the last frames that begin before 2.1 s


def test_opening_touches_no_shard(tmp_path):
    make_shards(tmp_path, TRACKS)
    for path in tmp_path.glob("*.safetensors"):
        path.unlink()
    shards = Shards.open(tmp_path)
    assert len(Crops(pairs=shards, spec=SEMANTIC, seed=0)) == 5
    with pytest.raises(ShardsDamaged, match=r"train-00001\.safetensors' is missing"):
        shards.stream(2, "fine_codes", 0)


def test_a_pickled_reader_carries_no_tokens(tmp_path):
    make_shards(tmp_path, [MadeTrack(600)])
    shards = Shards.open(tmp_path)
    ids = shards.stream(0, "fine_codes", 0)
    data = pickle.dumps(shards)
    assert len(data) < 10_000 < ids.nbytes
    copy = pickle.loads(data)  # noqa: S301
    np.testing.assert_array_equal(copy.stream(0, "fine_codes", 0), ids)


def test_a_shard_that_is_too_short_for_its_tracks_is_named(tmp_path):
    """Shards of another run with the right names: caught by size, and by shape if sizes agree."""
    index = make_shards(tmp_path, [MadeTrack(20), MadeTrack(10)])
    (tmp_path / "train-00000.safetensors").write_bytes(b"x")
    with pytest.raises(
        ShardsDamaged, match=rf"has 1 bytes and should have {index.files['train-00000.safetensors'].bytes}"
    ):
        Shards.open(tmp_path).stream(0, "fine_codes", 0)


def test_what_is_not_there_is_named(tmp_path):
    make_shards(tmp_path, TRACKS)
    with pytest.raises(UsageError, match="no tracks in split 'test'; it has train, valid"):
        Shards.open(tmp_path, "test")
    with pytest.raises(UsageError, match="no stream 'codes'; they have vocal_semantic"):
        Shards.open(tmp_path).stream(0, "codes", 0)
    with pytest.raises(ShardsNotFound, match="there are no shards in"):
        Shards.open(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="cannot be opened"):
        Shards.open("nonsense://bucket/shards")


# ---- hashes


def test_verify_names_the_damaged_file(tmp_path):
    make_shards(tmp_path, TRACKS)
    shards = Shards.open(tmp_path)
    shards.verify()
    flip(tmp_path / "valid-00000.safetensors", -1)
    with pytest.raises(ShardsDamaged, match=r"valid-00000\.safetensors' is not what was written"):
        shards.verify()


# ---- an object store


def test_remote_shards_are_fetched_once_and_only_when_needed(tmp_path, monkeypatch):
    make_shards(tmp_path / "shards", TRACKS)
    url = in_memory(tmp_path / "shards", "once")
    opened: list[str] = []
    real = ShardFolder._open
    monkeypatch.setattr(ShardFolder, "_open", lambda self, name: (opened.append(name), real(self, name))[1])
    cache = tmp_path / "cache"
    shards = Shards.open(url, cache_folder=cache)
    assert opened == []
    for _ in range(3):
        shards.stream(0, "fine_codes", 0)
    assert opened == ["train-00000.safetensors"]
    again = Shards.open(url, cache_folder=cache)
    again.stream(0, "fine_codes", 0)
    again.stream(3, "fine_codes", 0)
    assert opened == ["train-00000.safetensors", "train-00001.safetensors"]
    assert {path.suffix for path in cache.iterdir()} <= {".safetensors", ".lock"}


def test_a_damaged_remote_shard_never_enters_the_cache(tmp_path):
    make_shards(tmp_path / "shards", TRACKS)
    flip(tmp_path / "shards" / "train-00000.safetensors", -1)
    shards = Shards.open(in_memory(tmp_path / "shards", "damaged"), cache_folder=tmp_path / "cache")
    with pytest.raises(
        ShardsDamaged, match=r"memory://damaged/train-00000\.safetensors' is not what was written"
    ):
        shards.stream(0, "fine_codes", 0)
    assert not list((tmp_path / "cache").glob("*.safetensors"))
    with pytest.raises(ShardsDamaged, match="train-00000"):
        shards.verify()


def test_a_remote_folder_without_shards_is_named(tmp_path):
    with pytest.raises(ShardsNotFound, match="there are no shards in 'memory://nobody/here'"):
        Shards.open("memory://nobody/here", cache_folder=tmp_path)


def test_a_store_that_fails_is_named(tmp_path, monkeypatch):
    make_shards(tmp_path / "shards", TRACKS)
    url = in_memory(tmp_path / "shards", "failing")

    def fail(*_: object, **__: object) -> bytes:
        raise TimeoutError("no answer")

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "cat_file", fail)
    with pytest.raises(ShardsError, match=r"'memory://failing/index\.json' cannot be read: no answer"):
        Shards.open(url, cache_folder=tmp_path / "cache")


@pytest.mark.parametrize("place", ["local", "memory"])
def test_the_parts_come_with_the_shards(tmp_path, place):
    make_shards(tmp_path / "shards", TRACKS)
    url = tmp_path / "shards" if place == "local" else in_memory(tmp_path / "shards", "parts")
    shards = Shards.open(url, cache_folder=tmp_path / "cache")
    for _ in range(2):
        parts = shards.parts_folder()
        assert {path.relative_to(parts).as_posix() for path in parts.rglob("*") if path.is_file()} == {
            "parts.json",
            "codec/codec.json",
        }
        assert (parts / "parts.json").read_text() == '{"format": 1}'


def test_shards_without_parts_say_so(tmp_path):
    make_shards(tmp_path, TRACKS, parts=False)
    with pytest.raises(ShardsNotFound, match="came without parts"):
        Shards.open(tmp_path).parts_folder()


def test_the_cache_is_where_caches_are(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / "hafm" / "shards"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / ".cache" / "hafm" / "shards"


# ---- what belongs together


def test_other_parts_are_refused(tmp_path):
    make_shards(tmp_path, TRACKS)
    shards = Shards.open(tmp_path)
    shards.require_parts({**FINGERPRINTS, "semantic": "of a stage"}, what="the bundle 'b'")
    for name, found in FINGERPRINTS.items():
        with pytest.raises(BundleMismatch, match=rf"the bundle 'b'.*{name}.*f{{64}}.*{found}"):
            shards.require_parts({**FINGERPRINTS, name: "f" * 64}, what="the bundle 'b'")
    with pytest.raises(BundleMismatch, match="codec"):
        shards.require_parts({name: FINGERPRINTS[name] for name in FINGERPRINTS if name != "codec"}, what="x")


def test_other_data_than_a_run_was_started_on_is_refused(tmp_path):
    make_shards(tmp_path / "a", TRACKS)
    make_shards(tmp_path / "b", TRACKS)
    make_shards(tmp_path / "c", TRACKS[:-1])
    before, same, other = (Shards.open(tmp_path / name) for name in "abc")
    same.require_same(before.fingerprint())
    with pytest.raises(BundleMismatch, match=rf"{before.fingerprint()}.*{other.fingerprint()}"):
        other.require_same(before.fingerprint())


def test_the_names_of_the_files_are_what_the_readme_of_a_folder_says(tmp_path):
    make_shards(tmp_path, TRACKS)
    assert {path.name for path in tmp_path.iterdir()} == {
        INDEX_FILE,
        TRACKS_FILE,
        "parts",
        "train-00000.safetensors",
        "train-00001.safetensors",
        "valid-00000.safetensors",
    }
