"""The options that `hafm generate` alone has.

In: nothing. Out: one annotated type an option; see `hafm.app.commands.options`.
"""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from hafm.app.request import MAX_TAKES, Pick

__all__ = [
    "Balance",
    "Guidance",
    "Loudness",
    "Output",
    "PickOption",
    "Plot",
    "Replay",
    "Seconds",
    "Seed",
    "SkipFine",
    "Start",
    "Takes",
    "Temperature",
    "TopK",
    "Vocal",
]

_SOUND, _WRITTEN, _MADE = "What to accompany", "What is written", "How it is made"

Vocal: TypeAlias = Annotated[
    Path | None,
    typer.Argument(
        metavar="[VOCAL]",
        help="A recording of one voice: wav, flac, mp3, ogg, opus, and with ffmpeg m4a, mp4, webm.",
        show_default=False,
    ),
]
Start: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Begin here in the recording.",
        show_default="at its beginning",
        rich_help_panel=_SOUND,
    ),
]
Seconds: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", help="Take this much of it.", show_default="up to its end", rich_help_panel=_SOUND
    ),
]
Replay: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Make the sound of an earlier run again, to the byte: its generation.json. "
        "VOCAL is needed only if it was moved.",
        show_default=False,
        rich_help_panel=_SOUND,
    ),
]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FOLDER",
        help="Where the results go. Required.",
        show_default=False,
        rich_help_panel=_WRITTEN,
    ),
]
Balance: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="DB",
        help="The accompaniment against the vocal in the mix, -60 to 60.",
        show_default="-3",
        rich_help_panel=_WRITTEN,
    ),
]
Loudness: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="LUFS",
        help="Loudness of the mix, -70 to 0, as far as a true peak of -1 dBTP permits.",
        show_default="-14",
        rich_help_panel=_WRITTEN,
    ),
]
Plot: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--plot", metavar="", help="Draw waveforms and pitch classes: plot.png.", rich_help_panel=_WRITTEN
    ),
]
Takes: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help=f"Make N candidates in one pass, 1 to {MAX_TAKES}: take-1/, take-2/, ...",
        show_default="1",
        rich_help_panel=_MADE,
    ),
]
PickOption: TypeAlias = Annotated[
    Pick | None,
    typer.Option(
        "--pick",
        metavar="all|best",
        help="best: rank the takes by how they fit the vocal, and put the first into the folder itself too.",
        show_default="all",
        rich_help_panel=_MADE,
    ),
]
Seed: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Another number, another accompaniment; 0 or more.",
        show_default="0",
        rich_help_panel=_MADE,
    ),
]
Temperature: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="How daring: 0 takes the likeliest token always, above 1 is wild.",
        show_default="the bundle's",
        rich_help_panel=_MADE,
    ),
]
TopK: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Choose among the N likeliest tokens, 1 or more.",
        show_default="the bundle's",
        rich_help_panel=_MADE,
    ),
]
Guidance: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="How closely to follow the vocal; 1 is as trained, and costs half.",
        show_default="the bundle's",
        rich_help_panel=_MADE,
    ),
]
SkipFine: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--skip-fine",
        metavar="",
        help="A quicker, coarser preview: leave out the last stage.",
        rich_help_panel=_MADE,
    ),
]
