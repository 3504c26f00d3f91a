"""What is known of a sound: its key, its pulse, its level; and the same after it was packed."""

import numpy as np
import pytest
import torch

from hafm.audio.resample import resample
from hafm.evaluate.key import key_of_profile
from hafm.evaluate.retrieval.descriptors import (
    KEYS,
    describe,
    describe_vocal,
    key_probabilities,
    likeliest_keys,
    pack,
    unpack,
)
from tests.evaluate.fit.band import RATE
from tests.evaluate.retrieval.songs import BANDS, band, voice


def test_the_band_is_known():
    known = describe(band(tonic=3, beat_seconds=0.48), RATE)
    assert str(likeliest_keys(known.profile)[0][0]) == "Eb major"
    assert known.pulse.beat_seconds == pytest.approx(0.48, rel=0.002)
    assert known.pulse.phase_seconds == pytest.approx(0.25, abs=0.02)
    assert known.seconds == pytest.approx(0.25 + 28 * 0.48)
    louder = describe(2 * band(tonic=3, beat_seconds=0.48), RATE)
    assert louder.level_dbfs - known.level_dbfs == pytest.approx(6.02, abs=0.01)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_other_rates_say_the_same(rate):
    first = describe(band(), RATE)
    second = describe(resample(band()[None], RATE, rate)[0], rate)
    assert torch.nn.functional.cosine_similarity(first.profile, second.profile, dim=0) > 0.995
    assert second.pulse.beat_seconds == pytest.approx(first.pulse.beat_seconds, rel=0.001)
    assert second.level_dbfs == pytest.approx(first.level_dbfs, abs=0.3)


def test_the_likeliest_key_is_that_of_the_probe_tones():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        profile = torch.rand(12, generator=generator)
        assert likeliest_keys(profile)[0][0] == key_of_profile(profile)
    assert np.allclose(key_probabilities(torch.zeros(12)), 1 / 24)


def test_transposing_a_profile_moves_its_keys():
    profile = describe(band(), RATE).profile
    probabilities = key_probabilities(profile).reshape(2, 12)
    moved = key_probabilities(profile.roll(5)).reshape(2, 12)
    np.testing.assert_allclose(moved, np.roll(probabilities, 5, axis=1), atol=1e-6)
    assert str(KEYS[int(moved.argmax())]) == "F major"


def test_silence_is_described_too():
    known = describe(torch.zeros(4 * RATE), RATE)
    assert (known.pulse, known.level_dbfs, float(known.profile.sum())) == (None, -120.0, 0.0)
    assert describe_vocal(torch.zeros(10), RATE).pulses == ()


def test_packed_descriptors_come_back():
    known = [describe(sound, RATE) for sound in (BANDS["right"], torch.zeros(RATE), BANDS["slow"])]
    again = unpack(pack(known))
    for before, after in zip(known, again, strict=True):
        assert torch.allclose(after.chroma, before.chroma, atol=1e-3)
        assert (after.pulse, after.level_dbfs, after.seconds) == (
            before.pulse,
            before.level_dbfs,
            before.seconds,
        )
    twice = pack(again)
    assert all(np.array_equal(twice[name], value) for name, value in pack(known).items())
    assert unpack(pack([])) == []


def test_other_arrays_are_refused():
    arrays = pack([describe(voice()[:RATE], RATE)])
    with pytest.raises(KeyError):
        unpack({name: value for name, value in arrays.items() if name != "pulse"})
    with pytest.raises(ValueError, match="do not end"):
        unpack({**arrays, "chroma_ends": arrays["chroma_ends"] + 1})
