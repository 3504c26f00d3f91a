"""The options of separation: those of `hafm separate`, and those that `hafm generate` takes from it.

In: nothing. Out: one annotated type an option; see `hafm.app.commands.options`.
"""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from hafm.app.separate_model import VARIABLE
from hafm.app.separate_request import MAX_WORKERS

__all__ = ["Model", "Output", "Separate", "Separator", "Songs", "Workers"]

_FROM_ENVIRONMENT = f"that of {VARIABLE}"

Songs: TypeAlias = Annotated[
    list[Path],
    typer.Argument(
        metavar="SONG...",
        help="Whole songs: wav, flac, mp3, ogg, opus, and with ffmpeg m4a, mp4, webm.",
        show_default=False,
    ),
]
Model: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="MODEL.onnx",
        help="The separator, an MDX-Net; MODEL.json beside it says what its numbers mean.",
        show_default=_FROM_ENVIRONMENT,
        rich_help_panel="How it is made",
    ),
]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FOLDER",
        help="Where the results go; of several songs, into a folder each. Required.",
        show_default=False,
        rich_help_panel="What is written",
    ),
]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help=f"Separate N songs at a time, 1 to {MAX_WORKERS}; each needs its own memory.",
        show_default="1",
        rich_help_panel="How it runs",
    ),
]

Separate: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--separate",
        metavar="",
        help="The recording is a whole song: take the vocal out of it first. Writes vocal.wav, too.",
        rich_help_panel="What to accompany",
    ),
]
Separator: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="MODEL.onnx",
        help="What takes it out: an MDX-Net, with MODEL.json beside it.",
        show_default=_FROM_ENVIRONMENT,
        rich_help_panel="What to accompany",
    ),
]
