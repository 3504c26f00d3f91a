"""Samples on the disk for a while, when there may be more of them than memory.

In: blocks [C, n]. Out: the same samples, as often as wanted. The file has no name: it is gone with the
process, whatever ends that.
"""

import contextlib
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.errors import OutputError

__all__ = ["Spool"]

_BLOCK_FRAMES = 1 << 16


class Spool:
    """A temporary file of samples.

    Args:
        num_channels: of the blocks.
        folder: where the file lies; None for the system's place.

    >>> with Spool(2) as spool:
    ...     spool.write(torch.ones(2, 3))
    ...     spool.write(torch.zeros(2, 1))
    ...     torch.cat(list(spool.blocks()), dim=1)
    tensor([[1., 1., 1., 0.],
            [1., 1., 1., 0.]])
    """

    def __init__(self, num_channels: int, *, folder: Path | None = None) -> None:
        self._num_channels = num_channels
        self._folder = tempfile.gettempdir() if folder is None else folder
        with self._explained():
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__

    def write(self, block: Float[Tensor, "C _"]) -> None:
        """Adds a block at the end.

        Raises:
            OutputError: the disk is full.
        """
        with self._explained():
            self._file.write(block.T.contiguous().numpy().tobytes())

    def blocks(self) -> Iterator[Float[Tensor, "C _"]]:
        """All samples, from the first one on."""
        with self._explained():
            self._file.seek(0)  # which writes what is still in memory
        while data := self._file.read(4 * self._num_channels * _BLOCK_FRAMES):
            frames = np.frombuffer(bytearray(data), dtype=np.float32).reshape(-1, self._num_channels)
            yield torch.from_numpy(frames).T

    @contextlib.contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"cannot write a temporary file in '{self._folder}' ({error.strerror or error}); make room "
                "there"
            ) from error

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
