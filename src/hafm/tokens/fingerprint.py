"""One SHA-256 for what a part *is*: its configuration and its weights.

In:  a configuration (JSON values) and named tensors. Out: 64 hex digits.

Conventions: everything that decides the result goes in, nothing else does. Tensors are taken in sorted order
of their names, each with its dtype, shape and little-endian bytes, so that neither the order of a state dict,
nor the device, nor strides change the digest, while one changed bit does. Each field is preceded by its
length: no two different lists of fields run together into the same bytes.

Used by codecs, semantic features, k-means and bundles. Ids of another k-means look valid and mean nothing
(rule 18 of the house); comparing fingerprints is how that is refused.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hafm.errors import BundleMismatch

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["fingerprint", "require_same"]


def fingerprint(
    config: "Mapping[str, Any] | DataclassInstance", tensors: Mapping[str, Tensor] | None = None
) -> str:
    """SHA-256 of a configuration and named tensors.

    Args:
        config: a mapping of JSON values, or a dataclass of them. `Fraction` and tuples are allowed.
        tensors: weights by name, e.g. a state dict, on any device; none for a part without weights.

    Returns:
        64 hex digits.

    Raises:
        TypeError: the configuration holds something that JSON cannot.

    >>> a = fingerprint({"hop": 480, "rate": Fraction(50)}, {"w": torch.zeros(2, 3)})
    >>> a == fingerprint({"rate": Fraction(50), "hop": 480}, {"w": torch.zeros(3, 2).T})
    True
    >>> a == fingerprint({"hop": 480, "rate": Fraction(50)}, {"w": torch.zeros(3, 2)})
    False
    """
    values = asdict(config) if is_dataclass(config) else dict(config)
    digest = hashlib.sha256()
    _update(digest, json.dumps(values, sort_keys=True, separators=(",", ":"), default=_plain).encode())
    for name, tensor in sorted((tensors or {}).items()):
        _update(digest, name.encode())
        _update(digest, f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        # A view as bytes, so that bfloat16 (which numpy lacks) works as well. Zero-dimensional tensors
        # have no last dimension to view, hence the reshape.
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        _update(digest, raw.data)
    return digest.hexdigest()


def require_same(*, expected: str, found: str, what: str) -> None:
    """Refuses two parts that do not belong together.

    Args:
        expected: the fingerprint that one part was made for.
        found: the fingerprint of what it meets.
        what: what is compared, for the message.

    Raises:
        BundleMismatch: the two differ; the message names both.

    >>> require_same(expected="ab", found="ab", what="semantic features")
    """
    if expected != found:
        raise BundleMismatch(
            f"{what}: made for fingerprint {expected}, but found {found}; "
            "the ids would look valid and mean nothing, so use the part it was made with, or fit it again"
        )


def _update(digest: "hashlib._Hash", field: bytes | memoryview) -> None:
    digest.update(len(field).to_bytes(8, "little"))
    digest.update(field)


def _plain(value: Any) -> Any:
    if isinstance(value, Fraction):
        return [value.numerator, value.denominator]
    raise TypeError(
        f"a fingerprint covers JSON values, Fractions and tuples, not {type(value).__name__}: {value!r}"
    )
