"""The index: what it counts, the same bytes for the same inputs, and no change that goes unseen."""

import json
from fractions import Fraction

import pytest

from hafm.data.shards.file import write_shard
from hafm.data.shards.folder import ShardFolder
from hafm.data.shards.index import (
    INDEX_FILE,
    TRACKS_FILE,
    Index,
    check_files,
    read_index,
    read_tracks,
    write_index,
)
from hafm.data.shards.track_entry import TrackEntry
from hafm.data.tokenising.clip_filter import ClipFilter
from hafm.errors import ShardsDamaged, ShardsNotFound
from tests.data.numbered_shards import FINGERPRINTS, MADE_BY, MadeTrack, clock_tokens, levels_of, make_shards

TRACKS = [
    MadeTrack(30, "++q"),
    MadeTrack(30, "lql"),
    MadeTrack(12.345, "++"),
    MadeTrack(25, "+++", "valid"),
]


def test_the_index_says_what_was_written(tmp_path):
    written = make_shards(tmp_path, TRACKS)
    folder = ShardFolder(tmp_path)
    index = read_index(folder)
    assert index == written
    assert index.fingerprints == FINGERPRINTS
    assert (index.views, index.codebooks, index.clip_seconds) == (2, 8, 10)
    assert set(index.files) == {
        path.relative_to(tmp_path).as_posix()
        for path in tmp_path.rglob("*")
        if path.is_file() and path.name != INDEX_FILE
    }
    tracks = list(read_tracks(folder, index))
    assert [track.id for track in tracks] == [f"track-{number}" for number in range(4)]
    assert tracks[0].levels == levels_of(TRACKS[0])
    assert [track.kept for track in tracks] == [((0, 20),), (), ((0, 12.345),), ((0, 25),)]
    assert tracks[3].known == {"number": 3}


def test_counts_are_those_of_the_tracks(tmp_path):
    counts = make_shards(tmp_path, TRACKS).counts
    assert list(counts) == ["train", "valid"]
    assert counts["train"] == {
        "tracks": 3,
        "kept_tracks": 2,
        "clips": 8,
        "dropped_clips": {"quiet instrumental": 2, "loud vocal": 2},
        "seconds": 72.345,
        "kept_seconds": 32.345,
    }
    assert counts["valid"] == {
        "tracks": 1,
        "kept_tracks": 1,
        "clips": 3,
        "dropped_clips": {},
        "seconds": 25.0,
        "kept_seconds": 25.0,
    }


def test_the_same_inputs_give_the_same_bytes_and_the_index_knows_no_place_and_no_time(tmp_path):
    for name in ("a", "b"):
        make_shards(tmp_path / name, TRACKS)
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "a", tmp_path / "b")
    ]
    assert files[0] == files[1]
    assert len(files[0]) == 3 + 2 + 2
    assert str(tmp_path).encode() not in b"".join(files[0].values())


def test_another_filter_is_another_index_of_the_same_shards(tmp_path):
    before = make_shards(tmp_path, TRACKS)
    wide = ClipFilter(min_instrumental_dbfs=-60.0, max_vocal_over_db=60.0)
    tracks = [
        TrackEntry.from_json(
            json.dumps({**json.loads(track.to_json()), "kept": wide.kept_runs(track.levels)})
        )
        for track in read_tracks(ShardFolder(tmp_path), before)
    ]
    after = write_index(
        tmp_path,
        tracks=tracks,
        made_by=MADE_BY,
        filter=wide,
        clip_seconds=Fraction(10),
        shards={name: entry.sha256 for name, entry in before.files.items() if name.endswith(".safetensors")},
    )
    assert after.counts["train"]["kept_seconds"] == after.counts["train"]["seconds"]
    assert {name for name in before.files if before.files[name] != after.files[name]} == {TRACKS_FILE}
    assert after.digest() != before.digest()


# ---- damage


def test_every_flipped_bit_of_the_index_is_found(tmp_path):
    make_shards(tmp_path, TRACKS[:1])
    path = tmp_path / INDEX_FILE
    data = path.read_bytes()
    for position in range(0, len(data) - 1, 7):  # the last byte is a line break, which says nothing
        path.write_bytes(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])
        with pytest.raises(ShardsDamaged, match=r"index\.json"):
            read_index(ShardFolder(tmp_path))
    path.write_bytes(data)
    read_index(ShardFolder(tmp_path))


@pytest.mark.parametrize(
    "cut", [lambda data: data[:-1], lambda data: data[: data.rindex(b"\n", 0, -1) + 1], lambda _: b""]
)
def test_a_truncated_list_of_tracks_is_found_even_at_the_end_of_a_line(tmp_path, cut):
    make_shards(tmp_path, TRACKS)
    path = tmp_path / TRACKS_FILE
    path.write_bytes(cut(path.read_bytes()))
    folder = ShardFolder(tmp_path)
    with pytest.raises(ShardsDamaged, match=r"tracks\.jsonl.*is not what was written"):
        list(read_tracks(folder, read_index(folder)))


@pytest.mark.parametrize("name", ["train-00001.safetensors", "parts/codec/codec.json", TRACKS_FILE])
def test_a_flipped_bit_of_any_file_is_named(tmp_path, name):
    index = make_shards(tmp_path, TRACKS)
    data = bytearray((tmp_path / name).read_bytes())
    data[-1] ^= 1
    (tmp_path / name).write_bytes(data)
    faults = {each: fault for each, fault in check_files(ShardFolder(tmp_path), index) if fault}
    assert list(faults) == [name]
    assert "is not what was written" in faults[name]


def test_a_missing_file_is_named(tmp_path):
    index = make_shards(tmp_path, TRACKS)
    assert all(fault is None for _, fault in check_files(ShardFolder(tmp_path), index))
    (tmp_path / "valid-00000.safetensors").unlink()
    faults = {name: fault for name, fault in check_files(ShardFolder(tmp_path), index) if fault}
    assert faults.keys() == {"valid-00000.safetensors"}
    assert "is missing" in faults["valid-00000.safetensors"]


def test_a_folder_without_index_is_no_folder_of_shards(tmp_path):
    with pytest.raises(ShardsNotFound, match=r"there are no shards in '.*' \(no index\.json"):
        read_index(ShardFolder(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.update(format=2), "is of format 2"),
        (lambda values: values.update(colour="red"), "unknown field 'colour'"),
        (lambda values: values.pop("views"), "lacks 'views'"),
        (lambda values: values.update(views=3), "changed after it was written"),
    ],
)
def test_other_formats_and_keys_are_refused(tmp_path, change, message):
    values = json.loads(make_shards(tmp_path, TRACKS[:1]).to_json())
    change(values)
    with pytest.raises(ShardsDamaged, match=message):
        Index.from_json(json.dumps(values))


@pytest.mark.parametrize(
    "change", [{"colour": "red"}, {"levels": [[1, 2]]}, {"split": "training"}, {"kept": 3}]
)
def test_lines_of_other_shapes_are_refused(tmp_path, change):
    index = make_shards(tmp_path, TRACKS[:1])
    line = next(read_tracks(ShardFolder(tmp_path), index)).to_json()
    with pytest.raises(ValueError, match=r".+"):
        TrackEntry.from_json(json.dumps({**json.loads(line), **change}))


def test_shards_of_different_shapes_get_no_index(tmp_path):
    shards = {
        f"train-{number:05d}.safetensors": write_shard(
            tmp_path / f"train-{number:05d}.safetensors", [clock_tokens(0, 1.0, views)]
        )
        for number, views in enumerate((1, 2))
    }
    with pytest.raises(ShardsDamaged, match="differ in"):
        write_index(
            tmp_path,
            tracks=[],
            made_by={},
            filter=ClipFilter(),
            clip_seconds=Fraction(10),
            shards=shards,
        )
    assert not (tmp_path / INDEX_FILE).exists()
