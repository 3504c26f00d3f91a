"""What `hafm generate` is asked for: its options, and which of them go together.

In: options. Out: `GenerateOptions`, which `hafm.app.generate` fulfils.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hafm.app import options
from hafm.app.command import Range, argument, flag, option
from hafm.app.options import MADE, SOUND, WRITTEN
from hafm.app.sheet_command import SheetCommand
from hafm.errors import UsageError

__all__ = ["BESIDE_REPLAY", "GenerateOptions"]

_FREE = {"--vocal", "--separator", "--plot", "--stems", "--bundle", "--device"}
BESIDE_REPLAY = options.BESIDE_ANY_RECORD | _FREE
"""What can be given beside a record, which settles all else."""

_SETTLED_BY_KEEP = {"--replay", "--start", "--seconds", "--takes", "--pick", "--separate", "--no-guide"}
_SETTLED_BY_KEEP |= {"--engine", "--intro", "--ending", "--preview"}


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(SheetCommand, options.DrawingCommand):
    """The options of `hafm generate`."""

    vocal: Path | None = argument(options.VOCALS, "[VOCAL]", default=None)
    start: float | None = options.start()
    seconds: float | None = options.seconds()
    separate: bool = flag(
        "The recording is a whole song: take the vocal out of it first. Writes vocal.wav, too.", SOUND
    )
    separator: Path | None = option(
        "What takes it out: an MDX-Net, with MODEL.json beside it.",
        "MODEL.onnx",
        SOUND,
        shown=f"that of {options.VARIABLE}",
    )
    replay: Path | None = option(
        "Make the sound of an earlier run again, to the byte: its generation.json. "
        "VOCAL is needed only if it was moved.",
        "FILE",
        SOUND,
        shown=False,
    )
    keep: Path | None = option(
        "Make a stretch of an earlier take again and keep all else of it: its generation.json, beside "
        "its accompaniment. What is not said is as it was then.",
        "FILE",
        SOUND,
        shown=False,
    )
    region: str | None = option(
        "The stretch, in seconds of the accompaniment: 12.5-20. Ends on bars join best.",
        "FROM-TO",
        SOUND,
        shown=False,
    )
    output: Path = options.output()
    overwrite: bool = options.overwrite()
    format: options.SoundFormat = options.sound_format()
    balance: float | None = options.balance()
    loudness: float | None = options.loudness()
    plot: bool = flag("Draw waveforms and pitch classes: plot.png.", WRITTEN)
    stems: bool = options.stems()
    bundle: str | None = options.bundle_of_record()
    takes: int = option(
        f"Make N candidates in one pass, 1 to {options.MAX_TAKES}: take-1/, take-2/, ...",
        "N",
        MADE,
        default=1,
        within=Range(1, options.MAX_TAKES),
    )
    pick: Literal["all", "best"] = option(
        "best: rank the takes by how they fit the vocal, and put the first into the folder itself too.",
        "all|best",
        MADE,
        default="all",
    )
    seed: int = option(
        "Another number, another accompaniment; 0 or more.", "N", MADE, default=0, within=Range(0, 2**63 - 1)
    )
    no_guide: bool = flag("Follow no lead sheet: the model plays by the vocal alone.", MADE)
    guide_strength: float | None = option(
        "How closely to keep to the lead sheet; 1 is as trained.",
        "X",
        MADE,
        shown="the bundle's",
        within=Range(0),
    )
    style_strength: float | None = option(
        "How closely to keep to the lead sheet's style; the less, the better beats are kept.",
        "X",
        MADE,
        shown="5",
        within=Range(0),
    )
    players_strength: float | None = option(
        "How closely to keep to who plays; the more, the fewer others are heard.",
        "X",
        MADE,
        shown="3",
        within=Range(0),
    )
    intro: int = option(
        "Bars that the band plays before the vocal begins, 0 to 16.",
        "BARS",
        MADE,
        default=0,
        within=Range(0, 16),
    )
    ending: bool = flag("The band rings out after the vocal, on a last chord.", MADE)
    skip_fine: bool = options.skip_fine()
    preview: bool = flag(
        "Hear it while it is made: OUT.preview.wav, beside the output folder, has its coarser sound as "
        "far as there is any, and goes when the results are there.",
        WRITTEN,
    )
    device: str | None = options.device_of_record()
    engine: options.Engine | None = options.engine_of_record()

    def check(self) -> None:
        super().check()
        of_sheet = {
            **dict.fromkeys(self.corrections.given, True),
            "--guide": self.guide is not None,
            "--guide-strength": self.guide_strength is not None,
            "--style-strength": self.style_strength is not None,
            "--players-strength": self.players_strength is not None,
            "--intro": self.intro > 0,
            "--ending": self.ending,
        }
        if self.no_guide and (other := _first(of_sheet)):
            raise UsageError(
                f"--no-guide follows no lead sheet, and {other} says something of one; leave one out"
            )
        if self.free_time and (self.intro or self.ending):
            raise UsageError(
                "--free-time says that there are no bars, and an intro or an ending is made of them; leave "
                "one out"
            )
        if (self.keep is None) != (self.region is None):
            raise UsageError(
                "--keep names a take and --region the stretch of it that is made again; give both, as in: "
                "--keep out/generation.json --region 12.5-20"
            )
        _ = self.stretch, self.record
        if self.vocal is None and self.replay is None and self.keep is None:
            raise UsageError("no vocal was given; name one, as in: hafm generate vocal.wav -o out/")
        has_record = self.replay is not None or self.keep is not None
        if not has_record and self.separator is not None and not self.separate:
            raise UsageError("--separator was given without --separate; add --separate, or leave it out")
        several = {"--takes": self.takes > 1, "--separate": self.separate}
        longer = {"--intro": self.intro > 0, "--ending": self.ending}
        if self.preview and (other := _first({**several, **longer})):
            raise UsageError(f"--preview is for one new take of a vocal; leave it or {other} out")
        if self.pick == "best" and self.takes == 1 and self.replay is None:
            raise UsageError(
                "--pick best needs takes to choose from, and there is one; add --takes, as in: "
                "--takes 8 --pick best"
            )

    def check_given(self, names: Sequence[str]) -> None:
        kept = [name for name in names if name in _SETTLED_BY_KEEP]
        if self.keep is not None and kept:
            raise UsageError(
                f"{', '.join(kept)} cannot be given beside --keep, which takes that from the take; leave "
                "out the one or the other"
            )
        if self.replay is not None:
            options.require_settled(names, besides=BESIDE_REPLAY)

    @property
    def record(self) -> Path | None:
        """The record of the take that is replayed, or kept but for a stretch."""
        given = self.replay if self.keep is None else self.keep
        return None if given is None else options.record_file(given, "generate")

    @property
    def stretch(self) -> tuple[float, float] | None:
        """The seconds of the region; whether they are in the sound is seen later."""
        return None if self.region is None else _stretch(self.region)


def _first(given: Mapping[str, bool]) -> str | None:
    """The first of the options that were given."""
    return next((name for name, was_given in given.items() if was_given), None)


def _stretch(text: str) -> tuple[float, float]:
    """The seconds of a region; whether they are in the sound is seen later.

    >>> _stretch("12.5-20")
    (12.5, 20.0)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)\s*", text)
    if found is None:
        raise UsageError(f"--region is {text!r}; give seconds from and to, as in 12.5-20")
    start, end = float(found[1]), float(found[2])
    if end <= start:
        how = "ends where" if end == start else "ends before"
        raise UsageError(
            f"--region is {text!r}, which {how} it begins; give seconds from and to, as in 12.5-20"
        )
    return start, end
