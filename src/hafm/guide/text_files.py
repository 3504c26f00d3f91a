"""Chords and beats as text, one per line: what mir_eval, Sonic Visualiser and Audacity exchange.

In: text. Out: a `LeadSheet` that knows its chords or its beats, and nothing else; and back.

    chords.lab                      beats.txt
    0.000   1.370   X               1.37   1        seconds, position in the bar
    1.370   3.978   A:min           2.02   2
    3.978   9.000   F:maj/3         2.67   3

Conventions: fields are separated by blanks; lines that begin with # are passed over. Numbers are written with
all their digits, so that they come back as they were. `X` is an unknown chord, `N` says that none sounds;
symbols such as Am7 are chords too. Meters follow from the positions, in quarter notes.
"""

import contextlib
import math
from collections.abc import Iterator

from hafm.errors import ChordError, LeadSheetError
from hafm.guide.bars import meters_of
from hafm.guide.chord import parse_chord
from hafm.guide.chord_symbol import parse_symbol
from hafm.guide.lead_sheet import MOST_BEATS_PER_BAR, Beat, ChordSpan, LeadSheet, naming

__all__ = ["TOLERANCE_SECONDS", "beats_from_text", "beats_to_text", "chords_from_lab", "chords_to_lab"]

TOLERANCE_SECONDS = 0.05
"""How far a file of chords or beats may go beyond its sound."""

_UNKNOWN = "X"
_ROUNDING_SECONDS = 0.001


def chords_to_lab(sheet: LeadSheet) -> str:
    """The chords of a sheet, from 0 to its end.

    >>> chords_to_lab(LeadSheet(duration_seconds=2.0, chords=(ChordSpan(0.5, 2.0, "A:min"),))).splitlines()
    ['0.0\\t0.5\\tX', '0.5\\t2.0\\tA:min']
    """
    lines, reached = [], 0.0
    for span in sheet.chords:
        if span.start_seconds > reached:
            lines.append((reached, span.start_seconds, _UNKNOWN))
        lines.append((span.start_seconds, span.end_seconds, span.label))
        reached = span.end_seconds
    if reached < sheet.duration_seconds:
        lines.append((reached, sheet.duration_seconds, _UNKNOWN))
    return "".join(f"{start!r}\t{end!r}\t{label}\n" for start, end, label in lines)


def chords_from_lab(text: str, *, duration_seconds: float, where: str) -> LeadSheet:
    """The chords of a `.lab` file.

    Raises:
        LeadSheetError: a line is not understood, overlaps the one before, or is after the end of the sound.
        ChordError: a chord is not understood.
    """
    chords: list[ChordSpan] = []
    reached = 0.0
    for line, fields in _lines(text, where, "start end chord", "as in 0.0 1.5 A:min"):
        start, end, symbol = *(_number(field, line) for field in fields[:2]), fields[2]
        end = _ending(end, duration_seconds, line)
        if reached - _ROUNDING_SECONDS <= start < reached:
            start = reached
        if not reached <= start < end:
            raise LeadSheetError(
                f"{line}: {fields[0]} to {fields[1]} s, where the line before ends at {reached:g} s; put the "
                "lines in order, without overlap"
            )
        reached = end
        if symbol == _UNKNOWN:
            continue
        with naming(line, ChordError):
            chords.append(ChordSpan(start, end, _label(symbol)))
    if not chords:
        raise LeadSheetError(f"{where} has no chord; write lines as in 0.0 1.5 A:min")
    with naming(where):
        return LeadSheet(duration_seconds=duration_seconds, chords=tuple(chords))


def _label(symbol: str) -> str:
    """A label as it is, a symbol as its label."""
    with contextlib.suppress(ChordError):
        return parse_chord(symbol).label
    return parse_symbol(symbol)


def beats_to_text(sheet: LeadSheet) -> str:
    """The beats of a sheet.

    >>> from hafm.guide.lead_sheet import MeterChange
    >>> beats, meters = (Beat(0.1, 2), Beat(0.75, 1)), (MeterChange(0.0, 2, 4),)
    >>> beats_to_text(LeadSheet(duration_seconds=2.0, beats=beats, meters=meters)).splitlines()
    ['0.1\\t2', '0.75\\t1']
    """
    return "".join(f"{beat.seconds!r}\t{beat.position}\n" for beat in sheet.beats)


def beats_from_text(text: str, *, duration_seconds: float, where: str) -> LeadSheet:
    """The beats of a text file, with the meters that follow from their positions.

    Raises:
        LeadSheetError: a line is not understood or not in order, or after the end of the sound.
    """
    beats: list[Beat] = []
    for line, fields in _lines(
        text, where, "time position", "as in 1.37 1, where 1 is the first beat of a bar"
    ):
        seconds, position = _number(fields[0], line), _number(fields[1], line)
        if position != int(position) or not 1 <= position <= MOST_BEATS_PER_BAR:
            raise LeadSheetError(
                f"{line}: the position in the bar is {fields[1]}; write 1 for its first beat"
            )
        if beats and not beats[-1].seconds < seconds:
            raise LeadSheetError(
                f"{line}: {fields[0]} s is not after {beats[-1].seconds:g} s; put the beats in order"
            )
        if _ending(seconds, duration_seconds, line) == duration_seconds:
            continue  # where the sound ends, no beat begins
        beats.append(Beat(seconds, int(position)))
    if not beats:
        raise LeadSheetError(f"{where} has no beat; write lines as in 1.37 1")
    with naming(where):
        return LeadSheet(duration_seconds=duration_seconds, beats=tuple(beats), meters=meters_of(beats))


def _lines(text: str, where: str, fields: str, example: str) -> Iterator[tuple[str, list[str]]]:
    """The name of each line for messages, and its fields."""
    count = len(fields.split())
    for number, line in enumerate(text.splitlines(), 1):
        found = line.split(maxsplit=count - 1)
        if not found or line.lstrip().startswith("#"):
            continue
        if len(found) != count:
            raise LeadSheetError(
                f"{where}, line {number}: {line.strip()!r} is not {fields}; write it {example}"
            )
        yield f"{where}, line {number}", [field.strip() for field in found]


def _number(field: str, line: str) -> float:
    """A finite number, 0 or more."""
    try:
        number = float(field)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise LeadSheetError(f"{line}: {field!r} is not a number of 0 or more; write seconds as in 1.37")
    return number


def _ending(seconds: float, duration_seconds: float, line: str) -> float:
    """A time within the sound; one a little after its end is moved to it."""
    if seconds > duration_seconds + TOLERANCE_SECONDS:
        raise LeadSheetError(
            f"{line}: {seconds:g} s is after the end of the sound, {duration_seconds:g} s; is it the file of "
            "this sound?"
        )
    return min(seconds, duration_seconds)
