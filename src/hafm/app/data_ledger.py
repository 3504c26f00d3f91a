"""What became of every item of a collection, as the table beside its shards tells.

In: a folder with a `ledger.tsv`, which `hafm prepare` writes at the end of a run, also of one that stopped.
Out: rows, and counts of statuses and reasons.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from hafm.data.preparing.assemble import TABLE_FILE
from hafm.data.preparing.ledger_row import STATUSES
from hafm.data.preparing.prepare_report import kind_of_reason
from hafm.data.shards.folder import ShardFolder, ShardsNotFound

__all__ = ["Row", "count_rows", "explain_unfinished", "read_rows"]

Row: TypeAlias = Mapping[str, str]
"""An item: id, song, split, status, reason."""


def read_rows(folder: ShardFolder) -> list[Row] | None:
    """All items; None where there is no table."""
    try:
        lines = folder.read(TABLE_FILE).decode(errors="replace").splitlines()
    except ShardsNotFound:
        return None
    names, *rows = (line.split("\t") for line in lines)
    return [dict(zip(names, row, strict=False)) for row in rows]


def count_rows(rows: Sequence[Row]) -> dict[str, Any]:
    """Items by status, and by kind of reason.

    >>> empty = {"status": "quarantined", "reason": "'a.mp3' is empty"}
    >>> count_rows([{"status": "done", "reason": ""}, empty])["reasons"]
    {'dropped': {}, 'quarantined': {"'…' is empty": 1}}
    """
    statuses = Counter(row["status"] for row in rows)
    reasons: dict[str, Counter[str]] = {"dropped": Counter(), "quarantined": Counter()}
    for row in rows:
        if row["status"] in reasons:
            reasons[row["status"]][kind_of_reason(row["reason"])] += 1
    return {
        "items": len(rows),
        **{status: statuses[status] for status in STATUSES},
        "reasons": {status: dict(counts.most_common()) for status, counts in reasons.items()},
    }


def explain_unfinished(folder: ShardFolder) -> ShardsNotFound | None:
    """What to say of a folder whose preparation stopped before the index was written; None for any other."""
    rows = read_rows(folder)
    if rows is None:
        return None
    counts = count_rows(rows)
    told = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
    return ShardsNotFound(
        f"the shards in '{folder.place}' are not finished ({told}); let hafm prepare finish, or list the "
        "items with --ledger"
    )
