"""A rehearsal of a preparation: what it would do and what it would take, without writing anything.

In: what `prepare` gets. Out: a `Rehearsal`: the scan in full, a few tracks tokenised with a stopwatch, and
what follows from them for all.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from hafm.data.collection.track import Source, Track
from hafm.data.preparing.assemble import drop_reason
from hafm.data.preparing.disk import free_bytes
from hafm.data.preparing.forecast import evenly, forecast
from hafm.data.preparing.ledger import LEDGER_FILE, Ledger
from hafm.data.preparing.ledger_row import LedgerRow
from hafm.data.preparing.prepare import PrepareConfig, PrepareProgress, run_settings
from hafm.data.preparing.prepare_report import kind_of_reason
from hafm.data.preparing.scan import scan
from hafm.data.preparing.settings import require_same_settings
from hafm.data.preparing.workbench import Opener
from hafm.data.result import Quarantined

__all__ = ["Rehearsal", "rehearse"]

_TRIED = 3


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a run would do.

    Args:
        new: items that the ledger does not know yet.
        known: items that it knows.
        pending: items to be done.
        lost: new items that are not pending, by kind of reason: copies, and what cannot be read.
        splits: pending items by split.
        audio_seconds: of the pending items, as far as their headers tell.
        num_bytes: of disk that is needed.
        free: bytes of disk that are there.
        tried: what became of the tracks that were tried, by id: `kept`, or a reason.
        core_seconds_a_second: of computing a second of audio; None where none of them could be used.
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
    core_seconds_a_second: float | None

    def wall_seconds(self, workers: int) -> float | None:
        """How long so many workers would take, one core each.

        >>> values = dict(new=0, known=9, pending=9, lost={}, splits={}, num_bytes=0, free=0, tried={})
        >>> Rehearsal(**values, audio_seconds=100.0, core_seconds_a_second=0.5).wall_seconds(2)
        25.0
        """
        if self.core_seconds_a_second is None:
            return None
        return self.audio_seconds * self.core_seconds_a_second / max(1, workers)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def rehearse(
    config: PrepareConfig,
    source: Source,
    opener: Opener,
    *,
    on_progress: Callable[[PrepareProgress], None] | None = None,
) -> Rehearsal:
    """Scans, and tries a few tracks.

    Raises:
        HafmError: whatever `prepare` would refuse at its beginning.
    """
    tell = on_progress or (lambda progress: None)
    bench = opener()
    rows: list[LedgerRow] = []
    if (config.out / LEDGER_FILE).exists():
        with Ledger(config.out) as ledger:
            settings = run_settings(config, source, bench.made_by())
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
        on_progress=lambda done, total: tell(PrepareProgress(step="scan", done=done, total=total)),
    )
    pending = [*rows, *(item for item in items if item.status == "pending")]
    tracks = [replace(item.track, split=item.split) for item in pending]
    expected = forecast(tracks, bytes_a_second=bench.bytes_a_second, tracks_per_shard=config.tracks_per_shard)
    tried: dict[str, str] = {}
    audio = spent = 0.0
    chosen = evenly(tracks, _TRIED)
    for track in chosen:
        tell(PrepareProgress(step="trial", done=len(tried), total=len(chosen)))
        began = time.perf_counter()
        tried[track.id], seconds = _try(config, bench.prepare, track)
        if seconds:
            audio, spent = audio + seconds, spent + time.perf_counter() - began
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
        core_seconds_a_second=spent / audio if audio else None,
    )


def _try(config: PrepareConfig, prepare: Callable[[list[Track]], Any], track: Track) -> tuple[str, float]:
    """What becomes of a track, and its seconds of audio; 0 if it cannot be used."""
    (result,) = prepare([track])
    if isinstance(result, Quarantined):
        return result.reason, 0.0
    return drop_reason(config.clip_filter, result.levels) or "kept", result.seconds
