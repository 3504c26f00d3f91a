"""What `hafm arrange` is to do: vocal or sheet are read, instruments are open, and nothing is made yet.

In: files. Out: a lead sheet, instruments, or the whole `Job` of a record that is replayed; or a refusal.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hafm.errors import AudioContentError, SoundfontError, UsageError

if TYPE_CHECKING:
    from hafm.app.sheet_command import SheetRequest
    from hafm.arrange.record import ArrangementRecord
    from hafm.arrange.soundfont import Soundfont
    from hafm.audio.sound import Audio
    from hafm.guide.corrections import Corrections
    from hafm.guide.lead_sheet import LeadSheet

__all__ = ["Job", "is_sheet", "open_instruments", "read_sheet", "replayed"]

_LONGEST_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be done.

    Args:
        record: all of it that is known before; its sheet is a stand-in where it is to be heard.
        sheet: what is played; None if the vocal is to be analysed.
        vocal: what is accompanied; None for nothing.
        inputs: files that came in, by what they are.
        corrections: of what is heard.
        known: of a vocal's sheet, before it is heard.
    """

    record: "ArrangementRecord"
    sheet: "LeadSheet | None"
    vocal: "Audio | None"
    seconds: float
    soundfont: "Soundfont"
    inputs: Mapping[str, Path | None]
    corrections: "Corrections | None" = None
    known: "LeadSheet | None" = None
    notes: tuple[str, ...] = ()

    @property
    def num_samples(self) -> int:
        return round(self.seconds * self.record.settings.sample_rate)

    def heard(self, bundle: str) -> "LeadSheet":
        """The lead sheet that a bundle's analyser hears in the vocal."""
        from hafm.generate.steps import analyse
        from hafm.stages.bundle import Bundle

        assert self.vocal is not None, "a sheet or a vocal was given"
        return analyse(Bundle.open(bundle), self.vocal, given=self.known, corrections=self.corrections)


def is_sheet(path: Path) -> bool:
    """Whether a file is a lead sheet, by its name."""
    from hafm.guide.sheet_files import SHEET_SUFFIXES

    return path.suffix.casefold() in SHEET_SUFFIXES


def read_sheet(
    path: Path, sheet_request: "Callable[[float], SheetRequest]"
) -> "tuple[LeadSheet, SheetRequest]":
    """The sheet of a file, or of a chart at a tempo, as it is corrected; as long as it says itself."""
    from hafm.guide.corrections import corrected
    from hafm.guide.lead_sheet import LeadSheet
    from hafm.guide.sheet_files import read_chart, read_lead_sheet

    chart = read_chart(path)
    if chart is None:
        sheet = read_lead_sheet(path, duration_seconds=None)
        _check_seconds(path, sheet.duration_seconds)
        asked = sheet_request(sheet.duration_seconds)
        if sheet.beats and asked.corrections.bpm is not None:
            raise UsageError(
                f"--bpm contradicts the beats of '{path}'; leave it out (--half-time and --first-beat change "
                "them)"
            )
        return corrected(sheet, asked.corrections), asked
    seconds = _chart_seconds(path, chart, sheet_request(_LONGEST_SECONDS).corrections)
    _check_seconds(path, seconds)
    asked = sheet_request(seconds)
    first_beat = asked.corrections.first_beat or 0.0
    with_chart = replace(asked.corrections, chords=chart, first_beat=first_beat)
    return corrected(LeadSheet(duration_seconds=seconds), with_chart), asked


def _chart_seconds(path: Path, chart: str, corrections: "Corrections") -> float:
    """How long a chart lasts at a tempo.

    Raises:
        UsageError: there is no tempo, or other chords.
    """
    from hafm.guide.chart import parse_chart

    if corrections.chords is not None:
        raise UsageError(f"'{path}' is a chart, and --chords is another; leave one out")
    if corrections.bpm is None:
        raise UsageError(f"'{path}' is a chart, which has no tempo; give one, as in --bpm 92")
    beats_per_bar = corrections.meters[0][1].beats_per_bar if corrections.meters else 4
    beats = len(parse_chart(chart).bars) * beats_per_bar
    return (corrections.first_beat or 0.0) + beats * 60 / corrections.bpm


def replayed(path: Path, *, source: Path | None, soundfont: Path | None) -> Job:
    """What a record says, with the same vocal and instruments.

    Raises:
        UsageError: the record cannot be read.
        SoundfontError, AudioError: the instruments or the vocal are others than the record's.
    """
    from hafm.arrange.record import ArrangementRecord, here
    from hafm.audio.io import read_audio

    record = ArrangementRecord.read(path)
    then = record.soundfont.get("path")
    chosen = soundfont or (None if then is None else Path(then))
    instruments, used = open_instruments(chosen)
    if used["sha256"] != record.soundfont.get("sha256"):
        raise SoundfontError(
            f"the record '{path}' was made with another soundfont, of SHA-256 "
            f"{record.soundfont.get('sha256')}; name that one with --soundfont"
        )
    vocal = None
    where = source or Path(record.input.path)
    if record.input.kind == "vocal":
        vocal = read_audio(where, start_seconds=record.input.start_seconds, seconds=record.input.seconds)
        if vocal.sha256 != record.input.sha256:
            raise AudioContentError(
                f"the record '{path}' was made from a vocal with SHA-256 {record.input.sha256}, and "
                f"'{where}' has {vocal.sha256}; give the same file"
            )
    return Job(
        record=replace(record, environment=here(), soundfont=used),
        sheet=record.lead_sheet,
        vocal=vocal,
        seconds=record.lead_sheet.duration_seconds if vocal is None else vocal.seconds,
        soundfont=instruments,
        inputs={"record": path, "vocal": None if vocal is None else where},
    )


def open_instruments(path: Path | None) -> "tuple[Soundfont, dict[str, str]]":
    """The instruments, and what the record says of them."""
    from hafm.arrange.soundfont import DRUM_BANK, SHIPPED, open_soundfont

    chosen = SHIPPED if path is None else path
    soundfont = open_soundfont(chosen)
    for bank in (0, DRUM_BANK):
        soundfont.zones(bank=bank, program=0)  # refuses one that lacks instruments or drums
    used = {"name": chosen.name, "sha256": hashlib.sha256(chosen.read_bytes()).hexdigest()}
    return soundfont, used if path is None else {**used, "path": str(path.resolve())}


def _check_seconds(path: Path, seconds: float) -> None:
    from hafm.audio.sound import MAX_SECONDS
    from hafm.errors import LeadSheetError

    if seconds > MAX_SECONDS:
        raise LeadSheetError(
            f"'{path}' lasts {seconds:.0f} s, and a song {MAX_SECONDS:.0f} s at most; give a part of it"
        )
