"""What `hafm arrange` is asked for, its blanks filled in: by defaults, or by a record that is replayed.

In: the request. Out: a `Job`: the vocal or sheet is read, the instruments are open, and nothing is made yet;
or a refusal.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hafm.errors import AudioContentError, SoundfontError

if TYPE_CHECKING:
    from hafm.app.options import SoundFormat
    from hafm.arrange.record import ArrangementRecord
    from hafm.arrange.soundfont import Soundfont
    from hafm.audio.sound import Audio
    from hafm.guide.lead_sheet import LeadSheet

__all__ = ["Job", "is_sheet", "job_of"]

_SHEET_RATE = 48_000


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
    """

    record: "ArrangementRecord"
    sheet: "LeadSheet | None"
    vocal: "Audio | None"
    seconds: float
    soundfont: "Soundfont"
    inputs: Sequence[Path]

    def heard(self, bundle: str) -> "LeadSheet":
        """The lead sheet that a bundle's analyser hears in the vocal."""
        from hafm.generate.steps import analyse
        from hafm.stages.bundle import Bundle

        assert self.vocal is not None, "a sheet or a vocal was given"
        return analyse(Bundle.open(bundle), self.vocal)


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
    from hafm.guide.lead_sheet import LeadSheet
    from hafm.guide.sheet_files import read_lead_sheet

    assert source is not None, "a request has a source or a record"
    instruments, used = _soundfont(soundfont)
    vocal, sheet, sha256 = None, None, ""
    if is_sheet(source):
        sheet = read_lead_sheet(source, duration_seconds=None)
        _check_seconds(source, sheet.duration_seconds)
        lasts, rate = sheet.duration_seconds, _SHEET_RATE
        sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    else:
        vocal = _vocal(source, start, seconds)
        lasts, rate, sha256 = vocal.seconds, rate_for(vocal.sample_rate), vocal.sha256
        if guide is not None:
            sheet = read_lead_sheet(guide, duration_seconds=lasts)
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
    return Job(record=record, sheet=sheet, vocal=vocal, seconds=lasts, soundfont=instruments, inputs=inputs)


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
