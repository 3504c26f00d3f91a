"""The musical figures of a codec: each is best for the original and falls with the damage that it is for."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hafm.evaluate.key import Key, pitch_class_profile
from hafm.tokens.codec.config import CodecConfig, LowsConfig
from hafm.tokens.codec.model import SpectralCodec
from recipes.builtin import measure_codec
from recipes.builtin.measure_codec import (
    BASS_NOTES,
    MID_NOTES,
    chroma_kept,
    figures,
    in_scale_share,
    key_softness,
    load_clips,
)

RATE = 24_000


def chord(*hertz: float, seconds: float = 4.0) -> torch.Tensor:
    time = torch.arange(round(RATE * seconds)) / RATE
    return sum((0.1 * torch.sin(2 * math.pi * hz * time) for hz in hertz), torch.zeros_like(time))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two instrumentals in C major, one of them with its voice, an A minor third."""
    noise = 0.02 * torch.randn(4 * RATE, generator=torch.Generator().manual_seed(0))
    soundfile.write(
        tmp_path / "a.accompaniment.flac", (chord(65.41, 261.6, 329.6, 392) + noise).numpy(), RATE
    )
    soundfile.write(tmp_path / "a.vocals.flac", chord(440, 523.3).numpy(), RATE)
    soundfile.write(tmp_path / "b.accompaniment.flac", (chord(98, 196, 293.7) + noise).numpy(), RATE)
    return tmp_path


def test_bass_and_middle_are_told_apart() -> None:
    original = chord(65.41, 440)
    wrong_bass, wrong_middle = chord(77.78, 440), chord(65.41, 370)
    assert chroma_kept(original, original, BASS_NOTES) == pytest.approx(1, abs=1e-5)
    assert (
        chroma_kept(wrong_bass, original, BASS_NOTES)
        < 0.3
        < 0.95
        < chroma_kept(wrong_middle, original, BASS_NOTES)
    )
    assert (
        chroma_kept(wrong_middle, original, MID_NOTES)
        < 0.3
        < 0.95
        < chroma_kept(wrong_bass, original, MID_NOTES)
    )


def test_a_silent_band_has_no_chroma() -> None:
    assert chroma_kept(chord(65), torch.zeros(4 * RATE), BASS_NOTES) is None


def test_noise_takes_a_chord_out_of_its_key() -> None:
    tones = chord(261.6, 329.6, 392, 523.3)
    noisy = tones + 0.3 * torch.randn(len(tones), generator=torch.Generator().manual_seed(1))
    clean, spoilt = (pitch_class_profile(sound, RATE) for sound in (tones, noisy))
    c_major = Key(0, "maj")
    assert key_softness(clean, c_major) > key_softness(spoilt, c_major)
    assert in_scale_share(clean, c_major) > 0.9 > in_scale_share(spoilt, c_major)


@pytest.mark.long
def test_originals_are_perfect_and_each_damage_shows(folder: Path) -> None:
    clips = load_clips(folder, max_seconds=9, limit=None)
    assert [clip.vocal_key is None for clip in clips] == [False, True]
    assert all(float(clip.sound.square().mean()) == pytest.approx(0.01, rel=1e-3) for clip in clips)
    originals = [clip.sound for clip in clips]
    kept = figures(originals, clips)
    assert kept["bass_chroma"] == pytest.approx(1, abs=1e-5)
    assert (kept["frechet"], kept["treble_db"]) == (pytest.approx(0, abs=1e-6), pytest.approx(0, abs=1e-6))

    def without(low_hz: float, high_hz: float, gain: float) -> dict[str, float]:
        changed = []
        for sound in originals:
            spectrum = torch.fft.rfft(sound)
            hertz = torch.arange(len(spectrum)) * RATE / len(sound)
            spectrum[(hertz >= low_hz) & (hertz < high_hz)] *= gain
            changed.append(torch.fft.irfft(spectrum, n=len(sound)))
        return figures(changed, clips)

    assert without(8_000, 12_001, 0.5)["treble_db"] == pytest.approx(-6.02, abs=0.05)
    assert without(60, 230, 0.0)["bass_chroma"] < 0.6
    assert without(1_000, 6_000, 0.1)["frechet"] > 10 * kept["frechet"] + 0.1


@pytest.mark.long
def test_the_command_prints_and_writes_every_figure(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lows = LowsConfig(phase_iterations=1)
    codec = SpectralCodec(config=CodecConfig(width=8, hidden=8, phase_iterations=1, lows=lows))
    codec.save(tmp_path / "codec")
    out = tmp_path / "out.json"
    arguments = ["--codec", str(tmp_path / "codec"), "--sounds", f"mine={folder}", "--out", str(out)]
    assert measure_codec.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "mine, " in printed
    assert "| 4 codebooks |" in printed
    (report,) = json.loads(out.read_text()).values()
    assert report["sounds"] == 2
    assert np.isfinite(list(report["8 codebooks"].values())).all()
    assert len(report["repeats"]) == 8
