"""The pulse: periods and phases of clicks are found exactly, noise has none, gaps do no harm."""

import math

import pytest
import torch
from torch import Tensor

from hafm.evaluate.fit.onsets import onset_envelope
from hafm.evaluate.retrieval.pulse import Pulse, find_pulses, pulse_at, pulse_fall
from tests.evaluate.fit.band import RATE
from tests.evaluate.retrieval.songs import voice


def strokes(
    period_seconds: float, phase_seconds: float, *, seconds: float = 20.0, kept: float = 1.0
) -> Tensor:
    count = math.floor((seconds - phase_seconds) / period_seconds)
    frames = (100 * (phase_seconds + period_seconds * torch.arange(count))).floor().long()
    chosen = torch.rand(count, generator=torch.Generator().manual_seed(1)) < kept
    return torch.zeros(round(100 * seconds)).index_fill(0, frames[chosen], 1.0)


def octaves_off(pulse: Pulse, period_seconds: float) -> float:
    octaves = math.log2(pulse.period_seconds / period_seconds)
    return abs(octaves - round(octaves))


@pytest.mark.parametrize("period_seconds", [0.3, 0.4137, 0.5, 0.613, 0.8])
@pytest.mark.parametrize("kept", [1.0, 0.4])
def test_the_period_is_found_also_where_most_strokes_are_missing(period_seconds, kept):
    onsets = strokes(period_seconds, 0.123, kept=kept)
    assert octaves_off(find_pulses(onsets)[0], period_seconds) < 0.005
    phase = pulse_at(onsets, period_seconds).phase_seconds
    assert abs((phase - 0.123 + period_seconds / 2) % period_seconds - period_seconds / 2) < 0.02


def test_a_voice_has_the_pulse_of_its_song():
    onsets = onset_envelope(voice(beat_seconds=0.45), RATE)
    assert octaves_off(find_pulses(onsets)[0], 0.45) < 0.005


def test_noise_silence_and_a_moment_have_none():
    noise = [torch.rand(2000, generator=torch.Generator().manual_seed(seed)) for seed in range(20)]
    assert [find_pulses(each) for each in noise] == [()] * 20
    assert find_pulses(torch.zeros(2000)) == ()
    assert find_pulses(torch.ones(2000)) == ()
    assert find_pulses(strokes(0.5, 0.0, seconds=2.9)) == ()
    assert pulse_at(torch.zeros(2000), 0.5) is None
    assert find_pulses(strokes(0.5, 0.0, seconds=4.0)) != ()


def test_between_the_strokes_nothing_falls():
    onsets = strokes(0.5, 0.1)
    on = pulse_at(onsets, 0.5)
    beside = Pulse(period_seconds=0.5, phase_seconds=on.phase_seconds + 0.125, strength=on.strength)
    assert pulse_fall(onsets, on) > 0.99
    assert pulse_fall(onsets, beside) < 0
    assert pulse_fall(torch.zeros(2000), on) == 0.0


def test_pulses_are_not_slopes_of_one_another():
    """In the spectrum of 20 s, a line is 0.1 Hz wide, and has lobes beside it."""
    for onsets in (strokes(0.5, 0.1), strokes(0.5, 0.1) + 0.8 * strokes(0.34, 0.1)):
        lines_hz = [1 / pulse.period_seconds for pulse in find_pulses(onsets, count=8)]
        assert len(lines_hz) >= 2
        assert all(abs(a - b) > 0.09 for n, a in enumerate(lines_hz) for b in lines_hz[:n])
