"""What `hafm generate` was asked for, checked before anything heavy is loaded.

In: the options of the command line. Out: a `Request` whose values are in range and fit together, or a
`UsageError`.

Convention: None means "not given", and the default of the bundle or of the mixdown holds; 0 is a value.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from hafm.errors import UsageError

__all__ = ["MAX_TAKES", "Format", "Pick", "Request"]

Format: TypeAlias = Literal["wav", "flac"]
Pick: TypeAlias = Literal["all", "best"]

MAX_TAKES = 32
"""Takes of one pass: each needs its own memory."""

_MAX_SEED = 2**63 - 1

# What a record settles, and so cannot be given beside it.
_SETTLED_BY_REPLAY = {
    "start_seconds": "--start",
    "seconds": "--seconds",
    "format": "--format",
    "balance_db": "--balance",
    "loudness_lufs": "--loudness",
    "takes": "--takes",
    "pick": "--pick",
    "seed": "--seed",
    "temperature": "--temperature",
    "top_k": "--top-k",
    "guidance": "--guidance",
    "skip_fine": "--skip-fine",
    "separate": "--separate",
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """One run of `hafm generate`.

    Args:
        output: the folder for the results.
        vocal: the recording; None only with `replay`, which knows it.
        replay: a `generation.json` whose sound is to be made again.
        takes: how many candidates, 1 to `MAX_TAKES`; None for one.
        pick: `best` ranks the takes, of which there are two or more then; None for `all`.
        seed: 0 or more.
        temperature: 0 or more.
        top_k: 1 or more.
        guidance: 0 or more.
        start_seconds, seconds: the part of the vocal; 0 or more, and more than 0.
        skip_fine: a preview of the coarse codes alone.
        bundle: `builtin`, a folder or a hub id; None for `builtin`, or for that of the replayed record.
        device: where to compute; None for `cpu`, or for that of the replayed record.
        balance_db: the accompaniment against the vocal, -60 to 60.
        loudness_lufs: of the mix, -70 to 0.
        format: of the sound files.
        separate: the recording is a whole song, and the vocal is to be taken out of it.
        separator: the `.onnx` that takes it out; None for that of HAFM_SEPARATOR, or of the replayed record.
        plot: draw a picture of each take.
        overwrite: results may take the place of files in `output`.

    Raises:
        UsageError: a value is missing, out of range, or settled by `replay`; the message names the option.

    >>> Request(output=Path("out"), vocal=Path("vocal.wav"), takes=0)
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: --takes is 0; give a number from 1 to 32
    """

    output: Path
    vocal: Path | None = None
    replay: Path | None = None
    takes: int | None = None
    pick: Pick | None = None
    seed: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    guidance: float | None = None
    start_seconds: float | None = None
    seconds: float | None = None
    skip_fine: bool = False
    bundle: str | None = None
    device: str | None = None
    balance_db: float | None = None
    loudness_lufs: float | None = None
    format: Format | None = None
    separate: bool = False
    separator: Path | None = None
    plot: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.vocal is None and self.replay is None:
            raise UsageError("no vocal was given; name one, as in: hafm generate vocal.wav -o out/")
        _require("--takes", self.takes, 1, MAX_TAKES)
        _require("--seed", self.seed, 0, _MAX_SEED)
        _require("--temperature", self.temperature, 0)
        _require("--top-k", self.top_k, 1)
        _require("--guidance", self.guidance, 0)
        _require("--start", self.start_seconds, 0)
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise UsageError(f"--seconds is {self.seconds:g}; give a number above 0")
        _require("--balance", self.balance_db, -60, 60)
        _require("--loudness", self.loudness_lufs, -70, 0)
        if self.replay is not None:
            self._refuse_beside_replay()
        elif self.separator is not None and not self.separate:
            raise UsageError("--separator was given without --separate; add --separate, or leave it out")
        if self.pick == "best" and self.num_takes == 1:
            raise UsageError(
                "--pick best needs takes to choose from, and there is one; add --takes, as in: "
                "--takes 8 --pick best"
            )

    @property
    def num_takes(self) -> int:
        """How many candidates."""
        return 1 if self.takes is None else self.takes

    def _refuse_beside_replay(self) -> None:
        # Not `value in (None, False)`: that holds for 0, which is a value.
        given = [
            option
            for name, option in _SETTLED_BY_REPLAY.items()
            if not ((value := getattr(self, name)) is None or value is False)
        ]
        if given:
            raise UsageError(
                f"{', '.join(given)} cannot stand beside --replay, which takes all of that from the record; "
                "leave out the one or the other"
            )


def _require(option: str, value: float | int | None, low: int, high: int | None = None) -> None:
    if value is None:
        return
    # Not `value < low`: nan is in no range.
    if not (math.isfinite(value) and low <= value and (high is None or value <= high)):
        limits = f"of {low} or more" if high is None else f"from {low} to {high}"
        raise UsageError(f"{option} is {value}; give a number {limits}")
