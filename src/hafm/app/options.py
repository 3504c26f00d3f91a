"""The options of several commands: how each is spelt, what its help says, under which heading it is listed.

In: nothing. Out: one function per option, which makes the field of a command (`hafm.app.command`).
"""

import contextlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from hafm.app.command import Command, Range, flag, option
from hafm.errors import OutputError, UsageError

if TYPE_CHECKING:
    from hafm.generate.sampling import Chosen

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
Engine: TypeAlias = Literal["auto", "torch", "onnx"]

# ---- sound

start = partial(
    option, "Begin here in the recording.", "SECONDS", SOUND, shown="at its beginning", within=Range(0)
)
seconds = partial(
    option, "Take this much of it.", "SECONDS", SOUND, shown="up to its end", within=Range(0, open=True)
)
balance = partial(
    option,
    "The accompaniment against the vocal in the mix, -60 to 60.",
    "DB",
    WRITTEN,
    shown="-3",
    within=Range(-60, 60),
)
loudness = partial(
    option,
    "Loudness of the mix, -70 to 0, as far as a true peak of -1 dBTP permits.",
    "LUFS",
    WRITTEN,
    shown="-14",
    within=Range(-70, 0),
)
sound_format = partial(option, "Of the sound files; both are 24 bit.", "wav|flac", WRITTEN, default="wav")
stems = partial(flag, "Write drums, bass, harmony and melody, too: stems/.", WRITTEN)
overwrite = partial(flag, "Results may replace files in the folder.", WRITTEN)


def output(
    help: str = "Where the results go.",
    *,
    example: str = "out/",
    metavar: str = "FOLDER",
    panel: str | None = WRITTEN,
    required: str = "no output folder was given; name one with -o, as in: -o {example}",
) -> Any:
    """The option for the folder that results go to."""
    required = required.format(example=example)
    spelt = ["-o", "--output"]
    return option(f"{help} Required.", metavar, panel, shown=False, required=required, spelt=spelt)


# ---- the model

_BUNDLE = f"The model: {BUNDLES}."
_DEVICE = "Where to compute: cpu, cuda, cuda:1, mps."

bundle = partial(option, _BUNDLE, "NAME", MADE, default="builtin")
bundle_of_record = partial(option, _BUNDLE, "NAME", MADE, shown="builtin, or the record's")
skip_fine = partial(flag, "A quicker, coarser preview: leave out the last stage.", MADE)
device = partial(option, _DEVICE, "NAME", RUN, default="cpu")
device_of_record = partial(option, _DEVICE, "NAME", RUN, shown="cpu, or the record's")
engine_of_record = partial(
    option,
    "What runs the stages: torch; onnx, several times as fast on a processor (needs hafm\\[fast]); auto: "
    "onnx where it works.",
    "auto|torch|onnx",
    RUN,
    shown="auto, or the record's",
)


@dataclass(frozen=True, kw_only=True)
class DrawingCommand(Command):
    """Base of commands in which a model draws tokens."""

    temperature: float | None = option(
        "How daring: 0 takes the likeliest token every time, above 1 is wild.",
        "X",
        MADE,
        shown="the bundle's",
        within=Range(0),
    )
    top_k: int | None = option(
        "Choose among the N likeliest tokens, 1 or more.", "N", MADE, shown="the bundle's", within=Range(1)
    )
    guidance: float | None = option(
        "How closely to follow the vocal; 1 is as trained, and costs half.",
        "X",
        MADE,
        shown="the bundle's",
        within=Range(0),
    )

    @property
    def drawing(self) -> "Chosen":
        """These, as `hafm.generate` takes them."""
        return {"temperature": self.temperature, "top_k": self.top_k, "guidance": self.guidance}


# ---- collections

kind = partial(
    option,
    "Of the collection: mixes, pairs, fma, musdb18, musdb18hq, rendered.",
    "KIND",
    TAKEN,
    shown="guessed from what lies there",
)
subset = partial(
    option, "Of FMA: small, medium, large, full.", "NAME", TAKEN, shown="the largest that is there"
)
song_from = partial(
    option,
    "What tracks of one song share, so that splits keep them together: folder (of mixes and pairs); artist "
    "or album (of FMA).",
    "WHAT",
    TAKEN,
    shown="every track is a song",
)
limit = partial(
    option,
    "Look at the first N tracks only; a later run without this takes the rest.",
    "N",
    TAKEN,
    shown="all",
    within=Range(1),
)
quarantine_limit = partial(
    option, "Stop when more than this share of the tracks cannot be used.", "X", TAKEN, default=0.02
)
separator = partial(
    option, "An MDX-Net that takes the vocal out of mixes.", "MODEL.onnx", TOKENS, shown=f"that of {VARIABLE}"
)
augment = partial(flag, "Make the views differ: rooms, filters, what leaks from the band.", TOKENS)


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


_RECORDS = {"generate": ("generation.json", "bundle"), "arrange": ("arrangement.json", "soundfont")}
"""Of each command that replays: its record, and a field that the other's lacks."""


def record_file(given: Path, command: str) -> Path:
    """The record that a user names, by itself or by its folder.

    Args:
        command: that is to read it: generate or arrange.

    Raises:
        UsageError: it is that of the other command, or the folder has none.
    """
    name, own = _RECORDS[command]
    file = given
    if given.is_dir():
        names = [name, *(each for each, _ in _RECORDS.values())]
        file = next((given / each for each in names if (given / each).exists()), given)
    if file.is_dir():
        raise UsageError(f"'{given}' is a folder without {name}; name a record, or a folder that holds one")
    # What is no record at all is for its reader to refuse.
    with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
        values = json.loads(file.read_bytes())
        for other, (_, field) in _RECORDS.items():
            if other != command and field in values and own not in values:
                raise UsageError(
                    f"'{file}' was made by hafm {other}; give it to that: hafm {other} --replay {file}"
                )
    return file


BESIDE_ANY_RECORD = frozenset({"--replay", "--output", "--overwrite", "--json", "--quiet", "--debug"})
"""What no record settles."""


def require_settled(names: Sequence[str], *, besides: Collection[str]) -> None:
    """Refuses options beside a record that is replayed, which settles all but a few.

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


def require_elsewhere(
    folder: Path, held: Mapping[str, Path | None], *, results: Collection[str] | None = None
) -> None:
    """Refuses a folder in which results would replace what came in.

    Args:
        held: the files that came in, by what they are.
        results: names below the folder; None where any could be.

    Raises:
        OutputError: one would.
    """
    for what, path in held.items():
        if path is None or not path.exists():
            continue
        if results is None:
            is_held = path.resolve().parent == folder.resolve()
        else:  # by the file and not by its name: links, and disks that take `A` for `a`
            places = (folder / name for name in results)
            is_held = any(place.exists() and place.samefile(path) for place in places)
        if is_held:
            raise OutputError(
                f"'{folder}' holds the {what} itself ('{path}'), which must not be replaced; give another "
                "folder with -o"
            )


def require_sound(path: Path | None) -> None:
    """Refuses a file that cannot be opened, before what reads it is loaded; None is for later.

    Raises:
        AudioError: it cannot.
    """
    from hafm.audio.source import open_source

    if path is not None:
        with open_source(path):
            pass


def separator_path(given: Path | None, *, spelling: str) -> Path:
    """The separator: that of the option, or that of the environment.

    Args:
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
