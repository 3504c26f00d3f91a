"""The options of `hafm listen make` and `hafm listen score`.

In: nothing. Out: one annotated type an option; see `hafm.app.commands.options`.
"""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from hafm.evaluate.listening.design import Plan
from hafm.evaluate.listening.scores import MIN_CATCH

__all__ = [
    "AnswerFiles",
    "Arm",
    "Catch",
    "Key",
    "LeaveOut",
    "ListenSeconds",
    "MinCatch",
    "Output",
    "Repeats",
    "Run",
    "Seed",
    "Systems",
    "Trials",
]

_WRITTEN, _HEARD, _COUNTED = "What is written", "What is heard", "Who counts"
_PLAN = Plan()

Run: TypeAlias = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Folder that hafm evaluate filled.", show_default=False),
]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="KIT",
        help="Folder for listen.html (for raters) and key.json (for you). Required.",
        show_default=False,
        rich_help_panel=_WRITTEN,
    ),
]
Systems: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="What to compare, with commas between.",
        show_default="model,retrieval,random,truth where the run has them",
        rich_help_panel=_HEARD,
    ),
]
Trials: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Trials that compare systems; each pair of systems gets its share.",
        show_default=str(_PLAN.trials),
        rich_help_panel=_HEARD,
    ),
]
Catch: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Catch trials: the truth against noise or silence, to tell who listens.",
        show_default=str(_PLAN.catch),
        rich_help_panel=_HEARD,
    ),
]
Repeats: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Trials that come again with the sides swapped, to tell who is consistent.",
        show_default=str(_PLAN.repeats),
        rich_help_panel=_HEARD,
    ),
]
ListenSeconds: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        help="How long both sides must be heard (or to their end) before an answer counts.",
        show_default=f"{_PLAN.listen_seconds:g}",
        rich_help_panel=_HEARD,
    ),
]
Arm: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="ARM",
        help="Accompaniments made for isolated or for separated vocals.",
        show_default="isolated",
        rich_help_panel=_HEARD,
    ),
]
Seed: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Another number gives another kit of the same run.",
        show_default=str(_PLAN.seed),
        rich_help_panel=_HEARD,
    ),
]

Key: TypeAlias = Annotated[
    Path, typer.Argument(metavar="KEY", help="The key.json of the kit.", show_default=False)
]
AnswerFiles: TypeAlias = Annotated[
    list[Path],
    typer.Argument(metavar="ANSWERS...", help="Files that raters saved, one of each.", show_default=False),
]
MinCatch: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Name raters who chose the truth in fewer of their catch trials.",
        show_default=f"{MIN_CATCH:g}",
        rich_help_panel=_COUNTED,
    ),
]
LeaveOut: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--leave-out",
        metavar="",
        help="Count nothing of such raters.",
        rich_help_panel=_COUNTED,
    ),
]
