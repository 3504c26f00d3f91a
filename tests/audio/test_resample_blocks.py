"""Resampling in blocks against resampling at once."""

import pytest
import torch

from hafm.audio.resample import resample, resample_blocks


@pytest.mark.parametrize(
    ("from_hz", "to_hz"),
    [(48_000, 44_100), (44_100, 48_000), (8_000, 44_100), (44_100, 11_025), (96_000, 44_100)],
)
@pytest.mark.parametrize("cut", [1_000, 30_000])
def test_blocks_are_the_whole_bit_for_bit(from_hz: int, to_hz: int, cut: int) -> None:
    sound = torch.rand(2, 20_001) - 0.5
    blocks = resample_blocks(sound.split(cut, dim=1), from_hz, to_hz, num_channels=2)
    assert torch.cat(list(blocks), dim=1).equal(resample(sound, from_hz, to_hz))


@pytest.mark.parametrize("samples", [0, 1, 2, 3])
def test_very_short_sounds_have_their_length(samples: int) -> None:
    blocks = list(resample_blocks([torch.ones(1, samples)], 44_100, 48_000, num_channels=1))
    assert (
        sum(block.shape[1] for block in blocks) == resample(torch.ones(1, samples), 44_100, 48_000).shape[1]
    )


def test_equal_rates_pass_through() -> None:
    block = torch.rand(2, 10)
    assert next(resample_blocks([block], 44_100, 44_100, num_channels=2)) is block
