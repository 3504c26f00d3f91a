"""The gateway on sound files: parts of them, streams, arrays, and what is written."""

import hashlib
import io
import math
import os
import resource
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hafm.audio.io import audio_from_array, read_audio, write_audio
from hafm.errors import AudioContentError, AudioReadError, OutputError, UsageError

RATE = 24_000


def noise(seconds: float = 2.0, channels: int = 1) -> torch.Tensor:
    return 0.1 * torch.randn(channels, round(seconds * RATE)).clamp(-3, 3)


def write(path: Path, waveform: torch.Tensor, **how: str) -> Path:
    soundfile.write(path, waveform.T.numpy(), RATE, **how)
    return path


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("format", ["wav", "flac"])
def test_what_is_written_is_read(channels: int, format: str, tmp_path: Path) -> None:
    waveform = noise(channels=channels)
    path = tmp_path / "no ending"
    write_audio(path, waveform, RATE, format=format)  # type: ignore[arg-type]
    audio = read_audio(path)
    assert audio.sample_rate == RATE
    torch.testing.assert_close(audio.waveform, waveform, atol=2.0**-23, rtol=0)
    assert audio.notes == ()
    assert soundfile.info(path).subtype == "PCM_24"
    assert audio.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "how",
    [
        {"format": "WAV"},
        {"format": "FLAC"},
        pytest.param({"format": "MP3"}, marks=pytest.mark.slow),
        {"format": "OGG", "subtype": "VORBIS"},
        pytest.param({"format": "OGG", "subtype": "OPUS"}, marks=pytest.mark.slow),
    ],
)
def test_a_part_equals_the_slice_of_the_whole(how: dict[str, str], tmp_path: Path) -> None:
    path = write(tmp_path / "a", noise(6, channels=2), **how)
    whole = read_audio(path)
    # Opus decoders need some 80 ms to agree after a jump; all others are exact.
    settle = 2 * 1920 if how.get("subtype") == "OPUS" else 0
    for start in (0.0, 0.3, 4.4321):
        part = read_audio(path, start_seconds=start, seconds=1.5)
        first = round(start * RATE)
        assert part.num_samples == round(1.5 * RATE)
        assert part.start_seconds == start
        assert part.sha256 == whole.sha256
        torch.testing.assert_close(
            part.waveform[:, settle:],
            whole.waveform[:, first + settle : first + part.num_samples],
            atol=1e-4,
            rtol=0,
        )


def test_a_part_of_a_long_file_is_all_that_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.flac", noise(60), format="FLAC")
    decoded = 0
    read = soundfile.SoundFile.read

    def counted(self: soundfile.SoundFile, frames: int = -1, **how: object) -> np.ndarray:
        nonlocal decoded
        block = read(self, frames, **how)
        decoded += len(block)
        return block

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    with pytest.raises(AudioContentError, match=r"lasts 1:00 or more, over the limit of 0:10"):
        read_audio(path, max_seconds=10.0)
    assert decoded == 0, "the header's claim is enough"
    assert read_audio(path, start_seconds=40.0, seconds=5.0, max_seconds=10.0).seconds == 5
    assert 5 * RATE <= decoded < 6 * RATE


def test_a_long_file_that_does_not_say_so_is_noticed_while_decoding(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise(3), format="FLAC")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # 36 bits of STREAMINFO, the number of samples: 0 is unknown
    data[22:26] = bytes(4)
    path.write_bytes(bytes(data))
    with pytest.raises(AudioContentError, match="over the limit of 0:02"):
        read_audio(path, max_seconds=2.0)
    assert read_audio(path, seconds=2.0, max_seconds=2.0).seconds == 2


def test_parts_at_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(2), format="WAV")
    assert read_audio(path, start_seconds=1.0).seconds == 1
    part = read_audio(path, start_seconds=1.0, seconds=5.0)
    assert part.seconds == 1
    assert part.notes == ("the file ends 1.00 s after the start of the part",)
    with pytest.raises(AudioContentError, match="lasts 0:02, so it cannot be read from 0:05 on"):
        read_audio(path, start_seconds=5.0)
    with pytest.raises(AudioContentError, match="too short"):
        read_audio(path, start_seconds=1.9)


@pytest.mark.parametrize(
    ("start", "seconds"),
    [
        (-1.0, None),
        (math.nan, None),
        (math.inf, None),
        (None, 0.0),
        (None, -1.0),
        (None, math.nan),
        (0.0, 601.0),
    ],
)
def test_impossible_parts(start: float | None, seconds: float | None, tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(), format="WAV")
    with pytest.raises(UsageError):
        read_audio(path, start_seconds=start, seconds=seconds)


def test_limits_of_duration_are_inclusive(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(2), format="WAV")
    assert read_audio(path, min_seconds=2.0, max_seconds=2.0).seconds == 2
    with pytest.raises(AudioContentError):
        read_audio(path, max_seconds=2 - 1 / RATE)
    with pytest.raises(AudioContentError):
        read_audio(path, min_seconds=2 + 1 / RATE)


def test_a_stream_gives_what_its_file_gives(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise(), format="FLAC")
    from_path = read_audio(path)
    with path.open("rb") as file:
        from_file = read_audio(file)
    from_bytes = read_audio(io.BytesIO(path.read_bytes()))
    for audio in (from_file, from_bytes):
        assert audio.waveform.equal(from_path.waveform)
        assert audio.sha256 == from_path.sha256
        assert audio.path is None


def test_streams_that_cannot_be_read() -> None:
    with pytest.raises(AudioReadError, match="the audio stream is empty"):
        read_audio(io.BytesIO())
    with pytest.raises(Exception, match=r"open it in binary mode|Type-check error"):
        read_audio(io.StringIO("text"))  # type: ignore[arg-type]


def test_threads_read_mp3_at_once_and_leave_standard_error_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp3", noise(3), format="MP3")
    before = os.fstat(2)
    lengths: list[int] = []
    threads = [
        threading.Thread(target=lambda: lengths.append(read_audio(path).num_samples)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lengths == [3 * RATE] * 8
    assert (os.fstat(2).st_dev, os.fstat(2).st_ino) == (before.st_dev, before.st_ino)


# ---- what a caller that is stricter wants to know


def test_damage_channels_and_scale_are_reported(tmp_path: Path) -> None:
    whole = read_audio(write(tmp_path / "a.wav", noise(channels=2)))
    assert (whole.is_whole, whole.file_channels, whole.scale) == (True, 2, 1.0)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-2000])
    assert not read_audio(tmp_path / "cut.wav").is_whole
    six = read_audio(write(tmp_path / "six.wav", noise(channels=6)))
    assert (six.is_whole, six.file_channels, six.num_channels) == (True, 6, 1)
    loud = noise()
    loud *= 8 / loud.abs().max()
    scaled = read_audio(write(tmp_path / "loud.wav", loud, subtype="FLOAT"))
    assert scaled.scale == pytest.approx(1 / 8)
    assert audio_from_array(noise(channels=4), RATE).file_channels == 4
    part = read_audio(tmp_path / "a.wav", start_seconds=1.5, seconds=1.0)
    assert part.is_whole, "a part may end with the file"


def test_silence_is_taken_where_it_is_allowed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", 0 * noise())
    assert not read_audio(path, allow_silence=True).waveform.any()
    with pytest.raises(AudioContentError, match="is silent"):
        read_audio(path)
    (tmp_path / "empty.wav").write_bytes(path.read_bytes()[:44])
    with pytest.raises(AudioContentError, match="no sound"):
        read_audio(tmp_path / "empty.wav", allow_silence=True)


def test_only_containers_have_several_streams(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise())
    with pytest.raises(AudioContentError, match=r"is WAV, which has no audio stream 1; read stream 0"):
        read_audio(path, audio_stream=1)
    with pytest.raises(UsageError, match="audio stream -1"):
        read_audio(path, audio_stream=-1)


def test_arrays_are_checked_like_files() -> None:
    audio = audio_from_array(noise(channels=2).numpy().astype(np.float64), RATE)
    assert audio.waveform.shape == (2, 2 * RATE)
    assert audio.waveform.dtype == torch.float32
    assert audio_from_array(noise()[0], RATE).num_channels == 1
    assert audio_from_array(noise(channels=6), RATE).notes == ("6 channels were averaged to mono",)
    for bad, says in [
        (torch.zeros(RATE), "is silent"),
        (noise(0.1), "too short"),
        (noise() / 0, "not numbers"),
        (noise(channels=9), "has 9 channels"),
        (noise(channels=2).T, "transpose"),
        (noise()[None], "transpose"),
        (torch.zeros(0), "no sound"),
        ((noise() * 32767).short(), "/ 32768"),
    ]:
        with pytest.raises(AudioContentError, match=says):
            audio_from_array(bad, RATE)
    for rate in (44_100.0, True, 100):
        with pytest.raises(Exception, match=r"sample rate|Type-check error"):
            audio_from_array(noise(), rate)  # type: ignore[arg-type]


def test_an_array_is_copied_and_fingerprinted() -> None:
    samples = noise()
    audio = audio_from_array(samples, RATE)
    kept = audio.waveform.clone()
    samples.zero_()
    assert audio.waveform.equal(kept)
    assert audio.sha256 == audio_from_array(kept.double(), RATE).sha256
    assert audio.sha256 != audio_from_array(kept * 0.5, RATE).sha256


def test_what_may_not_be_written(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for bad in (noise() / 0, torch.full((1, 100), 1.001), torch.zeros(1, 0), torch.zeros(0, 5)):
        with pytest.raises(ValueError, match="waveform"):
            write_audio(path, bad, RATE)
    with pytest.raises(Exception, match=r"format must be|Type-check error"):
        write_audio(path, noise(), RATE, format="mp3")  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit of 64 KiB per file is the disk. Its control, writing in place, loses the old file."""
    old = write(tmp_path / "a.wav", noise(0.1), format="WAV").read_bytes()
    (tmp_path / "control.wav").write_bytes(old)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"it would exceed the limit of 65\.5 kB \(ulimit -f\)"):
            write_audio(tmp_path / "a.wav", noise(5), RATE)
        with pytest.raises(OSError, match="File too large"):
            (tmp_path / "control.wav").write_bytes(bytes(300_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "a.wav").read_bytes() == old
    assert (tmp_path / "control.wav").read_bytes() != old
    assert sorted(os.listdir(tmp_path)) == ["a.wav", "control.wav"]


@pytest.mark.long
def test_ten_minutes_take_a_bounded_share_of_memory(tmp_path: Path) -> None:
    """Ten minutes of mono at 24 kHz are 58 MB of float32; reading holds its blocks and the whole once."""
    path = tmp_path / "a.wav"
    soundfile.write(path, np.tile(noise(1)[0].numpy(), 600), RATE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_audio(path).seconds == 600
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no folder"):
        write_audio(tmp_path / "none" / "a.wav", noise(), RATE)
