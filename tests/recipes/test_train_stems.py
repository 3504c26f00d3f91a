"""Training the net that parts a band: what a stem is, crops that add up, runs that go on where they were."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hafm.separate.stems import STEMS, StemConfig, StemNetwork, StemSeparator
from hafm.stages.bundle import Bundle
from hafm.tokens.base import Codec
from recipes.builtin.render import write_pair
from recipes.builtin.rendering.pair import make_pair
from recipes.builtin.train_stems import (
    CROP_SAMPLES,
    FULL_SCALE,
    Example,
    Training,
    draw_crop,
    heard_stems,
    loss_of,
    players_of,
    read_examples,
    through,
)
from tests.recipes.rendering import tiny_sources

CONFIG = StemConfig(channels=4, hidden=4)


def example(seed: int = 0) -> Example:
    """Four players of noise."""
    rng = np.random.default_rng(seed)
    stems = rng.standard_normal((len(STEMS), CROP_SAMPLES + 5000)) * 0.05
    return Example(stems=np.round(stems * FULL_SCALE).astype(np.int16))


class Halving(Codec):
    """A codec that gives a sound back half as loud, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def encode(self, waveform: torch.Tensor) -> torch.Tensor:
        return waveform

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        self.count += len(codes)
        return codes / 2

    def fingerprint(self) -> str:
        return "halves"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Crops of a quarter of a second, one per step."""
    monkeypatch.setattr("recipes.builtin.train_stems.CROP_SAMPLES", 6000)
    monkeypatch.setattr("recipes.builtin.train_stems.BATCH", 1)
    monkeypatch.setattr("recipes.builtin.train_stems.HELD_OUT_CROPS", 2)


def training(steps: int = 3, seed: int = 5, init: StemSeparator | None = None) -> Training:
    return Training(
        examples=[example(0), example(1)],
        codec=Halving(),
        steps=steps,
        rate=1e-3,
        seed=seed,
        config=CONFIG,
        init=init,
    )


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One rendered pair of 4 s with its stems."""
    folder = tmp_path_factory.mktemp("pairs")
    write_pair(folder, 0, make_pair(tiny_sources(), seed=0, split="train", index=0, seconds=4.0), stems=True)
    return folder


def test_what_the_players_add_is_the_instrumental(pairs: Path) -> None:
    stems = heard_stems(pairs / "000000.json")
    band, _ = soundfile.read(pairs / "000000.instrumental.wav", dtype="float32")
    assert stems.shape == (len(STEMS), len(band))
    assert (
        np.abs(stems.sum(axis=0) - band).max() < 0.01 * np.abs(band).max()
    )  # dry stems are rounded to 16 bits
    assert (np.abs(stems).max(axis=1) > 0).sum() > 1


def test_a_pair_without_stems_is_named(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "000000.json").write_bytes((pairs / "000000.json").read_bytes())
    with pytest.raises(FileNotFoundError, match="render the pairs with --stems"):
        heard_stems(tmp_path / "000000.json")
    with pytest.raises(ValueError, match="no rendered pairs"):
        read_examples(pairs / "nowhere", cache=tmp_path / "cache")


def test_examples_are_kept_and_read_again(pairs: Path, tmp_path: Path) -> None:
    [first] = read_examples(pairs, cache=tmp_path)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    [again] = read_examples(pairs, cache=tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept
    assert np.array_equal(first.stems, again.stems)
    np.testing.assert_allclose(
        first.stems / FULL_SCALE, heard_stems(pairs / "000000.json"), atol=1 / FULL_SCALE
    )


def test_stems_of_a_crop_are_remixed() -> None:
    examples = [example(0), example(1)]
    levels = set()
    for seed in range(20):
        stems = draw_crop(examples, players_of(examples), np.random.default_rng(seed))
        assert stems.shape == (len(STEMS), CROP_SAMPLES)
        levels.add(tuple(np.round(stems.square().mean(dim=1).sqrt().numpy(), 3)))
    assert len(levels) > 5
    assert any(0 in level for level in levels)


def test_a_player_who_rests_is_drawn_from_songs_in_which_it_plays() -> None:
    rests = example(0)
    rests.stems[3] = 0
    plays = example(1)
    plays.stems[3, :CROP_SAMPLES] = 0  # it sounds in crops that reach behind this
    examples = [rests] * 9 + [plays]
    players = players_of(examples)
    assert [len(each) for each in players] == [10, 10, 10, 1]
    heard = sum(
        bool(draw_crop(examples, players, np.random.default_rng(seed))[3].any()) for seed in range(30)
    )
    assert 6 <= heard <= 24


def test_what_goes_through_the_codec_keeps_its_length() -> None:
    bands = torch.randn(2, 6000)
    torch.testing.assert_close(through(Halving(), bands), bands / 2)
    coded = through(Bundle.open("builtin").load_codec(), bands * 0.1)
    assert coded.shape == bands.shape
    assert not torch.equal(coded, bands)


@pytest.mark.long
@pytest.mark.usefixtures("small")
def test_a_share_of_the_bands_goes_through_the_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.builtin.train_stems.BATCH", 4)
    run = training(steps=10)
    for _ in range(10):
        run.take_step()
    assert 4 <= run.codec.count <= 20  # type: ignore[attr-defined]


@pytest.mark.long
@pytest.mark.usefixtures("small")
def test_a_run_may_begin_with_a_net_that_exists(tmp_path: Path) -> None:
    first = training(seed=1)
    run = training(init=first.separator())
    for name, weight in first.separator().weights.items():
        assert torch.equal(weight, run.separator().weights[name]), name
    run.save(tmp_path)
    with pytest.raises(ValueError, match="of a run with init"):
        training().resume(tmp_path)


def test_the_loss_is_nil_for_the_true_shares_alone() -> None:
    """A band in which one player sounds: all of it is the player's, and the loss is what goes to others."""

    class Fixed(StemNetwork):
        def __init__(self, player: int) -> None:
            super().__init__(CONFIG)
            self.player = player

        def forward(self, magnitudes: torch.Tensor) -> torch.Tensor:
            logits = torch.full((len(magnitudes), len(STEMS), *magnitudes.shape[1:]), -30.0)
            logits[:, self.player] = 30.0
            return logits

    stems = torch.zeros(1, len(STEMS), CROP_SAMPLES)
    stems[0, 1] = torch.from_numpy(example().stems[1, :CROP_SAMPLES] / FULL_SCALE)
    band = stems.sum(dim=1)
    assert loss_of(Fixed(1), band, stems).max() < 1e-3
    wrong = loss_of(Fixed(2), band, stems)[0]
    torch.testing.assert_close(wrong, torch.tensor([0.0, 1.0, 1.0, 0.0]), atol=2e-3, rtol=0)


@pytest.mark.long
@pytest.mark.usefixtures("small")
def test_a_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = training()
    for _ in range(3):
        whole.take_step()
    stopped = training()
    stopped.take_step()
    stopped.save(tmp_path)
    resumed = training()
    resumed.resume(tmp_path)
    assert resumed.step == 1
    for _ in range(2):
        resumed.take_step()
    weights = resumed.separator().weights
    for name, weight in whole.separator().weights.items():
        assert torch.equal(weight, weights[name]), name
    with pytest.raises(ValueError, match="of a run with seed 5 and not 6"):
        training(seed=6).resume(tmp_path)
    monkeypatch.setattr(Halving, "fingerprint", lambda self: "other")
    with pytest.raises(ValueError, match="of a run with codec halves and not other"):
        training().resume(tmp_path)


@pytest.mark.usefixtures("small")
def test_held_out_losses_have_a_row_per_player() -> None:
    found = training().held_out([example(3)])
    assert list(found) == [*STEMS, *(f"coded {stem}" for stem in STEMS)]
    assert all(0 < value < 1 for value in found.values())
