"""`hafm data show` and `hafm data verify`.

In: a path or a URL of shards. Out: a report for people or as JSON, and a picture.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hafm.app.data_contents import Contents, describe, look_at
from hafm.app.data_ledger import read_rows
from hafm.app.data_tables import show, show_rows
from hafm.data.preparing.assemble import TABLE_FILE
from hafm.data.shards.folder import ShardFolder, ShardsDamaged, ShardsNotFound
from hafm.data.shards.index import check_files, read_index
from hafm.errors import OutputError, UsageError
from hafm.files import atomic_file

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Report", "run_show", "run_verify"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a command has to tell.

    Args:
        values: for programs; JSON values.
        print: for people.
    """

    values: Any
    print: "Callable[[Console], None]"


def run_show(
    place: str, *, plot: Path | None = None, overwrite: bool = False, ledger: bool = False
) -> Report:
    """Looks at a folder of shards.

    Args:
        place: path or URL.
        plot: a file to draw into.
        overwrite: whether it may exist.
        ledger: tell of the items of the collection, not of the shards.

    Raises:
        ShardsNotFound, ShardsDamaged: there are none, or not what was written.
        UsageError, OutputError: the picture cannot be drawn or written.
    """
    if ledger:
        if plot is not None:
            raise UsageError("--plot draws shards, and --ledger lists items: give one of them")
        folder = ShardFolder(place)
        rows = read_rows(folder)
        if rows is None:
            raise ShardsNotFound(f"there is no '{folder.where(TABLE_FILE)}', which hafm prepare writes")
        return Report(values=rows, print=lambda console: show_rows(rows, console))
    if plot is not None:
        _check_picture(plot, overwrite=overwrite)
    contents = look_at(place)
    description = describe(contents)
    if plot is not None:
        with atomic_file(plot) as file:
            file.write(_picture(contents, description))
    return Report(values=description, print=lambda console: show(description, console))


def run_verify(place: str) -> int:
    """Reads every file of a folder of shards and compares its hash.

    Returns:
        The number of files; all of them are good.

    Raises:
        ShardsNotFound: there are no shards.
        ShardsDamaged: files are missing or differ; all of them are named.
    """
    folder = ShardFolder(place)
    index = read_index(folder)
    faults = [(name, fault) for name, fault in check_files(folder, index) if fault is not None]
    if len(faults) == 1:
        raise ShardsDamaged(faults[0][1])
    if faults:
        names = ", ".join(name for name, _ in faults)
        raise ShardsDamaged(
            f"{len(faults)} of {len(index.files)} files in '{folder.place}' are missing or are not what was "
            f"written: {names}; copy them again, or prepare again"
        )
    return len(index.files) + 1  # and the index itself


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


def _picture(contents: Contents, description: dict[str, Any]) -> bytes:
    from hafm.app.data_plot import draw_data

    vocal_dbfs, instrumental_dbfs = contents.levels()
    splits = description["splits"]
    told = [
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
        subtitle="  ·  ".join(told),
    )
