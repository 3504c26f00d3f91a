"""Keys: known chords give their key, and transposing moves it."""

import pytest
import torch

from hafm.errors import UsageError
from hafm.evaluate.key import Key, estimate_key, pitch_class_profile

RATE = 24_000


def cadence(tonic: int, minor: bool) -> torch.Tensor:
    """I IV V I as plain sines, half a second each, with the bass an octave below."""
    third = 3 if minor else 4
    chords = [(0, third, 7), (5, 5 + third, 12), (7, 11, 14), (0, third, 7)]
    t = torch.arange(RATE // 2) / RATE
    parts = []
    for chord in chords:
        notes = [48 + tonic + n for n in (*chord, chord[0] - 12)]
        parts.append(sum(torch.sin(2 * torch.pi * 440 * 2 ** ((n - 69) / 12) * t) for n in notes))
    return torch.cat(parts)


@pytest.mark.parametrize("tonic", range(12))
@pytest.mark.parametrize("minor", [False, True])
def test_a_cadence_has_its_key(tonic, minor):
    assert estimate_key(cadence(tonic, minor), RATE) == Key(tonic, "min" if minor else "maj")


def test_a_profile_sums_to_one_and_silence_to_zero():
    assert pitch_class_profile(cadence(0, False), RATE).sum() == pytest.approx(1, abs=1e-5)
    assert pitch_class_profile(torch.zeros(100), RATE).sum() == 0


def test_relative_keys_hold_the_same_notes():
    assert Key(0, "maj").same_notes(Key(9, "min"))
    assert not Key(0, "maj").same_notes(Key(0, "min"))


def test_other_keys_are_refused():
    with pytest.raises(UsageError, match="0 to 11"):
        Key(12, "maj")
