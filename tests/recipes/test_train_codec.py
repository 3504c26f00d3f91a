"""Codec training: batches and losses against oracles, codebooks that are used, and a resume that is exact."""

import json
import math
import shutil
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from hafm.errors import AudioContentError, AudioReadError, UsageError
from hafm.tokens.codec.config import CodecConfig, LowsConfig
from hafm.tokens.codec.model import SpectralCodec
from hafm.tokens.codec.phase import advances
from hafm.tokens.codec.quantizer import Quantised, ResidualQuantizer
from hafm.tokens.codec.spectra import Prediction, Views
from recipes.builtin import train_codec
from recipes.builtin.codec import calibration
from recipes.builtin.codec.augment import JITTER_DB, augmented_batch
from recipes.builtin.codec.calibration import calibrate_levels
from recipes.builtin.codec.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from recipes.builtin.codec.codebooks import CodebookAverages, initialise_codebooks
from recipes.builtin.codec.data import list_sounds, load_list, read_part, read_sound, save_list
from recipes.builtin.codec.evaluation import evaluate_codec, format_table, mel_distance, spectral_snr_db
from recipes.builtin.codec.losses import (
    BandLoss,
    LossWeights,
    NoteLoss,
    bin_loss,
    codec_losses,
    direction_loss,
)
from recipes.builtin.codec.trainer import CodecTrainer, TrainingConfig, codec_of

ROOT = Path(__file__).resolve().parents[2]
SIZES = CodecConfig(
    width=16,
    hidden=16,
    encoder_blocks=1,
    decoder_blocks=1,
    cardinality=64,
    phase_iterations=1,
    lows=LowsConfig(phase_iterations=1),
)


def write_wav(path: Path, samples: np.ndarray, *, rate: int = 24_000, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32_767).astype("<i2").tobytes())


def music(seconds: float, seed: int) -> np.ndarray:
    """Plucked tones, so that there is something to learn."""
    random = np.random.default_rng(seed)
    time = np.arange(int(24_000 * seconds)) / 24_000
    sound = np.zeros_like(time)
    for start in np.arange(0, seconds, 0.25):
        hertz, age = 110 * 2 ** (random.integers(24) / 12), time - start
        sound += (age >= 0) * np.exp(-6 * np.maximum(age, 0)) * np.sin(2 * np.pi * hertz * age)
    return 0.2 * sound + 0.002 * random.standard_normal(len(time))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    for number in range(4):
        write_wav(folder / "train" / f"{number:06d}.instrumental.wav", music(3, number))
    write_wav(folder / "valid" / "000000.instrumental.wav", music(2, 9))
    write_wav(folder / "train" / "000000.vocal.wav", music(1, 0))
    return folder


# ---- data


def test_only_instrumentals_with_sound_are_listed(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.instrumental.wav", music(1, 0))
    write_wav(tmp_path / "b.instrumental.wav", np.zeros(24_000))
    write_wav(tmp_path / "c.vocal.wav", music(1, 0))
    sounds = list_sounds(tmp_path, sample_rate=24_000)
    assert [Path(sound.path).name for sound in sounds] == ["a.instrumental.wav"]
    save_list(sounds, tmp_path / "files.json")
    assert load_list(tmp_path / "files.json") == sounds


def test_sounds_are_read_as_they_are_but_for_a_level_of_minus_20_dbfs(tmp_path: Path) -> None:
    samples = music(1, 0)
    write_wav(tmp_path / "a.instrumental.wav", samples)
    read = read_sound(list_sounds(tmp_path, sample_rate=24_000)[0]).double().numpy()
    assert 10 * math.log10(np.mean(read**2)) == pytest.approx(-20, abs=1e-3)
    assert np.corrcoef(read, samples)[0, 1] > 0.9999


def test_a_chunk_before_the_samples_is_skipped(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.instrumental.wav", music(1, 0))
    plain = (tmp_path / "a.instrumental.wav").read_bytes()
    extra = b"LIST" + (5).to_bytes(4, "little") + b"hello\0"
    (tmp_path / "b.instrumental.wav").write_bytes(plain[:36] + extra + plain[36:])
    a, b = list_sounds(tmp_path, sample_rate=24_000)
    assert torch.equal(read_sound(a), read_sound(b))


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.instrumental.wav", music(1, 0), rate=44_100)
    with pytest.raises(AudioContentError, match="44100 Hz"):
        list_sounds(tmp_path, sample_rate=24_000)
    (tmp_path / "a.instrumental.wav").write_bytes(b"no sound")
    with pytest.raises(AudioReadError, match="cannot read"):
        list_sounds(tmp_path, sample_rate=24_000)
    (tmp_path / "a.instrumental.wav").unlink()
    with pytest.raises(UsageError, match="render pairs first"):
        list_sounds(tmp_path, sample_rate=24_000)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.instrumental.wav"
    write_wav(path, music(1, 0))
    path.write_bytes(path.read_bytes()[:-1_000])
    with pytest.raises(AudioContentError, match="whole files"):
        list_sounds(tmp_path, sample_rate=24_000)


def test_batches_are_a_function_of_seed_and_step(pairs: Path) -> None:
    sounds = list_sounds(pairs / "train", sample_rate=24_000)

    def batch(seed: int, step: int) -> torch.Tensor:
        return augmented_batch(sounds, seed=seed, step=step, batch_size=3, crop_samples=5_000)

    assert torch.equal(batch(1, 7), batch(1, 7))
    assert not torch.equal(batch(1, 7), batch(1, 8))
    assert not torch.equal(batch(1, 7), batch(2, 7))


def test_short_files_are_filled_up_with_zeros(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.instrumental.wav", music(0.1, 0))
    sound = list_sounds(tmp_path, sample_rate=24_000)[0]
    part = read_part(sound, 1_000, 3_000)
    assert np.array_equal(part[:1_400], read_sound(sound).numpy()[1_000:])
    assert not part[1_400:].any()


def test_crops_have_their_level_and_are_changed_in_many_ways(pairs: Path) -> None:
    sounds = list_sounds(pairs / "train", sample_rate=24_000)
    batch = augmented_batch(sounds, seed=0, step=0, batch_size=40, crop_samples=30_080)
    assert bool(batch.isfinite().all())
    levels = 20 * batch.square().mean(1).sqrt().log10() + 20
    # Plain crops bring the level of their place in the song, which is steady here, with the jitter.
    assert float(levels.abs().max()) < JITTER_DB + 1.5
    brightness = batch.diff().square().mean(1) / batch.square().mean(1)
    assert float(brightness.max() / brightness.min()) > 20


def test_silence_stays_silent(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.instrumental.wav", np.concatenate((np.zeros(60_000), music(0.2, 0))))
    sounds = list_sounds(tmp_path, sample_rate=24_000)
    batch = augmented_batch(sounds, seed=0, step=0, batch_size=16, crop_samples=3_200)
    silent = batch.abs().amax(1) == 0
    assert bool(silent.any())


# ---- losses


def truth_and_right_prediction(sound: torch.Tensor) -> tuple[Views, Prediction]:
    """What the encoder sees of a sound, and the prediction that is right about all of it."""
    codec = codec_of(SIZES, 0)
    views = codec.views(sound)
    assert views.low_spectrum is not None
    assert views.low_advance is not None
    turn = torch.nn.functional.pad(advances(views.spectrum, SIZES), (0, 0, 1, 0))
    lows = Prediction.of_truth(views.low_spectrum, views.low_advance)
    return views, Prediction.of_truth(views.spectrum, turn)._replace(lows=lows)


def test_losses_are_zero_for_the_truth_and_not_for_less() -> None:
    views, right = truth_and_right_prediction(torch.as_tensor(music(0.5, 1)).float()[None])
    points = torch.nn.functional.normalize(torch.ones(8, 1, right.level.shape[1], 8), dim=-1)
    held = Quantised(torch.zeros(1, 1, 1), torch.zeros(1, 8, 1, dtype=torch.int64), points, points)
    losses = (BandLoss(SIZES), NoteLoss(SIZES), SIZES)
    names = set(codec_losses(views, right, held, *losses))
    assert names == {field.name for field in fields(LossWeights)}
    for name, value in codec_losses(views, right, held, *losses).items():
        assert float(value) == pytest.approx(0, abs=2e-4), name
    assert right.lows is not None
    wrong_lows = Prediction(right.lows.level.roll(9, -1), right.lows.direction.flip(-1))
    wrong = Prediction(right.level + 0.1, right.direction.flip(-1), wrong_lows)
    moved = held._replace(points=points * torch.tensor([1.0, -1.0]).repeat(4))
    for name, value in codec_losses(views, wrong, moved, *losses).items():
        if name != "smoothness":  # equal from frame to frame in both
            assert float(value) > 0.05, name


def test_bin_loss_is_the_weighted_mean_bin_by_bin() -> None:
    predicted, target = torch.randn(2, 3, 641), torch.randn(2, 3, 641)
    total = weights = 0.0
    for b in range(641):
        weight = 1 / (700 + b * 18.75)
        total += weight * float((predicted[..., b] - target[..., b]).abs().mean())
        weights += weight
    assert float(bin_loss(predicted, target, 18.75)) == pytest.approx(total / weights, rel=1e-4)


def test_the_best_direction_is_as_long_as_it_is_sure() -> None:
    """Two equally likely advances 2 a apart: the best prediction points between them, with length cos a."""
    angle = 0.7
    magnitude = torch.ones(1, 1_001, 1)
    advance = torch.where(torch.arange(1_000) % 2 == 0, angle, -angle).view(1, 1_000, 1)

    def loss(length: float) -> float:
        direction = torch.tensor([length, 0.0]).expand(1, 1_001, 1, 2)
        return float(direction_loss(direction, magnitude, advance))

    best = math.cos(angle)
    assert loss(best) == pytest.approx((1 - best**2) / 2, rel=1e-5)
    assert loss(best) < min(loss(best - 0.05), loss(best + 0.05), loss(1.0))


def test_note_loss_hears_the_wrong_note_and_not_the_level() -> None:
    codec, loss = codec_of(SIZES, 0), NoteLoss(SIZES)

    def lows(*hertz: float) -> torch.Tensor:
        time = torch.arange(24_000) / 24_000
        tones = sum((torch.sin(2 * math.pi * hz * time) for hz in hertz), torch.zeros_like(time))
        spectrum = codec.views(0.1 * tones[None]).low_spectrum
        assert spectrum is not None
        return spectrum[:, 20:60].abs()

    # A note in each of the three ranges; then the bass a minor third higher.
    right, wrong_bass = lows(82.41, 196.0, 523.3), lows(98.0, 196.0, 523.3)
    assert float(loss(right, right)) == pytest.approx(0, abs=1e-5)
    assert float(loss(0.3 * right, right)) < 0.02
    assert float(loss(wrong_bass, right)) > 0.15


# ---- codebooks


def test_averages_follow_the_formula() -> None:
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(width=6, num_codebooks=2, cardinality=4, codebook_dim=3)
    averages = CodebookAverages(quantizer, decay=0.9, restart_share=0.0)
    mass, sums = averages.mass.clone(), averages.sums.clone()
    result = quantizer(torch.randn(2, 5, 6))
    averages.update(quantizer, result, torch.Generator().manual_seed(0))
    for k in range(2):
        for v in range(4):
            here = result.codes[:, k] == v
            count, added = float(here.sum()), result.points[k][here].sum(0)
            expected = 0.9 * sums[k, v] + 0.1 * added
            assert float(averages.mass[k, v]) == pytest.approx(0.9 * float(mass[k, v]) + 0.1 * count)
            torch.testing.assert_close(averages.sums[k, v], expected)
            torch.testing.assert_close(quantizer.codebooks[k, v], expected / expected.norm())


@pytest.mark.parametrize(("restart_share", "lives"), [(0.2, True), (0.0, False)])
def test_collapsed_codebooks_come_back_to_life(restart_share: float, lives: bool) -> None:
    """All entries begin in one corner; only restarts (the second case has none) bring them to the points."""
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(width=8, num_codebooks=2, cardinality=32, codebook_dim=4)
    corner = torch.tensor([1.0, 0.0, 0.0, 0.0]) + 1e-3 * torch.randn(2, 32, 4)
    quantizer.codebooks.copy_(torch.nn.functional.normalize(corner, dim=-1))
    averages = CodebookAverages(quantizer, decay=0.8, restart_share=restart_share)
    random = torch.Generator().manual_seed(0)
    for _ in range(60):
        averages.update(quantizer, quantizer(torch.randn(4, 50, 8, generator=random)), random)
    used = [
        len(codes.unique())
        for codes in quantizer(torch.randn(8, 50, 8, generator=random)).codes.transpose(0, 1)
    ]
    assert (min(used) == 32) is lives


def test_started_codebooks_take_more_away_than_random_ones() -> None:
    torch.manual_seed(0)
    latents = torch.randn(600, 12) * torch.linspace(0.2, 2, 12)

    @torch.no_grad()
    def left(quantizer: ResidualQuantizer) -> list[float]:
        codes = quantizer(latents[None]).codes
        return [float((latents - quantizer.latent_of(codes[:, :k])[0]).square().mean()) for k in (1, 2, 3)]

    quantizer = ResidualQuantizer(width=12, num_codebooks=3, cardinality=64, codebook_dim=4)
    random = left(quantizer)
    initialise_codebooks(quantizer, latents, generator=torch.Generator().manual_seed(0))
    started = left(quantizer)
    assert float(latents.square().mean()) > started[0] > started[1] > started[2]
    assert started[2] < 0.5 * random[2]
    assert all(len(codes.unique()) == 64 for codes in quantizer(latents[None]).codes[0])


# ---- calibration


def test_calibration_gives_decoded_bands_their_level_and_changes_no_code(pairs: Path) -> None:
    codec = codec_of(replace(SIZES, width=32, hidden=32), 0)
    sounds = list_sounds(pairs / "train", sample_rate=24_000)
    sound = read_sound(sounds[0], max_samples=24_000).view(1, 1, -1)
    codes = codec.encode(sound)
    found = calibrate_levels(codec, sounds, seed=0, crops=4, rounds=3)
    assert found[0] > 3  # an untrained decoder is far off
    assert found[-1] < 0.3 * found[0]
    assert torch.equal(codec.encode(sound), codes)


# ---- measuring


def test_mel_distance_is_in_decades() -> None:
    sound = torch.as_tensor(music(1, 0)).float()
    assert float(mel_distance(sound, sound).sum()) == 0
    torch.testing.assert_close(mel_distance(sound / 10, sound), torch.ones(6), atol=2e-2, rtol=0)


def test_spectral_snr_does_not_see_phase() -> None:
    sound = torch.as_tensor(music(1, 0)).float()
    assert spectral_snr_db(-sound, sound) > 100
    assert spectral_snr_db(0.9 * sound, sound) == pytest.approx(20, abs=0.1)


def test_the_report_counts_ids_right() -> None:
    codec = SpectralCodec(config=SIZES)
    report = evaluate_codec(codec, [torch.as_tensor(music(1, n)).float() for n in (0, 1)])
    assert set(report["quality"]) == {"8 codebooks", "4 codebooks", "true magnitudes"}
    codes = [codec.encode(torch.as_tensor(music(1, n)).float()[None, None])[0, 2].tolist() for n in (0, 1)]
    row = report["codebooks"][2]
    assert row["used"] == len({*codes[0], *codes[1]})
    same = sum(a == b for c in codes for a, b in pairwise(c))
    assert row["repeats"] == pytest.approx(same / 148)
    shares = [(codes[0] + codes[1]).count(v) / 150 for v in range(64)]
    assert row["perplexity"] == pytest.approx(math.exp(-sum(s * math.log(s) for s in shares if s)), rel=1e-6)
    assert format_table(report).count("\n") > 12


# ---- runs


def arguments(pairs: Path, run: Path, *more: str) -> list[str]:
    base = ["--pairs", str(pairs), "--run", str(run), "--threads", "1", "--width", "16", "--hidden", "16"]
    base += [
        "--batch-size",
        "4",
        "--crop-frames",
        "40",
        "--log-every",
        "4",
        "--save-every",
        "4",
        "--eval-every",
        "0",
    ]
    return [*base, *more]


@pytest.fixture(scope="module", autouse=True)
def short_calibration() -> Iterator[None]:
    """A run's last step on little sound. A patch of its own, which the tests' `undo` leaves in place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "CROP_FRAMES", 20)
        patch.setattr(train_codec, "calibrate_levels", partial(calibrate_levels, crops=2, rounds=1))
        yield


@pytest.fixture
def short_bypass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codebooks start at step 3, so that a short run has both phases."""
    monkeypatch.setattr(TrainingConfig, "__init__", _with_bypass(TrainingConfig.__init__))


def _with_bypass(init):  # type: ignore[no-untyped-def]
    def changed(self: TrainingConfig, **values: object) -> None:
        init(self, **{"bypass_steps": 3, **values})

    return changed


@pytest.mark.slow
@pytest.mark.usefixtures("short_bypass")
@pytest.mark.parametrize(
    "more",
    [pytest.param((), id="plain"), pytest.param(("--adversarial-from", "4"), id="adversarial")],
)
def test_a_resumed_run_is_the_uninterrupted_one(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    options = ("--steps", "6", *more)
    assert train_codec.main(arguments(pairs, tmp_path / "whole", *options)) == 0
    whole = SpectralCodec.load(tmp_path / "whole/export").fingerprint()

    stop_after(monkeypatch, step=4)
    assert train_codec.main(arguments(pairs, tmp_path / "cut", *options)) == 130
    monkeypatch.undo()
    monkeypatch.setattr(TrainingConfig, "__init__", _with_bypass(TrainingConfig.__init__))
    # Pairs rendered in the meantime change nothing: the list of files was made when the run began.
    later = tmp_path / "later"
    shutil.copytree(pairs, later)
    write_wav(later / "train" / "999999.instrumental.wav", music(3, 77))
    assert train_codec.main(arguments(later, tmp_path / "cut", *options)) == 0
    assert SpectralCodec.load(tmp_path / "cut/export").fingerprint() == whole
    losses = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut")]
    assert losses[0] == losses[1]
    assert [json.loads(line)["step"] for line in losses[0].splitlines()] == list(range(1, 7))


@pytest.mark.slow
def test_a_resume_that_forgets_the_averages_is_not(pairs: Path) -> None:
    """The control of the test above."""

    def end(forget: str | None) -> str:
        config = TrainingConfig(batch_size=4, crop_frames=40, bypass_steps=1)
        sounds = list_sounds(pairs / "train", sample_rate=24_000)
        trainer = CodecTrainer(codec=codec_of(SIZES, 0), sounds=sounds, config=config)
        for _ in range(3):
            trainer.take_step(0.1)
        state = {name: tensor.clone() for name, tensor in trainer.tensors().items()}
        again = CodecTrainer(codec=codec_of(SIZES, 5), sounds=sounds, config=config)
        if forget is not None:
            state = {n: torch.ones_like(t) if n.startswith(forget) else t for n, t in state.items()}
        again.restore(state, 3)
        again.take_step(0.1)
        trainer.take_step(0.1)
        return "same" if again.codec.fingerprint() == trainer.codec.fingerprint() else "other"

    assert end(None) == "same"
    assert end("averages.") == "other"
    assert end("optimiser.") == "other"


def stop_after(monkeypatch: pytest.MonkeyPatch, *, step: int) -> None:
    """SIGTERM arrives during that step."""
    take_step = CodecTrainer.take_step

    def take_and_stop(self: CodecTrainer, progress: float) -> dict[str, float]:
        if self.step == step - 1:
            signal.raise_signal(signal.SIGTERM)
        return take_step(self, progress)

    monkeypatch.setattr(CodecTrainer, "take_step", take_and_stop)


@pytest.mark.slow
def test_training_lowers_the_losses_and_uses_entries(pairs: Path) -> None:
    config = TrainingConfig(
        batch_size=4, crop_frames=40, bypass_steps=10, warm_up_steps=5, learning_rate=3e-3
    )
    sounds = list_sounds(pairs / "train", sample_rate=24_000)
    trainer = CodecTrainer(codec=codec_of(SIZES, 0), sounds=sounds, config=config)
    rows = [trainer.take_step(0.0) for _ in range(60)]
    assert sum(r["band"] for r in rows[-5:]) < 0.6 * sum(r["band"] for r in rows[:5])
    perplexity = [float(torch.special.entr(m / m.sum()).sum().exp()) for m in trainer.averages.mass]
    assert min(perplexity) > 32


@pytest.mark.long
def test_another_plan_is_refused(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_codec.main(arguments(pairs, tmp_path, "--steps", "1")) == 0
    assert train_codec.main(arguments(pairs, tmp_path, "--steps", "1", "--seed", "1")) == 2
    assert "begun with other settings" in capsys.readouterr().err
    assert train_codec.main(arguments(pairs, tmp_path, "--steps", "2")) == 2
    assert train_codec.main(arguments(pairs, tmp_path, "--steps", "2", "--extend")) == 0
    assert json.loads((tmp_path / "report.json").read_text())["steps"] == 2


@pytest.mark.parametrize(
    "more", [(), ("--steps", "2", "--minutes", "1"), ("--steps", "2", "--device", "cuda")]
)
def test_what_cannot_work_is_said_first(
    pairs: Path, tmp_path: Path, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    if "cuda" in more and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert train_codec.main(arguments(pairs, tmp_path / "run", *more)) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run").exists()


# ---- checkpoints


def test_two_checkpoints_are_kept_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(
            tmp_path, step=step, tensors={"a": torch.full((3,), float(step))}, state={"note": "x"}
        )
    assert sorted(place.name for place in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]
    newest = latest_checkpoint(tmp_path)
    assert newest is not None
    tensors, state = load_checkpoint(newest)
    assert (float(tensors["a"][0]), state) == (3.0, {"step": 3, "note": "x"})

    content = bytearray((newest / "tensors.safetensors").read_bytes())
    content[-1] ^= 1
    (newest / "tensors.safetensors").write_bytes(bytes(content))
    (tmp_path / "step-00000009.partial").mkdir()
    older = latest_checkpoint(tmp_path)
    assert older is not None
    assert older.name == "step-00000002"


@pytest.mark.slow
def test_training_needs_no_audio_packages() -> None:
    """A machine that only trains has torch, numpy and safetensors."""
    code = (
        "import sys; import recipes.builtin.train_codec; "
        "print([m for m in ('soundfile', 'soxr', 'typer', 'transformers', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
