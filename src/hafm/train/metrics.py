"""What a run reports while it goes on: to a file, to a display, to a test.

In: steps, evaluations, checkpoints and notes, as they happen. Out: whatever a `Listener` makes of them; and
`metrics.jsonl`, one JSON line per report, with TensorBoard's files if wanted.

    {"step": 120, "updates": 120, "loss": 3.1, "loss_hex": "0x1.8cp+1", "rate": 0.0003, "norm": 0.8, ...}
    {"step": 200, "held_out": {"right": [2.9], "wrong": [3.4], "accuracy": [0.31], ...}}

A stopped run may have reported steps that its last checkpoint does not hold. They are taken out when it goes
on, so the file reads as if the run had never been stopped. A line is written in one go and flushed.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hafm.errors import UsageError
from hafm.files import write_whole
from hafm.train.heldout import HeldOut
from hafm.train.recipe import Recipe
from hafm.train.state import Position
from hafm.train.update import Update

__all__ = ["METRICS_FILE", "Listener", "Metrics", "StepReport", "read_metrics"]

METRICS_FILE = "metrics.jsonl"
_TENSORBOARD_FOLDER = "tensorboard"


class Metrics:
    """Where the figures of a run go.

    Args:
        run: folder of the run; exists.
        step: where the run goes on; later lines are taken out.

    Raises:
        UsageError: TensorBoard is wanted and not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Path(folder)
    ...     with Metrics(run, step=0) as metrics:
    ...         for step in (1, 2, 3): metrics.write({"step": step, "loss": 1 / step})
    ...     with Metrics(run, step=2): pass
    ...     [line["step"] for line in read_metrics(run)]
    [1, 2]
    """

    def __init__(self, run: Path, *, step: int, tensorboard: bool = False) -> None:
        self._board = _open_board(run / _TENSORBOARD_FOLDER, step) if tensorboard else None
        path = run / METRICS_FILE
        if path.exists():
            kept = [line for line in read_metrics(run) if line["step"] <= step]
            write_whole(path, b"".join(_encode(line) for line in kept))
        self._file = path.open("ab", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def write(self, line: Mapping[str, Any]) -> None:
        """Adds a line; it has a `step`."""
        self._file.write(_encode(line))
        if self._board is not None:
            for name, value in _scalars(line):
                self._board.add_scalar(name, value, line["step"])


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of a run. A last line that a stop cut short is left out."""
    lines = []
    for raw in (run / METRICS_FILE).read_bytes().split(b"\n")[:-1]:
        with contextlib.suppress(ValueError):
            lines.append(json.loads(raw))
    return lines


def _encode(line: Mapping[str, Any]) -> bytes:
    return (json.dumps(line) + "\n").encode()


def _scalars(line: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """What can be drawn: numbers by name, those of a list by their place.

    >>> _scalars({"step": 3, "loss": 1.5, "held_out": {"right": [2.0, 3.0]}})
    [('loss', 1.5), ('held_out/right/0', 2.0), ('held_out/right/1', 3.0)]
    """
    out: list[tuple[str, float]] = []
    for name, value in line.items():
        if name == "step" and not prefix:
            continue
        if isinstance(value, list | tuple):
            value = {str(place): item for place, item in enumerate(value)}
        if isinstance(value, Mapping):
            out += _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            out.append((f"{prefix}{name}", float(value)))
    return out


def _open_board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "--tensorboard: TensorBoard is not installed; pip install 'hafm[train]', or leave the option out "
            "(metrics.jsonl holds the same figures)"
        ) from error
    return SummaryWriter(str(folder), purge_step=step + 1)


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What a step did.

    Args:
        position: after it.
        rate: its highest learning rate.
        seconds: since this start of the run began.
        tokens_per_second: target tokens, over all ranks, since then.
        waiting_share: share of the time in which the device waited for data.
    """

    position: Position
    update: Update
    rate: float
    seconds: float
    tokens_per_second: float
    waiting_share: float

    def metrics(self, *, loss: float, epoch: float) -> dict[str, Any]:
        """A line of `metrics.jsonl`, with the mean loss since the line before, and the passes over the data.

        The loss is also written in hexadecimal, which shows every bit.
        """
        return {
            "step": self.position.step,
            "updates": self.position.updates,
            "epoch": epoch,
            "loss": loss,
            "loss_hex": loss.hex(),
            "norm": self.update.norm,
            "rate": self.rate,
            "skipped": self.position.skips.total,
            "seconds": round(self.seconds, 3),
            "tokens_per_second": round(self.tokens_per_second, 1),
            "waiting_share": round(self.waiting_share, 4),
        }


class Listener:
    """Called on rank 0 as training goes on. This one does nothing, and says what others can do."""

    def note(self, text: str) -> None:
        """Something that a person should know."""

    def begins(self, recipe: Recipe, position: Position) -> None:
        """Training begins or goes on."""

    def step(self, report: StepReport) -> None:
        """A step is done."""

    def evaluated(self, position: Position, scores: HeldOut) -> None:
        """The held-out pairs were evaluated."""

    def saved(self, path: Path) -> None:
        """A checkpoint was written and verified."""
