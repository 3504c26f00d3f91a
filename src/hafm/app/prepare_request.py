"""What `hafm prepare` was asked for, checked before anything heavy is loaded.

In: the options of the command line. Out: a `PrepareRequest` whose values are in range and fit together, or a
`UsageError`.
"""

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeAlias

from hafm.errors import UsageError

__all__ = ["Engine", "Kind", "PrepareRequest", "Subset", "parse_clip_seconds"]

Kind: TypeAlias = Literal["mixes", "pairs", "fma", "musdb18", "musdb18hq", "rendered"]
Subset: TypeAlias = Literal["small", "medium", "large", "full"]
Engine: TypeAlias = Literal["local", "ray"]

MAX_WORKERS = 1024


@dataclass(frozen=True, kw_only=True)
class PrepareRequest:
    """One run of `hafm prepare`. Ranges of single values are checked here, or where they are used.

    Args:
        source: the folder of the collection.
        output: the folder for the shards.
        kind: of the collection; None guesses.
        subset: of FMA.
        song_from: what tracks of one song share: see the sources.
        parts: what makes the tokens: `builtin`, `paper`, a folder, or a bundle.
        kmeans: folder with other k-means.
        separator: `.onnx` for mixes.
        views: of each vocal.
        augment: whether views are augmented.
        valid_share: of songs.
        test_share: of songs.
        clip_seconds: grid of the levels.
        min_instrumental_dbfs: of a clip that is kept.
        max_vocal_over_db: of a clip that is kept.
        quarantine_limit: share of tracks.
        retry: quarantined tracks once more.
        limit: tracks of the source that are looked at.
        workers: processes; 0 works in this one; None is one a core, or one for a GPU.
        batch_size: tracks that a worker takes at once.
        device: where models run.
        engine: what runs the workers.
        address: of a Ray cluster; None starts one here.
        seed: of noise, augmentation and splits.
        dry_run: tell what would be done, and write nothing.

    Raises:
        UsageError: a value is out of range, or two do not go together.

    >>> PrepareRequest(source=Path("music"), output=Path("shards"), address="auto")
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: --address names a Ray cluster; use it with --engine ray
    """

    source: Path
    output: Path
    kind: Kind | None = None
    subset: Subset | None = None
    song_from: str | None = None
    parts: str = "builtin"
    kmeans: Path | None = None
    separator: Path | None = None
    views: int = 1
    augment: bool = False
    valid_share: float = 0.02
    test_share: float = 0.02
    clip_seconds: Fraction = Fraction(10)
    min_instrumental_dbfs: float = -25.0
    max_vocal_over_db: float = 5.0
    quarantine_limit: float = 0.02
    limit: int | None = None
    workers: int | None = None
    batch_size: int = 1
    device: str = "cpu"
    engine: Engine = "local"
    address: str | None = None
    seed: int = 0
    dry_run: bool = False
    retry: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and not 0 <= self.workers <= MAX_WORKERS:
            raise UsageError(f"--workers is {self.workers}; give a number from 0 to {MAX_WORKERS}")
        if self.engine == "ray" and self.workers == 0:
            raise UsageError("--workers 0 works in this process, which Ray does not; give 1 or more")
        if self.address is not None and self.engine != "ray":
            raise UsageError("--address names a Ray cluster; use it with --engine ray")
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}; give 0 or more")
        if self.output.resolve() == self.source.resolve():
            raise UsageError(f"'{self.output}' is the collection itself; give another folder with -o")

    @property
    def num_workers(self) -> int:
        """How many processes: one a core, and one for a GPU, unless told."""
        if self.workers is not None:
            return self.workers
        if self.device != "cpu":
            return 1
        # Not the machine's cores: a container or a batch system may allow fewer.
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_clip_seconds(text: str) -> Fraction:
    """An exact number of seconds.

    >>> parse_clip_seconds("2.5"), parse_clip_seconds("1/3")
    (Fraction(5, 2), Fraction(1, 3))
    """
    try:
        seconds = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"--clip-seconds is {text!r}; give a number such as 10 or 2.5") from None
    if not seconds > 0:
        raise UsageError(f"--clip-seconds is {text}; give more than 0")
    return seconds
