"""Containers through the ffmpeg program, and what happens without it."""

import io
import itertools
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hafm.audio.io import read_audio
from hafm.errors import AudioContentError, AudioReadError

RATE = 24_000
CONTAINERS = {"a.m4a": ["-c:a", "aac"], "a.webm": ["-c:a", "libopus"], "a.mkv": ["-c:a", "flac"], "a.aac": []}

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="the ffmpeg program is not installed"
)


def sine(seconds: float = 3.0, channels: int = 1) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return np.tile(0.5 * np.sin(2 * np.pi * 220 * time)[:, None], channels) * np.linspace(1, 0.5, channels)


def convert(samples: np.ndarray, target: Path, *options: str) -> Path:
    source = target.with_name("source.wav")
    soundfile.write(source, samples, RATE)
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", source, *options, f"file:{target}"], check=True)
    return target


@pytest.mark.long
@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("a.m4a", 2),
        pytest.param("a.webm", 2, marks=pytest.mark.slow),
        pytest.param("a.mkv", 1, marks=pytest.mark.slow),  # bit for bit in a test of its own
        pytest.param("a.aac", 1, marks=pytest.mark.slow),
    ],
)
def test_containers(name: str, channels: int, tmp_path: Path) -> None:
    path = convert(sine(channels=channels), tmp_path / name, *CONTAINERS[name])
    audio = read_audio(path)
    assert audio.num_channels == channels
    assert audio.sample_rate in (RATE, 48_000)
    assert abs(audio.seconds - 3) < 0.1
    assert audio.notes == ()
    middle = audio.waveform[:, audio.sample_rate : 2 * audio.sample_rate]
    torch.testing.assert_close(middle.amax(dim=1), torch.linspace(0.5, 0.25, channels), atol=0.05, rtol=0)
    assert int(torch.fft.rfft(middle[0]).abs().argmax()) == 220
    assert read_audio(io.BytesIO(path.read_bytes())).waveform.equal(audio.waveform)


@needs_ffmpeg
@pytest.mark.parametrize(
    "front", [b"ft\0\0", *(pytest.param(box, marks=pytest.mark.slow) for box in (b"wide", b"mdat", bytes(4)))]
)
def test_an_mpeg_4_is_known_by_its_head_where_its_first_box_is_another_or_damaged(
    front: bytes, tmp_path: Path
) -> None:
    path = convert(sine(), tmp_path / "a.m4a", "-c:a", "alac")
    data = path.read_bytes()
    assert data[4:8] == b"ftyp"
    path.write_bytes(data[:4] + front + data[8:])
    assert read_audio(path).waveform.equal(read_audio(tmp_path / "source.wav").waveform)


@pytest.mark.long
@needs_ffmpeg
def test_lossless_containers_are_bit_exact(tmp_path: Path) -> None:
    path = convert(sine(), tmp_path / "a.mkv", "-c:a", "flac")
    expected = read_audio(tmp_path / "source.wav")
    assert read_audio(path).waveform.equal(expected.waveform)
    part = read_audio(path, start_seconds=1.25, seconds=1.0)
    assert part.waveform.equal(expected.waveform[:, 30_000:54_000])


@pytest.mark.long
@needs_ffmpeg
def test_a_packet_table_says_where_the_sound_of_a_caf_lies(tmp_path: Path) -> None:
    """Apple's encoders write it; ffmpeg 5.1 writes that nothing is to be cut, and cuts nothing."""
    path = convert(sine(2.0), tmp_path / "a.caf", "-c:a", "libopus", "-ar", "48000")
    whole = read_audio(path)
    data = path.read_bytes()
    place = data.index(b"pakt") + 12
    packets, _, before, behind = struct.unpack_from(">qqii", data, place)
    assert (before, behind, whole.num_samples) == (0, 0, packets * 960)

    def with_table(valid: int, before: int, behind: int) -> Path:
        path.write_bytes(data[: place + 8] + struct.pack(">qii", valid, before, behind) + data[place + 24 :])
        return path

    behind = packets * 960 - 312 - 96_000
    exact = read_audio(with_table(96_000, 312, behind))
    assert exact.waveform.equal(whole.waveform[:, 312:96_312])
    assert exact.notes == ()
    part = read_audio(path, start_seconds=0.5, seconds=0.5)
    assert part.waveform.equal(exact.waveform[:, 24_000:48_000])
    for contradiction in ((96_000, 312, behind + 1), (-1, 312, behind), (96_000, -312, behind + 624)):
        assert read_audio(with_table(*contradiction)).waveform.equal(whole.waveform)


@pytest.mark.long
@needs_ffmpeg
def test_each_stream_of_a_container(tmp_path: Path) -> None:
    command = ["ffmpeg", "-v", "error"]
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", (number + 1) * 0.1 * sine(), RATE)
        command += ["-i", tmp_path / f"{number}.wav"]
    maps = [word for number in range(3) for word in ("-map", f"{number}:a")]
    picture = ["-f", "lavfi", "-i", "testsrc=d=3:s=64x64", "-map", "3:v"]  # no sound: it has no number
    path = tmp_path / "a.mkv"
    subprocess.run([*command, *picture, *maps, "-c:a", "flac", path], check=True)
    for number in range(3):
        expected = read_audio(tmp_path / f"{number}.wav")
        assert read_audio(path, audio_stream=number).waveform.equal(expected.waveform)
    with pytest.raises(AudioContentError, match="has no audio stream 3; give a file with more stems"):
        read_audio(path, audio_stream=3)


@pytest.mark.long
@needs_ffmpeg
def test_too_long_and_past_the_end(tmp_path: Path) -> None:
    path = convert(sine(5), tmp_path / "a.m4a")
    with pytest.raises(AudioContentError, match="over the limit of 0:02; choose a part with --start"):
        read_audio(path, max_seconds=2.0)
    assert read_audio(path, start_seconds=2.0, seconds=2.0, max_seconds=2.0).seconds == 2
    with pytest.raises(AudioContentError, match=r"no sound|ends before"):
        read_audio(path, start_seconds=100.0, seconds=2.0)


@pytest.mark.long
@needs_ffmpeg
@pytest.mark.parametrize(
    "names",
    [
        ("-y.m4a", "http:x.m4a"),
        pytest.param(("concat:a|b.m4a", "a b'ü\".m4a"), marks=pytest.mark.slow),
    ],
    ids=["words of ffmpeg", "signs of ffmpeg"],
)
def test_a_name_stays_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
    whole = convert(sine(1), tmp_path / "a.m4a")
    monkeypatch.chdir(tmp_path)
    for name in names:
        shutil.copy(whole, tmp_path / name)
        assert read_audio(name).num_channels == 1


@needs_ffmpeg
def test_a_video_without_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=d=1:s=64x64", path]
    subprocess.run(make, check=True)
    with pytest.raises(AudioContentError, match="has no audio stream"):
        read_audio(path)


@pytest.mark.long
@needs_ffmpeg
def test_damage(tmp_path: Path) -> None:
    whole = convert(sine(20), tmp_path / "a.m4a").read_bytes()
    (tmp_path / "cut.m4a").write_bytes(whole[: len(whole) // 2])  # the index is at the end
    with pytest.raises(AudioReadError, match="cannot be decoded by ffmpeg") as caught:
        read_audio(tmp_path / "cut.m4a")
    assert len(str(caught.value).splitlines()) == 1
    whole = convert(sine(20), tmp_path / "a.webm").read_bytes()
    (tmp_path / "cut.webm").write_bytes(whole[: len(whole) // 2])
    audio = read_audio(tmp_path / "cut.webm")
    assert 5 < audio.seconds < 15
    assert len(audio.notes) == 1
    assert "damaged or cut short" in audio.notes[0]


@pytest.mark.long
@needs_ffmpeg
def test_a_playlist_in_disguise_opens_nothing(tmp_path: Path) -> None:
    """Left to guess, ffmpeg would follow this list to the other file: the control shows it."""
    convert(sine(), tmp_path / "secret.wav")
    playlist = tmp_path / "a.mp4"
    playlist.write_text("ffconcat version 1.0\nfile secret.wav\n")
    follow = ["ffmpeg", "-v", "error", "-i", playlist, "-f", "null", "-"]
    assert subprocess.run(follow, check=False).returncode == 0
    with pytest.raises(AudioReadError, match="is a text file"):
        read_audio(playlist)
    playlist.write_bytes(b"\0\0\0\x18ftypmp42" + b"\nffconcat version 1.0\nfile secret.wav\n")
    with pytest.raises(AudioReadError, match="cannot be decoded"):
        read_audio(playlist)


def fake_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


M4A_HEAD = b"\0\0\0\x18ftypM4A " + bytes(100)


def test_without_ffmpeg_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.m4a").write_bytes(M4A_HEAD)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioReadError, match=r"needs the ffmpeg program; install it .*apt install ffmpeg"):
        read_audio(tmp_path / "a.m4a")


def test_an_ffmpeg_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.m4a").write_bytes(M4A_HEAD)
    fake_ffmpeg(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr("hafm.audio.ffmpeg.TIMEOUT_SECONDS", 0.2)
    with pytest.raises(AudioReadError, match=r"took ffmpeg over 0\.2 s"):
        read_audio(tmp_path / "a.m4a")


def test_an_ffmpeg_that_never_stops_writing_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.m4a").write_bytes(M4A_HEAD)
    header = r"\056snd\000\000\000\030\377\377\377\377\000\000\000\006\000\000\135\300\000\000\000\001"
    fake_ffmpeg(tmp_path, monkeypatch, f"printf '{header}'; exec cat /dev/zero")
    with pytest.raises(AudioContentError, match="over the limit of 0:03"):
        read_audio(tmp_path / "a.m4a", max_seconds=3.0)


def test_the_command_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.m4a").write_bytes(M4A_HEAD)
    fake_ffmpeg(tmp_path, monkeypatch, f'printf "%s\\n" "$@" > {tmp_path}/arguments; exit 1')
    with pytest.raises(AudioReadError):
        read_audio(tmp_path / "a.m4a", start_seconds=1.0, seconds=2.0)
    arguments = (tmp_path / "arguments").read_text().splitlines()
    pairs = dict(itertools.pairwise(arguments))
    assert arguments[0] == "-nostdin"
    assert pairs["-protocol_whitelist"] == "file,pipe"
    assert arguments.index("-f") < arguments.index("-i"), "the demuxer is forced"
    assert arguments[arguments.index("-f") + 1] == "mov"
    assert pairs["-i"] == f"file:{tmp_path}/a.m4a"
    assert pairs["-t"] == "4.000000"  # from the beginning: seeking would not give the same samples
