"""Files written in blocks, read back by libsndfile; their headers byte by byte."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hafm.audio import write_blocks as module
from hafm.audio.write_blocks import Encoding, write_blocks
from hafm.errors import OutputError

RATE = 44_100
SUBTYPE = {"wav": "PCM_24", "wav-float": "FLOAT", "flac": "PCM_24"}


def write(path: Path, sound: torch.Tensor, encoding: Encoding, *, cut: int = 1_000) -> None:
    channels, samples = sound.shape
    blocks = sound.split(cut, dim=1)
    write_blocks(path, blocks, RATE, num_channels=channels, num_samples=samples, encoding=encoding)


@pytest.mark.parametrize("encoding", ["wav", "wav-float", "flac"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [1, 4_001])
def test_what_is_written_is_read(encoding: Encoding, channels: int, samples: int, tmp_path: Path) -> None:
    sound = torch.rand(channels, samples) * 2 - 1
    sound[0, 0] = 1.0
    write(tmp_path / "a", sound, encoding)
    info = soundfile.info(tmp_path / "a")
    assert (info.samplerate, info.channels, info.frames) == (RATE, channels, samples)
    assert info.subtype == SUBTYPE[encoding]
    read, _ = soundfile.read(tmp_path / "a", always_2d=True)
    np.testing.assert_allclose(read.T, sound, atol=0 if encoding == "wav-float" else 2**-23)


@pytest.mark.parametrize("encoding", ["wav", "flac"])
@pytest.mark.parametrize("bits", [16, 24])
def test_what_came_from_whole_numbers_comes_back(encoding: Encoding, bits: int, tmp_path: Path) -> None:
    full = 2 ** (bits - 1)
    sound = torch.randint(-full, full, (2, 5_000)).float() / full
    write(tmp_path / "a", sound, encoding)
    read, _ = soundfile.read(tmp_path / "a", dtype="float32")
    assert torch.from_numpy(read.T).equal(sound)


@pytest.mark.parametrize("encoding", ["wav", "wav-float", "flac"])
def test_where_blocks_are_cut_does_not_show(encoding: Encoding, tmp_path: Path) -> None:
    sound = torch.rand(2, 3_001) - 0.5
    write(tmp_path / "a", sound, encoding)
    write(tmp_path / "b", sound, encoding, cut=7)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_header_is_as_the_standard_says(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", torch.zeros(1, 3), "wav")
    assert (tmp_path / "a.wav").read_bytes() == struct.pack(
        "<4sI4s4sIHHIIHH4sI10x",
        *(b"RIFF", 46, b"WAVE", b"fmt ", 16, 1, 1, RATE, 3 * RATE, 3, 24, b"data", 9),
    )


@pytest.mark.parametrize("encoding", ["wav", "wav-float"])
def test_a_file_too_long_for_riff_is_rf64(
    encoding: Encoding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGEST_RIFF", 1_000)
    sound = torch.rand(2, 3_001) - 0.5
    write(tmp_path / "a", sound, encoding)
    assert (tmp_path / "a").read_bytes()[:8] == b"RF64\xff\xff\xff\xff"
    info = soundfile.info(tmp_path / "a")
    assert (info.format, info.frames) == ("RF64", 3_001)
    read, _ = soundfile.read(tmp_path / "a")
    np.testing.assert_allclose(read.T, sound, atol=2**-23)


@pytest.mark.parametrize(
    ("encoding", "sound", "why"),
    [
        ("wav", torch.full((1, 9), 1.01), "exceeds full scale"),
        ("flac", torch.full((1, 9), -1.01), "exceeds full scale"),
        ("wav-float", torch.full((1, 9), torch.inf), "must be finite"),
        ("wav", torch.zeros(2, 9), r"\[1, n\], got \[2, 9\]"),
        ("wav", torch.zeros(1, 8), "9 samples were announced, and 8 came"),
    ],
)
def test_what_was_not_announced_is_refused_and_nothing_is_left(
    encoding: Encoding, sound: torch.Tensor, why: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=why):
        write_blocks(tmp_path / "a", [sound], RATE, num_channels=1, num_samples=9, encoding=encoding)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("encoding", ["wav", "wav-float", "flac"])
def test_a_full_disk_is_an_output_error(
    encoding: Encoding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`/dev/full` takes every file's place."""
    monkeypatch.setattr("builtins.open", lambda _path, _mode, there=open: there("/dev/full", "wb"))
    with pytest.raises(OutputError, match="the disk is full"):
        write(tmp_path / "a", torch.rand(2, 100_000) - 0.5, encoding)
