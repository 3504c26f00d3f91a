"""Weights on disk: float32, float16 or int8 in one safetensors file, float32 in memory.

In: a state dict, JSON metadata, and a storage. Out: a file; and back, the state dict in float32.

    storage   what is written                                                          bytes a weight
    fp32      as it is                                                                 4
    fp16      rounded to float16                                                       2
    int8      w ~ scale[row] * q, q in -127 .. 127, scale = max |w| of the row / 127   1 + 4 / D

A row is the last dimension: a linear layer's weights into one output, one token's embedding, one class of a
head. So one large weight coarsens its own row alone. Vectors, and matrices too small to matter, stay float32
under `int8`: norms and position biases act on everything at once. The scale of `name` is stored as
`name.scale`, in float32.

`stored` is what a state dict becomes on its way to the disk and back; whoever wants to know what a storage
costs in quality measures a model with stored weights.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import safetensors.torch
import torch
from jaxtyping import Float, Int8
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hafm.errors import BundleDamaged
from hafm.files import write_whole

__all__ = ["Storage", "read_metadata", "read_weights", "stored", "write_weights"]

Storage = Literal["fp32", "fp16", "int8"]

_SMALL = 4096  # elements: what is smaller is not worth rounding
_SCALE = ".scale"
_METADATA_KEY = "hafm"


def write_weights(
    path: Path, weights: Mapping[str, Tensor], *, storage: Storage, metadata: Mapping[str, Any]
) -> None:
    """Writes weights, whole or not at all.

    Args:
        path: the file; its folder exists.
        weights: finite floating-point tensors by name.
        storage: see the top of this file.
        metadata: JSON values that travel with them.

    Raises:
        ValueError: a weight is not finite, or not as float16; or the storage is unknown.
        OutputError: the file cannot be written.
    """
    header = json.dumps({"storage": storage, **metadata}, sort_keys=True)
    data = safetensors.torch.save(_encode(weights, storage), metadata={_METADATA_KEY: header})
    write_whole(path, data)


def read_weights(path: Path) -> dict[str, Float[Tensor, "..."]]:
    """The weights of a file, in float32.

    Raises:
        BundleDamaged: missing, or not a file of ours.
    """
    storage = read_metadata(path)["storage"]
    try:
        return _decode(safetensors.torch.load_file(path), storage)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise _unreadable(path, error) from error


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a file, and its `storage`; the weights are not read.

    Raises:
        BundleDamaged: missing, or not a file of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[_METADATA_KEY])
        if header["storage"] not in get_args(Storage):
            raise ValueError(f"storage {header['storage']!r}")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error
    return dict(header)


def stored(weights: Mapping[str, Tensor], storage: Storage) -> dict[str, Float[Tensor, "..."]]:
    """The weights as they come back from the disk, in float32.

    >>> stored({"a": torch.tensor([0.1, 0.2])}, "fp16")["a"].tolist()
    [0.0999755859375, 0.199951171875]
    """
    return _decode(_encode(weights, storage), storage)


def _encode(weights: Mapping[str, Tensor], storage: Storage) -> dict[str, Tensor]:
    if storage not in get_args(Storage):
        raise ValueError(f"storage must be one of {get_args(Storage)}, got {storage!r}")
    out: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        weight = tensor.detach().cpu().float().contiguous()
        if storage == "int8" and weight.ndim >= 2 and weight.numel() >= _SMALL:
            _require_finite(name, weight)
            out[name], out[name + _SCALE] = _quantise(weight)
        else:
            out[name] = weight.half() if storage == "fp16" else weight
            _require_finite(name, out[name])
    return out


def _decode(tensors: Mapping[str, Tensor], storage: Storage) -> dict[str, Tensor]:
    if storage != "int8":
        return {name: tensor.float() for name, tensor in tensors.items()}
    return {
        name: tensor.float().mul_(tensors[name + _SCALE]) if tensor.dtype == torch.int8 else tensor
        for name, tensor in tensors.items()
        if not name.endswith(_SCALE)
    }


def _quantise(weight: Float[Tensor, "*rows D"]) -> tuple[Int8[Tensor, "*rows D"], Float[Tensor, "*rows 1"]]:
    scale = weight.abs().amax(dim=-1, keepdim=True) / 127
    # A row of zeros, or of numbers so small that their scale is 0, stays zeros.
    whole = torch.where(scale > 0, weight / scale, 0.0).round().clamp(-127, 127)
    return whole.to(torch.int8), scale


def _require_finite(name: str, tensor: Tensor) -> None:
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError(
            f"{name} holds values that cannot be stored as {tensor.dtype}: has training diverged?"
        )


def _unreadable(path: Path, error: Exception) -> BundleDamaged:
    return BundleDamaged(f"'{path}' is not a whole weights file ({error!r}); get the bundle again")
