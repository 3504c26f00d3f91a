"""The harmoniser: the same for every key, by beats that cover the sound, and in an analyser."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hafm.errors import UsageError
from hafm.guide.analyser import VOCAL, Analyser
from hafm.guide.harmoniser import (
    BeatGrid,
    HarmoniserConfig,
    HarmoniserNetwork,
    HarmonyLogits,
    chroma_of_ticks,
    key_rows,
    position_rows,
)
from hafm.guide.lead_sheet import Beat, KeyChange, LeadSheet, MeterChange
from hafm.guide.network import AnalyserNetwork, NetworkConfig
from tests.guide.test_analyser import RATE, SMALL, analyser, sound

CONFIG = HarmoniserConfig(channels=4)


def network() -> HarmoniserNetwork:
    torch.manual_seed(1)
    return HarmoniserNetwork(CONFIG).eval()


def rolled(rows: torch.Tensor, semitones: int) -> torch.Tensor:
    """Twelve pitch classes, or major and minor ones and one that has none, higher."""
    modes = [row.roll(semitones, dims=-1) for row in rows[..., :24].split(12, dim=-1)]
    return torch.cat([*modes, rows[..., 24:]], dim=-1)


def test_a_song_that_is_higher_gets_its_chords_as_much_higher() -> None:
    torch.manual_seed(0)
    chroma, position = torch.rand(2, 9, 4, 12), torch.rand(2, 9, 8)
    key = torch.from_numpy(key_rows(np.array([0, 7, 14, -1, 23, 11, 12, -1, 5]))).expand(2, -1, -1)
    with torch.inference_mode():
        found = network()(chroma, position, key)
        higher = network()(rolled(chroma, 5), position, rolled(key, 5))
    for before, after in zip(found, higher, strict=True):
        torch.testing.assert_close(rolled(before, 5), after)
    assert (found.states[..., :12].std(dim=2) > 1e-4).all()


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="do not fit"):
        analyser().with_harmoniser(HarmoniserConfig(channels=5), network().state_dict())
    weights = analyser().with_harmoniser(CONFIG, network().state_dict()).weights
    with pytest.raises(UsageError, match="do not fit"):
        Analyser(config=SMALL, weights=weights)
    with pytest.raises(UsageError, match="channels"):
        HarmoniserConfig(channels=0)


def test_an_analyser_without_one_is_as_it_was_before_there_were_any() -> None:
    """Its configuration and fingerprint do not mention a harmoniser, so that bundles stay what they are."""
    assert "harmoniser" not in VOCAL.to_dict()
    with_one = replace(SMALL, harmoniser=CONFIG)
    assert type(with_one).from_dict(with_one.to_dict()) == with_one
    assert (
        analyser().with_harmoniser(CONFIG, network().state_dict()).fingerprint() != analyser().fingerprint()
    )


BEATS = tuple(Beat(0.7 + 0.5 * number, (number + 2) % 4 + 1) for number in range(4))
SHEET = LeadSheet(duration_seconds=4.0, beats=BEATS, meters=(MeterChange(0.0, 4, 4),))


def test_beats_are_continued_to_both_ends() -> None:
    grid = BeatGrid.of(SHEET)
    np.testing.assert_allclose(grid.borders_seconds, np.arange(10) * 0.5 - 0.3)
    assert grid.position.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert set(grid.beats_per_bar.tolist()) == {4}


def test_a_sheet_without_beats_is_cut_evenly_and_has_no_bars() -> None:
    grid = BeatGrid.of(LeadSheet(duration_seconds=2.0))
    np.testing.assert_allclose(grid.borders_seconds, [0, 0.6, 1.2, 1.8, 2.4])
    assert position_rows(grid.position, grid.beats_per_bar).argmax(axis=1).tolist() == [7] * 4


def test_each_meter_counts_its_own_bars() -> None:
    beats = tuple(Beat(0.5 * number, position) for number, position in enumerate([1, 2, 3, 4, 1, 2, 3, 1]))
    sheet = LeadSheet(
        duration_seconds=4.0, beats=beats, meters=(MeterChange(0.0, 4, 4), MeterChange(2.0, 3, 4))
    )
    grid = BeatGrid.of(sheet)
    rows = position_rows(grid.position, grid.beats_per_bar)
    assert rows.argmax(axis=1).tolist() == [0, 1, 2, 3, 4, 5, 6, 4]


def test_ticks_hold_the_mean_of_their_time() -> None:
    chroma = np.zeros((100, 12), np.float32)
    chroma[25:50, 3] = 1  # 0.5 to 1 s
    found = chroma_of_ticks(chroma, np.array([-1.0, 0.0, 1.1, 3.0]))
    assert found.shape == (3, 4, 12)
    assert not found[0].any()
    np.testing.assert_allclose(found[1, :, 3], [0, 0.05 / 0.275, 1, 0.175 / 0.275], atol=1e-6)
    assert not found[2].any()


class Sure(HarmoniserNetwork):
    """Says a chord per beat that depends on what is sung and on the key that it gets."""

    def forward(self, chroma: torch.Tensor, position: torch.Tensor, key: torch.Tensor) -> HarmonyLogits:
        sung = chroma.sum(dim=2)
        states = torch.cat([sung, torch.zeros(*sung.shape[:2], 13)], dim=2) * 50
        return HarmonyLogits(states, sung * 0, key[..., :24] * 50 + sung.repeat(1, 1, 2) * 0.1)


def test_chords_and_key_are_those_that_it_says() -> None:
    whole = analyser().with_harmoniser(CONFIG, network().state_dict())
    whole._harmoniser = Sure(CONFIG)
    times = torch.arange(8 * RATE) / RATE
    pitch = torch.where(times < 4, 220.0, 261.63)  # A, then C
    melody = 0.5 * torch.sin(2 * torch.pi * torch.cumsum(pitch, 0) / RATE)
    beats = tuple(Beat(0.5 * number, number % 4 + 1) for number in range(16))
    given = LeadSheet(duration_seconds=8.0, beats=beats, meters=(MeterChange(0.0, 4, 4),))
    sheet = whole.analyse(melody, RATE, given=given)
    assert [(span.start_seconds, span.chord.root) for span in sheet.chords] == [(0.0, 9), (4.0, 0)]
    assert sheet.origin("chords").source == "estimated"
    assert sheet.origin("chords").confidence > 0.9
    told = whole.analyse(melody, RATE, given=replace(given, keys=(KeyChange(0.0, "F", "maj"),)))
    assert [key.label for key in told.keys] == ["F:maj"]


def test_the_key_is_that_of_both_words_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Either may be the surer one, and what both hold likely wins over what one does."""
    whole = analyser().with_harmoniser(CONFIG, network().state_dict())
    chances = {"G": (0.50, 0.01), "C": (0.40, 0.40), "F": (0.05, 0.55)}
    by_network, by_harmoniser = (np.full(24, 0.002), np.full(24, 0.002))
    for tonic, (one, other) in chances.items():
        by_network[{"C": 0, "F": 5, "G": 7}[tonic]] = one
        by_harmoniser[{"C": 0, "F": 5, "G": 7}[tonic]] = other
    hear, logits = whole.hear, whole._harmony_logits
    monkeypatch.setattr(
        whole,
        "hear",
        lambda *given: (heard := hear(*given))._replace(
            key=np.log(np.tile(by_network, (len(heard.key), 1))).astype(np.float32)
        ),
    )
    monkeypatch.setattr(
        whole,
        "_harmony_logits",
        lambda *given: (said := logits(*given))._replace(
            key=torch.from_numpy(by_harmoniser).log().float().expand(len(said.key), -1)
        ),
    )
    sheet = whole.analyse(sound(8.0), RATE)
    assert [key.label for key in sheet.keys] == ["C:maj"]


def test_a_key_that_is_known_is_told_and_its_changes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = analyser().with_harmoniser(CONFIG, network().state_dict())
    seen = []
    assert whole._harmoniser is not None
    whole._harmoniser.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2][0].argmax(dim=1)))
    beats = tuple(Beat(0.5 * number, number % 4 + 1) for number in range(16))
    given = LeadSheet(duration_seconds=8.0, beats=beats, meters=(MeterChange(0.0, 4, 4),))
    whole.analyse(sound(8.0), RATE, given=given)
    keys = (KeyChange(0.0, "D", "min"), KeyChange(4.0, "E", "maj"))
    whole.analyse(sound(8.0), RATE, given=replace(given, keys=keys))
    assert seen[0].tolist() == [24] * 16
    assert seen[1].tolist() == [14] * 8 + [4] * 8


def test_free_time_has_chords_too() -> None:
    whole = Analyser(
        config=replace(SMALL, network=NetworkConfig(num_features=44, channels=8), harmoniser=CONFIG),
        weights={
            **AnalyserNetwork(NetworkConfig(num_features=44, channels=8)).state_dict(),
            **{f"harmoniser.{name}": value for name, value in network().state_dict().items()},
        },
    )
    sheet = whole.analyse(sound(0.3), RATE)
    assert sheet.chords[0].start_seconds == 0.0
    assert sheet.chords[-1].end_seconds == pytest.approx(0.3)
