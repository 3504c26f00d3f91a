"""The options that `hafm retrieve` and `hafm retrieve-index` alone have.

In: nothing. Out: one annotated type an option; see `hafm.app.commands.options`.
"""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from hafm.app.request import MAX_TAKES
from hafm.data.collection.track import Split

__all__ = [
    "Collection",
    "Exclude",
    "Index",
    "IndexOutput",
    "Moved",
    "Rank",
    "SplitOption",
    "Takes",
    "Vocal",
    "Workers",
]

_TAKEN, _FOUND, _WRITTEN, _RUN = "What is taken", "Where it is found", "What is written", "How it runs"

Vocal: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="VOCAL",
        help="A recording of one voice: wav, flac, mp3, ogg, opus, and with ffmpeg m4a, mp4, webm.",
        show_default=False,
    ),
]
Index: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="What hafm retrieve-index made. Required.",
        show_default=False,
        rich_help_panel=_FOUND,
    ),
]
Moved: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--collection",
        metavar="FOLDER",
        help="Where the collection of the index is now, if it was moved.",
        show_default=False,
        rich_help_panel=_FOUND,
    ),
]
Rank: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Take the N-th best song.",
        show_default="1, the best",
        rich_help_panel=_FOUND,
    ),
]
Takes: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help=f"Take N songs, from that rank on, 1 to {MAX_TAKES}: take-1/, take-2/, ...",
        show_default="1",
        rich_help_panel=_FOUND,
    ),
]
Exclude: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SONG",
        help="Never find this song, by its id in the index; may be given several times.",
        show_default=False,
        rich_help_panel=_FOUND,
    ),
]

Collection: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="COLLECTION",
        help="A collection with instrumentals: pairs, rendered pairs, MUSDB18.",
        show_default=False,
    ),
]
IndexOutput: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FOLDER",
        help="Where the index goes, or lies already. Required.",
        show_default=False,
        rich_help_panel=_WRITTEN,
    ),
]
SplitOption: TypeAlias = Annotated[
    Split,
    typer.Option(
        "--split",
        metavar="train|valid|test",
        help="Whose instrumentals are taken.",
        rich_help_panel=_TAKEN,
    ),
]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Processes; 0 works in this one.",
        show_default="one a core",
        rich_help_panel=_RUN,
    ),
]
