"""What a preparation came to: counts, reasons, hours, and where the time went.

In: the rows of a ledger. Out: a `PrepareSummary`, and JSON values of it.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hafm.data.preparing.ledger import Counts, LedgerRow
from hafm.data.tokenising.clip_filter import ClipFilter

__all__ = ["PrepareSummary", "kind_of_reason", "summarise"]


@dataclass(frozen=True, kw_only=True)
class PrepareSummary:
    """All items of an output folder, of this run and of earlier ones.

    Args:
        counts: items by status.
        dropped: how many for which kind of reason.
        quarantined: the same.
        notes: how many tracks have which kind of note.
        seconds: of audio that has tokens.
        kept_seconds: of it, what the filter keeps.
        spent: seconds of computing by step.
        splits: tracks that are done, by split.
        num_shards: files.
        num_bytes: of all shards.
    """

    counts: Counts
    dropped: Mapping[str, int]
    quarantined: Mapping[str, int]
    notes: Mapping[str, int]
    seconds: float
    kept_seconds: float
    spent: Mapping[str, float]
    splits: Mapping[str, int]
    num_shards: int
    num_bytes: int

    @property
    def speeds(self) -> dict[str, float]:
        """Seconds of audio a second of a core, by step."""
        return {step: self.seconds / spent for step, spent in self.spent.items() if spent > 0}

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "items": self.counts.items,
            "pending": self.counts.pending,
            "done": self.counts.done,
            "dropped": {"items": self.counts.dropped, "reasons": dict(self.dropped)},
            "quarantined": {"items": self.counts.quarantined, "reasons": dict(self.quarantined)},
            "notes": dict(self.notes),
            "seconds": self.seconds,
            "kept_seconds": self.kept_seconds,
            "splits": dict(self.splits),
            "shards": self.num_shards,
            "bytes": self.num_bytes,
            "core_seconds_by_step": dict(self.spent),
            "audio_seconds_per_core_second": self.speeds,
        }


def summarise(
    rows: Iterable[LedgerRow], *, clip_filter: ClipFilter, shard_bytes: Iterable[int]
) -> PrepareSummary:
    """The summary of a ledger.

    Args:
        rows: all of them.
        clip_filter: what is kept.
        shard_bytes: size of each shard that is written.
    """
    statuses: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {"dropped": Counter(), "quarantined": Counter()}
    notes: Counter[str] = Counter()
    spent: defaultdict[str, float] = defaultdict(float)
    splits: Counter[str] = Counter()
    seconds = kept_seconds = 0.0
    for row in rows:
        statuses[row.status] += 1
        if row.status in reasons:
            reasons[row.status][kind_of_reason(row.reason or "")] += 1
        if row.status == "done":
            splits[row.split] += 1
        notes.update({kind_of_reason(note) for note in row.notes})
        for step, each in row.spent.items():
            spent[step] += each
        seconds += 0.0 if row.seconds is None else row.seconds
        kept_seconds += sum(end - start for start, end in clip_filter.kept_runs(row.levels))
    sizes = list(shard_bytes)
    return PrepareSummary(
        counts=Counts(**statuses),
        dropped=dict(reasons["dropped"].most_common()),
        quarantined=dict(reasons["quarantined"].most_common()),
        notes=dict(notes.most_common()),
        seconds=seconds,
        kept_seconds=kept_seconds,
        spent=dict(spent),
        splits=dict(splits),
        num_shards=len(sizes),
        num_bytes=sum(sizes),
    )


def kind_of_reason(reason: str) -> str:
    """A reason without what differs from file to file: names, ids of originals, numbers of what was found.

    >>> kind_of_reason("'music/a b.wav' has 6 channels; training takes 1 or 2")
    "'…' has N channels; training takes 1 or 2"
    >>> kind_of_reason("duplicate of 000123")
    'duplicate'
    """
    if reason.startswith("duplicate of "):
        return "duplicate"
    plain = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", reason)
    found, semicolon, advice = plain.partition(";")
    return re.sub(r"(?<![A-Za-z])-?\d+(\.\d+)?", "N", found) + semicolon + advice
