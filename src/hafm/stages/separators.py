"""The net that parts a band into its players, on disk: a file of weights that says by itself what it holds.

In: a trained `StemSeparator` and a storage. Out: `stems.safetensors`; and back.
"""

from pathlib import Path

from hafm.errors import BundleDamaged, UsageError
from hafm.separate.stems import StemConfig, StemSeparator
from hafm.stages.weights import Storage, read_metadata, read_weights, stored, write_weights

__all__ = ["as_stored", "read_separator", "write_separator"]


def as_stored(separator: StemSeparator, storage: Storage) -> StemSeparator:
    """The separator as it comes back from the disk."""
    return StemSeparator(config=separator.config, weights=stored(separator.weights, storage))


def write_separator(path: Path, separator: StemSeparator, *, storage: Storage) -> None:
    """Writes a separator, whole or not at all.

    Raises:
        ValueError: a weight is not finite.
        OutputError: the file cannot be written.
    """
    metadata = {
        "stems": separator.config.to_dict(),
        "fingerprint": as_stored(separator, storage).fingerprint(),
    }
    write_weights(path, separator.weights, storage=storage, metadata=metadata)


def read_separator(path: Path) -> StemSeparator:
    """The separator of a file.

    Raises:
        BundleDamaged: missing, not a file of a separator, or its weights are not those that were written.
    """
    metadata, weights = read_metadata(path), read_weights(path)
    try:
        separator = StemSeparator(config=StemConfig(**metadata["stems"]), weights=weights)
    except (UsageError, TypeError, KeyError) as error:
        raise BundleDamaged(f"'{path}' does not hold a stem separator ({error}); get it again") from error
    if separator.fingerprint() != metadata.get("fingerprint"):
        raise BundleDamaged(f"'{path}' does not hold the weights that it was written with; get it again")
    return separator
