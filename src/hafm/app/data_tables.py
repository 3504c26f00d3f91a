"""What is in a folder of shards, as tables for people.

In: a description from `data_contents.py`. Out: text on a console.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["show", "show_rows"]

_SHOWN_DIGITS = 24


def show(description: Mapping[str, Any], console: "Console") -> None:
    """Prints a description.

    Args:
        description: from `data_contents.describe`.
        console: rich's, without markup: names of tracks and folders are text.
    """
    console.print(f"{description['place']}")
    for title, table in _tables(description):
        # The title by itself: rich would wrap it to the width of the table.
        console.print(f"\n{title}", style="bold")
        console.print(table)


def show_rows(rows: Sequence[Mapping[str, str]], console: "Console") -> None:
    """Prints the rows of a ledger that are not done: id, status, reason."""
    troubled = [row for row in rows if row["status"] != "done"]
    for row in troubled:
        console.print(f"{row['status']:<12} {row['id']}: {row['reason'] or '-'}", soft_wrap=True)
    console.print(f"{len(rows) - len(troubled):,} of {len(rows):,} items are done")


def _tables(description: Mapping[str, Any]) -> "Iterator[tuple[str, Table]]":
    yield "Splits", _splits(description["splits"])
    if any(split["clips"] for split in description["splits"].values()):
        yield "Clips dropped by the filter", _drops(description)
        yield "Levels (percentiles of all clips)", _levels(description["levels"])
    yield "Tokens of kept clips", _tokens(description["tokens"])
    if description["ledger"] is not None:
        yield "Items of the collection", _items(description["ledger"])
    yield "Made by", _made_by(description)


def _splits(splits: Mapping[str, Mapping[str, Any]]) -> "Table":
    table = _table("", *splits)
    rows: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "songs": lambda split: f"{split['songs']:,}",
        "tracks": lambda split: f"{split['tracks']:,}",
        "with kept clips": lambda split: f"{split['kept_tracks']:,}",
        "clips": lambda split: f"{split['clips']:,}",
        "kept": lambda split: f"{split['kept_clips']:,}",
        "hours": lambda split: f"{split['hours']:,.2f}",
        "kept hours": lambda split: f"{split['kept_hours']:,.2f}",
        "shards": lambda split: f"{split['shards']:,}",
        "on disk": lambda split: f"{split['bytes'] / 2**20:,.1f} MiB",
    }
    for name, cell in rows.items():
        table.add_row(name, *(cell(split) for split in splits.values()))
    return table


def _drops(description: Mapping[str, Any]) -> "Table":
    rule = description["filter"]
    rules = {
        "quiet instrumental": f"below {rule['min_instrumental_dbfs']:g} dBFS",
        "loud vocal": f"more than {rule['max_vocal_over_db']:g} dB above the instrumental",
    }
    clips = sum(split["clips"] for split in description["splits"].values())
    table = _table("reason", "clips", "share", "rule")
    for reason, told in rules.items():
        number = sum(split["dropped_clips"].get(reason, 0) for split in description["splits"].values())
        table.add_row(reason, f"{number:,}", f"{number / clips:.1%}", told)
    return table


def _levels(levels: Mapping[str, Mapping[str, float]]) -> "Table":
    names = {
        "vocal_over_instrumental_db": "vocal over instrumental, dB",
        "instrumental_dbfs": "instrumental, dBFS",
    }
    table = _table("", *next(iter(levels.values())))
    for name, values in levels.items():
        table.add_row(names[name], *(f"{value:.1f}" for value in values.values()))
    return table


def _tokens(tokens: Mapping[str, Sequence[Mapping[str, Any]]]) -> "Table":
    table = _table("stream", "used", "dead", "perplexity", "bits", "most frequent id")
    for name, codebooks in tokens.items():
        for number, use in enumerate(codebooks, 1):
            label = name.replace("_", " ") + (f" {number}" if len(codebooks) > 1 else "")
            top = use["most_frequent"][:1]
            table.add_row(
                label,
                f"{use['used']:,} of {use['ids']:,}",
                f"{use['dead']:,}",
                f"{use['perplexity']:,.1f}",
                f"{use['entropy_bits']:.2f}",
                *(f"{each['id']} ({each['share']:.1%})" for each in top),
            )
    return table


def _items(ledger: Mapping[str, Any]) -> "Table":
    table = _table("status", "items", "reason")
    for status in ("done", "dropped", "quarantined", "pending"):
        if ledger[status] or status in ("done", "quarantined"):
            table.add_row(status, f"{ledger[status]:,}", "")
        for reason, number in ledger["reasons"].get(status, {}).items():
            table.add_row("", f"{number:,}", reason)
    return table


def _made_by(description: Mapping[str, Any]) -> "Table":
    """Fingerprints are cut; `--json` has them whole."""
    table = _table("", "")
    for name, value in _flat(description["made_by"]):
        if not name.startswith("fingerprints."):
            table.add_row(name.replace("_", " "), "-" if value is None else str(value))
    for name, fingerprint in {**description["parts"], "these shards": description["fingerprint"]}.items():
        table.add_row(name.replace("_", " "), fingerprint[:_SHOWN_DIGITS])
    return table


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested values, under dotted names.

    >>> dict(_flat({"seed": 0, "source": {"kind": "fma"}}))
    {'seed': 0, 'source.kind': 'fma'}
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _table(*columns: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_header=any(columns))
    for name in columns:
        table.add_column(name, overflow="fold")
    return table
