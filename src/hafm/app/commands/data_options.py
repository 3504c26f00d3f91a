"""The options of `hafm data show` and `hafm data verify`.

In: nothing. Out: one annotated type an option; see `hafm.app.commands.options`.
"""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = ["Ledger", "PlotFile", "Shards"]

Shards: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="SHARDS",
        help="What hafm prepare wrote: a folder, or a URL such as s3://bucket/shards.",
        show_default=False,
    ),
]
PlotFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="FILE", help="Draw loudness and token use into this .png.", show_default=False
    ),
]
Ledger: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--ledger",
        metavar="",
        help="List the items that are not done, with the reasons, and nothing else.",
    ),
]
