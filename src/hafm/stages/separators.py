"""The net that parts a band into its players, on disk: a file of weights that says by itself what it holds.

In: a trained `StemSeparator` and a storage. Out: `stems.safetensors`; and back.

One comes with the package, beside the built-in bundle and not in it: it hears a band, whatever played it.
"""

from pathlib import Path

from hafm.errors import BundleDamaged, UsageError
from hafm.separate.stems import StemConfig, StemSeparator
from hafm.stages.weights import Storage, read_metadata, read_weights, stored, write_weights
from hafm.tokens.fingerprint import fingerprint

__all__ = ["builtin_separator", "read_separator", "separator_fingerprint", "write_separator"]

_BUILTIN = Path(__file__).parents[1] / "assets" / "stems" / "stems.safetensors"


def builtin_separator() -> StemSeparator:
    """The separator that comes with hafm.

    Raises:
        BundleDamaged: its file is missing or changed.
    """
    return read_separator(_BUILTIN)


def separator_fingerprint(separator: StemSeparator) -> str:
    """SHA-256 (hex) of configuration and weights."""
    return fingerprint({"kind": "stems", "config": separator.config.to_dict()}, separator.weights)


def write_separator(path: Path, separator: StemSeparator, *, storage: Storage) -> None:
    """Writes a separator, whole or not at all.

    Raises:
        ValueError: a weight is not finite.
        OutputError: the file cannot be written.
    """
    weights = stored(separator.weights, storage)
    found = separator_fingerprint(StemSeparator(config=separator.config, weights=weights))
    metadata = {"stems": separator.config.to_dict(), "fingerprint": found}
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
    if separator_fingerprint(separator) != metadata.get("fingerprint"):
        raise BundleDamaged(f"'{path}' does not hold the weights that it was written with; get it again")
    return separator
