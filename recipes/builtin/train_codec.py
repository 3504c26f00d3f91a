"""Train the built-in codec on the instrumentals of rendered pairs.

    python -m recipes.builtin.train_codec --pairs work/pairs --run work/codec --steps 4000 --bf16

In:  `PAIRS/train/*.instrumental.wav` to train on, `PAIRS/valid/*.instrumental.wav` to measure on.
Out: `RUN/export/` (the codec, `SpectralCodec.load`), `RUN/report.json` and a table (see `codec_eval`),
     `RUN/metrics.jsonl`, `RUN/checkpoints/`.

Conventions: the command can be stopped at any time (Ctrl-C, SIGTERM) and given again: it goes on where it
stopped, and with --steps and the same number of threads it ends bit for bit where an uninterrupted run
would. The files to train on are listed once, in `RUN/files.json`; --refresh-files lists them anew. With
--minutes the schedule follows the clock instead (training time, resumed runs included), which no machine
repeats exactly.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from hafm.errors import HafmError, UsageError
from hafm.files import write_whole
from hafm.tokens.codec.config import CodecConfig, LowsConfig
from recipes.builtin.codec.calibration import calibrate_levels
from recipes.builtin.codec.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from recipes.builtin.codec.data import SoundFile, list_sounds, load_list, read_sound, save_list
from recipes.builtin.codec.evaluation import evaluate_codec, format_table, write_report
from recipes.builtin.codec.losses import LossWeights
from recipes.builtin.codec.trainer import CodecTrainer, TrainingConfig, codec_of

WIDTH, HIDDEN = 384, 768
SHOWN_LOSSES = ("band", "bin", "direction", "low_bin", "low_direction", "note", "commitment", "smoothness")


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return train(options)
    except HafmError as error:
        print(f"train_codec: {error}", file=sys.stderr)
        return error.exit_code


def train(options: argparse.Namespace) -> int:
    """Train until the planned end, or until a signal; 0 when the end was reached, 130 when not."""
    torch.set_num_threads(options.threads)
    if (options.steps is None) == (options.minutes is None):
        raise UsageError("say how long to train: either --steps N or --minutes M")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(
            "--device cuda: there is no CUDA device here; leave the option out to train on the CPU"
        )
    run = Path(options.run)
    run.mkdir(parents=True, exist_ok=True)
    sizes = CodecConfig(width=options.width, hidden=options.hidden, lows=LowsConfig())
    config = _training_config(options)
    _settle_plan(run / "run.json", options, sizes, config)
    sounds = _file_list(
        Path(options.pairs) / "train", run / "files.json", sizes.sample_rate, options.refresh_files
    )
    held_out = list_sounds(
        Path(options.pairs) / "valid", sample_rate=sizes.sample_rate, limit=options.eval_sounds
    )

    trainer = CodecTrainer(
        codec=codec_of(sizes, config.seed), sounds=sounds, config=config, device=options.device
    )
    clock = _resume(trainer, run)
    hours = sum(sound.samples for sound in sounds) / sizes.sample_rate / 3600
    parameters = sum(parameter.numel() for parameter in trainer.codec.parameters()) / 1e6
    print(
        f"{len(sounds)} files, {hours:.2f} h; {parameters:.2f} M parameters; at step {trainer.step}",
        flush=True,
    )

    with _stop_flag() as stopped, (run / "metrics.jsonl").open("a", encoding="utf-8") as metrics:
        while (progress := clock.progress(trainer.step)) < 1 and not stopped:
            row = trainer.take_step(progress)
            metrics.write(
                json.dumps({"step": trainer.step, **{k: round(v, 6) for k, v in row.items()}}) + "\n"
            )
            if trainer.step % options.log_every == 0:
                metrics.flush()
                print(clock.line(trainer, row), flush=True)
            if trainer.step % options.save_every == 0:
                _save(trainer, run, clock)
            if options.eval_every and trainer.step % options.eval_every == 0:
                print(format_table(_evaluate(trainer, held_out[:4], with_floor=False)), flush=True)
        _save(trainer, run, clock)
    if clock.progress(trainer.step) < 1:
        print(f"stopped at step {trainer.step}; the same command goes on from here", flush=True)
        return 130
    _finish(trainer, run, held_out, clock)
    return 0


class Clock:
    """How far a run is, by steps or by minutes of training."""

    def __init__(self, *, steps: int | None, minutes: float | None, elapsed_seconds: float) -> None:
        self.steps, self.minutes = steps, minutes
        self._before, self._since = elapsed_seconds, time.monotonic()

    @property
    def elapsed_seconds(self) -> float:
        """Training time, earlier sessions of the run included."""
        return self._before + time.monotonic() - self._since

    def progress(self, step: int) -> float:
        """0 at the start, 1 (or a little more) at the end."""
        if self.steps is not None:
            return step / self.steps
        assert self.minutes is not None
        return self.elapsed_seconds / (60 * self.minutes)

    def line(self, trainer: CodecTrainer, row: dict[str, float]) -> str:
        """One line of progress."""
        left = self.elapsed_seconds * (1 / max(self.progress(trainer.step), 1e-9) - 1)
        config, rate = trainer.config, trainer.codec.frame_rate
        sound_seconds = trainer.step * config.batch_size * config.crop_frames / float(rate)
        losses = "  ".join(f"{name} {row[name]:.4f}" for name in SHOWN_LOSSES if name in row)
        return (
            f"step {trainer.step}  {losses}  "
            f"restarted {row['restarted']:.0f}  lr {row['learning_rate']:.1e}  "
            f"{sound_seconds / self.elapsed_seconds:.1f} s of sound per second  {left / 60:.1f} min left"
        )


def _resume(trainer: CodecTrainer, run: Path) -> Clock:
    """Put the newest checkpoint back, if there is one, and cut what the metrics say after it."""
    plan = json.loads((run / "run.json").read_text(encoding="utf-8"))
    elapsed = 0.0
    place = latest_checkpoint(run / "checkpoints")
    if place is not None:
        tensors, state = load_checkpoint(place)
        trainer.restore(tensors, state["step"])
        elapsed = state["elapsed_seconds"]
    path = run / "metrics.jsonl"
    if path.exists():
        rows = [
            line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
        ]
        path.write_text(
            "".join(row for row in rows if json.loads(row)["step"] <= trainer.step), encoding="utf-8"
        )
    return Clock(steps=plan["length"]["steps"], minutes=plan["length"]["minutes"], elapsed_seconds=elapsed)


def _save(trainer: CodecTrainer, run: Path, clock: Clock) -> None:
    state = {"elapsed_seconds": clock.elapsed_seconds, "torch": torch.__version__}
    save_checkpoint(run / "checkpoints", step=trainer.step, tensors=trainer.tensors(), state=state)


def _evaluate(trainer: CodecTrainer, held_out: list[SoundFile], *, with_floor: bool) -> dict[str, Any]:
    return evaluate_codec(trainer.codec, [read_sound(sound) for sound in held_out], with_floor=with_floor)


def _finish(trainer: CodecTrainer, run: Path, held_out: list[SoundFile], clock: Clock) -> None:
    """Calibrate, export, and measure what was exported: its weights are rounded to what is on disk."""
    found = calibrate_levels(trainer.codec, trainer.sounds, seed=trainer.config.seed)
    print(f"levels of bands off by {found[0]:.2f} dB, calibrated to {found[-1]:.2f} dB", flush=True)
    trainer.codec.save(run / "export")
    report = _evaluate(trainer, held_out, with_floor=True)
    report |= {
        "fingerprint": trainer.codec.fingerprint(),
        "steps": trainer.step,
        "training_minutes": round(clock.elapsed_seconds / 60, 1),
    }
    write_report(report, run / "report.json")
    print(format_table(report))
    print(f"codec in {run / 'export'}, figures in {run / 'report.json'}", flush=True)


def _file_list(folder: Path, path: Path, sample_rate: int, refresh: bool) -> list[SoundFile]:
    if refresh or not path.exists():
        save_list(list_sounds(folder, sample_rate=sample_rate), path)
    return load_list(path)


def _settle_plan(path: Path, options: argparse.Namespace, sizes: CodecConfig, config: TrainingConfig) -> None:
    """Write the plan of a new run; refuse to go on with another plan than the run was begun with."""
    plan = {
        "codec": sizes.to_json(),
        "training": asdict(config),
        "length": {"steps": options.steps, "minutes": options.minutes},
    }
    if path.exists():
        begun = json.loads(path.read_text(encoding="utf-8"))
        parts = [
            part for part in plan if plan[part] != begun[part] and not (part == "length" and options.extend)
        ]
        if parts:
            begun_with = ", ".join(f"{part}: {begun[part]}" for part in parts)
            raise UsageError(
                f"'{path}' was begun with other settings ({begun_with}): "
                "give the same, another --run, or --extend to change only the length"
            )
    write_whole(path, json.dumps(plan, indent=1))


def _training_config(options: argparse.Namespace) -> TrainingConfig:
    return TrainingConfig(
        seed=options.seed,
        batch_size=options.batch_size,
        crop_frames=options.crop_frames,
        learning_rate=options.learning_rate,
        bf16=options.bf16,
        adversarial_from=options.adversarial_from,
        weights=LossWeights(smoothness=options.smoothness),
    )


@contextmanager
def _stop_flag() -> Iterator[list[int]]:
    """A list that is empty until SIGINT or SIGTERM comes; the step under way is finished and saved."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    defaults = TrainingConfig()
    parser = argparse.ArgumentParser(
        prog="python -m recipes.builtin.train_codec", description="Train the built-in codec."
    )
    add = parser.add_argument
    add("--pairs", required=True, help="folder with train/ and valid/")
    add("--run", required=True, help="folder of this run; given again, the run goes on")
    add("--steps", type=int, help="length of the run (the learning rate falls over it)")
    add("--minutes", type=float, help="length of the run by the clock, instead of --steps")
    add("--extend", action="store_true", help="allow another length than the run was begun with")
    add("--refresh-files", action="store_true", help="list the training files anew")
    add("--threads", type=int, default=2)
    add("--device", default="cpu", help="cpu or cuda")
    add(
        "--bf16",
        action="store_true",
        help="networks in bfloat16: faster on CPUs with AVX512-BF16 and on GPUs",
    )
    add("--seed", type=int, default=defaults.seed)
    add("--batch-size", type=int, default=defaults.batch_size)
    add("--crop-frames", type=int, default=defaults.crop_frames)
    add("--learning-rate", type=float, default=defaults.learning_rate)
    add("--smoothness", type=float, default=defaults.weights.smoothness, help="weight of the smoothness loss")
    add("--adversarial-from", type=int, help="step from which critics join; never, if left out")
    add("--width", type=int, default=WIDTH, help="channels of the residual blocks")
    add("--hidden", type=int, default=HIDDEN, help="channels inside a residual block")
    add("--log-every", type=int, default=50)
    add("--save-every", type=int, default=250)
    add("--eval-every", type=int, default=1_000, help="0: only at the end")
    add("--eval-sounds", type=int, default=100, help="held-out sounds that codebook use is measured on")
    return parser


if __name__ == "__main__":
    sys.exit(main())
