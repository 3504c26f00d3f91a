"""Before a preparation: its configuration, the settings that must stay, room on the disk, and a rehearsal.

In: what `prepare` gets. Out: nothing, or an error before the work begins; a `Forecast` of sound and bytes; or
a `Rehearsal`: the scan in full, a few tracks tokenised with a stopwatch, and what follows from them for all.
Nothing is written.

Headers of sound files lie, so a forecast decides about nothing but whether a disk is clearly too small.
"""

import errno
import os
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from hafm.audio.opening import open_sound
from hafm.data.collection.track import Source, Track
from hafm.data.preparing.assemble import drop_reason
from hafm.data.preparing.ledger import LEDGER_FILE, Ledger, LedgerRow
from hafm.data.preparing.prepare_report import kind_of_reason
from hafm.data.preparing.scan import SplitRule, scan
from hafm.data.preparing.track_preparer import Opener
from hafm.data.result import Quarantined
from hafm.data.tokenising.clip_filter import ClipFilter
from hafm.errors import AudioError, OutputError, UsageError
from hafm.progress import OnProgress, Progress
from hafm.words import flat, size

__all__ = [
    "PrepareConfig",
    "Rehearsal",
    "forecast",
    "rehearse",
    "require_room",
    "require_same_settings",
    "run_settings",
    "with_room_needed",
]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOOKED_AT, _TRIED = 16, 3  # tracks of which a forecast reads the header, and that a rehearsal tokenises
_MOST_SECONDS = 24 * 3600.0
_BYTES_PER_SECOND_OF_FILE = 16_000  # 128 kbit/s, for a container whose length only decoding would show


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """One output folder.

    Args:
        out: the folder; made if missing.
        clip_filter: which clips are kept; may differ from run to run.
        split_rule: for songs that the source does not assign.
        tracks_per_shard: items per shard, 1 or more.
        batch_size: tracks that a preparer gets at once, 1 or more.
        limit: take only the first tracks of the source; a later run without it takes the rest.
        quarantine_limit: share of tracks that may be unusable, 0 to 1.
        retry: look at quarantined tracks again; those that were mended go into shards behind the others.

    Raises:
        UsageError: a value is out of range.

    >>> PrepareConfig(out=Path("shards"), batch_size=0)
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: batch size 0: give 1 or more
    """

    out: Path
    clip_filter: ClipFilter = field(default_factory=ClipFilter)
    split_rule: SplitRule = field(default_factory=SplitRule)
    tracks_per_shard: int = 256
    batch_size: int = 1
    limit: int | None = None
    quarantine_limit: float = 0.02
    retry: bool = False

    def __post_init__(self) -> None:
        for name in ("tracks_per_shard", "batch_size", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name.replace('_', ' ')} {value}: give 1 or more")
        if not 0 <= self.quarantine_limit <= 1:
            raise UsageError(f"quarantine limit {self.quarantine_limit}: give a share from 0 to 1")


# ---- settings


def run_settings(config: PrepareConfig, source: Source, made_by: Mapping[str, Any]) -> dict[str, Any]:
    """What must not change between runs on one folder; JSON values."""
    return {
        "source": source.describe(),
        "split_seed": config.split_rule.seed,
        "valid_share": config.split_rule.valid_share,
        "test_share": config.split_rule.test_share,
        "tracks_per_shard": config.tracks_per_shard,
        "made_by": dict(made_by),
    }


def require_same_settings(
    found: Mapping[str, Any] | None, expected: Mapping[str, Any], *, folder: Path
) -> None:
    """Compares the settings of a folder (None for a new one) and of this run, field by field.

    Raises:
        UsageError: a field differs, or one side lacks it.

    >>> require_same_settings({"a": {"b": 1}}, {"a": {"b": 2}}, folder=Path("out"))
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: 'out' was prepared with a.b = 1, and this run has a.b = 2; take that, ...
    """
    if found is None:
        return
    before, now = dict(flat(found)), dict(flat(expected))
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise UsageError(
                f"'{folder}' was prepared with {name} = {before.get(name)!r}, and this run has "
                f"{name} = {now.get(name)!r}; take that, or another -o"
            )


# ---- room on the disk


def free_bytes(folder: Path) -> int:
    """Free space on the disk of a folder, which need not exist yet; an `OutputError` if nobody knows."""
    existing = next((place for place in (folder, *folder.absolute().parents) if place.exists()), None)
    try:
        return shutil.disk_usage(existing or folder).free
    except OSError as error:
        raise OutputError(f"cannot look at '{folder}': {error.strerror or error}; give another -o") from error


def require_room(folder: Path, *, needed_bytes: int) -> None:
    """Refuses a disk that is too small, before the work begins, by an `OutputError`."""
    free = free_bytes(folder)
    if free < needed_bytes:
        raise OutputError(
            f"the tokens need about {size(needed_bytes)}, and the disk of '{folder}' has {size(free)} free; "
            "make room, or give another folder with -o"
        )


@contextmanager
def with_room_needed(needed_bytes: Callable[[], int]) -> Iterator[None]:
    """Adds to the error of a full disk how much room the rest of the work needs; it is asked for then."""
    try:
        yield
    except (OutputError, OSError) as error:
        if not (_is_full(error) or _is_full(error.__cause__)):
            raise
        raise OutputError(
            f"{error}; what is done is kept, the rest needs about {size(needed_bytes())}: make room and run "
            "the same command again"
        ) from error


def _is_full(error: BaseException | None) -> bool:
    if isinstance(error, sqlite3.Error):
        # SQLite reports a write that failed for another reason than ENOSPC (a quota) as an I/O error.
        return error.sqlite_errorname in ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE")
    return isinstance(error, OSError) and error.errno in _FULL


# ---- how much there is to do


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What is to come.

    Args:
        num_bytes: of room on the disk: tokens, and once more those of shards that are being filled.
    """

    tracks: int
    seconds: float
    num_bytes: int

    def for_rest(self, tracks: int) -> int:
        """Bytes that a number of the tracks need.

        >>> Forecast(tracks=10, seconds=300.0, num_bytes=1000).for_rest(3)
        300
        """
        return self.num_bytes * tracks // max(1, self.tracks)


def forecast(tracks: Sequence[Track], *, bytes_per_second: int, tracks_per_shard: int) -> Forecast:
    """Looks at some tracks and concludes for all; the tokens of one shard also wait in the ledger."""
    known = [_seconds(track) for track in _evenly(tracks, _LOOKED_AT)]
    mean = fmean(each for each in known if each is not None) if any(known) else 0.0
    waiting = len(tracks) + min(len(tracks), tracks_per_shard)
    return Forecast(
        tracks=len(tracks), seconds=mean * len(tracks), num_bytes=int(mean * waiting * bytes_per_second)
    )


def _evenly(tracks: Sequence[Track], number: int) -> list[Track]:
    """A number of the tracks, spread over all of them; all if there are fewer.

    >>> _evenly([], 3), _evenly("abcdefg", 3)
    ([], ['a', 'c', 'e'])
    """
    number = min(number, len(tracks))
    return [tracks[len(tracks) * place // number] for place in range(number)]


def _seconds(track: Track) -> float | None:
    """Duration as the source or the file's header has it; None for a file that cannot be used."""
    if track.seconds is not None:
        return track.seconds
    try:
        with open_sound(track.parts[0].path, seconds=_MOST_SECONDS) as sound:
            claimed = sound.stream.claimed_frames
            if claimed is None:  # a container, or joined files
                return os.fstat(sound.file.fileno()).st_size / _BYTES_PER_SECOND_OF_FILE
            return min(_MOST_SECONDS, claimed / sound.stream.sample_rate)
    except AudioError:
        return None


# ---- rehearsal


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a run would do.

    Args:
        new: items that the ledger does not know yet.
        lost: new items that are not pending, by kind of reason: copies, and what cannot be read.
        splits: pending items by split.
        audio_seconds: of the pending items, as far as their headers say.
        num_bytes, free: of disk that are needed, and that are there.
        tried: the result of each track that was tried, by id: `kept`, or a reason.
        core_seconds_per_second: of computing, per second of audio; None where no track could be used.
    """

    new: int
    known: int
    pending: int
    lost: Mapping[str, int]
    splits: Mapping[str, int]
    audio_seconds: float
    num_bytes: int
    free: int
    tried: Mapping[str, str]
    core_seconds_per_second: float | None

    def wall_seconds(self, workers: int) -> float | None:
        """How long a number of workers would take, one core each.

        >>> values = dict(new=0, known=9, pending=9, lost={}, splits={}, num_bytes=0, free=0, tried={})
        >>> Rehearsal(**values, audio_seconds=100.0, core_seconds_per_second=0.5).wall_seconds(2)
        25.0
        """
        if self.core_seconds_per_second is None:
            return None
        return self.audio_seconds * self.core_seconds_per_second / max(1, workers)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def rehearse(
    config: PrepareConfig, source: Source, opener: Opener, *, on_progress: OnProgress | None = None
) -> Rehearsal:
    """Scans, and tries a few tracks; refuses whatever `prepare` would refuse at its beginning."""
    report = on_progress or (lambda progress: None)
    preparer = opener()
    rows: list[LedgerRow] = []
    if (config.out / LEDGER_FILE).exists():
        with Ledger(config.out) as ledger:
            settings = run_settings(config, source, preparer.made_by())
            require_same_settings(ledger.fact("settings"), settings, folder=config.out)
            known, next_shards, rows = ledger.scanned(), ledger.next_shards(), ledger.rows("pending")
    else:
        known, next_shards = [], {}
    items = scan(
        source,
        known=known,
        next_shards=next_shards,
        rule=config.split_rule,
        tracks_per_shard=config.tracks_per_shard,
        limit=config.limit,
        on_progress=report,
    )
    pending = [*rows, *(item for item in items if item.status == "pending")]
    tracks = [replace(item.track, split=item.split) for item in pending]
    expected = forecast(
        tracks, bytes_per_second=preparer.bytes_per_second, tracks_per_shard=config.tracks_per_shard
    )
    tried: dict[str, str] = {}
    audio = spent = 0.0
    chosen = _evenly(tracks, _TRIED)
    for track in chosen:
        report(Progress(step="trial", done=len(tried), total=len(chosen)))
        began = time.perf_counter()
        (result,) = preparer.prepare([track])
        if isinstance(result, Quarantined):
            tried[track.id] = result.reason
            continue
        tried[track.id] = drop_reason(config.clip_filter, result.levels) or "kept"
        audio, spent = audio + result.seconds, spent + time.perf_counter() - began
    return Rehearsal(
        new=len(items),
        known=len(known),
        pending=len(pending),
        lost=dict(Counter(kind_of_reason(item.reason or "") for item in items if item.status != "pending")),
        splits=dict(Counter(item.split for item in pending)),
        audio_seconds=expected.seconds,
        num_bytes=expected.num_bytes,
        free=free_bytes(config.out),
        tried=tried,
        core_seconds_per_second=spent / audio if audio else None,
    )
