"""The options of `hafm bundle`.

In: nothing. Out: one annotated type an option; see `hafm.app.commands.options`.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

__all__ = ["Licence", "Name", "Newest", "Output", "Runs", "VersionText", "Weights"]

_SAID, _MADE = "What it says of itself", "How it is made"

Runs: TypeAlias = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN...",
        help="Folders of hafm train: one of the semantic, one of the coarse, one of the fine stage.",
        show_default=False,
    ),
]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", metavar="BUNDLE", help="Folder of the bundle. Required.", show_default=False
    ),
]
Weights: TypeAlias = Annotated[
    Literal["fp16", "int8", "fp32"],
    typer.Option(
        metavar="KIND",
        help="How the stages' weights are stored: fp16, int8 (half of that), fp32 (as trained).",
        rich_help_panel=_MADE,
    ),
]
Newest: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--newest",
        metavar="",
        help="Take the newest weights of each run, not those of its best evaluation.",
        rich_help_panel=_MADE,
    ),
]
Name: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="What people call it.",
        show_default="the folder's name",
        rich_help_panel=_SAID,
    ),
]
VersionText: TypeAlias = Annotated[
    str, typer.Option("--version", metavar="TEXT", help="Of this bundle.", rich_help_panel=_SAID)
]
Licence: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="SPDX",
        help="Of the weights, such as Apache-2.0 or CC-BY-4.0.",
        rich_help_panel=_SAID,
    ),
]
