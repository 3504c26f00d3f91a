"""A lead sheet as JSON, the file that keeps all of it; `docs/lead-sheet.md` describes it for people.

In: a `LeadSheet`. Out: text, from which the same sheet is read, every time to its last bit; and back.

    {"format": "hafm-lead-sheet", "version": 1, "duration_seconds": 4.0,
     "beats": [[0.25, 3], [0.75, 1], ...],                      seconds, position in the bar
     "meters": [[0.0, "3/4"]], "keys": [[0.0, "A:min"]],        from when
     "chords": [[0.0, 0.75, "A:min/b3"], ...],                  start, end, label
     "arrangement": [[0.75, 2.25, ["drums", "bass"]]],          start, end, who plays
     "style": "waltz",
     "sections": [[0.0, 4.0, "Verse"]],                         start, end, name
     "origins": {"chords": {"source": "estimated", "confidence": 0.7}}}

Conventions: what is unknown is left out. Unknown fields and other versions are refused.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hafm.errors import LeadSheetError
from hafm.guide.lead_sheet import (
    Beat,
    ChordSpan,
    KeyChange,
    LeadSheet,
    MeterChange,
    Origin,
    Player,
    PlayingSpan,
    SectionSpan,
    naming,
    parse_meter,
)
from hafm.jsonfile import JsonFile

__all__ = ["FORMAT", "VERSION", "lead_sheet_from_json", "lead_sheet_to_json"]

FORMAT, VERSION = "hafm-lead-sheet", 1

_FILE = JsonFile(what="a lead sheet", fix="see docs/lead-sheet.md for what it holds", error=LeadSheetError)


@dataclass(frozen=True, kw_only=True)
class _Fields:
    """The file's fields, but for format and version."""

    duration_seconds: float
    beats: tuple[tuple[float, int], ...] = ()
    meters: tuple[tuple[float, str], ...] = ()
    keys: tuple[tuple[float, str], ...] = ()
    chords: tuple[tuple[float, float, str], ...] = ()
    arrangement: tuple[tuple[float, float, tuple[Player, ...]], ...] = ()
    style: str | None = None
    sections: tuple[tuple[float, float, str], ...] = ()
    origins: Mapping[str, Origin] = field(default_factory=dict)


def lead_sheet_to_json(sheet: LeadSheet, *, compact: bool = False) -> str:
    """The text of a sheet.

    Args:
        compact: one line without spaces; otherwise one line per beat, chord and bar, for people who edit it.

    >>> lead_sheet_to_json(LeadSheet(duration_seconds=1.5, style="folk"), compact=True)
    '{"format":"hafm-lead-sheet","version":1,"duration_seconds":1.5,"style":"folk"}'
    """
    values: dict[str, Any] = {
        "duration_seconds": sheet.duration_seconds,
        "beats": [[beat.seconds, beat.position] for beat in sheet.beats],
        "meters": [[meter.start_seconds, meter.label] for meter in sheet.meters],
        "keys": [[key.start_seconds, key.label] for key in sheet.keys],
        "chords": [[span.start_seconds, span.end_seconds, span.label] for span in sheet.chords],
        "arrangement": [
            [span.start_seconds, span.end_seconds, list(span.players)] for span in sheet.arrangement
        ],
        "style": sheet.style,
        "sections": [[span.start_seconds, span.end_seconds, span.name] for span in sheet.sections],
        "origins": {part: asdict(origin) for part, origin in sheet.origins.items()},
    }
    known = {name: value for name, value in values.items() if value not in ([], {}, None)}
    known = {"format": FORMAT, "version": VERSION, **known}
    if compact:
        return json.dumps(known, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return "{\n" + ",\n".join(f'  "{name}": {_pretty(value)}' for name, value in known.items()) + "\n}\n"


def lead_sheet_from_json(text: str | bytes, *, where: str) -> LeadSheet:
    """The sheet that a text holds.

    Raises:
        LeadSheetError: it is no lead sheet, is of another version, or contradicts itself.

    >>> lead_sheet_from_json('{"format": "hafm-lead-sheet", "version": 1}', where="'song.lead.json'")
    Traceback (most recent call last):
    ...
    hafm.errors.LeadSheetError: 'song.lead.json' is not a lead sheet: it lacks 'duration_seconds'; see ...
    """
    values = _FILE.values(text, where=where)
    if (found := values.pop("format", None)) != FORMAT:
        raise _FILE.refused(where, f"its format is {found!r}, not {FORMAT!r}")
    if (version := values.pop("version", None)) != VERSION:
        raise LeadSheetError(
            f"{where} is of version {version!r}, and this version of hafm reads version {VERSION}; update "
            "hafm"
        )
    read = _FILE.build(_Fields, values, where=where)
    with naming(where):
        return LeadSheet(
            duration_seconds=read.duration_seconds,
            beats=tuple(Beat(seconds, position) for seconds, position in read.beats),
            meters=tuple(MeterChange(start, *parse_meter(label)) for start, label in read.meters),
            keys=tuple(KeyChange.parse(start, label) for start, label in read.keys),
            chords=tuple(ChordSpan(start, end, label) for start, end, label in read.chords),
            arrangement=tuple(
                PlayingSpan.of(start, end, players) for start, end, players in read.arrangement
            ),
            style=read.style,
            sections=tuple(SectionSpan(*section) for section in read.sections),
            origins=read.origins,  # type: ignore[arg-type]  # the names are checked by the sheet
        )


def _pretty(value: Any) -> str:
    """A list of lists on one line per entry, anything else on one line."""
    if isinstance(value, list):
        lines = (f"    {json.dumps(entry, ensure_ascii=False, allow_nan=False)}" for entry in value)
        return "[\n" + ",\n".join(lines) + "\n  ]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
