"""Chroma: chords lie where the score has them, whatever the level and the rate."""

import pytest
import torch

from hafm.audio.resample import resample
from hafm.errors import UsageError
from hafm.evaluate.fit.chroma import Chord, chord_tone_share, chroma_correlation, chroma_of
from hafm.tokens.spectrum import window_samples
from tests.evaluate.fit.band import RATE, accompaniment, tone, truth, vocal


@pytest.mark.parametrize("note", range(48, 72, 5))
def test_a_note_lies_in_its_class(note):
    assert int(chroma_of(tone(note, 1.0), RATE).sum(dim=0).argmax()) == note % 12


def test_silence_and_noise_hold_no_notes():
    noise = torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    assert chroma_of(torch.zeros(RATE), RATE).abs().max() == 0
    assert chroma_correlation(torch.zeros(RATE), noise, RATE) is None
    assert chord_tone_share(torch.zeros(RATE), RATE, truth().chords) is None
    assert chord_tone_share(accompaniment(), RATE, []) is None


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_other_rates_say_the_same(rate):
    other = resample(accompaniment()[None], RATE, rate)[0]
    expected = chord_tone_share(accompaniment(), RATE, truth().chords)
    assert chord_tone_share(other, rate, truth().chords) == pytest.approx(expected, abs=0.04)


def test_the_level_does_not_matter():
    loud, soft = (chord_tone_share(gain * accompaniment(), RATE, truth().chords) for gain in (1.0, 0.01))
    assert loud == pytest.approx(soft, abs=1e-3)


@pytest.mark.long
def test_transposing_leaves_the_chords_and_the_vocal():
    shares = [chord_tone_share(accompaniment(n), RATE, truth().chords) for n in range(12)]
    correlations = [chroma_correlation(vocal(), accompaniment(n), RATE) for n in range(12)]
    assert shares[0] > max(shares[1:]) + 0.1
    assert correlations[0] > 0.3
    assert correlations[0] > max(correlations[1:]) + 0.05


def test_the_same_sound_correlates_fully():
    assert chroma_correlation(accompaniment(), accompaniment(), RATE) == pytest.approx(1.0, abs=1e-5)


def test_a_chord_must_be_one():
    with pytest.raises(UsageError, match="ends after"):
        Chord(start_seconds=1.0, end_seconds=1.0, pitch_classes=(0,))
    with pytest.raises(UsageError, match="0 \\(C\\) to 11"):
        Chord(start_seconds=0.0, end_seconds=1.0, pitch_classes=(12,))


def test_windows_are_powers_of_two():
    assert [window_samples(0.34, rate) for rate in (8000, 16_000, 48_000)] == [2048, 4096, 16_384]
