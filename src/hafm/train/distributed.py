"""Ranks: the processes that train one stage together, one per GPU.

In: the environment that `torchrun` sets (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT). Out:
`Ranks`, by which a single process and many run the same code.

    torchrun --nproc-per-node 2 -m hafm train ...        two ranks, gloo on processors, NCCL on GPUs
    hafm train ...                                       one rank, no process group

Conventions: rank 0 alone writes. What the ranks send each other here is small and goes through the processor
(gloo); gradients go through DistributedDataParallel.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist
from jaxtyping import Float, UInt8
from torch import Tensor

from hafm.device import find_device
from hafm.errors import HafmError, UsageError

__all__ = ["Ranks", "join_ranks"]

_ended: list[object] = []
_TIMEOUT_MINUTES = 30  # an evaluation or a save on rank 0 must not look like a dead rank


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Which of the processes this is (0 ... world - 1), its device, and how it talks with the others.

    >>> Ranks().sum(torch.tensor([1.0, 2.0])).tolist()
    [1.0, 2.0]
    """

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """Whether this one writes and reports."""
        return self.rank == 0

    def sum(self, values: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
        """The sum over all ranks, on every rank. A processor's tensor."""
        if self.world == 1:
            return values
        out = values.clone()
        dist.all_reduce(out)
        return out

    def max(self, value: int) -> int:
        """The highest value of all ranks, on every rank."""
        if self.world == 1:
            return value
        out = torch.tensor([value])
        dist.all_reduce(out, op=dist.ReduceOp.MAX)
        return int(out)

    def gather(self, data: UInt8[Tensor, " N"]) -> list[UInt8[Tensor, " _N"]]:
        """The bytes of every rank, by rank, on every rank. They may be of different lengths."""
        if self.world == 1:
            return [data]
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world)]
        dist.all_gather(lengths, torch.tensor([len(data)]))
        longest = max(int(length) for length in lengths)
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(data)] = data
        out = [torch.zeros_like(padded) for _ in range(self.world)]
        dist.all_gather(out, padded)
        return [row[: int(length)] for row, length in zip(out, lengths, strict=True)]

    @contextlib.contextmanager
    def first_alone(self, what: str) -> Iterator[None]:
        """A block that works on rank 0 (it asks `is_first`); all wait for it, and all fail if it does."""
        failed = 0
        try:
            yield
        except Exception:
            failed = 1
            raise
        finally:
            if self.max(failed) and not failed:
                raise HafmError(f"rank 0 could not {what}; its own message says why")


@contextlib.contextmanager
def join_ranks(device: str | None = None) -> Iterator[Ranks]:
    """The ranks that `torchrun` started, or this process alone.

    Args:
        device: `cpu`, `cuda` (each rank takes its own) or `cuda:N`; None takes a GPU where there is one.

    Raises:
        DeviceError: the device is not there.
        UsageError: torchrun's variables are incomplete, or `cuda:N` is asked for by several ranks.
    """
    world = _number("WORLD_SIZE", 1)
    name = device if device is not None else ("cuda" if torch.cuda.is_available() else "cpu")
    found = _own_device(name, world)
    if "RANK" not in os.environ or dist.is_initialized():
        yield Ranks(device=found)
        return
    missing = [key for key in ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if key not in os.environ]
    if missing:
        raise UsageError(f"RANK is set and {', '.join(missing)} is not; start several ranks with torchrun")
    backend = "cpu:gloo,cuda:nccl" if found.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(minutes=_TIMEOUT_MINUTES))
    # If a DistributedDataParallel held the group last, its end would wait for gloo's threads with Python's
    # lock in hand, and a thread that is to let go of a tensor waits for that lock. Python itself lets a group
    # go without it.
    _ended.append(dist.group.WORLD)
    try:
        yield Ranks(rank=dist.get_rank(), world=dist.get_world_size(), device=found)
    finally:
        dist.destroy_process_group()


def _own_device(name: str, world: int) -> torch.device:
    if name == "cuda":
        name = f"cuda:{_number('LOCAL_RANK', 0)}"
    elif name.startswith("cuda") and world > 1:
        raise UsageError(f"--device {name}: {world} ranks cannot share one GPU; write cuda")
    device = find_device(name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable)
    if text is None:
        return default
    if not text.isdecimal():
        raise UsageError(f"{variable}={text!r} is not a number; start several ranks with torchrun")
    return int(text)
