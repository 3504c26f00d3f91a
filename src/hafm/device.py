"""Which device work runs on, with how many threads, and clear words where a device is missing or too small.

In: a name such as `cpu`, `cuda`, `cuda:1`, `mps`. Out: a `torch.device` that is there.
"""

import contextlib
from collections.abc import Iterator

import torch

from hafm.errors import DeviceError

__all__ = ["device_errors", "exact_device", "find_device", "half_dtype", "one_thread"]


def find_device(name: str | torch.device) -> torch.device:
    """The device of that name.

    Raises:
        DeviceError: the name is unknown, or the device is not there.

    >>> find_device("cpu")
    device(type='cpu')
    >>> find_device("gpu")
    Traceback (most recent call last):
    ...
    hafm.errors.DeviceError: there is no device 'gpu'; give cpu, cuda, cuda:N or mps
    """
    try:
        device = torch.device(name)
    except (RuntimeError, ValueError):
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"there is no device {str(name)!r}; give cpu, cuda, cuda:N or mps")
    if device.type == "cuda":
        _require_cuda(device)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("mps was asked for, and this machine has no Apple GPU that torch can use; use cpu")
    return device


def exact_device(device: torch.device) -> torch.device:
    """Where features, the codec and all that needs float64 run: the device, or the CPU for an Apple GPU.

    An Apple GPU has no float64, and users of another codec met wrong codes on it without an error.

    >>> exact_device(torch.device("mps")), exact_device(torch.device("cuda", 1))
    (device(type='cpu'), device(type='cuda', index=1))
    """
    return torch.device("cpu") if device.type == "mps" else device


def half_dtype(device: torch.device) -> torch.dtype:
    """The short dtype in which the device computes fast: bfloat16, or float16 on older GPUs; else float32.

    >>> half_dtype(torch.device("mps"))
    torch.float32
    """
    if device.type == "cuda":
        with_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if with_bfloat16 else torch.float16
    if device.type == "cpu":
        known = torch.cpu.get_capabilities()
        return torch.bfloat16 if known.get("avx512_bf16") or known.get("amx_bf16") else torch.float32
    return torch.float32


@contextlib.contextmanager
def device_errors(device: torch.device) -> Iterator[None]:
    """Says what to do when a device runs out of memory.

    Raises:
        DeviceError: it did, inside the block.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"{device} ran out of memory; ask for fewer takes or a shorter part, or use the cpu"
        ) from error


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Sets torch to one thread, and back, however many the machine has.

    A step of decoding is many small products. Shared out among threads, each takes longer to hand over than
    to compute, and on a machine that has other work the threads wait for each other (docs/experiments.md has
    a first figure). One thread also sums in one order, so that a take does not depend on how many cores its
    machine has.

    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _require_cuda(device: torch.device) -> None:
    if not torch.cuda.is_available():
        why = "its build has no CUDA" if torch.version.cuda is None else "no NVIDIA GPU or driver was found"
        raise DeviceError(
            f"{device} was asked for, and torch {torch.__version__} cannot use one: {why}; use cpu"
        )
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise DeviceError(
            f"there is no {device}: this machine has cuda:0 to cuda:{torch.cuda.device_count() - 1}"
        )
