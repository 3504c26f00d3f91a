"""Lead sheets in shards: they come back as the guide of every pair, wherever it begins."""

import pickle  # noqa: TID251 - what worker processes do with a reader
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hafm.data.result import TrackTokens
from hafm.data.shards.guides import GuideCache, ShardSheets, write_sheets
from hafm.data.shards.reader import Shards
from hafm.errors import ShardsDamaged
from hafm.guide.frames import GUIDE_CHANNELS, guide_frames
from hafm.guide.lead_sheet import Beat, ChordSpan, LeadSheet, MeterChange
from tests.data.numbered_shards import MadeTrack, clock_tokens, make_shards


def steady(seconds: float, bpm: float) -> LeadSheet:
    count = int(seconds * bpm / 60)
    return LeadSheet(
        duration_seconds=seconds,
        beats=tuple(Beat(number * 60 / bpm, number % 4 + 1) for number in range(count)),
        meters=(MeterChange(0.0, 4, 4),),
        chords=tuple(
            ChordSpan(start, start + 2.0, "CDEFGAB"[start % 7]) for start in range(0, int(seconds), 2)
        ),
        style="folk",
    )


SLOW, FAST = steady(40.0, 60), steady(20.0, 150)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards with sheets (the second track of the first has none), and one without."""
    made = tmp_path_factory.mktemp("shards")
    tracks = [
        MadeTrack(40.0, "+q++", sheet=SLOW),
        MadeTrack(20.0),
        MadeTrack(20.0, "qq"),
        MadeTrack(20.0, sheet=FAST),
        MadeTrack(20.0),
    ]
    make_shards(made, tracks)
    return made


def test_a_pair_has_the_frames_of_its_stretch(folder: Path) -> None:
    shards = Shards.open(folder)
    assert shards.ids == ["track-0", "track-0", "track-1", "track-3", "track-4"]
    np.testing.assert_array_equal(shards.guide(0), guide_frames(SLOW, num_frames=500))
    np.testing.assert_array_equal(shards.guide(1), guide_frames(SLOW, num_frames=2000)[1000:])
    np.testing.assert_array_equal(shards.guide(3), guide_frames(FAST, num_frames=1000))
    for without in (2, 4):
        guide = shards.guide(without)
        assert guide.dtype == np.float32
        assert guide.shape == (1000, GUIDE_CHANNELS)
        assert not guide.any()


def test_some_frames_are_those_of_all(folder: Path) -> None:
    shards = Shards.open(folder)
    for pair in range(len(shards)):
        np.testing.assert_array_equal(shards.guide(pair, slice(120, 370)), shards.guide(pair)[120:370])


def test_a_guide_is_its_caller_s_own(folder: Path) -> None:
    shards = Shards.open(folder)
    shards.guide(0)[:] = 7
    np.testing.assert_array_equal(shards.guide(0), guide_frames(SLOW, num_frames=500))


def test_shards_are_pickled_without_what_they_opened(folder: Path) -> None:
    shards = Shards.open(folder)
    shards.guide(3)
    shards.stream(3, "vocal_semantic", 0)
    assert len(pickle.dumps(shards)) < 10_000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(shards)).guide(3), shards.guide(3))  # noqa: S301


def test_the_files_are_listed_hashed_and_verified(folder: Path, tmp_path: Path) -> None:
    names = set(Shards.open(folder).index.files)
    assert {"train-00000.sheets.jsonl", "train-00001.sheets.jsonl"} <= names
    assert "train-00002.sheets.jsonl" not in names
    Shards.open(folder).verify()
    index = make_shards(tmp_path, [MadeTrack(20.0, sheet=FAST)])
    path = tmp_path / "train-00000.sheets.jsonl"
    path.write_bytes(path.read_bytes().replace(b"folk", b"rock"))
    with pytest.raises(ShardsDamaged, match=r"train-00000\.sheets\.jsonl' is not what was written"):
        Shards.open(tmp_path).verify()
    assert index.files[path.name].bytes == path.stat().st_size


def test_without_sheets_the_files_are_those_of_before(folder: Path, tmp_path: Path) -> None:
    tracks = [MadeTrack(20.0), MadeTrack(20.0)]
    with_sheets = make_shards(tmp_path / "with", [replace(track, sheet=FAST) for track in tracks])
    without = make_shards(tmp_path / "without", tracks)
    assert sorted(without.files) == sorted(name for name in with_sheets.files if "sheets" not in name)
    assert all(with_sheets.files[name] == entry for name, entry in without.files.items())


@pytest.mark.parametrize("text", [b"", b"null\n", b"null\n{}\n", b"null\nnull\nnull\n"])
def test_a_damaged_file_is_named(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "train-00000.sheets.jsonl"
    path.write_bytes(text)
    with pytest.raises(ShardsDamaged, match=r"train-00000\.sheets\.jsonl'"):
        _ = ShardSheets(path, num_tracks=2)[1]


def test_a_file_of_sheets_goes_when_no_track_has_one(tmp_path: Path) -> None:
    shard = tmp_path / "train-00000.safetensors"
    bare = clock_tokens(0, 1.0)
    write_sheets(shard, [replace(bare, lead_sheet="{}"), bare])
    assert (tmp_path / "train-00000.sheets.jsonl").read_bytes() == b"{}\nnull\n"
    write_sheets(shard, [bare, bare])
    assert list(tmp_path.iterdir()) == []


def test_the_cache_forgets_what_was_not_asked_for_the_longest() -> None:
    one = GuideCache()
    one.add(0, FAST, first=0, num_frames=1000)
    size = one._num_bytes
    assert size < 1000 * 40
    cache = GuideCache(capacity_bytes=2 * size)
    for pair in (0, 1):
        cache.add(pair, FAST, first=0, num_frames=1000)
    assert cache.find(0, slice(0, 1)) is not None
    cache.add(2, FAST, first=0, num_frames=1000)
    assert [cache.find(pair, slice(0, 1)) is None for pair in range(3)] == [False, True, False]
    assert cache._num_bytes <= 2 * size


def test_tokens_travel_with_their_sheet() -> None:
    bare = clock_tokens(0, 1.0)
    assert TrackTokens.from_bytes(bare.to_bytes()).lead_sheet is None
    sheet = '{"style":"…"}'
    assert TrackTokens.from_bytes(replace(bare, lead_sheet=sheet).to_bytes()).lead_sheet == sheet
