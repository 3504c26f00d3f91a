"""The options of several commands: how each is spelt, what its help says, under which heading it is listed.

In: nothing. Out: one annotated type per option, for the fields of commands (`hafm.app.command`).
"""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from hafm.app.command import Command, Range, Required, option
from hafm.errors import UsageError

if TYPE_CHECKING:
    from hafm.generate.sampling import Chosen

__all__ = [
    "BUNDLES",
    "MADE",
    "MAX_TAKES",
    "MAX_WORKERS",
    "RUN",
    "SOUND",
    "TAKEN",
    "TOKENS",
    "VARIABLE",
    "VOCALS",
    "WRITTEN",
    "Augment",
    "Balance",
    "Bundle",
    "BundleOfRecord",
    "Device",
    "DeviceOfRecord",
    "DrawingCommand",
    "EngineOfRecord",
    "Format",
    "Kind",
    "KindOption",
    "Limit",
    "Loudness",
    "Output",
    "Overwrite",
    "QuarantineLimit",
    "Seconds",
    "Separator",
    "SkipFine",
    "SongFrom",
    "SoundFormat",
    "Start",
    "Subset",
    "SubsetOption",
    "argument",
    "cores",
    "levels",
    "needed",
    "output",
    "require_settled",
    "separator_path",
    "separator_threads",
    "take_folders",
]

SOUND, WRITTEN, MADE, RUN = "What to accompany", "What is written", "How it is made", "How it runs"
TAKEN, TOKENS = "What is taken", "How tokens are made"

MAX_WORKERS = 1024
MAX_TAKES = 32
"""Takes of one pass: each needs its own memory."""

VARIABLE = "HAFM_SEPARATOR"
"""Names a separator where no option does."""

BUNDLES = "builtin, a folder, or a hub id such as owner/name@revision"
VOCALS = "A recording of one voice: wav, flac, mp3, ogg, opus, and with ffmpeg m4a, mp4, webm."

Kind: TypeAlias = Literal["mixes", "pairs", "fma", "musdb18", "musdb18hq", "rendered"]
Subset: TypeAlias = Literal["small", "medium", "large", "full"]
SoundFormat: TypeAlias = Literal["wav", "flac"]


def argument(help: str, metavar: str) -> Any:
    """A word without an option's name, as a field's annotation holds it."""
    return typer.Argument(help=help, metavar=metavar, show_default=False)


def output(help: str, *, metavar: str = "FOLDER", panel: str | None = WRITTEN) -> Any:
    """The option for the folder that results go to."""
    return option(f"{help} Required.", "-o", "--output", metavar=metavar, panel=panel, default=False)


def needed(example: str) -> Required:
    """What is said where that option is not given."""
    return Required(f"no output folder was given; name one with -o, as in: -o {example}")


# ---- sound

Start: TypeAlias = Annotated[
    float | None,
    option("Begin here in the recording.", metavar="SECONDS", panel=SOUND, default="at its beginning"),
    Range(0),
]
Seconds: TypeAlias = Annotated[
    float | None,
    option("Take this much of it.", metavar="SECONDS", panel=SOUND, default="up to its end"),
    Range(0, open=True),
]
Balance: TypeAlias = Annotated[
    float | None,
    option(
        "The accompaniment against the vocal in the mix, -60 to 60.",
        metavar="DB",
        panel=WRITTEN,
        default="-3",
    ),
    Range(-60, 60),
]
Loudness: TypeAlias = Annotated[
    float | None,
    option(
        "Loudness of the mix, -70 to 0, as far as a true peak of -1 dBTP permits.",
        metavar="LUFS",
        panel=WRITTEN,
        default="-14",
    ),
    Range(-70, 0),
]
Format: TypeAlias = Annotated[
    SoundFormat, option("Of the sound files; both are 24 bit.", metavar="wav|flac", panel=WRITTEN)
]
Stems: TypeAlias = Annotated[
    bool, option("Write drums, bass, harmony and melody, too: stems/.", "--stems", panel=WRITTEN)
]
Output: TypeAlias = Annotated[Path, output("Where the results go."), needed("out/")]
Overwrite: TypeAlias = Annotated[
    bool, option("Results may replace files in the folder.", "--overwrite", panel=WRITTEN)
]

# ---- the model

_BUNDLE = f"The model: {BUNDLES}."
_DEVICE = "Where to compute: cpu, cuda, cuda:1, mps."

Bundle: TypeAlias = Annotated[str, option(_BUNDLE, metavar="NAME", panel=MADE)]
BundleOfRecord: TypeAlias = Annotated[
    str | None, option(_BUNDLE, metavar="NAME", panel=MADE, default="builtin, or the record's")
]
SkipFine: TypeAlias = Annotated[
    bool, option("A quicker, coarser preview: leave out the last stage.", "--skip-fine", panel=MADE)
]
Device: TypeAlias = Annotated[str, option(_DEVICE, metavar="NAME", panel=RUN)]
DeviceOfRecord: TypeAlias = Annotated[
    str | None, option(_DEVICE, metavar="NAME", panel=RUN, default="cpu, or the record's")
]

EngineOfRecord: TypeAlias = Annotated[
    Literal["auto", "torch", "onnx"] | None,
    option(
        "What runs the stages: torch; onnx, several times as fast on a processor (needs hafm\\[fast]); auto: "
        "onnx where it works.",
        "--engine",
        metavar="auto|torch|onnx",
        panel=RUN,
        default="auto, or the record's",
    ),
]


@dataclass(frozen=True, kw_only=True)
class DrawingCommand(Command):
    """Base of commands in which a model draws tokens."""

    temperature: Annotated[
        float | None,
        option(
            "How daring: 0 takes the likeliest token every time, above 1 is wild.",
            metavar="X",
            panel=MADE,
            default="the bundle's",
        ),
        Range(0),
    ] = None
    top_k: Annotated[
        int | None,
        option(
            "Choose among the N likeliest tokens, 1 or more.", metavar="N", panel=MADE, default="the bundle's"
        ),
        Range(1),
    ] = None
    guidance: Annotated[
        float | None,
        option(
            "How closely to follow the vocal; 1 is as trained, and costs half.",
            metavar="X",
            panel=MADE,
            default="the bundle's",
        ),
        Range(0),
    ] = None

    @property
    def drawing(self) -> "Chosen":
        """These, as `hafm.generate` takes them."""
        return {"temperature": self.temperature, "top_k": self.top_k, "guidance": self.guidance}


# ---- collections

KindOption: TypeAlias = Annotated[
    Kind | None,
    option(
        "Of the collection: mixes, pairs, fma, musdb18, musdb18hq, rendered.",
        "--kind",
        metavar="KIND",
        panel=TAKEN,
        default="guessed from what lies there",
    ),
]
SubsetOption: TypeAlias = Annotated[
    Subset | None,
    option(
        "Of FMA: small, medium, large, full.",
        "--subset",
        metavar="NAME",
        panel=TAKEN,
        default="the largest that is there",
    ),
]
SongFrom: TypeAlias = Annotated[
    str | None,
    option(
        "What tracks of one song share, so that splits keep them together: folder (of mixes and pairs); "
        "artist or album (of FMA).",
        metavar="WHAT",
        panel=TAKEN,
        default="every track is a song",
    ),
]

Limit: TypeAlias = Annotated[
    int | None,
    option(
        "Look at the first N tracks only; a later run without this takes the rest.",
        metavar="N",
        panel=TAKEN,
        default="all",
    ),
    Range(1),
]
QuarantineLimit: TypeAlias = Annotated[
    float, option("Stop when more than this share of the tracks cannot be used.", metavar="X", panel=TAKEN)
]
Separator: TypeAlias = Annotated[
    Path | None,
    option(
        "An MDX-Net that takes the vocal out of mixes.",
        metavar="MODEL.onnx",
        panel=TOKENS,
        default=f"that of {VARIABLE}",
    ),
]
Augment: TypeAlias = Annotated[
    bool,
    option("Make the views differ: rooms, filters, what leaks from the band.", "--augment", panel=TOKENS),
]


# ---- in place of an option that was not given

_MOST_THREADS = 4  # each chunk that is under way has the net's whole memory, about 1 GB of a real one


def cores() -> int:
    """Processor cores that this process may use; a container or a batch system may allow fewer than all.

    >>> cores() >= 1
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def levels(balance: float | None, loudness: float | None) -> dict[str, float]:
    """Levels of a mix, as far as they were given; the defaults are those of `hafm.audio.mixdown`.

    >>> levels(None, -16.0)
    {'loudness_lufs': -16.0}
    """
    given = {"balance_db": balance, "loudness_lufs": loudness}
    return {name: value for name, value in given.items() if value is not None}


def require_settled(names: Sequence[str], *, besides: Collection[str]) -> None:
    """Refuses options beside a record that is replayed, which settles all but a few.

    Args:
        names: of the options that were given.
        besides: those that the record leaves open.

    Raises:
        UsageError: another one was given.
    """
    if settled := [name for name in names if name not in besides]:
        raise UsageError(
            f"{', '.join(settled)} cannot stand beside --replay, which takes all of that from the record; "
            "leave out the one or the other"
        )


def take_folders(output: Path, takes: int) -> list[Path]:
    """Folders that hold the results of several takes: the output folder, and one of each take.

    >>> [path.as_posix() for path in take_folders(Path("out"), 2)]
    ['out', 'out/take-1', 'out/take-2']
    """
    return [output, *(output / f"take-{number}" for number in range(1, takes + 1) if takes > 1)]


def separator_path(given: Path | None, *, spelling: str) -> Path:
    """The separator: that of the option, or that of the environment.

    Args:
        given: what the option said, if it was there.
        spelling: of the option, for the message.

    Raises:
        UsageError: neither names one.

    >>> separator_path(Path("vocals.onnx"), spelling="--model")
    PosixPath('vocals.onnx')
    """
    if given is not None:
        return given
    if named := os.environ.get(VARIABLE):
        return Path(named)
    raise UsageError(
        f"no separator was given, and HAFM brings none; name an MDX-Net with {spelling} MODEL.onnx, or in "
        f"{VARIABLE}"
    )


def separator_threads(workers: int = 1) -> int:
    """Threads for the separator of each of several processes. Results do not depend on it.

    >>> separator_threads(1000)
    1
    """
    return max(1, min(_MOST_THREADS, cores() // workers))
