"""One shard: its bytes are a function of its tokens, it is mapped and not read, and is nothing else."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from hafm.data.result import TrackTokens
from hafm.data.shards.file import ShardArrays, write_shard
from hafm.errors import OutputError, ShardsDamaged
from tests.data.numbered_shards import clock_tokens


def test_a_shard_holds_the_tokens_end_to_end_and_its_bytes_are_a_function_of_them(tmp_path):
    tokens = [clock_tokens(number, seconds) for number, seconds in enumerate((1.5, 0.02, 7.77))]
    hashes = {write_shard(tmp_path / name, tokens) for name in ("a", "b")}
    assert len(hashes) == 1
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    arrays = ShardArrays.open(tmp_path / "a")
    for kind in ("vocal", "instrumental", "codes"):
        expected = np.concatenate([getattr(each, kind) for each in tokens], axis=-1)
        found = getattr(arrays, kind)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.uint16
        assert not found.flags.writeable


def test_other_readers_of_safetensors_read_it(tmp_path):
    from safetensors.numpy import load_file

    tokens = clock_tokens(3, 2.0)
    write_shard(tmp_path / "a", [tokens])
    loaded = load_file(tmp_path / "a")
    assert TrackTokens(**loaded).to_bytes() == tokens.to_bytes()


def test_a_shard_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    write_shard(tmp_path / "a", [clock_tokens(0, 1.0)])
    before = (tmp_path / "a").read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="the disk is full"):
        write_shard(tmp_path / "a", [clock_tokens(1, 1.0)])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:5],
        lambda data: data[:100],
        lambda data: data[:-2],
        lambda data: data[:-1],
        lambda data: data + b"xx",
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: data.replace(b"U16", b"F16"),
        lambda data: data.replace(b"vocal", b"vokal"),
    ],
)
def test_what_is_no_shard_is_named(tmp_path, damage):
    write_shard(tmp_path / "a", [clock_tokens(0, 1.0)])
    (tmp_path / "a").write_bytes(damage((tmp_path / "a").read_bytes()))
    with pytest.raises(ShardsDamaged, match=r"a' is not a shard"):
        ShardArrays.open(tmp_path / "a")


def mapped_bytes(path: Path) -> int:
    """Memory of this process that holds pages of a file."""
    smaps = Path("/proc/self/smaps").read_text()
    blocks = re.findall(rf"{re.escape(str(path))}\n(?:\w+: .*\n)*?Rss: +(\d+) kB", smaps)
    return 1024 * sum(map(int, blocks))


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux")
def test_a_crop_reads_its_own_pages_and_no_more(tmp_path):
    path = tmp_path / "train-00000.safetensors"
    frames = 1_500_000
    codes = np.zeros((8, frames * 3 // 2), np.uint16)
    vocal = np.zeros((1, frames), np.uint16)
    write_shard(path, [TrackTokens(vocal=vocal, instrumental=vocal[0], codes=codes)])
    arrays = ShardArrays.open(path)
    assert path.stat().st_size > 40_000_000
    assert mapped_bytes(path) < 200_000
    assert arrays.codes[:, 1_000_000:1_000_750].sum() == 0
    # Eight places, and around each what the kernel maps with it: 64 KiB, or a huge page of 2 MiB.
    assert 8 * 4096 <= mapped_bytes(path) <= 8 * 2**21 + 200_000
    assert arrays.codes.sum() == 0
    assert mapped_bytes(path) > 36_000_000, "the measure can fail"
