"""One shard: the tokens of many tracks, end to end, in one safetensors file.

In: `TrackTokens`. Out: a file, and arrays that are mapped from it and read nothing until they are looked at.

    vocal         [views, F50]   | track 0 | track 1  | track 2 |      50 Hz
    instrumental  [F50]          | track 0 | track 1  | track 2 |
    codes         [K, F75]       |  track 0  |  track 1   |  track 2  |     75 Hz

All are uint16. The same tokens give the same bytes.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors.numpy import save

from hafm.data.result import Ids, TrackTokens
from hafm.errors import ShardsDamaged
from hafm.files import write_whole

__all__ = ["ShardArrays", "shard_name", "write_shard"]

_DIMENSIONS = {"vocal": 2, "instrumental": 1, "codes": 2}
_MOST_HEADER_BYTES = 1 << 20


def shard_name(split: str, number: int) -> str:
    """The file of a shard.

    >>> shard_name("train", 7)
    'train-00007.safetensors'
    """
    return f"{split}-{number:05d}.safetensors"


def write_shard(path: str | os.PathLike[str], tokens: Sequence[TrackTokens]) -> str:
    """Writes the tokens of some tracks, whole or not at all.

    Args:
        path: of the file; an existing one is replaced.
        tokens: one entry per track, at least one, all with the same number of views and codebooks.

    Returns:
        SHA-256 of the file.

    Raises:
        OutputError: the disk is full, or the folder cannot be written to.

    >>> import tempfile
    >>> vocal, codes = np.zeros((1, 2), np.uint16), np.zeros((8, 3), np.uint16)
    >>> tokens = TrackTokens(vocal=vocal, instrumental=vocal[0], codes=codes)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_shard(f"{folder}/train-00000.safetensors", [tokens, tokens])
    ...     ShardArrays.open(f"{folder}/train-00000.safetensors").codes.shape
    (8, 6)
    """
    joined = {kind: np.concatenate([getattr(each, kind) for each in tokens], axis=-1) for kind in _DIMENSIONS}
    data = save({kind: np.ascontiguousarray(array, np.uint16) for kind, array in joined.items()})
    write_whole(path, data)
    return hashlib.sha256(data).hexdigest()


class ShardArrays(TrackTokens):
    """A shard, mapped into memory: a slice of an array reads its own pages of the file and no more."""

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Maps a file that `write_shard` wrote; `ShardsDamaged` if it is something else, or was cut off."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                header_bytes = int.from_bytes(file.read(8), "little")
                if header_bytes > _MOST_HEADER_BYTES:
                    raise ValueError("no safetensors header")
                header = json.loads(file.read(header_bytes))
            whole: Ids = np.memmap(path, np.uint16, mode="r", offset=8 + header_bytes)
            arrays = {kind: _array(whole, header[kind], ndim) for kind, ndim in _DIMENSIONS.items()}
            if header.keys() != arrays.keys() or whole.size != sum(each.size for each in arrays.values()):
                raise ValueError("other arrays than vocal, instrumental and codes, or other lengths")
            if arrays["instrumental"].shape != arrays["vocal"].shape[1:]:
                raise ValueError("vocal and instrumental are of different lengths")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ShardsDamaged(
                f"'{path}' is not a shard ({error}); prepare again, or copy it again"
            ) from error
        return cls(vocal=arrays["vocal"], instrumental=arrays["instrumental"], codes=arrays["codes"])


def _array(whole: Ids, entry: Mapping[str, Any], ndim: int) -> Ids:
    shape, (first, end) = tuple(entry["shape"]), entry["data_offsets"]
    if entry["dtype"] != "U16" or len(shape) != ndim or end - first != 2 * prod(shape) or first % 2:
        raise ValueError(f"one of its arrays is {dict(entry)}")
    # `np.asarray`: the same mapping without the class `memmap`, whose slices cost several times as much.
    array: Ids = np.asarray(whole)[first // 2 : end // 2].reshape(shape)
    return array
