"""Training an analyser: crops and their labels, progressions, and runs that go on where they stopped."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hafm.guide.analyser import Analyser
from hafm.guide.chords import state_of
from hafm.guide.lead_sheet import Beat, ChordSpan, KeyChange, LeadSheet, MeterChange
from hafm.guide.network import CHORD_STATES
from recipes.builtin.analyser.examples import Clock, Example, Scale, crop, draw_batch, stack
from recipes.builtin.analyser.progressions import count_transitions
from recipes.builtin.train_analyser import LOSS_WEIGHTS, Training, _phase_loss
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
    """From 8 s on, 31/2 beats after the first: four beats and then some of the second chord."""
    seconds = 8.0 + np.arange(6 * 12) / 24
    row = crop(example(), name="vocal", seconds=seconds)
    batch = stack([row])
    assert batch.features.shape == (1, 2 * 72, 44)
    assert batch.inside.all()
    assert batch.bpm.tolist() == [120.0]
    assert batch.is_right.tolist() == [True]
    torch.testing.assert_close(batch.beats[0], torch.from_numpy((seconds - 0.25) * 2).float())
    assert batch.root[0].tolist() == [5] * 48 + [2] * 24
    assert torch.nonzero(batch.pitch_classes[0, -1])[:, 0].tolist() == [2, 5, 9]
    assert batch.key.tolist() == [2 + 12]
    assert batch.features[0, :96, 5].mean() > 0.9


def test_a_crop_is_mistaken_renamed_and_transposed_with_its_labels() -> None:
    row = crop(
        example(),
        name="vocal",
        seconds=np.arange(12) / 12,  # a beat per second, said to be 66 per minute
        mistake=0.5,
        renamed=1.1,
        semitones=3,
    )
    batch = stack([row])
    assert batch.bpm.tolist() == pytest.approx([66.0])
    assert batch.is_right.tolist() == [False]
    assert batch.beats[0].tolist() == pytest.approx(((np.arange(12) / 12 - 0.25) * 2).tolist())
    assert (int(batch.root[0, 0]), int(batch.key[0])) == (8, 5 + 12)
    assert batch.features[0, :, :12].mean(dim=0).argmax() == 8


def test_beats_go_on_beyond_the_ends() -> None:
    clock = Clock(example().sheet)
    assert clock.bpm == pytest.approx(120.0)
    assert clock.beats(np.array([0.25, 0.0, 20.25])).tolist() == pytest.approx([0.0, -0.5, 40.0])
    assert clock.seconds(np.array([0.0, -0.5, 40.0])).tolist() == pytest.approx([0.25, 0.0, 20.25])


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


def training(
    *, steps: int = 3, seed: int = 5, init: Analyser | None = None, init_share: float = 0.0
) -> Training:
    transitions = torch.zeros(2, CHORD_STATES, CHORD_STATES)
    return Training(
        name="vocal",
        examples=[example()],
        transitions=transitions,
        steps=steps,
        rate=1e-3,
        seed=seed,
        init=init,
        init_share=init_share,
    )


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


@pytest.mark.long
def test_a_run_with_other_options_is_not_resumed(tmp_path: Path) -> None:
    run = training()
    run.save(tmp_path)
    with pytest.raises(ValueError, match="of a run with steps 3 and not 4"):
        training(steps=4).resume(tmp_path)
    with pytest.raises(ValueError, match="of a run with init None and not"):
        training(init=run.analyser()).resume(tmp_path)


def test_a_run_starts_from_an_analyser_and_its_scale() -> None:
    before = training(seed=6)
    before.network.mean.add_(1.0)
    run = training(init=before.analyser())
    for key, value in before.network.state_dict().items():
        assert run.network.state_dict()[key].equal(value), key
    assert run.scale.mean.tolist() == before.network.mean.tolist()


def test_a_share_of_the_start_stays_in_the_result() -> None:
    start = training(seed=6).analyser()
    run = training(init=start, init_share=0.25)
    with torch.no_grad():
        run.network.inlet.bias.add_(1.0)
    learnt, result = run.network.state_dict(), run.analyser().weights
    torch.testing.assert_close(result["inlet.bias"], learnt["inlet.bias"] - 0.25)
    for key in start.weights.keys() - {"inlet.bias"}:
        torch.testing.assert_close(result[key], start.weights[key])
    with pytest.raises(ValueError, match="an analyser to start from"):
        training(init_share=0.25)


def test_a_network_that_is_right_has_the_least_loss() -> None:
    """The loss of a phase is that of the class, or of the two between which it lies."""
    logits = torch.zeros(1, 2, 12)
    logits[0, 0, 3] = 50.0
    logits[0, 1, [11, 0]] = 50.0
    found = _phase_loss(logits, torch.tensor([[5 + 3 / 12, 11.5 / 12]]))
    torch.testing.assert_close(
        found, torch.tensor([[0.0, np.log(2)]], dtype=torch.float32), atol=1e-4, rtol=0
    )
    assert float(_phase_loss(logits, torch.tensor([[0.0, 0.5]])).min()) > 40
