"""Training the harmoniser: scores by their beats, melodies as a voice sings them, runs that go on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hafm.errors import UsageError
from hafm.guide.harmoniser import HarmoniserConfig, HarmoniserNetwork, HarmonyLogits
from hafm.stages.analysers import read_analyser, write_analyser
from recipes.builtin import train_harmoniser
from recipes.builtin.rendering.chords import parse_chord, parse_key
from recipes.builtin.rendering.scores import Score, Span
from recipes.builtin.train_harmoniser import Song, Training, draw_crop, losses, main, paint, song_of
from tests.guide.test_analyser import analyser
from tests.recipes.rendering import tiny_sources

CONFIG = HarmoniserConfig(channels=4)


def score() -> Score:
    """Two bars of C, two of A minor, at 120 beats per minute; a pick-up of one beat."""
    melody = [[0.5 + number * 0.5, 0.9 + number * 0.5, 60 + number % 5, 100] for number in range(16)]
    return Score(
        song_id=1,
        melody=np.array(melody),
        bridge=np.zeros((0, 4)),
        piano=np.zeros((0, 4)),
        beat_seconds=np.arange(18) * 0.5,
        downbeats=np.array([1, 5, 9, 13]),
        beats_per_bar=4,
        chords=(
            Span(start_seconds=0.0, end_seconds=0.5, value=None),
            Span(start_seconds=0.5, end_seconds=4.5, value=parse_chord("C:maj")),
            Span(start_seconds=4.5, end_seconds=8.5, value=parse_chord("A:min7")),
        ),
        keys=(Span(start_seconds=0.5, end_seconds=8.5, value=parse_key("A:min")),),
    )


def test_a_score_by_its_beats() -> None:
    song = song_of(score())
    assert song.position[:7].tolist() == [3, 0, 1, 2, 3, 0, 1]
    np.testing.assert_allclose(song.notes[:2], [[1, 1.8, 60], [2, 2.8, 61]])
    assert song.states.tolist() == [24] * 2 + [0] * 16 + [21] * 16
    assert song.key.tolist() == [-1] * 2 + [21] * 32
    assert np.flatnonzero(song.pitch_classes[20]).tolist() == [0, 4, 7, 9]


def test_a_painted_note_sounds_when_and_where_it_is() -> None:
    notes = np.array([[2.0, 3.0, 64.0], [5.0, 5.5, 71.0]])
    painted = [
        paint(notes, first=1.0, num_beats=6, speed=1.0, rng=np.random.default_rng(seed)) for seed in range(40)
    ]
    mean = np.mean(painted, axis=0)
    assert mean.shape == (6, 4, 12)
    assert mean[1].mean(axis=0).argmax() == 4
    assert mean[4, :2].mean(axis=0).argmax() == 11
    assert mean[1].sum() > 4 * mean[3].sum()  # beat 4 has only what rings on
    assert np.std([each[1, 1, 4] for each in painted]) > 0.05


def test_beats_that_go_by_twice_as_fast() -> None:
    notes = np.array([[4.0, 6.0, 60.0]])
    found = paint(notes, first=0.0, num_beats=4, speed=2.0, rng=np.random.default_rng(0))
    assert found.sum(axis=(1, 2)).argmax() == 2


def song(seed: int = 0) -> Song:
    rng = np.random.default_rng(seed)
    starts = np.arange(0, 60, 0.5)
    pitches = rng.integers(55, 75, len(starts))
    return Song(
        notes=np.stack([starts, starts + 0.4, pitches], axis=1),
        position=np.arange(61) % 4,
        beats_per_bar=4,
        states=rng.integers(0, 25, 120),
        pitch_classes=rng.integers(0, 2, (120, 12)).astype(np.float32),
        key=np.full(120, 3),
    )


def test_crops_are_drawn_from_all_places_and_labelled_where_the_song_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(train_harmoniser, "SPEED_SHARES", (1.0, 0, 0, 0))
    monkeypatch.setattr(train_harmoniser, "OFF_BEAT_SHARE", 0)
    monkeypatch.setattr(train_harmoniser, "WRONG_BAR_SHARE", 0)
    monkeypatch.setattr(train_harmoniser, "WRONG_METER_SHARE", 0)
    of = song()
    told = unknown = no_bar = 0
    for seed in range(60):
        crop = draw_crop(of, 16, np.random.default_rng(seed))
        places = [
            first
            for first in range(-5, 60)
            if all(
                state == (of.states[2 * (first + beat) + 1] if 0 <= first + beat < 60 else -1)
                for beat, state in enumerate(crop.states)
            )
        ]
        [first] = places
        place = crop.position.argmax(axis=1)
        no_bar += int(place[0] == 7)
        if place[0] != 7:
            assert place.tolist() == [(first + beat) % 4 for beat in range(16)]
        unknown += int((crop.states < 0).any())
        told += int(crop.told[8].argmax() == 3)
    assert 10 < told < 40
    assert 2 < unknown < 40
    assert 0 < no_bar < 20


def test_the_loss_is_nil_for_what_is_true() -> None:
    crops = [draw_crop(song(), 16, np.random.default_rng(seed)) for seed in range(3)]

    class Knowing(HarmoniserNetwork):
        def forward(self, *_: torch.Tensor) -> object:  # type: ignore[override]
            def sure(name: str, size: int) -> torch.Tensor:
                truth = torch.from_numpy(np.stack([getattr(crop, name) for crop in crops]))
                return 50.0 * torch.nn.functional.one_hot(truth.clamp_min(0), size).float()

            classes = torch.from_numpy(np.stack([crop.pitch_classes for crop in crops]))
            return HarmonyLogits(sure("states", 25), 100 * classes - 50, sure("key", 24))

    found = losses(Knowing(CONFIG), crops)
    assert {name: float(loss) < 1e-3 for name, loss in found.items()} == dict.fromkeys(found, True)
    assert all(loss.item() > 0.1 for loss in losses(HarmoniserNetwork(CONFIG), crops).values())


def training(steps: int = 3) -> Training:
    return Training(songs=[song(0), song(1)], steps=steps, rate=1e-3, seed=5, config=CONFIG)


def test_a_run_that_was_stopped_ends_where_a_whole_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_harmoniser, "LENGTHS", ((16, 2), (24, 1)))
    monkeypatch.setattr(train_harmoniser, "HELD_OUT_CROPS", 2)
    whole, first, second = training(), training(), training()
    for _ in range(3):
        whole.take_step()
    first.take_step()
    first.save(tmp_path)
    second.resume(tmp_path)
    second.take_step()
    second.take_step()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    assert second.held_out([song(2)]) == whole.held_out([song(2)])
    with pytest.raises(ValueError, match="with steps 3 and not 4"):
        training(4).resume(tmp_path)


def test_a_run_goes_on_from_the_harmoniser_of_an_analyser(tmp_path: Path) -> None:
    first = training()
    made = first.analyser(analyser())
    run = Training(songs=[song(0)], steps=3, rate=1e-3, seed=6, config=CONFIG, init=made)
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, run.network.state_dict()[name]), name
    run.save(tmp_path)
    with pytest.raises(ValueError, match="init"):
        Training(songs=[song(0)], steps=3, rate=1e-3, seed=6, config=CONFIG).resume(tmp_path)
    with pytest.raises(UsageError, match="--init has the harmoniser None"):
        Training(songs=[song(0)], steps=3, rate=1e-3, seed=6, config=CONFIG, init=analyser())


def test_the_command_puts_the_harmoniser_into_an_analyser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_harmoniser, "LENGTHS", ((16, 1),))
    monkeypatch.setattr(train_harmoniser, "HELD_OUT_CROPS", 2)
    monkeypatch.setattr(train_harmoniser, "songs_of", lambda scores, split: [song(len(split))])
    monkeypatch.setattr(train_harmoniser, "Pop909Folder", lambda path: tiny_sources().scores)
    before = tmp_path / "vocal.safetensors"
    write_analyser(before, analyser(), storage="fp32")
    run = tmp_path / "run"
    command = f"--pop909 {tmp_path} --analyser {before} --run {run} --steps 2 --channels 4".split()
    assert main(command) == 0
    made = read_analyser(run / "vocal.safetensors")
    assert made.config.harmoniser == CONFIG
    for name, value in analyser().weights.items():
        assert torch.equal(value, made.weights[name])
    assert main(command) == 0  # nothing is left to do
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
