"""What `hafm arrange` is asked for, its blanks filled in: by defaults, or by a record that is replayed.

In: the request. Out: a `Job`: the vocal or sheet is read, the instruments are open, and nothing is made yet;
or a refusal.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hafm.errors import AudioContentError, SoundfontError, UsageError

if TYPE_CHECKING:
    from hafm.app.options import SoundFormat
    from hafm.app.sheet_command import SheetRequest
    from hafm.arrange.record import ArrangementRecord
    from hafm.arrange.soundfont import Soundfont
    from hafm.audio.sound import Audio
    from hafm.guide.corrections import Corrections
    from hafm.guide.lead_sheet import LeadSheet

__all__ = ["Job", "is_sheet", "job_of"]

_SHEET_RATE = 48_000
_LONGEST_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be done.

    Args:
        record: all of it that is known before; its sheet is a stand-in where it is to be heard.
        sheet: what is played; None if the vocal is to be analysed.
        vocal: what is accompanied; None for nothing.
        seconds: of the sound.
        soundfont: the instruments.
        inputs: files that came in.
        corrections: of what is heard.
        known: of a vocal's sheet, before it is heard.
        notes: what a user should know.
    """

    record: "ArrangementRecord"
    sheet: "LeadSheet | None"
    vocal: "Audio | None"
    seconds: float
    soundfont: "Soundfont"
    inputs: Sequence[Path]
    corrections: "Corrections | None" = None
    known: "LeadSheet | None" = None
    notes: tuple[str, ...] = ()

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


def job_of(
    *,
    source: Path | None,
    start: float | None,
    seconds: float | None,
    guide: Path | None,
    sheet_request: "Callable[[float], SheetRequest]",
    replay: Path | None,
    soundfont: Path | None,
    style: str | None,
    seed: int,
    excerpt: bool,
    stems: bool,
    format: "SoundFormat",
    balance: float | None,
    loudness: float | None,
) -> Job:
    """Reads what a request names; the options are those of `hafm arrange`.

    Raises:
        UsageError: the record cannot be read.
        LeadSheetError: the lead sheet cannot be read, or gives a band nothing to play.
        SoundfontError: the instruments cannot be read, or lack some, or are others than the record's.
        AudioError: the vocal cannot be used, or is another than the record's.
    """
    if replay is not None:
        return _replayed(replay, source=source, soundfont=soundfont)
    from hafm.arrange.files import rate_for
    from hafm.arrange.record import ArrangementRecord, Inputs, Settings, here
    from hafm.audio.mixdown import BALANCE_DB, LOUDNESS_LUFS
    from hafm.guide.corrections import corrected
    from hafm.guide.lead_sheet import LeadSheet

    assert source is not None, "a request has a source or a record"
    instruments, used = _soundfont(soundfont)
    vocal, sheet, sha256 = None, None, ""
    if is_sheet(source):
        sheet, asked = _sheet_alone(source, sheet_request)
        lasts, rate = sheet.duration_seconds, _SHEET_RATE
        sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    else:
        vocal = _vocal(source, start, seconds)
        lasts, rate, sha256 = vocal.seconds, rate_for(vocal.sample_rate), vocal.sha256
        asked = sheet_request(lasts)
        if asked.given is not None and _is_complete(asked.given):
            sheet = corrected(asked.given, asked.corrections)
    if sheet is not None:
        from hafm.arrange.song import Song

        Song.of(sheet)  # refuses one with nothing to play
    mixes = vocal is not None
    record = ArrangementRecord(
        environment=here(),
        input=Inputs(
            kind="vocal" if mixes else "sheet",
            path=str(source.resolve()),
            sha256=sha256,
            start_seconds=start,
            seconds=seconds,
        ),
        settings=Settings(
            style=style or "",
            seed=seed,
            excerpt=excerpt,
            sample_rate=rate,
            stems=stems,
            format=format,
            balance_db=(BALANCE_DB if balance is None else balance) if mixes else None,
            loudness_lufs=(LOUDNESS_LUFS if loudness is None else loudness) if mixes else None,
        ),
        soundfont=used,
        lead_sheet=sheet or LeadSheet(duration_seconds=lasts),
    )
    inputs = [path for path in (source, guide) if path is not None]
    return Job(
        record=record,
        sheet=sheet,
        vocal=vocal,
        seconds=lasts,
        soundfont=instruments,
        inputs=inputs,
        corrections=asked.corrections,
        known=asked.given,
        notes=asked.notes,
    )


def _sheet_alone(
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


def _is_complete(sheet: "LeadSheet") -> bool:
    """Whether nothing of it is left to be heard."""
    return bool(sheet.beats and sheet.chords and sheet.keys)


def _replayed(path: Path, *, source: Path | None, soundfont: Path | None) -> Job:
    from hafm.arrange.record import ArrangementRecord, here

    record = ArrangementRecord.read(path)
    then = record.soundfont.get("path")
    chosen = soundfont or (None if then is None else Path(then))
    instruments, used = _soundfont(chosen)
    if used["sha256"] != record.soundfont.get("sha256"):
        raise SoundfontError(
            f"the record '{path}' was made with another soundfont, of SHA-256 "
            f"{record.soundfont.get('sha256')}; name that one with --soundfont"
        )
    vocal = None
    where = source or Path(record.input.path)
    if record.input.kind == "vocal":
        vocal = _vocal(where, record.input.start_seconds, record.input.seconds)
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
        inputs=[path, *([where] if vocal is not None else [])],
    )


def _vocal(path: Path, start: float | None, seconds: float | None) -> "Audio":
    from hafm.audio.io import read_audio

    return read_audio(path, start_seconds=start, seconds=seconds)


def _soundfont(path: Path | None) -> "tuple[Soundfont, dict[str, str]]":
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
