"""What `hafm retrieve` and `hafm retrieve-index` were asked for, checked before anything heavy is loaded.

In: the options of the command line. Out: requests whose values are in range and fit together, or a
`UsageError`.

Convention: None means "not given", and a default holds; 0 is a value.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from hafm.app.request import MAX_TAKES, Format
from hafm.data.collection.track import Split
from hafm.errors import UsageError

__all__ = ["IndexRequest", "RetrieveRequest"]

_MAX_WORKERS = 1024


@dataclass(frozen=True, kw_only=True)
class RetrieveRequest:
    """One run of `hafm retrieve`.

    Args:
        vocal: the recording.
        index: folder of the index.
        output: the folder for the results.
        collection: where the sounds of the index are; None for where they were.
        rank: which match, 1 for the best.
        takes: how many, from that rank on, 1 to `MAX_TAKES`; None for one.
        exclude_songs: ids of songs that must not be found.
        start_seconds, seconds: the part of the vocal; 0 or more, and more than 0.
        balance_db: the accompaniment against the vocal, -60 to 60.
        loudness_lufs: of the mix, -70 to 0.
        format: of the sound files.
        overwrite: results may take the place of files in `output`.

    Raises:
        UsageError: a value is out of range; the message names the option.

    >>> RetrieveRequest(vocal=Path("v.wav"), index=Path("index"), output=Path("out"), rank=0)
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: --rank is 0; give a number of 1 or more
    """

    vocal: Path
    index: Path
    output: Path
    collection: Path | None = None
    rank: int = 1
    takes: int | None = None
    exclude_songs: tuple[str, ...] = ()
    start_seconds: float | None = None
    seconds: float | None = None
    balance_db: float | None = None
    loudness_lufs: float | None = None
    format: Format = "wav"
    overwrite: bool = False

    def __post_init__(self) -> None:
        _require("--rank", self.rank, 1)
        _require("--takes", self.takes, 1, MAX_TAKES)
        _require("--start", self.start_seconds, 0)
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise UsageError(f"--seconds is {self.seconds:g}; give a number above 0")
        _require("--balance", self.balance_db, -60, 60)
        _require("--loudness", self.loudness_lufs, -70, 0)

    @property
    def num_takes(self) -> int:
        """How many candidates."""
        return 1 if self.takes is None else self.takes


@dataclass(frozen=True, kw_only=True)
class IndexRequest:
    """One run of `hafm retrieve-index`.

    Args:
        collection: folder of the collection.
        output: folder of the index.
        kind: of the collection; None guesses.
        song_from: what tracks of one song share: see the sources.
        split: whose instrumentals are taken.
        limit: tracks of the collection that are looked at, 1 or more; None for all.
        workers: processes; 0 works in this one; None is one a core.

    Raises:
        UsageError: a value is out of range, or the index would lie on the collection.
    """

    collection: Path
    output: Path
    kind: str | None = None
    song_from: str | None = None
    split: Split = "train"
    limit: int | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        _require("--limit", self.limit, 1)
        _require("--workers", self.workers, 0, _MAX_WORKERS)
        if self.output.resolve() == self.collection.resolve():
            raise UsageError(f"'{self.output}' is the collection itself; give another folder with -o")

    @property
    def num_workers(self) -> int:
        """How many processes: one a core unless told; 0 works in this one."""
        if self.workers is not None:
            return self.workers
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _require(option: str, value: float | int | None, low: int, high: int | None = None) -> None:
    if value is None:
        return
    # Not `value < low`: nan is in no range.
    if not (math.isfinite(value) and low <= value and (high is None or value <= high)):
        limits = f"of {low} or more" if high is None else f"from {low} to {high}"
        raise UsageError(f"{option} is {value}; give a number {limits}")
