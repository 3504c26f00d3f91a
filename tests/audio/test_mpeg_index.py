"""MP3 files without an index: all of them is read, and what they claim is what they hold."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hafm.audio.io import read_audio
from hafm.audio.mpeg_index import with_index

FORMATS = [(44_100, 2, "CONSTANT"), (44_100, 1, "VARIABLE"), (24_000, 2, "VARIABLE"), (8_000, 1, "CONSTANT")]
DELAY = 576
"""What LAME's own index trims beyond 529 samples, the delay that any decoder trims."""


def loud_then_quiet(seconds: float, rate: int, channels: int) -> np.ndarray:
    """Variable bit rates begin high and end low, so that a guess from the first frame is far too short."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal(len(time)) * (time < 2)
    return np.tile((0.1 * noise + 0.2 * np.sin(2 * np.pi * 220 * time))[:, None], channels)


def mp3(seconds: float, rate: int, channels: int, mode: str) -> bytes:
    buffer = io.BytesIO()
    samples = loud_then_quiet(seconds, rate, channels)
    soundfile.write(buffer, samples, rate, format="MP3", bitrate_mode=mode, compression_level=0.5)
    return buffer.getvalue()


def without_index(data: bytes) -> bytes:
    """The frame that LAME puts in front, with "Xing" or "Info" in it, left out."""
    assert b"Xing" in data[:64] or b"Info" in data[:64]
    return data[data.index(data[:2], 64) :]


def libsndfile_alone(data: bytes) -> int:
    return len(soundfile.read(io.BytesIO(data))[0])


@pytest.mark.parametrize(("rate", "channels", "mode"), FORMATS)
def test_the_whole_sound_is_read(rate: int, channels: int, mode: str, tmp_path: Path) -> None:
    data = mp3(10, rate, channels, mode)
    (tmp_path / "with.mp3").write_bytes(data)
    (tmp_path / "without.mp3").write_bytes(without_index(data))
    expected = read_audio(tmp_path / "with.mp3")
    audio = read_audio(tmp_path / "without.mp3")
    assert audio.is_whole
    assert audio.notes == ()
    assert audio.seconds == pytest.approx(10, abs=0.2)
    compared = slice(DELAY, DELAY + 9 * rate)
    torch.testing.assert_close(
        audio.waveform[:, compared], expected.waveform[:, : 9 * rate], atol=1e-4, rtol=0
    )
    part = read_audio(tmp_path / "without.mp3", start_seconds=8, seconds=1)
    torch.testing.assert_close(part.waveform, audio.waveform[:, 8 * rate : 9 * rate], atol=1e-3, rtol=0)


def test_the_control_loses_most_of_it() -> None:
    data = without_index(mp3(10, 44_100, 1, "VARIABLE"))
    assert libsndfile_alone(data) < 7 * 44_100


@pytest.mark.parametrize("junk", [b"\0" * 5000, b"TAG" + b"x" * 125, b"\xff" * 300, b"APETAGEX" + bytes(200)])
def test_tags_and_junk_around_the_sound(junk: bytes, tmp_path: Path) -> None:
    sound = without_index(mp3(5, 44_100, 1, "CONSTANT"))
    (tmp_path / "clean.mp3").write_bytes(sound)
    tag = b"ID3\x04\0\0\0\0\x02\x01" + bytes(257)
    (tmp_path / "junk.mp3").write_bytes(tag + sound + junk)
    clean, noisy = (read_audio(tmp_path / f"{name}.mp3") for name in ("clean", "junk"))
    assert noisy.is_whole
    assert noisy.num_samples == clean.num_samples
    assert noisy.waveform[:, :-3000].equal(clean.waveform[:, :-3000])


def test_a_hole_is_a_damage_that_is_told(tmp_path: Path) -> None:
    """The frames behind the hole are counted, and the decoder, which gives up there, does not bring them."""
    sound = bytearray(without_index(mp3(10, 44_100, 1, "CONSTANT")))
    sound[20_000:22_000] = bytes(2000)
    (tmp_path / "hole.mp3").write_bytes(sound)
    audio = read_audio(tmp_path / "hole.mp3")
    assert not audio.is_whole
    assert "it claims 0:09.9 and decodes up to 0:00.9" in audio.notes[0]


@pytest.mark.parametrize(
    "data", [mp3(1, 44_100, 1, "CONSTANT"), b"ID3", b"\xff\xfb", b"\xff" * 5000, b"x" * 100]
)
def test_other_files_stay_as_they_are(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(data)
    with (tmp_path / "a.mp3").open("rb") as file, with_index(file) as same:
        assert same is file
