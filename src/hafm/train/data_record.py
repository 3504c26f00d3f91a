"""What a run was trained on, kept in its folder, so that a bundle can be made when the shards are elsewhere.

    RUN/data/index.json     that of the shards, byte for byte: settings, counts, the hash of every shard
             parts/         features, k-means and codec that made the ids

In: shards; later the run's folder. Out: the same index and parts. The tokens themselves are not copied.
"""

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from hafm.data.shards.index import INDEX_FILE, PARTS_FOLDER, Index
from hafm.data.shards.reader import Shards
from hafm.errors import OutputError, UsageError
from hafm.files import atomic_file

__all__ = ["DATA_FOLDER", "TrainingData", "read_data", "record_data"]

DATA_FOLDER = "data"


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a run was trained on.

    Args:
        index: of the shards.
        parts_folder: for `TokenParts.load`.
    """

    index: Index
    parts_folder: Path


def record_data(run: Path, shards: Shards, *, replace: bool = False) -> None:
    """Keeps index and parts of the shards in a run's folder, whole or not at all.

    Args:
        run: its folder; made if it is not there.
        shards: that it is trained on.
        replace: put them in place of others; otherwise what is there stays, and the run that is there decides
            whether it goes on with these shards.

    Raises:
        OutputError: the folder cannot be written to.
    """
    folder = run / DATA_FOLDER
    if folder.is_dir() and not (replace and read_data(run).index.digest() != shards.fingerprint()):
        return
    staging = folder.with_name(f".{DATA_FOLDER}.{secrets.token_hex(4)}.partial")
    try:
        staging.mkdir(parents=True)
        shutil.copytree(shards.parts_folder(), staging / PARTS_FOLDER)
        with atomic_file(staging / INDEX_FILE) as file:
            file.write(shards.index.to_json().encode())
        if folder.is_dir():
            shutil.rmtree(folder)
        staging.rename(folder)
    except OSError as error:
        raise OutputError(f"cannot write '{folder}': {error.strerror or error}; write elsewhere") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def read_data(run: Path) -> TrainingData:
    """What `record_data` kept.

    Raises:
        UsageError: the folder holds no run, or one that was begun without it.
        ShardsDamaged: the index was changed.
    """
    path = run / DATA_FOLDER / INDEX_FILE
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"'{run}' does not say what it was trained on ({error.strerror or error}); name the folder that "
            "hafm train --run was given"
        ) from error
    return TrainingData(
        index=Index.from_json(text, where=str(path)), parts_folder=run / DATA_FOLDER / PARTS_FOLDER
    )
