"""The picture, and the numbers that it is made of."""

import io
import struct

import numpy as np
import pytest
import torch
from torch import Tensor

from hafm.app.plot import chromagram, draw, outline

RATE = 22_050


def notes(*midi: int, seconds: float = 1.0) -> Tensor:
    """Notes one after the other."""
    time = torch.arange(round(seconds * RATE)) / RATE
    return torch.cat([torch.sin(2 * torch.pi * 440 * 2 ** ((each - 69) / 12) * time) for each in midi])[None]


def test_the_outline_holds_every_sample() -> None:
    waveform = torch.randn(2, 10_007)
    low, high = outline(waveform, 100)
    assert len(low) == len(high) == 100
    for column in range(100):
        part = waveform[:, column * 10_007 // 100 : (column + 1) * 10_007 // 100]
        assert (float(low[column]), float(high[column])) == (float(part.min()), float(part.max()))
    assert (low.min(), high.max()) == (waveform.min(), waveform.max())


def test_a_short_sound_has_a_column_a_sample() -> None:
    low, high = outline(torch.tensor([[1.0, -1.0, 2.0]]), 100)
    assert low.tolist() == high.tolist() == [1.0, -1.0, 2.0]


@pytest.mark.parametrize("columns", [12, 60, 700])
def test_a_chromagram_shows_the_notes_that_sound(columns: int) -> None:
    """C4, E4, G3, A#4, each a second; columns within 0.2 s of a change see both."""
    chroma = chromagram(notes(60, 64, 55, 70), RATE, columns)
    assert chroma.shape[0] == 12
    assert chroma.shape[1] <= columns
    heard = chroma.argmax(0)
    for column, time in enumerate((torch.arange(len(heard)) + 0.5) * 4 / len(heard)):
        if 0.3 < float(time) % 1 < 0.7:
            assert heard[column] == (0, 4, 7, 10)[int(time)]


def test_silence_and_noise_have_no_pitch() -> None:
    assert chromagram(torch.zeros(1, RATE), RATE, 50).abs().max() == 0
    tone_then_silence = torch.cat([notes(60), torch.zeros(1, RATE)], dim=1)
    chroma = chromagram(tone_then_silence, RATE, 40)
    assert chroma[:, 30:].max() < 0.05
    assert chroma[0, 5:15].min() > 0.9


@pytest.mark.long
def test_the_picture_is_a_png_of_the_promised_size() -> None:
    png = draw(
        vocal=notes(60).repeat(2, 1),
        accompaniment=notes(64),
        sample_rate=RATE,
        title=r"a$\frac$ 音",
        subtitle="x",
    )
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", png[16:24]) == (1800, 1320)


@pytest.mark.slow
def test_both_sounds_are_in_the_picture() -> None:
    import matplotlib.image

    def picture(vocal: Tensor, accompaniment: Tensor) -> np.ndarray:
        png = draw(vocal=vocal, accompaniment=accompaniment, sample_rate=RATE, title="t")
        return matplotlib.image.imread(io.BytesIO(png))

    silent, tone = torch.zeros(1, RATE), notes(60)
    upper, lower = (picture(tone, silent), picture(silent, tone))
    assert (picture(tone, silent) == upper).all()  # the same sounds, the same picture
    changed = (upper != lower).any(axis=(1, 2)).nonzero()[0]
    assert changed.min() < 500 < 900 < changed.max()
