"""What a preparation came to: counts, reasons, hours, and where the time went.

In: the rows of a ledger. Out: a `PrepareSummary`, and JSON values of it.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hafm.data.preparing.ledger import Counts, LedgerRow
from hafm.data.tokenising.clip_filter import ClipFilter

__all__ = ["PrepareSummary", "count_reasons", "kind_of_reason", "summarise"]


@dataclass(frozen=True, kw_only=True)
class PrepareSummary:
    """All items of an output folder, of this run and of earlier ones.

    Args:
        dropped, quarantined: how many for which kind of reason.
        notes: how many tracks have which kind of note.
        seconds: of audio that has tokens.
        kept_seconds: of it, what the filter keeps.
        spent: seconds of computing by step.
        splits: tracks that are done, by split.
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
        """Seconds of audio per second of a core, by step."""
        return {step: self.seconds / spent for step, spent in self.spent.items() if spent > 0}

    def to_json(self) -> dict[str, Any]:
        counts = self.counts
        return {
            "items": counts.items,
            "pending": counts.pending,
            "done": counts.done,
            "dropped": {"items": counts.dropped, "reasons": dict(self.dropped)},
            "quarantined": {"items": counts.quarantined, "reasons": dict(self.quarantined)},
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
    rows: Sequence[LedgerRow], *, clip_filter: ClipFilter, shard_bytes: Sequence[int]
) -> PrepareSummary:
    """The summary of all rows of a ledger, and of the shards that are written."""
    statuses: Counter[str] = Counter(row.status for row in rows)
    notes: Counter[str] = Counter()
    spent: defaultdict[str, float] = defaultdict(float)
    seconds = kept_seconds = 0.0
    for row in rows:
        notes.update({kind_of_reason(note) for note in row.notes})
        for step, each in row.spent.items():
            spent[step] += each
        seconds += row.seconds or 0.0
        kept_seconds += sum(end - start for start, end in clip_filter.kept_runs(row.levels))
    return PrepareSummary(
        counts=Counts(**statuses),
        **count_reasons((row.status, row.reason or "") for row in rows),
        notes=dict(notes.most_common()),
        seconds=seconds,
        kept_seconds=kept_seconds,
        spent=dict(spent),
        splits=dict(Counter(row.split for row in rows if row.status == "done")),
        num_shards=len(shard_bytes),
        num_bytes=sum(shard_bytes),
    )


def count_reasons(found: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """How many of (status, reason) are `dropped` and `quarantined`, by kind of reason, the largest first."""
    reasons: dict[str, Counter[str]] = {"dropped": Counter(), "quarantined": Counter()}
    for status, reason in found:
        if status in reasons:
            reasons[status][kind_of_reason(reason)] += 1
    return {status: dict(counts.most_common()) for status, counts in reasons.items()}


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
