"""Training an analyser: crops and their labels, progressions, and runs that go on where they stopped."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hafm.guide.chords import state_of
from hafm.guide.lead_sheet import Beat, ChordSpan, KeyChange, LeadSheet, MeterChange
from hafm.guide.network import CHORD_STATES
from recipes.builtin.analyser.examples import Example, Scale, crop, draw_batch
from recipes.builtin.analyser.progressions import count_transitions
from recipes.builtin.train_analyser import BEAT_WEIGHT, LOSS_WEIGHTS, Training
from tests.recipes.rendering import TinyScores

SECONDS = 20.0


def example(seed: int = 0) -> Example:
    """Beats twice per second from 0.25 s on; ten seconds of F, then D minor, and chroma that says so."""
    features = np.random.default_rng(seed).normal(0.0, 0.1, (round(SECONDS * 50), 44)).astype(np.float16)
    features[:500, 5] += 1
    features[500:, 2] += 1
    beats = tuple(Beat(0.25 + 0.5 * number, 1 + number % 4) for number in range(39))
    sheet = LeadSheet(
        duration_seconds=SECONDS,
        beats=beats,
        meters=(MeterChange(0.0, 4, 4),),
        keys=(KeyChange(0.0, "D", "min"),),
        chords=(ChordSpan(0.0, 10.0, "F:maj"), ChordSpan(10.0, SECONDS, "D:min")),
    )
    return Example(features=features, sheet=sheet)


def test_a_crop_has_the_labels_of_its_place() -> None:
    features, beat, downbeat, root, classes, key = crop(example(), name="vocal", start=400, num_frames=200)
    assert features.shape == (200, 44)
    assert np.flatnonzero(beat == 1).tolist() == [12, 37, 62, 87, 112, 137, 162, 187]
    assert np.flatnonzero(downbeat == 1).tolist() == [12, 112]
    assert beat[11] == beat[13] == 0.5
    assert root.tolist() == [5] * 25 + [2] * 25
    assert np.flatnonzero(classes[-1]).tolist() == [2, 5, 9]
    assert key == 2 + 12


def test_a_crop_is_stretched_and_transposed_with_its_labels() -> None:
    features, beat, _, root, _, key = crop(
        example(), name="vocal", start=0, num_frames=900, stretch=1.5, semitones=3
    )
    assert np.flatnonzero(beat == 1)[:3].tolist() == [18, 56, 93]
    assert (root[0], root[-1], key) == (8, 5, 5 + 12)
    assert features[:700, :12].mean(axis=0).argmax() == 8
    assert features[760:, :12].mean(axis=0).argmax() == 5


def test_a_batch_depends_on_its_generator_alone() -> None:
    examples = [example(0), example(1)]
    first, again, other = (
        draw_batch(examples, name="vocal", scale=Scale.of(examples), rng=np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )
    assert all(one.equal(two) for one, two in zip(first, again, strict=True))
    assert first.features.shape != other.features.shape or not first.features.equal(other.features)
    assert first.features.isfinite().all()


def test_progressions_are_counted_relative_to_the_key() -> None:
    """The songs go C, G, Am, F in C major, a bar each: a chord lasts two half bars."""
    chances = count_transitions(TinyScores()).exp()
    assert chances.shape == (2, CHORD_STATES, CHORD_STATES)
    torch.testing.assert_close(chances.sum(dim=2), torch.ones(2, CHORD_STATES))
    tonic, fifth, minor, fourth = (state_of(label) for label in ("C:maj", "G:maj", "A:min", "F:maj"))
    for before, after in ((tonic, fifth), (fifth, minor), (minor, fourth), (fourth, tonic)):
        assert 0.4 < float(chances[0, before, after]) < 0.6
        assert 0.4 < float(chances[0, before, before]) < 0.6


def training() -> Training:
    transitions = torch.zeros(2, CHORD_STATES, CHORD_STATES)
    return Training(name="vocal", examples=[example()], transitions=transitions, steps=3, rate=1e-3, seed=5)


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole, first = training(), training()
    for _ in range(3):
        row = whole.take_step()
    assert set(row) == set(LOSS_WEIGHTS)
    first.take_step()
    first.save(tmp_path)
    second = training()
    second.resume(tmp_path)
    assert second.step == 1
    second.take_step()
    assert second.take_step() == row
    for key, value in whole.network.state_dict().items():
        assert second.network.state_dict()[key].equal(value), key


def test_a_run_with_other_options_is_not_resumed(tmp_path: Path) -> None:
    run = training()
    run.save(tmp_path)
    other = training()
    other.steps = 4
    with pytest.raises(ValueError, match="of a run of 3 steps with seed 5"):
        other.resume(tmp_path)


def test_what_is_exported_takes_the_weight_of_beats_back() -> None:
    run = training()
    before = run.network.state_dict()["fast_heads.bias"]
    after = run.analyser().weights["fast_heads.bias"]
    assert float((before - after)[0]) == pytest.approx(np.log(BEAT_WEIGHT))
