"""`hafm data show` and `hafm data verify`: a look at token shards.

In: a path or a URL of shards. Out: a report for people or as JSON, and a picture. What there is to see is
found by `hafm.data.shards.contents`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hafm.app import options
from hafm.app.command import Command, argument, flag, option
from hafm.app.interrupt import Interrupts
from hafm.app.tables import Tables, new_table, print_tables
from hafm.errors import OutputError, UsageError
from hafm.words import flat

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from hafm.app.display import Display
    from hafm.data.shards.contents import Contents, Row

__all__ = ["DataShow", "DataVerify", "Verified"]

_SHOWN_DIGITS = 24

_SHARDS = "What hafm prepare wrote: a folder, or a URL such as s3://bucket/shards."


@dataclass(frozen=True, kw_only=True)
class DataShow(Command):
    """Show what is in token shards: hours, splits, what was dropped and why, and how tokens are used."""

    shards: str = argument(_SHARDS, "SHARDS")
    plot: Path | None = option("Draw loudness and token use into this .png.", "FILE", shown=False)
    overwrite: bool = options.overwrite()
    ledger: bool = flag("List the items that are not done, with the reasons, and nothing else.")

    examples: ClassVar = (
        "hafm data show shards/ --plot shards.png",
        "hafm data show s3://bucket/shards --json",
        "hafm data show shards/ --ledger",
    )

    def check(self) -> None:
        if self.ledger and self.plot is not None:
            raise UsageError("--plot draws shards, and --ledger lists items: give one of them")

    def run(self, shown: "Display", interrupts: Interrupts) -> Tables:
        from hafm.data.preparing.assemble import TABLE_FILE
        from hafm.data.shards.contents import describe, look_at, read_rows
        from hafm.data.shards.folder import ShardFolder
        from hafm.errors import ShardsNotFound
        from hafm.files import write_whole

        if self.ledger:
            folder = ShardFolder(self.shards)
            rows = read_rows(folder)
            if rows is None:
                raise ShardsNotFound(f"there is no '{folder.where(TABLE_FILE)}', which hafm prepare writes")
            return Tables(values=rows, show=lambda console: _show_rows(rows, console))
        if self.plot is not None:
            _check_picture(self.plot, overwrite=self.overwrite)
        contents = look_at(self.shards)
        description = describe(contents)
        if self.plot is not None:
            write_whole(self.plot, _picture(contents, description))
        return Tables(values=description, show=lambda console: _show(description, console))


@dataclass(frozen=True, kw_only=True)
class Verified:
    """Shards whose files are all as they were written."""

    shards: str
    num_files: int

    def summary(self) -> str:
        return f"{self.shards}: {self.num_files} files, all as written"

    def to_json(self) -> dict[str, Any]:
        return {"files": self.num_files}


@dataclass(frozen=True, kw_only=True)
class DataVerify(Command):
    """Read every file of token shards and compare its hash."""

    shards: str = argument(_SHARDS, "SHARDS")

    def run(self, shown: "Display", interrupts: Interrupts) -> Verified:
        from hafm.data.shards.folder import ShardFolder
        from hafm.data.shards.index import check_files, read_index
        from hafm.errors import ShardsDamaged

        folder = ShardFolder(self.shards)
        index = read_index(folder)
        faults = [(name, fault) for name, fault in check_files(folder, index) if fault is not None]
        if len(faults) == 1:
            raise ShardsDamaged(faults[0][1])
        if faults:
            names = ", ".join(name for name, _ in faults)
            raise ShardsDamaged(
                f"{len(faults)} of {len(index.files)} files in '{folder.place}' are missing or are not what "
                f"was written: {names}; copy them again, or prepare again"
            )
        return Verified(shards=self.shards, num_files=len(index.files) + 1)  # and the index itself


def _check_picture(path: Path, *, overwrite: bool) -> None:
    """Before minutes of counting tokens."""
    from hafm.app.plot import check_matplotlib

    check_matplotlib()
    if path.suffix.lower() != ".png":
        raise UsageError(f"--plot '{path}': the picture is a PNG; give a name that ends in .png")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write '{path}': there is no folder '{path.parent}'; create it first")
    if path.exists() and not overwrite:
        raise OutputError(f"'{path}' exists; give another name, or allow replacing it with --overwrite")


def _picture(contents: "Contents", description: dict[str, Any]) -> bytes:
    from hafm.app.data_plot import draw_data

    vocal_dbfs, instrumental_dbfs = contents.levels()
    splits = description["splits"]
    lines = [
        f"{sum(split['songs'] for split in splits.values()):,} songs",
        f"{sum(split['hours'] for split in splits.values()):,.1f} h, of which the filter keeps "
        f"{sum(split['kept_hours'] for split in splits.values()):,.1f} h",
        "  ".join(f"{name} {split['tracks']:,}" for name, split in splits.items()) + " tracks",
    ]
    return draw_data(
        vocal_dbfs=vocal_dbfs,
        instrumental_dbfs=instrumental_dbfs,
        clip_filter=contents.index.filter,
        use=contents.use,
        title=contents.folder.place,
        subtitle="  ·  ".join(lines),
    )


# ---- for people


def _show(description: Mapping[str, Any], console: "Console") -> None:
    """Prints what `hafm.data.shards.contents.describe` tells."""
    console.print(f"{description['place']}")
    print_tables(_tables(description), console)


def _show_rows(rows: "Sequence[Row]", console: "Console") -> None:
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
    table = new_table("", *splits)
    rows: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "songs": lambda split: f"{split['songs']:,}",
        "tracks": lambda split: f"{split['tracks']:,}",
        "with kept clips": lambda split: f"{split['kept_tracks']:,}",
        "with a lead sheet": lambda split: f"{split['tracks_with_sheet']:,}",
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
    limits = description["filter"]
    rules = {
        "quiet instrumental": f"below {limits['min_instrumental_dbfs']:g} dBFS",
        "loud vocal": f"more than {limits['max_vocal_over_db']:g} dB above the instrumental",
    }
    clips = sum(split["clips"] for split in description["splits"].values())
    table = new_table("reason", "clips", "share", "rule")
    for reason, rule in rules.items():
        number = sum(split["dropped_clips"].get(reason, 0) for split in description["splits"].values())
        table.add_row(reason, f"{number:,}", f"{number / clips:.1%}", rule)
    return table


def _levels(levels: Mapping[str, Mapping[str, float]]) -> "Table":
    names = {
        "vocal_over_instrumental_db": "vocal over instrumental, dB",
        "instrumental_dbfs": "instrumental, dBFS",
    }
    table = new_table("", *next(iter(levels.values())))
    for name, values in levels.items():
        table.add_row(names[name], *(f"{value:.1f}" for value in values.values()))
    return table


def _tokens(tokens: Mapping[str, Sequence[Mapping[str, Any]]]) -> "Table":
    table = new_table("stream", "used", "dead", "perplexity", "bits", "most frequent id")
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
    table = new_table("status", "items", "reason")
    for status in ("done", "dropped", "quarantined", "pending"):
        if ledger[status] or status in ("done", "quarantined"):
            table.add_row(status, f"{ledger[status]:,}", "")
        for reason, number in ledger["reasons"].get(status, {}).items():
            table.add_row("", f"{number:,}", reason)
    return table


def _made_by(description: Mapping[str, Any]) -> "Table":
    """Fingerprints are cut; `--json` has them whole."""
    table = new_table("", "")
    for name, value in flat(description["made_by"]):
        if not name.startswith("fingerprints."):
            table.add_row(name.replace("_", " "), "-" if value is None else str(value))
    for name, fingerprint in {**description["parts"], "these shards": description["fingerprint"]}.items():
        table.add_row(name.replace("_", " "), fingerprint[:_SHOWN_DIGITS])
    return table
