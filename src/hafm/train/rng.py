"""Every random state of a process, as bytes and back.

In: Python's, NumPy's and torch's global generators, and the GPU's. Out: one array of bytes.

Batches, crops and dropouts are pure functions of (seed, step) and need none of them. They are kept all the
same: whatever a model or a hook draws, a resumed run goes on as an unbroken one.
"""

import json
import random

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

__all__ = ["capture_rng", "restore_rng", "seed_rng"]

_PYTHON, _NUMPY, _TORCH, _CUDA = "python", "numpy", "torch", "cuda"


def capture_rng(device: torch.device) -> UInt8[Tensor, " N"]:
    """The states, as bytes.

    >>> cpu = torch.device("cpu")
    >>> before = capture_rng(cpu)
    >>> drawn = random.random(), np.random.random(), torch.rand(()).item()
    >>> restore_rng(before, cpu)
    >>> drawn == (random.random(), np.random.random(), torch.rand(()).item())
    True
    """
    name, keys, position, has_gauss, gauss = np.random.get_state()
    states = {
        _PYTHON: _text(random.getstate()),
        _NUMPY: _text([name, np.asarray(keys).tolist(), position, has_gauss, gauss]),
        _TORCH: torch.get_rng_state(),
    }
    if device.type == "cuda":
        states[_CUDA] = torch.cuda.get_rng_state(device)
    return torch.frombuffer(bytearray(save(states)), dtype=torch.uint8)


def restore_rng(data: UInt8[Tensor, " N"], device: torch.device) -> None:
    """Sets all generators to what `capture_rng` saw.

    Raises:
        ValueError: these bytes are something else, or hold nothing for the device.
    """
    try:
        states = load(data.numpy().tobytes())
        version, internal, gauss_next = json.loads(states[_PYTHON].numpy().tobytes())
        name, keys, position, has_gauss, gauss = json.loads(states[_NUMPY].numpy().tobytes())
        torch_state = states[_TORCH]
        cuda_state = states[_CUDA] if device.type == "cuda" else None
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"these bytes hold no random states: {error}") from error
    random.setstate((version, tuple(internal), gauss_next))
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(torch_state)
    if cuda_state is not None:
        torch.cuda.set_rng_state(cuda_state, device)


def seed_rng(seed: int, rank: int) -> None:
    """Starts all generators of a rank; another rank starts elsewhere."""
    random.seed(f"{seed} {rank}")
    np.random.seed((seed + 7919 * rank) % 2**32)
    torch.manual_seed((seed << 16) + rank)  # of the GPUs as well


def _text(value: object) -> UInt8[Tensor, " N"]:
    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
