"""Beats: clicks give their own times, at any tempo people tap; a delay is seen."""

import sys

import numpy as np
import pytest
import torch

from hafm.errors import UsageError
from hafm.evaluate.fit.beats import beat_closeness, beat_f_measure, beat_strength, track_beats
from tests.evaluate.fit.band import BEAT_SECONDS, RATE, accompaniment, delayed, truth, vocal


def clicks(times):
    sound = 1e-3 * torch.randn(12 * RATE, generator=torch.Generator().manual_seed(0))
    for seconds in times:
        start = round(seconds * RATE)
        sound[start : start + 240] += 0.5 * torch.randn(240, generator=torch.Generator().manual_seed(1))
    return sound


@pytest.mark.parametrize("per_minute", [75, 90, 110, 130, 150])
def test_clicks_give_their_times(per_minute):
    times = np.arange(0.31, 11.8, 60 / per_minute)
    beats = np.array(track_beats(clicks(times), RATE))
    assert len(beats) == pytest.approx(len(times), abs=1)
    assert np.abs(beats[:, None] - times).min(axis=1).max() < 0.03


def test_a_slow_change_of_tempo_is_followed():
    times = np.cumsum(np.linspace(0.45, 0.55, 22))
    beats = np.array(track_beats(clicks(times), RATE))
    assert np.abs(beats[:, None] - times).min(axis=1).max() < 0.05


def test_missing_clicks_are_filled_in_and_ends_are_not():
    times = np.arange(3.0, 9.0, 0.5)
    beats = track_beats(clicks(np.delete(times, [4, 7])), RATE)
    assert len(beats) == len(times)
    assert beats[0] == pytest.approx(3.0, abs=0.03)
    assert beats[-1] == pytest.approx(8.5, abs=0.03)


@pytest.mark.parametrize("seconds", [0.01, 2.0, 12.0])
def test_silence_has_no_beats(seconds):
    assert track_beats(torch.zeros(round(seconds * RATE)), RATE) == ()


def test_the_band_plays_on_its_beats_and_a_delay_is_off_them():
    pytest.importorskip("mir_eval")
    reference = truth().beats_seconds
    on_time = beat_f_measure(track_beats(accompaniment(), RATE), reference)
    assert on_time == 1.0
    for seconds in (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4):
        assert beat_f_measure(track_beats(delayed(accompaniment(), seconds), RATE), reference) < 0.2


def test_no_beats_at_all_score_nothing():
    pytest.importorskip("mir_eval")
    assert beat_f_measure([], [1.0, 2.0]) == beat_f_measure([1.0], []) == 0.0
    assert beat_f_measure([1.0, 2.0], [1.05, 2.2]) == pytest.approx(0.5)
    assert beat_closeness([], [1.0, 2.0]) == beat_closeness([1.0], []) == 0.0


def test_closeness_falls_within_the_tolerance_of_the_f_measure():
    pytest.importorskip("mir_eval")
    reference = np.arange(1.0, 9.0, 0.5)
    off = [beat_closeness(list(reference + delay), list(reference)) for delay in (0.0, 0.02, 0.04, 0.08)]
    assert off == pytest.approx(np.exp(-np.square([0.0, 0.5, 1.0, 2.0]) / 2))


def test_without_mir_eval_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mir_eval.beat", None)
    for score in (beat_f_measure, beat_closeness):
        with pytest.raises(UsageError, match=r"hafm\[eval\]"):
            score([1.0], [1.0])


def test_the_vocal_is_stronger_on_its_beats_than_off_them():
    beats = [beat + 0.01 for beat in truth().beats_seconds]
    off = [beat + BEAT_SECONDS / 2 for beat in beats[:-1]]
    assert beat_strength(beats, vocal(), RATE) > 1 > 0 > beat_strength(off, vocal(), RATE)
    assert beat_strength([], vocal(), RATE) is None
    assert beat_strength(beats, torch.zeros(RATE), RATE) is None
