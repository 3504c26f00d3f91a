"""The options of commands that make or follow a lead sheet: what the user knows better, and in which file.

In: options. Out: `Corrections`, and the `LeadSheet` of a file, both checked before a model is loaded.

Of a part that both a file and an option say, the option holds, and a note says so. A tempo is no correction
of beats that a file has, so the two are refused together.
"""

import os
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hafm.app.command import Command, Range, flag, option
from hafm.errors import AudioError, LeadSheetError, UsageError

if TYPE_CHECKING:
    from hafm.audio.sound import Audio
    from hafm.guide.corrections import Corrections
    from hafm.guide.lead_sheet import LeadSheet

__all__ = ["SHEET", "SheetCommand", "SheetRequest"]

SHEET = "What you know better"
_STYLES = "rock, ballad, disco, funk, bossa, reggae, trap, folk, synth, shuffle, unplugged, waltz"
_OVERRIDDEN = {
    "chords": ("--chords", "chords"),
    "keys": ("--key", "key"),
    "style": ("--style", "style"),
    "arrangement": ("--players", "players"),
}


@dataclass(frozen=True, kw_only=True)
class SheetRequest:
    """What is known of a lead sheet before anything is heard.

    Args:
        given: of a file; None without one.
        corrections: of it, or of what is heard.
        notes: what gives way to what, one line each.
    """

    given: "LeadSheet | None"
    corrections: "Corrections"
    notes: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether all is left to the analyser."""
        return self.given is None and not self.corrections.given


@dataclass(frozen=True, kw_only=True)
class SheetCommand(Command):
    """Base of commands with these options."""

    bpm: float | None = option(
        "Beats per minute, exact to the end, 20 to 400; where they lie is found.",
        "N",
        SHEET,
        shown="as heard",
        within=Range(20, 400),
    )
    first_beat: float | None = option(
        "The first bar begins here; bars, and chords by bars, move with it.",
        "SECONDS",
        SHEET,
        shown="as heard",
        within=Range(0),
    )
    meter: str | None = option(
        "As in 3/4 or 6/8; with changes at bars: 4/4, 3/4@9.", "METER", SHEET, shown="as heard"
    )
    half_time: bool = flag("It goes half as fast as was heard.", SHEET)
    double_time: bool = flag("It goes twice as fast as was heard.", SHEET)
    free_time: bool = flag("There is no beat.", SHEET)
    key: str | None = option(
        "As in Am, F# minor, Bb; with changes at bars: Am, C@9. Chords are found in it.",
        "KEY",
        SHEET,
        shown="as heard",
    )
    chords: str | None = option(
        'Bars of chords from the first downbeat on, repeated to the end: "| Am | F | C  G/B | % |".',
        "CHART",
        SHEET,
        shown="as heard",
    )
    transpose_chords: int = option(
        "Semitones that chords sound higher than written, -11 to 11: a capo.",
        "N",
        SHEET,
        default=0,
        within=Range(-11, 11),
    )
    style: str | None = option(f"Of the band: {_STYLES}.", "NAME", SHEET, shown="the model's choice")
    players: str | None = option(
        'Who plays: "bass harmony", or all; with changes at bars: "harmony, all@5".',
        "NAMES",
        SHEET,
        shown="as the voice is full",
    )
    guide: Path | None = option(
        "A lead sheet to begin with: lead-sheet.json, .lab (chords), .txt (beats, or a chart), .mid. "
        "What it does not say is heard.",
        "FILE",
        SHEET,
        shown=False,
    )

    def check(self) -> None:
        _ = self.corrections

    @cached_property
    def corrections(self) -> "Corrections":
        """The options, understood.

        Raises:
            UsageError, LeadSheetError: they are not, or contradict each other.
        """
        from hafm.guide.corrections import Corrections

        try:
            return Corrections(**{each.name: getattr(self, each.name) for each in fields(Corrections)})
        except LeadSheetError as error:
            if self.chords and "." in self.chords and os.path.isfile(self.chords):
                raise UsageError(
                    f"--chords is '{self.chords}', the name of a file; give it with --guide {self.chords}"
                ) from error
            raise

    def sheet_request(self, duration_seconds: float, *, part: "Audio | None" = None) -> SheetRequest:
        """The options and the file, for a sound of that length.

        Args:
            part: the sound, where the sheet may be that of the whole recording that it is taken from.

        Raises:
            UsageError, LeadSheetError: the file cannot be read, or does not go with the sound or the options.
        """
        from hafm.guide.sheet_files import read_chart, read_lead_sheet

        corrections, given, cropped = self.corrections, None, []
        if self.guide is not None:
            chart = read_chart(self.guide)
            if chart is None:
                try:
                    given = read_lead_sheet(self.guide, duration_seconds=duration_seconds)
                except LeadSheetError:
                    if part is None or (given := _cropped(self.guide, part)) is None:
                        raise
                    end = part.start_seconds + part.seconds
                    cropped = [
                        f"'{self.guide}' is the sheet of the whole recording: what it says from "
                        f"{part.start_seconds:g} to {end:g} s is followed"
                    ]
            elif self.chords is not None:
                raise UsageError(f"'{self.guide}' is a chart, and --chords is another; leave one out")
            elif self.free_time:
                raise UsageError(
                    f"'{self.guide}' is a chart, and --free-time says that there are no bars; leave one out"
                )
            else:
                corrections = replace(corrections, chords=chart)
        corrections.require_duration(duration_seconds)
        if given is None:
            return SheetRequest(given=None, corrections=corrections, notes=())
        if given.beats and self.bpm is not None:
            raise UsageError(
                f"--bpm contradicts the beats of '{self.guide}'; leave one out (--half-time and --first-beat "
                "change them)"
            )
        notes = tuple(
            f"{spelt} holds, and not the {words} of '{self.guide}'"
            for part, (spelt, words) in _OVERRIDDEN.items()
            if spelt in corrections.given and getattr(given, part)
        )
        return SheetRequest(given=given, corrections=corrections, notes=(*cropped, *notes))


def _cropped(path: Path, part: "Audio") -> "LeadSheet | None":
    """A file's sheet of the whole recording, as far as it is of a part; None if it is of something else."""
    from hafm.audio.read_blocks import survey
    from hafm.guide.sheet_files import fitted, read_lead_sheet

    assert part.path is not None, "it was read from a file"
    try:
        whole_seconds = survey(part.path).seconds
        sheet = read_lead_sheet(path, duration_seconds=whole_seconds)
        end = min(part.start_seconds + part.seconds, whole_seconds)
        return fitted(sheet.cropped(part.start_seconds, end), part.seconds, where=f"'{path}'")
    except (AudioError, LeadSheetError):
        return None
