"""Stems of a band: shares that add up to it, whatever the net has learnt."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hafm.errors import BundleDamaged, UsageError
from hafm.guide.lead_sheet import PLAYERS
from hafm.separate.stems import HOP, RATE, STEMS, StemConfig, StemNetwork, StemSeparator
from hafm.stages.separators import read_separator, separator_fingerprint, write_separator


@pytest.fixture(scope="module")
def separator() -> StemSeparator:
    """A net that knows nothing, with shares that differ."""
    torch.manual_seed(0)
    config = StemConfig(channels=8, hidden=4)
    weights = {name: 3 * weight for name, weight in StemNetwork(config).state_dict().items()}
    return StemSeparator(config=config, weights=weights)


def noise(samples: int, channels: int = 1) -> Tensor:
    rng = np.random.default_rng(samples)
    return torch.from_numpy(0.1 * rng.standard_normal((channels, samples)).astype(np.float32))


def test_the_stems_are_those_of_a_lead_sheet() -> None:
    assert STEMS == PLAYERS


@pytest.mark.parametrize("rate", [24_000, 44_100, 8_000])
@pytest.mark.parametrize("samples", [1, 511, 12_345])
def test_stems_have_the_sounds_length_and_add_up_to_it(
    separator: StemSeparator, rate: int, samples: int
) -> None:
    sound = noise(samples)
    stems = separator.separate(sound, rate)
    assert set(stems) == set(STEMS)
    assert {stem.shape for stem in stems.values()} == {sound.shape}
    torch.testing.assert_close(sum(stems.values()), sound, atol=2e-6, rtol=0)


def test_each_stem_has_a_share_of_its_own(separator: StemSeparator) -> None:
    stems = separator.separate(noise(RATE), RATE)
    levels = {name: float(stem.square().mean()) for name, stem in stems.items()}
    assert min(levels.values()) > 0
    assert len({round(level, 9) for level in levels.values()}) == len(STEMS)


def test_where_the_pieces_are_cut_changes_nothing(
    separator: StemSeparator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = noise(3 * RATE)
    whole = separator.separate(sound, RATE)
    monkeypatch.setattr("hafm.separate.stems._PIECE_FRAMES", 37)
    cut = separator.separate(sound, RATE)
    for name in STEMS:
        torch.testing.assert_close(cut[name], whole[name], atol=1e-6, rtol=0)


@pytest.mark.long
def test_blocks_are_the_stems_piece_by_piece(separator: StemSeparator) -> None:
    sound = noise(30 * RATE, channels=2)
    blocks = list(separator.separate_blocks(sound, RATE))
    assert len(blocks) > 2
    assert max(block.shape[2] for block in blocks) < 15 * RATE
    whole = separator.separate(sound, RATE)
    assert torch.equal(torch.cat(blocks, dim=2), torch.stack([whole[name] for name in STEMS]))


def test_half_the_level_is_half_of_every_stem(separator: StemSeparator) -> None:
    sound = noise(RATE)
    loud, soft = separator.separate(sound, RATE), separator.separate(sound / 2, RATE)
    for name in STEMS:
        torch.testing.assert_close(soft[name], loud[name] / 2, atol=1e-6, rtol=1e-3)


def test_channels_share_the_stems_and_still_add_up(separator: StemSeparator) -> None:
    sound = noise(RATE, channels=2)
    stems = separator.separate(sound, RATE)
    torch.testing.assert_close(sum(stems.values()), sound, atol=2e-6, rtol=0)


def test_silence_is_parted_into_silence(separator: StemSeparator) -> None:
    stems = separator.separate(torch.zeros(1, 10 * HOP), RATE)
    assert not any(stem.any() for stem in stems.values())


def test_a_net_that_gives_all_to_one_player_gives_the_sound_to_it() -> None:
    config = StemConfig(channels=4, hidden=4)
    weights = StemNetwork(config).state_dict()
    for name in weights:
        if name.startswith("outlets") and name.endswith("bias"):
            bins = len(weights[name]) // len(STEMS)
            weights[name] = torch.full_like(weights[name], -60.0)
            weights[name][bins : 2 * bins] = 60.0  # the bass
        elif name.startswith("outlets"):
            weights[name] = torch.zeros_like(weights[name])
    sound = noise(RATE)
    stems = StemSeparator(config=config, weights=weights).separate(sound, RATE)
    torch.testing.assert_close(stems["bass"], sound, atol=1e-5, rtol=0)
    assert max(float(stems[name].abs().max()) for name in STEMS if name != "bass") < 1e-5


@pytest.mark.long
def test_a_file_gives_the_separator_back(separator: StemSeparator, tmp_path: Path) -> None:
    path = tmp_path / "stems.safetensors"
    write_separator(path, separator, storage="fp32")
    back = read_separator(path)
    assert separator_fingerprint(back) == separator_fingerprint(separator)
    sound = noise(RATE)
    for name, stem in back.separate(sound, RATE).items():
        assert torch.equal(stem, separator.separate(sound, RATE)[name])


def test_int8_is_nearly_the_same_and_says_what_it_is(separator: StemSeparator, tmp_path: Path) -> None:
    path = tmp_path / "stems.safetensors"
    write_separator(path, separator, storage="int8")
    sound = noise(RATE)
    exact = separator.separate(sound, RATE)
    for name, stem in read_separator(path).separate(sound, RATE).items():
        assert float((stem - exact[name]).square().mean()) < 0.05 * float(exact[name].square().mean())


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stems.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(BundleDamaged):
        read_separator(path)
    with pytest.raises(BundleDamaged, match="not a whole weights file"):
        read_separator(tmp_path / "nowhere.safetensors")


def test_weights_of_another_net_are_refused(separator: StemSeparator) -> None:
    with pytest.raises(UsageError, match="do not fit"):
        StemSeparator(config=StemConfig(channels=16), weights=separator.weights)


def test_sizes_are_positive() -> None:
    with pytest.raises(UsageError, match="hidden must be 1 or more"):
        StemConfig(hidden=0)
