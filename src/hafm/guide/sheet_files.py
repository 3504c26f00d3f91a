"""A lead sheet in files: read from one of any kind that says something about it, written as all of them.

In: a path, and how long the sound lasts. Out: a `LeadSheet`. Its parts are given, unless the file says that
they were estimated.

| ending | what it says | module |
|---|---|---|
| `.json` | all of a sheet | `sheet_json` |
| `.lab` | chords | `text_files` |
| `.txt`, `.beats` | beats; a `.txt` that begins with no number, or with a bar, is a chart | `text_files` |
| `.mid`, `.midi` | beats, meters, keys, chords | `midi_in` |
| `.chart`, `.txt` | a chart, which needs bars to lie on: `read_chart` | `chart` |

A sheet of another length than its sound is refused; up to 50 ms of difference are cut off, or left unknown.
Without a sound a sheet is as long as the file says: to the end of its last chord or note, or a beat after its
last beat.
"""

import os
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from hafm.errors import LeadSheetError
from hafm.files import write_whole
from hafm.guide.chart import is_line_of_bars
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.midi_in import lead_sheet_from_midi, midi_seconds
from hafm.guide.midi_out import lead_sheet_to_midi
from hafm.guide.sheet_json import lead_sheet_from_json, lead_sheet_to_json
from hafm.guide.text_files import (
    TOLERANCE_SECONDS,
    beats_from_text,
    beats_to_text,
    chords_from_lab,
    chords_to_lab,
)

__all__ = ["SHEET_FILES", "SHEET_SUFFIXES", "read_chart", "read_lead_sheet", "write_sheet_files"]

CHART_SUFFIXES = (".chart", ".txt")
SHEET_SUFFIXES = (".json", ".lab", ".txt", ".beats", ".mid", ".midi", ".chart")
SHEET_FILES = {
    "lead_sheet": "lead-sheet.json",
    "midi": "lead-sheet.mid",
    "chords": "chords.lab",
    "beats": "beats.txt",
}
"""What `write_sheet_files` writes, by what it holds."""

_MOST_BYTES = 1 << 24
_MOST_CHART_BYTES = 1 << 18
_LONGEST_SECONDS = 3600.0


def read_lead_sheet(path: str | os.PathLike[str], *, duration_seconds: float | None) -> LeadSheet:
    """The lead sheet of a file.

    Args:
        path: of the file; its ending says what it is.
        duration_seconds: of the sound; None without one.

    Raises:
        LeadSheetError: it cannot be read, is of another kind, or is not of this sound.
    """
    path = Path(path)
    where, suffix, data = _read(path)
    if suffix == ".json":
        sheet = lead_sheet_from_json(data, where=where)
        return sheet if duration_seconds is None else fitted(sheet, duration_seconds, where=where)
    if suffix in (".mid", ".midi"):
        seconds = midi_seconds(data, where=where) if duration_seconds is None else duration_seconds
        return lead_sheet_from_midi(data, duration_seconds=seconds, where=where)
    if read_chart(path) is not None:
        raise LeadSheetError(f"{where} is a chart, which needs bars to lie on; give it as one")
    read = chords_from_lab if suffix == ".lab" else beats_from_text
    if duration_seconds is not None:
        return read(_text(data, where), duration_seconds=duration_seconds, where=where)
    sheet = read(_text(data, where), duration_seconds=_LONGEST_SECONDS, where=where)
    return sheet.cropped(0.0, _own_seconds(sheet))


def read_chart(path: str | os.PathLike[str]) -> str | None:
    """The text of a chart, for `hafm.guide.chart.parse_chart`; None if the file is of another kind.

    Args:
        path: of the file. A `.chart` is one; so is a `.txt` whose first line begins with no number, or has a
            bar line.

    Raises:
        LeadSheetError: the file cannot be read, or is no text.
    """
    where, suffix, data = _read(Path(path))
    if suffix not in CHART_SUFFIXES:
        return None
    text = _text(data, where)
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if suffix == ".txt" and (not first or first[0] in "0123456789+-") and not is_line_of_bars(first):
        return None
    if len(data) > _MOST_CHART_BYTES:
        raise LeadSheetError(f"{where} has {len(data)} bytes, too many for a chart")
    return text


def write_sheet_files(sheet: LeadSheet, folder: Path, *, names: Collection[str] = ()) -> dict[str, Path]:
    """Writes a lead sheet, one file after the other, into a folder that nobody reads yet.

    Args:
        sheet: any. What it does not know has no file: beats and MIDI need two beats.
        folder: where to; it must be there.
        names: which of `SHEET_FILES`; empty for all of them.

    Returns:
        The files, by what they hold.

    Raises:
        OutputError: the disk is full, or there is no permission.
        LeadSheetError: beats are too far apart for MIDI.
    """
    has_beats = len(sheet.beats) > 1
    contents: dict[str, Callable[[], bytes | None]] = {
        "lead_sheet": lambda: lead_sheet_to_json(sheet).encode(),
        "midi": lambda: lead_sheet_to_midi(sheet) if has_beats else None,
        "chords": lambda: chords_to_lab(sheet).encode() if sheet.chords else None,
        "beats": lambda: beats_to_text(sheet).encode() if has_beats else None,
    }
    paths = {}
    for name in names or SHEET_FILES:
        if (content := contents[name]()) is not None:
            paths[name] = folder / SHEET_FILES[name]
            write_whole(paths[name], content)
    return paths


def _read(path: Path) -> tuple[str, str, bytes]:
    """What messages call the file, its ending, and its bytes."""
    where, suffix = f"'{path}'", path.suffix.casefold()
    if suffix not in SHEET_SUFFIXES:
        raise LeadSheetError(f"{where} is no lead sheet; its name must end in {', '.join(SHEET_SUFFIXES)}")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise LeadSheetError(f"{where} has {path.stat().st_size} bytes, too many for a lead sheet")
        return where, suffix, path.read_bytes()
    except OSError as error:
        raise LeadSheetError(f"{where} cannot be read ({error.strerror}); check the name") from error


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LeadSheetError(f"{where} is not text in UTF-8; save it as that") from error


def _own_seconds(sheet: LeadSheet) -> float:
    """How long a sheet is by what is in it."""
    end = sheet.chords[-1].end_seconds if sheet.chords else 0.0
    if sheet.beats:
        period = sheet.period_seconds if len(sheet.beats) > 1 else 1.0
        end = max(end, sheet.beats[-1].seconds + period)
    return min(end, sheet.duration_seconds)


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
