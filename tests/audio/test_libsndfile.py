"""Sound that comes in blocks is the sound that comes at once."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hafm.audio.io import read_audio

RATE = 44_100
WAYS = [
    {"format": "MP3", "bitrate_mode": "VARIABLE"},
    {"format": "MP3", "bitrate_mode": "CONSTANT"},
    {"format": "OGG", "subtype": "VORBIS"},
    {"format": "FLAC"},
]


def loud_and_quiet(path: Path, how: dict[str, str]) -> Path:
    """Frames of an MP3 borrow bits from their neighbours where it gets loud, also across blocks."""
    time = np.arange(10 * RATE) / RATE
    noise = np.random.default_rng(0).standard_normal(len(time)) * ((time * 2) % 2 < 1)
    soundfile.write(path, 0.1 * noise + 0.3 * np.sin(2 * np.pi * 220 * time), RATE, **how)
    return path


@pytest.mark.long
@pytest.mark.parametrize("how", WAYS)
def test_blocks_and_the_whole(how: dict[str, str], tmp_path: Path) -> None:
    path = loud_and_quiet(tmp_path / "a", how)
    expected = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]
    torch.testing.assert_close(read_audio(path).waveform, expected, atol=1e-6, rtol=0)
    part = read_audio(path, start_seconds=5.3, seconds=2.0).waveform
    first = round(5.3 * RATE)
    torch.testing.assert_close(part, expected[:, first : first + 2 * RATE], atol=1e-6, rtol=0)


def test_the_control_that_seeks_after_every_block_is_wrong(tmp_path: Path) -> None:
    """What soundfile does by itself. Should this test fail, `_OnwardFile` has become needless."""
    path = loud_and_quiet(tmp_path / "a", WAYS[0])
    with soundfile.SoundFile(path) as file:
        blocks = np.concatenate(list(file.blocks(4096, dtype="float32")))
    expected = soundfile.read(path, dtype="float32")[0]
    assert (np.abs(blocks - expected) > 1e-3).mean() > 0.05
