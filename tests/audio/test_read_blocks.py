"""Sounds in blocks against the same sounds whole, and what the survey refuses."""

from pathlib import Path
from shutil import which
from subprocess import run

import numpy as np
import pytest
import soundfile
import torch

from hafm.audio.io import read_audio
from hafm.audio.read_blocks import read_blocks, survey
from hafm.errors import AudioContentError, AudioReadError

RATE = 16_000


def noise(samples: int, channels: int = 2, *, peak: float = 0.5) -> np.ndarray:
    return np.random.default_rng(0).uniform(-peak, peak, (samples, channels))


def whole(path: Path) -> torch.Tensor:
    return torch.cat(list(read_blocks(survey(path))), dim=1)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff"])
@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_are_what_the_gateway_reads(name: str, channels: int, tmp_path: Path) -> None:
    path = tmp_path / name
    soundfile.write(path, noise(20_001, channels), RATE)
    audio, seen = read_audio(path), survey(path)
    assert whole(path).equal(audio.waveform)
    assert (seen.num_samples, seen.num_channels) == (audio.num_samples, channels)
    assert (seen.sample_rate, seen.sha256, seen.scale) == (RATE, audio.sha256, 1.0)
    assert seen.notes == audio.notes


@pytest.mark.long
@pytest.mark.skipif(which("ffmpeg") is None, reason="needs the ffmpeg program")
def test_what_ffmpeg_decodes_is_the_same(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(20_001), RATE)
    run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", tmp_path / "a.m4a"], check=True)
    assert whole(tmp_path / "a.m4a").equal(read_audio(tmp_path / "a.m4a").waveform)


def test_nothing_is_too_short(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.5, -0.5]), RATE)
    assert whole(tmp_path / "a.wav").tolist() == [[0.5, -0.5]]


def test_more_channels_are_folded_and_another_scale_is_scaled(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(20_000, 6) * 30_000, RATE, subtype="FLOAT")
    audio, seen = read_audio(path), survey(path)
    torch.testing.assert_close(whole(path), audio.waveform)
    assert (seen.num_channels, seen.scale) == (1, pytest.approx(audio.scale))
    assert seen.notes == audio.notes
    assert len(seen.notes) == 2


def test_a_file_that_is_cut_has_a_note(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(20_000), RATE)
    path.write_bytes(path.read_bytes()[:40_000])
    assert survey(path).notes == read_audio(path).notes != ()


def _bad(kind: str, path: Path) -> None:
    sound = noise(9_000)
    if kind == "NaN":
        sound[8_999, 1] = np.nan
    if kind == "silent":
        sound *= 0
    if kind == "offset":
        sound = np.full((9_000, 1), 0.3)
    soundfile.write(path, sound[: 0 if kind == "empty" else None], RATE, subtype="FLOAT")
    if kind == "text":
        path.write_text("no sound")


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("NaN", "not numbers .* the first at 0:00.6"),
        ("silent", "is silent"),
        ("offset", "is silent"),
        ("empty", "holds no sound"),
        ("text", "is a text file"),
        ("missing", "does not exist"),
    ],
)
def test_what_cannot_be_used_is_refused_before_any_work(kind: str, why: str, tmp_path: Path) -> None:
    if kind != "missing":
        _bad(kind, tmp_path / "a.wav")
    with pytest.raises((AudioContentError, AudioReadError), match=why):
        survey(tmp_path / "a.wav")


def test_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.wav", noise(2 * RATE), RATE)
    monkeypatch.setattr("hafm.audio.read_blocks.MAX_SECONDS", 1.5)
    with pytest.raises(AudioContentError, match="over the limit"):
        survey(tmp_path / "a.wav")


@pytest.mark.parametrize("samples", [8_000, 10_000])
def test_a_file_that_changes_meanwhile_is_noticed(samples: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(9_000), RATE)
    seen = survey(path)
    soundfile.write(path, noise(samples), RATE)
    with pytest.raises(AudioReadError, match="was changed while it was read"):
        list(read_blocks(seen))
    path.unlink()
    with pytest.raises(AudioReadError, match="does not exist"):
        list(read_blocks(seen))


@pytest.mark.slow
def test_standard_error_stays_open_between_blocks_of_mp3(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its decoder writes there, and is kept from it; what we write meanwhile must come through."""
    import os

    path = tmp_path / "a.mp3"
    soundfile.write(path, noise(200_000), RATE)
    for _ in read_blocks(survey(path)):
        os.write(2, b"still here\n")
    assert "still here" in capfd.readouterr().err


def test_a_full_disk_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hafm.audio.spool import Spool
    from hafm.errors import OutputError

    with pytest.raises(OutputError, match=r"cannot write a temporary file in '.*nowhere'"):
        Spool(2, folder=tmp_path / "nowhere")
    with open("/dev/full", "r+b", buffering=0) as full:
        monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: full)
        with pytest.raises(OutputError, match="No space left"), Spool(2) as spool:
            spool.write(torch.ones(2, 100_000))
