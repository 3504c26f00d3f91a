"""Loops: whole bars, seams on strokes, exactly as many samples as wanted, and no step at a seam."""

import numpy as np
import pytest
import torch

from hafm.evaluate.fit.onsets import onset_envelope
from hafm.evaluate.retrieval.loop import Loop
from hafm.evaluate.retrieval.pulse import Pulse, find_pulses
from tests.evaluate.fit.band import RATE
from tests.evaluate.retrieval.songs import band

PULSE = Pulse(period_seconds=0.5, phase_seconds=0.25, strength=9.0)


def test_a_loop_has_whole_bars_where_there_is_room():
    assert Loop.of(PULSE, 11.0).seconds == 10.0  # of 21 strokes, 20
    assert Loop.of(PULSE, 2.0).seconds == 1.5  # no bar: as many beats as there are
    assert Loop.of(PULSE, 0.5) == Loop.of(None, 0.5)  # not even a beat: all of it
    halves = Pulse(period_seconds=1.0, phase_seconds=0.75, strength=9.0)
    assert Loop.of(halves, 11.0) == Loop.of(PULSE, 11.0)


def test_where_it_begins_and_how_often_it_goes_back():
    loop = Loop.of(PULSE, 11.0)  # 0.25 to 10.25
    assert loop.begin(3.0) == 3.0
    assert loop.begin(0.1) == 0.1  # before the first stroke, as it is
    assert loop.begin(-0.5) == 9.5
    assert loop.begin(12.25) == 2.25
    assert loop.seams(0.0, 11.0) == 0  # the rest beyond the loop is played where that is enough
    assert loop.seams(0.0, 11.1) == 1
    assert loop.seams(5.0, 25.2) == 2
    assert loop.seams(5.0, 25.3) == 3


def test_places_are_those_that_are_played():
    loop = Loop.of(PULSE, 11.0)
    ramp = torch.arange(11 * RATE) / RATE
    for begin, seconds in ((0.0, 10.9), (9.0, 15.0), (0.1, 40.0)):
        played = loop.play(ramp, RATE, begin_seconds=begin, num_samples=round(seconds * RATE)).numpy()
        unrolled = begin + np.arange(len(played)) / RATE
        places = loop.places(unrolled, last_seconds=np.array(begin + seconds))
        near_seam = np.abs((unrolled - loop.end_seconds + 5) % loop.seconds - 5) < 0.016
        away = ~near_seam if loop.seams(begin, seconds) else np.ones_like(near_seam)
        assert np.abs(played - places)[away].max() < 2 / RATE
        assert away.mean() > 0.98


@pytest.mark.parametrize("num_samples", [1, 7, RATE, 30 * RATE + 1])
@pytest.mark.parametrize("begin", [-0.1, 0.0, 10.24])
def test_the_length_is_exact(num_samples, begin):
    sound = torch.ones(11 * RATE)
    assert Loop.of(PULSE, 11.0).play(sound, RATE, begin_seconds=begin, num_samples=num_samples).shape == (
        num_samples,
    )


def test_a_loop_shorter_than_its_fade_still_plays():
    loop = Loop.of(None, 0.005)
    played = loop.play(torch.ones(120), RATE, begin_seconds=0.0, num_samples=RATE)
    assert played.shape == (RATE,)
    assert played.isfinite().all()


def test_a_seam_keeps_the_power_and_makes_no_step():
    noise = torch.randn(11 * RATE, generator=torch.Generator().manual_seed(0))
    loop = Loop.of(PULSE, 11.0)
    played = loop.play(noise, RATE, begin_seconds=0.25, num_samples=20 * RATE)
    seam = 10 * RATE
    around = played[seam - 300 : seam + 300]
    assert float(around.square().mean()) == pytest.approx(1.0, abs=0.25)
    slow = torch.sin(2 * torch.pi * 3.37 * torch.arange(11 * RATE) / RATE)
    joined = loop.play(slow, RATE, begin_seconds=0.25, num_samples=20 * RATE)
    hard = torch.cat([slow[RATE // 4 :][: 10 * RATE], slow[RATE // 4 :][: 10 * RATE]])
    assert joined.diff().abs().max() < 0.01 < 0.1 < hard.diff().abs().max()  # the control has a step


def test_the_beat_goes_on_through_the_seams():
    sound = band(beats=17)
    loop = Loop.of(PULSE, len(sound) / RATE)
    played = loop.play(sound, RATE, begin_seconds=loop.begin(1.0), num_samples=24 * RATE)
    (pulse, *_) = find_pulses(onset_envelope(played, RATE))
    off_beat = Loop(start_seconds=0.25, end_seconds=7.55, whole_seconds=8.75, beat_seconds=0.5)
    broken = off_beat.play(sound, RATE, begin_seconds=1.0, num_samples=24 * RATE)
    (weaker, *_) = find_pulses(onset_envelope(broken, RATE))
    assert pulse.beat_seconds == pytest.approx(0.5, rel=0.001)
    assert pulse.strength > 1.2 * weaker.strength
