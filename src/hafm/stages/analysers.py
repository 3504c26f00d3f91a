"""Analysers on disk: a file of weights each, which says by itself what it holds.

In: a trained `Analyser` and a storage. Out: `vocal.safetensors` or `band.safetensors`; and back.

The file's metadata has the analyser's configuration and its fingerprint. A bundle may hold either, both or
none, in `analyser/`; `hafm prepare` and the recipe read them from any folder.
"""

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from hafm.errors import BundleDamaged, UsageError
from hafm.guide.analyser import Analyser, AnalyserConfig
from hafm.stages.weights import Storage, read_metadata, read_weights, stored, write_weights

__all__ = ["ANALYSERS", "AnalyserName", "as_stored", "read_analyser", "write_analyser"]

AnalyserName: TypeAlias = Literal["vocal", "band"]
ANALYSERS: tuple[AnalyserName, ...] = get_args(AnalyserName)
"""What an analyser listens to: one voice, or many instruments."""


def as_stored(analyser: Analyser, storage: Storage) -> Analyser:
    """The analyser as it comes back from the disk."""
    return Analyser(config=analyser.config, weights=stored(analyser.weights, storage))


def write_analyser(path: Path, analyser: Analyser, *, storage: Storage) -> None:
    """Writes an analyser, whole or not at all.

    Args:
        path: the file; its folder exists.
        analyser: a trained one.
        storage: of the weights.

    Raises:
        ValueError: a weight is not finite.
        OutputError: the file cannot be written.
    """
    metadata = {
        "analyser": analyser.config.to_dict(),
        "fingerprint": as_stored(analyser, storage).fingerprint(),
    }
    write_weights(path, analyser.weights, storage=storage, metadata=metadata)


def read_analyser(path: Path) -> Analyser:
    """The analyser of a file.

    Raises:
        BundleDamaged: missing, not a file of an analyser, or its weights are not those that were written.
    """
    metadata, weights = read_metadata(path), read_weights(path)
    try:
        analyser = Analyser(config=AnalyserConfig.from_dict(metadata["analyser"]), weights=weights)
    except (UsageError, TypeError, KeyError) as error:
        raise BundleDamaged(f"'{path}' does not hold an analyser ({error}); get it again") from error
    if analyser.fingerprint() != metadata.get("fingerprint"):
        raise BundleDamaged(f"'{path}' does not hold the weights that it was written with; get it again")
    return analyser
