"""A lead sheet from a file of any kind that says something about it.

In: a path, and how long the sound lasts. Out: a `LeadSheet`. Its parts are given, unless the file says that
they were estimated.

| ending | what it says | module |
|---|---|---|
| `.json` | all of a sheet | `sheet_json` |
| `.lab` | chords | `text_files` |
| `.txt`, `.beats` | beats | `text_files` |
| `.mid`, `.midi` | beats, meters, keys, chords | `midi_in` |

A sheet of another length than its sound is refused; up to 50 ms of difference are cut off, or left unknown.
"""

import os
from dataclasses import replace
from pathlib import Path

from hafm.errors import LeadSheetError
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.midi_in import lead_sheet_from_midi
from hafm.guide.sheet_json import lead_sheet_from_json
from hafm.guide.text_files import TOLERANCE_SECONDS, beats_from_text, chords_from_lab

__all__ = ["SHEET_SUFFIXES", "read_lead_sheet"]

SHEET_SUFFIXES = (".json", ".lab", ".txt", ".beats", ".mid", ".midi")
_MOST_BYTES = 1 << 24


def read_lead_sheet(path: str | os.PathLike[str], *, duration_seconds: float) -> LeadSheet:
    """The lead sheet of a file.

    Args:
        path: of the file; its ending says what it is.
        duration_seconds: of the sound.

    Raises:
        LeadSheetError: it cannot be read, is of another kind, or is not of this sound.
    """
    path = Path(path)
    where, suffix = f"'{path}'", path.suffix.casefold()
    if suffix not in SHEET_SUFFIXES:
        raise LeadSheetError(f"{where} is no lead sheet; its name must end in {', '.join(SHEET_SUFFIXES)}")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise LeadSheetError(f"{where} has {path.stat().st_size} bytes, too many for a lead sheet")
        data = path.read_bytes()
    except OSError as error:
        raise LeadSheetError(f"{where} cannot be read ({error.strerror}); check the name") from error
    if suffix == ".json":
        return fitted(lead_sheet_from_json(data, where=where), duration_seconds, where=where)
    if suffix in (".mid", ".midi"):
        return lead_sheet_from_midi(data, duration_seconds=duration_seconds, where=where)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LeadSheetError(f"{where} is not text in UTF-8; save it as that") from error
    read = chords_from_lab if suffix == ".lab" else beats_from_text
    return read(text, duration_seconds=duration_seconds, where=where)


def fitted(sheet: LeadSheet, duration_seconds: float, *, where: str) -> LeadSheet:
    """The sheet with exactly the duration of its sound.

    Raises:
        LeadSheetError: they differ by more than 50 ms.

    >>> fitted(LeadSheet(duration_seconds=2.0), 2.01, where="it").duration_seconds
    2.01
    """
    if abs(sheet.duration_seconds - duration_seconds) > TOLERANCE_SECONDS:
        raise LeadSheetError(
            f"{where} is the lead sheet of {sheet.duration_seconds:.2f} s and its sound lasts "
            f"{duration_seconds:.2f} s; give the sheet of this sound, or crop it"
        )
    if sheet.duration_seconds > duration_seconds:
        return sheet.cropped(0.0, duration_seconds)
    return replace(sheet, duration_seconds=duration_seconds)
