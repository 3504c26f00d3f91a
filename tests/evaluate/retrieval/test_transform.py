"""Transposing and stretching: the pitch, the time, the length and the level are what was asked for."""

import math
import sys

import pytest
import torch

from hafm.errors import UsageError
from hafm.evaluate.retrieval.transform import transform
from hafm.tokens.level import active_rms
from tests.crossed import crossed
from tests.evaluate.fit.band import RATE

TONE = 0.2 * torch.sin(2 * torch.pi * 440 * torch.arange(8 * RATE) / RATE)
CLICKS = torch.zeros(8 * RATE).index_fill(0, torch.arange(RATE, 8 * RATE, RATE), 0.8)


def frequency_hz(sound: torch.Tensor) -> float:
    middle = sound[RATE : 3 * RATE] * torch.hann_window(2 * RATE)
    return float(torch.fft.rfft(middle).abs().argmax()) / 2


@crossed(semitones=[-6, -1, 0, 4], speed=[0.8, 1.0, 1.25])
def test_pitch_and_length(semitones, speed):
    pytest.importorskip("python_stretch")
    wanted = round(len(TONE) / speed)
    changed = transform(TONE, RATE, semitones=semitones, speed=speed, num_samples=wanted)
    assert changed.shape == (wanted,)
    cents = 1200 * math.log2(frequency_hz(changed) / 440) - 100 * semitones
    assert abs(cents) < 10
    levels = [float(active_rms(sound[None], sample_rate=RATE)[0]) for sound in (TONE, changed)]
    assert levels[1] == pytest.approx(levels[0], rel=0.02)


@pytest.mark.parametrize("speed", [0.8, 0.97, 1.25])
def test_attacks_are_where_they_belong(speed):
    pytest.importorskip("python_stretch")
    changed = transform(CLICKS, RATE, semitones=3, speed=speed, num_samples=round(8 * RATE / speed))
    for click in range(1, 8):
        centre = round(click * RATE / speed)
        near = changed[centre - 2000 : centre + 2000].square()
        middle = float((near * torch.arange(-2000, 2000)).sum() / near.sum())
        assert abs(middle) / RATE < 0.003


def test_the_same_comes_out_each_time_and_the_end_is_cut_or_filled():
    pytest.importorskip("python_stretch")
    first, second = (transform(TONE, RATE, semitones=2, speed=1.1, num_samples=9 * RATE) for _ in range(2))
    assert torch.equal(first, second)
    assert not first[round(8 * RATE / 1.1) + 10 :].any()


def test_nothing_to_do_needs_no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "python_stretch.Signalsmith", None)
    assert torch.equal(transform(TONE, RATE, semitones=0, speed=1.0, num_samples=100), TONE[:100])
    with pytest.raises(UsageError, match=r"pip install 'hafm\[eval\]'"):
        transform(TONE, RATE, semitones=1, speed=1.0, num_samples=100)
