"""The options of `hafm evaluate`.

In: nothing. Out: one annotated type an option; see `hafm.app.commands.options`.
"""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from hafm.app import evaluate_request, prepare_request
from hafm.app.request import MAX_TAKES
from hafm.evaluate.systems import SYSTEMS

__all__ = [
    "Against",
    "BatchSize",
    "ClipSeconds",
    "ClipsASong",
    "Collection",
    "Embedding",
    "Guidance",
    "Index",
    "Kind",
    "MinActivity",
    "MinClipSeconds",
    "NoWorth",
    "Output",
    "ReportClips",
    "Seed",
    "Separator",
    "SkipFine",
    "SongFrom",
    "Songs",
    "Split",
    "Systems",
    "Takes",
    "Temperature",
    "TopK",
]

_TESTED, _COMPARED, _MEASURED, _RUN = (
    "What is tested on",
    "What is compared",
    "What is measured",
    "How it runs",
)

Collection: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="COLLECTION", help="A folder of vocals and their instrumentals.", show_default=False
    ),
]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FOLDER",
        help="Where sounds, scores and the report go; the same folder again goes on. Required.",
        show_default=False,
    ),
]
Kind: TypeAlias = Annotated[
    prepare_request.Kind | None,
    typer.Option(
        metavar="KIND",
        help="Of the collection: pairs, musdb18, musdb18hq, rendered.",
        show_default="guessed from what lies there",
        rich_help_panel=_TESTED,
    ),
]
SongFrom: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        help="What tracks of one song share: folder (of pairs).",
        show_default="every track is a song",
        rich_help_panel=_TESTED,
    ),
]
Split: TypeAlias = Annotated[
    evaluate_request.Split,
    typer.Option(
        metavar="NAME",
        help="test, valid, train or all. A collection without splits is taken whole.",
        rich_help_panel=_TESTED,
    ),
]
ClipSeconds: TypeAlias = Annotated[
    float,
    typer.Option(metavar="SECONDS", help="Length of a clip; clips do not overlap.", rich_help_panel=_TESTED),
]
MinClipSeconds: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Take what is left at a song's end too, if it is so long.",
        show_default="as long as a clip",
        rich_help_panel=_TESTED,
    ),
]
MinActivity: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="X", help="Share of a clip in which somebody must sing, 0 to 1.", rich_help_panel=_TESTED
    ),
]
Songs: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="N", help="The first N songs.", show_default="all", rich_help_panel=_TESTED),
]
ClipsASong: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="So many clips of a song, spread over it.",
        show_default="all",
        rich_help_panel=_TESTED,
    ),
]
Separator: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="MODEL.onnx",
        help="Add the separated arm (FADs): vocals that this MDX-Net takes out of the mixes.",
        show_default="isolated vocals alone",
        rich_help_panel=_TESTED,
    ),
]
Systems: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help=f"Some of {','.join(SYSTEMS)}.",
        show_default="all; retrieval with --index",
        rich_help_panel=_COMPARED,
    ),
]
Takes: TypeAlias = Annotated[
    int,
    typer.Option(
        metavar="N",
        help=f"Takes of the model, 1 to {MAX_TAKES}; 4 and 8 add rows for the best of so many.",
        rich_help_panel=_COMPARED,
    ),
]
Index: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Index of training songs, for retrieval.",
        show_default="no retrieval",
        rich_help_panel=_COMPARED,
    ),
]
Temperature: TypeAlias = Annotated[
    float | None,
    typer.Option(metavar="X", help="Of the model.", show_default="the bundle's", rich_help_panel=_COMPARED),
]
TopK: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="N", help="Of the model.", show_default="the bundle's", rich_help_panel=_COMPARED),
]
Guidance: TypeAlias = Annotated[
    float | None,
    typer.Option(metavar="X", help="Of the model.", show_default="the bundle's", rich_help_panel=_COMPARED),
]
SkipFine: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--skip-fine", metavar="", help="The model leaves out its last stage.", rich_help_panel=_COMPARED
    ),
]
Embedding: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="For distances, also several times: builtin, vggish:FILE, clap:MODEL, mert:MODEL.",
        show_default="builtin",
        rich_help_panel=_MEASURED,
    ),
]
NoWorth: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--no-worth",
        metavar="",
        help="Leave out the held-out loss with right and wrong vocals.",
        rich_help_panel=_MEASURED,
    ),
]
Against: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="RESULTS.json",
        help="Compare with an older run.",
        show_default=False,
        rich_help_panel=_MEASURED,
    ),
]
ReportClips: TypeAlias = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Clips to listen to in the report, about 1 MB each.",
        rich_help_panel=_MEASURED,
    ),
]
Seed: TypeAlias = Annotated[
    int,
    typer.Option(metavar="N", help="Of takes, pairings and intervals; 0 or more.", rich_help_panel=_COMPARED),
]
BatchSize: TypeAlias = Annotated[
    int,
    typer.Option(metavar="N", help="Takes that are made together; changes no sound.", rich_help_panel=_RUN),
]
