"""What happens when a loss or a gradient is not finite.

In: whether each step's loss and gradient norm were finite. Out: go on, or `NonFinite`.

    float16             the step is skipped and counted, the schedule stays where it is, the loss scale is
                        halved: too large a scale is the usual cause. `PATIENCE` in a row: no scale helps.
    float32, bfloat16   stopped at once: there is no scale to blame, so a weight, a rate or the data is wrong,
                        and every further step would hide which.

When training stops, the step has changed no weight, the last checkpoint is intact, and the batch lies in the
run's folder, for whoever wants to see what was in it.
"""

from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from hafm.files import atomic_file
from hafm.train.pieces import Piece

__all__ = ["PATIENCE", "Skips", "save_batch"]

PATIENCE = 20
"""Skipped steps in a row that float16 may take."""


@dataclass
class Skips:
    """How many steps were skipped.

    Args:
        total: in the whole run.
        in_a_row: since the last step that was applied.

    >>> skips = Skips()
    >>> for finite in (False, False, True, False): skips.count(finite)
    >>> skips
    Skips(total=3, in_a_row=1)
    """

    total: int = 0
    in_a_row: int = 0

    def count(self, finite: bool) -> None:
        """Takes one step in."""
        self.total += not finite
        self.in_a_row = 0 if finite else self.in_a_row + 1

    def is_hopeless(self, dtype: torch.dtype) -> bool:
        """Whether training must stop."""
        return self.in_a_row >= (PATIENCE if dtype == torch.float16 else 1)


def save_batch(folder: Path, pieces: tuple[Piece, ...], *, step: int, rank: int) -> Path:
    """Writes what this rank was given in a step, by piece: `target`, `condition.0` ..., `drop`, and `guide`,
    `hide` and `codebook` where there are such.

    Raises:
        OutputError: it cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for number, piece in enumerate(pieces):
        tensors[f"{number}.target"] = piece.target
        tensors.update({f"{number}.condition.{i}": ids for i, ids in enumerate(piece.conditions)})
        tensors[f"{number}.drop"] = piece.drop
        for name, value in (("guide", piece.guide), ("hide", piece.hide), ("codebook", piece.codebook)):
            if value is not None:
                tensors[f"{number}.{name}"] = value
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:08d}-rank-{rank}.safetensors"
    with atomic_file(path) as file:
        file.write(
            safetensors.torch.save({name: value.cpu().contiguous() for name, value in tensors.items()})
        )
    return path
