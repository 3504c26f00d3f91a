"""The options of `hafm prepare`.

In: nothing. Out: one annotated type an option; see `hafm.app.commands.options`.
"""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from hafm.app import prepare_request

__all__ = [
    "Address",
    "Augment",
    "BatchSize",
    "ClipSeconds",
    "DryRun",
    "Engine",
    "KMeans",
    "Kind",
    "Limit",
    "MaxVocalOver",
    "MinInstrumental",
    "Output",
    "Parts",
    "QuarantineLimit",
    "Retry",
    "Seed",
    "Separator",
    "SongFrom",
    "Source",
    "Subset",
    "TestShare",
    "ValidShare",
    "Views",
    "Workers",
]

_TAKEN, _MADE, _KEPT, _RUN = "What is taken", "How tokens are made", "What is kept", "How it runs"

Source: TypeAlias = Annotated[
    Path, typer.Argument(metavar="SOURCE", help="The folder of a music collection.", show_default=False)
]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FOLDER",
        help="Where the shards go; the same folder again goes on. Required.",
        show_default=False,
    ),
]
Kind: TypeAlias = Annotated[
    prepare_request.Kind | None,
    typer.Option(
        metavar="KIND",
        help="Of the collection: mixes, pairs, fma, musdb18, musdb18hq, rendered.",
        show_default="guessed from what lies there",
        rich_help_panel=_TAKEN,
    ),
]
Subset: TypeAlias = Annotated[
    prepare_request.Subset | None,
    typer.Option(
        metavar="NAME",
        help="Of FMA: small, medium, large, full.",
        show_default="the largest that is there",
        rich_help_panel=_TAKEN,
    ),
]
SongFrom: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        help="What tracks of one song share, so that splits keep them together: folder (of mixes and pairs); "
        "artist or album (of FMA).",
        show_default="every track is a song",
        rich_help_panel=_TAKEN,
    ),
]
Limit: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Look at the first N tracks only; a later run without this takes the rest.",
        show_default="all",
        rich_help_panel=_TAKEN,
    ),
]
ValidShare: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="X",
        help="Share of songs held out for validation, where the collection does not say.",
        rich_help_panel=_TAKEN,
    ),
]
TestShare: TypeAlias = Annotated[
    float,
    typer.Option(metavar="X", help="Share of songs held out for tests.", rich_help_panel=_TAKEN),
]
QuarantineLimit: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="X",
        help="Stop when more than this share of the tracks cannot be used.",
        rich_help_panel=_TAKEN,
    ),
]
Retry: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--retry",
        metavar="",
        help="Look at quarantined tracks again, now that their files were mended.",
        rich_help_panel=_TAKEN,
    ),
]

Parts: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Features, codec and k-means: builtin, paper, a folder of fit-kmeans, or a bundle.",
        rich_help_panel=_MADE,
    ),
]
KMeans: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--kmeans",
        metavar="FOLDER",
        help="The k-means of this folder, in place of those of the parts.",
        show_default=False,
        rich_help_panel=_MADE,
    ),
]
Separator: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="MODEL.onnx",
        help="An MDX-Net that takes the vocal out of mixes.",
        show_default="that of HAFM_SEPARATOR",
        rich_help_panel=_MADE,
    ),
]
Views: TypeAlias = Annotated[
    int,
    typer.Option(metavar="N", help="Tokenise each vocal N times.", rich_help_panel=_MADE),
]
Augment: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--augment",
        metavar="",
        help="Make the views differ: rooms, filters, what leaks from the band.",
        rich_help_panel=_MADE,
    ),
]
Seed: TypeAlias = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Of noise, augmentation and splits; 0 or more.",
        rich_help_panel=_MADE,
    ),
]

ClipSeconds: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="SECONDS",
        help="Length of the clips that are kept or dropped.",
        rich_help_panel=_KEPT,
    ),
]
MinInstrumental: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="DBFS",
        help="Drop clips whose instrumental is quieter (RMS), -120 to 0.",
        rich_help_panel=_KEPT,
    ),
]
MaxVocalOver: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="DB",
        help="Drop clips whose vocal is louder than the instrumental by more, -120 to 120.",
        rich_help_panel=_KEPT,
    ),
]

Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Processes, each with its own models; 0 works in this one.",
        show_default="one a core",
        rich_help_panel=_RUN,
    ),
]
BatchSize: TypeAlias = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Tracks that a worker takes at once; for GPUs.",
        rich_help_panel=_RUN,
    ),
]
Engine: TypeAlias = Annotated[
    prepare_request.Engine,
    typer.Option(
        metavar="local|ray",
        help="What runs the workers: this machine, or a Ray cluster.",
        rich_help_panel=_RUN,
    ),
]
Address: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Of a running Ray cluster; auto finds the one of this machine.",
        show_default="a new one, here",
        rich_help_panel=_RUN,
    ),
]
DryRun: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        metavar="",
        help="Scan, try a few tracks, tell what it would take, and write nothing.",
        rich_help_panel=_RUN,
    ),
]
