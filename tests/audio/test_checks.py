"""Sick signals: each is noticed, and a healthy one has no note."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hafm.audio.checks import NO_PITCH, clarity, vocal_notes
from hafm.audio.io import audio_from_array

RATE = 24_000


def sung(seconds: float = 4.0) -> Tensor:
    """A voice: notes of half a second with vibrato, overtones, and a rest after each."""
    time = torch.arange(round(seconds * RATE)) / RATE
    pitch = torch.tensor([220.0, 247.0, 262.0, 294.0]).repeat_interleave(RATE // 2).repeat(4)[: len(time)]
    phase = torch.cumsum(
        2 * torch.pi * pitch * (1 + 0.01 * torch.sin(2 * torch.pi * 5.5 * time)) / RATE, dim=0
    )
    tone = sum(torch.sin(k * phase) / k for k in range(1, 6))
    return (0.2 * tone * (time % 0.5 < 0.45))[None]


def noise(shape: tuple[int, ...] = (1, 4 * RATE)) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def pink() -> Tensor:
    spectrum = torch.fft.rfft(noise())
    spectrum[:, 1:] /= torch.arange(1, spectrum.shape[1]).sqrt()
    shaped = torch.fft.irfft(spectrum)
    return 0.1 * shaped / shaped.std()


def chord() -> Tensor:
    time = torch.arange(4 * RATE) / RATE
    pitches = (110.0, 277.2, 329.6, 415.3, 493.9, 622.3)
    return sum(torch.sin(2 * torch.pi * pitch * time + pitch) for pitch in pitches)[None] / 8


SICK: dict[str, tuple[Callable[[], Tensor], str]] = {
    "white noise": (noise, NO_PITCH),
    "pink noise": (pink, NO_PITCH),
    "music behind": (lambda: sung() / 2 + chord() + noise() / 4, "there seems to be more than one voice"),
    "a dead channel": (lambda: torch.cat([torch.zeros_like(sung()), sung()]), "the left channel is silent"),
    "an inverted channel": (lambda: torch.cat([sung(), -sung()]), "left and right are inverted"),
    "clipped": (lambda: (4 * sung()).clamp(-0.5, 0.5), "it is clipped"),
    "rumble": (
        lambda: sung() + 0.4 * torch.sin(torch.arange(4 * RATE) * 2 * torch.pi * 12 / RATE),
        "below 30 Hz",
    ),
}


@pytest.mark.parametrize("name", SICK)
def test_what_is_sick_is_noticed(name: str) -> None:
    make, note = SICK[name]
    notes = vocal_notes(make(), RATE)
    assert len([each for each in notes if note in each]) == 1, notes


@pytest.mark.parametrize("channels", [1, 2])
def test_a_healthy_voice_has_no_note(channels: int) -> None:
    assert vocal_notes(sung().expand(channels, -1), RATE) == ()


@pytest.mark.parametrize("hertz", [110.0, 440.0])
@pytest.mark.parametrize(("rate", "bits"), [(192_000, 24), (44_100, 8), (192_000, 8), (8_000, 16)])
def test_the_crest_of_a_steady_tone_is_not_clipped(rate: int, bits: int, hertz: float) -> None:
    tone = torch.sin(torch.arange(rate) * 2 * torch.pi * hertz / rate)[None]
    steps = 2 ** (bits - 1)
    for level in (0.99, 0.5):
        assert not clipped((level * tone * steps).round() / steps, rate)
    for most in (0.9, 0.7):  # 0.9 dB and 3 dB too loud
        assert clipped((tone.clamp(-most, most) * steps).round() / steps, rate)
    assert clipped(tone.sign(), rate)  # nothing but runs


def clipped(waveform: Tensor, rate: int) -> bool:
    return any("it is clipped" in note for note in vocal_notes(waveform, rate))


@pytest.mark.parametrize("seconds", [0.01, 0.5])
def test_a_short_sound_is_not_judged(seconds: float) -> None:
    assert vocal_notes(noise((1, round(seconds * RATE))), RATE) == ()


def test_clarity_is_high_where_there_is_a_period() -> None:
    tone = torch.sin(torch.arange(2 * RATE) * 2 * torch.pi * 200 / RATE)
    values, level = clarity(torch.cat([tone, noise()[0, : 2 * RATE]]), RATE)
    half = len(values) // 2
    assert values[: half - 2].min() > 0.98
    assert values[half + 2 :].median() < 0.3
    assert float(level[half // 2]) == pytest.approx(-3, abs=0.1)


@pytest.mark.parametrize(("level", "offset"), [(0.3, 0.7), (0.015, 0.009), (0.3, 0.01)])
def test_a_constant_offset_is_removed(level: float, offset: float) -> None:
    audio = audio_from_array(level * sung() + offset, RATE)
    assert float(audio.waveform.mean().abs()) < 1e-6
    assert audio.notes == (f"a constant offset of {offset:.3f} of full scale was removed",)


def test_a_sound_without_an_offset_stays_bit_by_bit() -> None:
    samples = sung() - sung().mean() + 1e-5
    assert audio_from_array(samples, RATE).waveform.equal(samples)
