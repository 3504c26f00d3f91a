"""The options of several commands: how each is spelt, what its help says, under which heading it stands.

In: nothing. Out: one annotated type an option, for the commands' signatures. Ranges are checked in the
requests (`hafm.app.request` and its like), which must know what was given and what was not; so every default
here is None (or False), and the help names the real one.
"""

from typing import Annotated, TypeAlias

import typer

from hafm.app.request import Format

__all__ = [
    "AsJson",
    "Bundle",
    "BundleArgument",
    "Debug",
    "Device",
    "FormatOption",
    "Overwrite",
    "Quiet",
    "Version",
]

_WRITTEN, _MADE, _RUN = "What is written", "How it is made", "How it runs"
_BUNDLES = "builtin, a folder, or a hub id such as owner/name@revision"

Version: TypeAlias = Annotated[
    bool, typer.Option("--version", metavar="", help="Print the version and leave.", rich_help_panel=_RUN)
]
Debug: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--debug", metavar="", help="Show the traceback when something fails.", rich_help_panel=_RUN
    ),
]
AsJson: TypeAlias = Annotated[
    bool,
    typer.Option("--json", metavar="", help="Print the result, or the error, as JSON.", rich_help_panel=_RUN),
]
Quiet: TypeAlias = Annotated[
    bool,
    typer.Option("--quiet", "-q", metavar="", help="Print errors and nothing else.", rich_help_panel=_RUN),
]
Device: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Where to compute: cpu, cuda, cuda:1, mps.",
        show_default="cpu",
        rich_help_panel=_RUN,
    ),
]
Overwrite: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        metavar="",
        help="Results may replace files in the folder.",
        rich_help_panel=_WRITTEN,
    ),
]
FormatOption: TypeAlias = Annotated[
    Format | None,
    typer.Option(
        metavar="wav|flac",
        help="Of the sound files; both are 24 bit.",
        show_default="wav",
        rich_help_panel=_WRITTEN,
    ),
]
Bundle: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help=f"The model: {_BUNDLES}.", show_default="builtin", rich_help_panel=_MADE
    ),
]
BundleArgument: TypeAlias = Annotated[str, typer.Argument(metavar="[BUNDLE]", help=f"{_BUNDLES}.")]
