"""Loudness balance and dead air: gains are what they are, and gaps count while somebody sings."""

import pytest
import torch

from hafm.evaluate.fit.levels import dead_air_share, loudness_balance_lu
from tests.evaluate.fit.band import RATE, accompaniment, vocal

SUNG = torch.ones(10 * RATE).mul(0.1) * torch.sin(torch.arange(10 * RATE) / 5)


def test_a_gain_moves_the_balance_by_as_much():
    balance = loudness_balance_lu(vocal(), accompaniment(), RATE)
    assert loudness_balance_lu(vocal(), 0.5 * accompaniment(), RATE) == pytest.approx(
        balance - 6.02, abs=0.05
    )
    assert loudness_balance_lu(accompaniment(), vocal(), RATE) == pytest.approx(-balance)
    assert loudness_balance_lu(vocal(), torch.zeros(len(vocal())), RATE) is None
    assert loudness_balance_lu(torch.zeros(len(vocal())), accompaniment(), RATE) is None


@pytest.mark.parametrize("gap_seconds", [0.0, 1.0, 4.0])
def test_a_gap_is_dead_air(gap_seconds):
    played = SUNG.clone()
    played[: round(gap_seconds * RATE)] *= 10 ** (-50 / 20)
    assert dead_air_share(SUNG, played, RATE) == pytest.approx(gap_seconds / 10)
    assert dead_air_share(SUNG, 0.01 * played, RATE) == pytest.approx(gap_seconds / 10)


def test_soft_is_not_dead():
    played = SUNG.clone()
    played[: 5 * RATE] *= 10 ** (-30 / 20)
    assert dead_air_share(SUNG, played, RATE) == 0.0


def test_a_gap_while_nobody_sings_does_not_count():
    sung = SUNG.clone()
    sung[: 5 * RATE] = 0
    assert dead_air_share(sung, sung, RATE) == 0.0
    assert dead_air_share(torch.zeros(RATE), SUNG[:RATE], RATE) is None


def test_silence_and_dither_are_dead():
    dither = 3e-5 * torch.randn(len(SUNG), generator=torch.Generator().manual_seed(0))
    assert dead_air_share(SUNG, torch.zeros(len(SUNG)), RATE) == 1.0
    assert dead_air_share(SUNG, dither, RATE) == 1.0
