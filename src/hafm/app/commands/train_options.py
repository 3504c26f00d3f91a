"""The options of `hafm train`.

In: nothing. Out: one annotated type an option; see `hafm.app.commands.options`.
"""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "Allow",
    "Compile",
    "Data",
    "Device",
    "DryRun",
    "Init",
    "Recipe",
    "Run",
    "SampleBundle",
    "SampleEvery",
    "Set",
    "Stage",
    "TensorBoard",
    "Threads",
]

_LEARNT, _KEPT, _RUN = "What is learnt, and how", "What is written", "How it runs"

Stage: TypeAlias = Annotated[
    str, typer.Argument(metavar="STAGE", help="semantic, coarse or fine.", show_default=False)
]
Recipe: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="paper, builtin, tiny, or a YAML file.", rich_help_panel=_LEARNT)
]
Set: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Change a field of the recipe, or of its stage: spec.FIELD. May be given again.",
        rich_help_panel=_LEARNT,
    ),
]
Data: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="SHARDS",
        help="What hafm prepare made: a folder or a URL. Required.",
        show_default=False,
        rich_help_panel=_LEARNT,
    ),
]
Init: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="BUNDLE",
        help="Start from the stage of a bundle: builtin, a folder, or a hub id.",
        show_default="a new stage",
        rich_help_panel=_LEARNT,
    ),
]
Run: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="Folder of the run. If it holds one, that goes on. Required.",
        show_default=False,
        rich_help_panel=_KEPT,
    ),
]
TensorBoard: TypeAlias = Annotated[
    bool,
    typer.Option("--tensorboard", metavar="", help="Write TensorBoard's files too.", rich_help_panel=_KEPT),
]
SampleEvery: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Play a held-out clip every N steps: RUN/samples/.",
        show_default="never",
        rich_help_panel=_KEPT,
    ),
]
SampleBundle: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="BUNDLE",
        help="Whose coarse and fine stages play what the semantic stage samples.",
        show_default="none",
        rich_help_panel=_KEPT,
    ),
]
DryRun: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        metavar="",
        help="Show the recipe, size, memory and hours; try one step and a checkpoint; leave nothing.",
        rich_help_panel=_RUN,
    ),
]
Allow: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHAT",
        help="Go on though it differs: data, recipe, world (number of ranks), software. May be given again.",
        show_default="none",
        rich_help_panel=_RUN,
    ),
]
Device: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="cpu, cuda, or cuda:1.",
        show_default="a GPU where there is one",
        rich_help_panel=_RUN,
    ),
]
Threads: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Threads on a processor.", show_default="as torch chooses", rich_help_panel=_RUN
    ),
]
Compile: TypeAlias = Annotated[
    bool,
    typer.Option("--compile", metavar="", help="Compile the stage (torch.compile).", rich_help_panel=_RUN),
]
