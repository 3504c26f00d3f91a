"""The options of `hafm fit-kmeans` that are not those of `hafm prepare`.

In: nothing. Out: one annotated type an option; see `hafm.app.commands.options`.
"""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = ["Clusters", "Hours", "Output", "Parts", "Passes", "Seed", "Shared", "Starts"]

_TAKEN, _FITTED = "What is taken", "How it is fitted"

Hours: TypeAlias = Annotated[
    float, typer.Option(metavar="H", help="Hours of sound to read, at most.", rich_help_panel=_TAKEN)
]
Parts: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Whose features: builtin, paper (HuBERT), a folder of parts or of a codec, or a bundle.",
        rich_help_panel="How tokens are made",
    ),
]
Clusters: TypeAlias = Annotated[
    int, typer.Option(metavar="N", help="Number of clusters.", rich_help_panel=_FITTED)
]
Shared: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--shared",
        metavar="",
        help="One k-means for both sides, instead of one each.",
        rich_help_panel=_FITTED,
    ),
]
Starts: TypeAlias = Annotated[
    int, typer.Option(metavar="N", help="Random starts that are tried.", rich_help_panel=_FITTED)
]
Passes: TypeAlias = Annotated[
    int, typer.Option(metavar="N", help="Passes over the frames in memory.", rich_help_panel=_FITTED)
]
Seed: TypeAlias = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Of everything random, and of the splits: the same as for hafm prepare.",
        rich_help_panel=_FITTED,
    ),
]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FOLDER",
        help="Where the parts go; --parts of hafm prepare takes it. Required.",
        show_default=False,
    ),
]
