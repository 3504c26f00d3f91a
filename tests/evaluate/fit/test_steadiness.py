"""Pulse clarity of what is steady, of what is not and of noise; and how fast beats run away."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hafm.evaluate.fit.beats import drift_ms_per_minute, pulse_clarity, shuffled_pulse_clarity

RATE = 24_000


def hits(times_seconds: np.ndarray, *, seconds: float = 10.0, seed: int = 0) -> Tensor:
    """Short bursts of noise, unequally loud, over a faint hiss."""
    generator = torch.Generator().manual_seed(seed)
    sound = 0.001 * torch.randn(round(seconds * RATE), generator=generator)
    for number, time in enumerate(times_seconds):
        start = round(time * RATE)
        burst = torch.randn(1200, generator=generator) * torch.linspace(1, 0, 1200)
        sound[start : start + 1200] += (0.3, 0.1, 0.2, 0.1)[number % 4] * burst[: len(sound) - start]
    return sound


STEADY = hits(np.arange(0.2, 9.8, 0.3))
LOOSE = hits(np.cumsum(np.random.default_rng(3).uniform(0.15, 0.45, 32)) % 9.8)


def test_a_steady_pulse_is_clearer_than_its_hits_in_random_order() -> None:
    steady, shuffled = pulse_clarity(STEADY, RATE), shuffled_pulse_clarity(STEADY, RATE)
    assert steady is not None
    assert shuffled is not None
    assert steady > 0.8
    assert steady > shuffled


def test_hits_at_random_are_no_clearer_than_in_another_order() -> None:
    loose, shuffled = pulse_clarity(LOOSE, RATE), shuffled_pulse_clarity(LOOSE, RATE)
    assert loose is not None
    assert shuffled is not None
    assert loose < 0.5
    assert loose - shuffled < 0.1


def test_noise_has_no_pulse_and_silence_no_value() -> None:
    noise = pulse_clarity(torch.randn(10 * RATE, generator=torch.Generator().manual_seed(0)), RATE)
    assert noise is not None
    assert noise < 0.2
    for measure in (pulse_clarity, shuffled_pulse_clarity):
        assert measure(torch.zeros(10 * RATE), RATE) is None
        assert measure(STEADY[: RATE // 2], RATE) is None


@pytest.mark.long
def test_neither_level_nor_seed_of_the_same_order_changes_it() -> None:
    assert pulse_clarity(0.1 * STEADY, RATE) == pytest.approx(pulse_clarity(STEADY, RATE), abs=0.02)
    assert shuffled_pulse_clarity(STEADY, RATE, seed=1) == shuffled_pulse_clarity(STEADY, RATE, seed=1)
    assert shuffled_pulse_clarity(STEADY, RATE, seed=1) != shuffled_pulse_clarity(STEADY, RATE, seed=2)


def test_drift_is_the_slope_whatever_single_beats_do() -> None:
    pytest.importorskip("mir_eval")
    reference = np.arange(0.5, 30.0, 0.5)
    ahead = reference * (1 - 0.002) + 0.01  # 120 ms per minute early
    ahead[::7] += 0.02
    assert drift_ms_per_minute(list(ahead), list(reference)) == pytest.approx(120, rel=0.1)
    assert drift_ms_per_minute(list(reference + 0.03), list(reference)) == pytest.approx(0, abs=1e-6)
    assert drift_ms_per_minute(list(reference[:7]), list(reference)) is None
    assert drift_ms_per_minute([], list(reference)) is None
