"""Chord charts as people type them.

In: text. Out: bars of chords, which `put_on` lays over the bars of a lead sheet; and back.

    [Verse]                              a section begins at the next bar
    |: Am   | F     | C  G/B | % :|      bars; |: ... :| twice, :|x3 three times; % is the bar before
    | Dm7 . . E7 | N.C. |                . or / goes on with the chord: one mark per beat
    Am F C G, or Am - F - C - G          without any bar line, every chord is a bar
     5  | F     | G     |  # softly      a number before the first bar line counts bars; # begins a remark

A bar's chords share its beats evenly; if that leaves beats over, the first chord has them; more chords than
beats are refused. A chart begins at the first downbeat. One that is shorter than its sheet is repeated to the
end of the sound; a longer one is refused, and so is a sheet without beats (`LeadSheetError`).
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, pairwise
from typing import TypeAlias

from hafm.errors import ChordError, LeadSheetError
from hafm.guide.bars import Bar, bars_of
from hafm.guide.chord_symbol import parse_symbol, symbol_of
from hafm.guide.lead_sheet import (
    ChordSpan,
    LeadSheet,
    MeterChange,
    Origin,
    Player,
    SectionSpan,
    naming,
    span_at,
)

__all__ = [
    "Chart",
    "Slots",
    "bars_as_text",
    "chart_of",
    "is_line_of_bars",
    "lines_of_bars",
    "parse_chart",
    "players_of_bar",
    "put_on",
]

MOST_BARS = 2000
BARS_PER_LINE = 4

Slots: TypeAlias = tuple[str | None, ...]
"""A bar: labels in even shares of it; None goes on with the one before."""

_BAR_LINE = re.compile(r"\|:|:\|(?:\s*[x×]\s*\d+)?|\|\]|\|")
_SECTION_OR_REMARK = re.compile(r"(?<!\S)(?:\[([^\]|]*)\]|#.*)")
_NUMBER = re.compile(r"^([^|]*?)(?<!\S)\d+\s*(?=\|)")
_GO_ON = (".", "/", "-")
_UNKNOWN = "?"
_INTO_BEAT, _LAST_BIT = 0.25, 1e-6
_BETWEEN = re.compile(r"(?<!\S)-+(?!\S)|-*>|[–—→]|[-,](?=[A-HN%?])|,(?!\S)")
_COLON = re.compile(r"(?:^|\|)\s*([^\s|\[:][^|\[:]*?)\s*:(?!\S)")


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart.

    Args:
        bars: labels of their chords, repeats written out; at least one.
        sections: at which bars, counted from 0, sections begin, and their names.
    """

    bars: tuple[Slots, ...]
    sections: tuple[tuple[int, str], ...] = ()


def parse_chart(text: str) -> Chart:
    """The chart that a text says.

    Raises:
        ChordError: a chord is not understood; its bar is named.
        LeadSheetError: there is no chord, a bar is empty, a chord goes on without bar lines, a repeat is not
            closed, a section's name is too long or no section, or there are more than 2000 bars.

    >>> parse_chart("|: Am | F :| C  G/B | % |").bars
    (('A:min',), ('F:maj',), ('A:min',), ('F:maj',), ('C:maj', 'G:maj/3'), ('C:maj', 'G:maj/3'))
    """
    names: list[str] = []

    def numbered(section: re.Match[str]) -> str:
        if section[1] is None:
            return ""  # a remark
        name = " ".join(section[1].split())
        if name:
            SectionSpan(0.0, 1.0, name)  # refuses what no section can be named
        names.append(name)
        return f" [{len(names) - 1}] "  # one word, whatever the name is

    text = re.sub("[‖║]", "|", text).replace(":|:", ":||:")
    lines = [_NUMBER.sub(r"\1", _SECTION_OR_REMARK.sub(numbered, line)).strip() for line in text.splitlines()]
    for colon in filter(None, map(_COLON.search, lines)):
        raise LeadSheetError(
            f"{colon[1] + ':'!r} is no chord; write a section as [{colon[1]}], and a repeat as |: Am | F :|"
        )
    body = "|".join(lines if any("|" in line for line in lines) else _chords_alone(" ".join(lines)))
    bars: list[Slots] = []
    sections: dict[int, str] = {}
    opened: int | None = None
    before = ""
    for written, bar_line in _pieces(body):
        symbols: list[str] = []
        for word in written.split():
            if word.startswith("["):
                sections[len(bars) + bool(symbols)] = names[int(word[1:-1])]
            else:
                symbols.append(word)
        if symbols:
            bars.append(_bar(symbols, bars))
        if written.isspace() and before in ("|", "|:") and bar_line == "|":
            raise LeadSheetError(
                f"bar {len(bars) + 1} of the chart is empty; write % for the bar before, N.C. where no chord "
                "sounds, or ? for an unknown one"
            )
        before = bar_line
        if bar_line == "|:":
            opened = len(bars)
        elif bar_line.startswith(":|"):
            first = opened or 0
            repeated = bars[first:]
            inside = {at - first: name for at, name in sections.items() if at >= first}
            for _ in range(min(int(re.sub(r"\D", "", bar_line) or 2) - 1, MOST_BARS)):
                if len(inside) > 1:  # of one alone it is a repeat
                    sections |= {len(bars) + at: name for at, name in inside.items()}
                bars += repeated
            opened = None
        if len(bars) > MOST_BARS:
            raise LeadSheetError(f"a chart has more than {MOST_BARS} bars; leave out what repeats")
    if opened is not None:
        raise LeadSheetError(f"the chart's repeat at bar {opened + 1} has no end; write :| after it")
    if not bars:
        raise LeadSheetError("the chart has no chord; write it as in | Am | F | C  G/B | % |")
    found = sorted((at, name) for at, name in sections.items() if at < len(bars) and name)
    return Chart(bars=tuple(bars), sections=tuple(found))


def put_on(sheet: LeadSheet, chart: Chart) -> LeadSheet:
    """The sheet with the chords of a chart, from the first downbeat to the end of the sound.

    Args:
        sheet: with beats; its chords are replaced, and its sections if the chart has any.
        chart: repeated if it is shorter.

    Raises:
        LeadSheetError: the sheet has no beats, or fewer bars than the chart, or a bar more chords than its
            meter has beats.
    """
    bars = bars_of(sheet)
    if len(chart.bars) > len(bars):
        raise LeadSheetError(
            f"the chart has {len(chart.bars)} bars and the sound {len(bars)}; give a shorter chart, or check "
            "the tempo"
        )
    for number, bar in enumerate(bars):
        written = number % len(chart.bars)
        _require_beats(written + 1, chart.bars[written], sheet.meter_at(bar.beats[0] + _LAST_BIT))
    changes = [
        (start, label)
        for bar, slots in zip(bars, cycle(chart.bars), strict=False)
        for start, label in _in_time(bar, slots)
        if label is not None
    ]
    ends = [*(start for start, _ in changes[1:]), sheet.duration_seconds]
    sections = sheet.sections
    if chart.sections:
        names = dict(chart.sections)
        begins = [
            (bar.beats[0], names[number % len(chart.bars)])
            for number, bar in enumerate(bars)
            if number % len(chart.bars) in names
        ]
        stops = [*(start for start, _ in begins[1:]), sheet.duration_seconds]
        sections = tuple(
            SectionSpan(start, stop, name) for (start, name), stop in zip(begins, stops, strict=True)
        )
    return replace(
        sheet,
        sections=sections,
        chords=tuple(
            ChordSpan(start, end, label)
            for (start, label), end in zip(changes, ends, strict=True)
            if label != _UNKNOWN
        ),
        origins={**sheet.origins, "chords": Origin()},
    )


def chart_of(sheet: LeadSheet) -> str:
    """The chart of a sheet, four bars per line, less where a section begins; `?` where its chord is unknown.

    Chords are written on the beat on which they sound, so that one that comes a little early is on its beat.

    >>> from hafm.guide.lead_sheet import Beat, MeterChange
    >>> beats = tuple(Beat(number / 2, number % 4 + 1) for number in range(8))
    >>> sheet = LeadSheet(duration_seconds=8.0, beats=beats, meters=(MeterChange(0.0, 4, 4),))
    >>> print(chart_of(put_on(sheet, parse_chart("Am | F . . G | C  G/B"))))
    | Am | F . . G | C  G/B | Am |
    >>> print(chart_of(put_on(sheet, parse_chart("[Verse] Am F C [Chorus] G"))))
    [Verse]
    | Am | F | C |
    [Chorus]
    | G |
    """
    bars, lines = bars_as_text(sheet), []
    for name, inside in lines_of_bars(sheet):
        lines += [] if name is None else [f"[{name}]"]
        lines.append(f"| {' | '.join(bars[inside.start : inside.stop])} |")
    return "\n".join(lines)


def lines_of_bars(sheet: LeadSheet) -> list[tuple[str | None, range]]:
    """The lines of a chart: the section that begins there, or None, and its bars, from 0, four at most."""
    starts = [bar.beats[0] for bar in bars_of(sheet)]
    names = {
        min(range(len(starts)), key=lambda number: abs(starts[number] - section.start_seconds)): section.name
        for section in (sheet.sections if starts else ())
    }
    lines: list[tuple[str | None, range]] = []
    for first, end in pairwise(sorted({0, *names, len(starts)})):
        lines += [
            (names.get(at), range(at, min(at + BARS_PER_LINE, end)))
            for at in range(first, end, BARS_PER_LINE)
        ]
    return lines


def is_line_of_bars(line: str) -> bool:
    """Whether a line of text can only be one of a chart: it has a bar line that no remark hides.

    >>> is_line_of_bars(" 5  | F | G |"), is_line_of_bars("1.25 3"), is_line_of_bars("1.25 3 # | F |")
    (True, False, False)
    """
    return "|" in _SECTION_OR_REMARK.sub("", line)


def players_of_bar(sheet: LeadSheet, bar: Bar) -> tuple[Player, ...] | None:
    """Who plays in the middle of a bar; None where that is left to the band."""
    span = span_at(sheet.arrangement, (bar.beats[0] + bar.end_seconds) / 2)
    return None if span is None else span.players


def bars_as_text(sheet: LeadSheet) -> list[str]:
    """What `chart_of` writes between its bar lines."""
    bars = []
    for bar in bars_of(sheet):
        labels = []
        for beat in range(len(bar.beats)):
            sounding = bar.seconds(beat + _INTO_BEAT)
            assert sounding is not None, "the beat is there"
            span = span_at(sheet.chords, sounding)
            labels.append(_UNKNOWN if span is None else span.label)
        bars.append(_written(labels, bar.num_beats))
    return bars


def _chords_alone(text: str) -> Iterator[str]:
    """The chords of a chart without bar lines, and where sections begin, without what is between chords."""
    is_between = True
    for word in _BETWEEN.sub(" - ", text).split():
        if word in _GO_ON and (word != "-" or is_between):
            raise LeadSheetError(
                f"the chart has no bar lines, and {word} goes on with a chord within a bar; write them, as "
                "in | Am . F . | or | Am | F |"
            )
        is_between = word == "-"
        if not is_between:
            yield word


def _pieces(body: str) -> Iterator[tuple[str, str]]:
    """What is written before each bar line, and the bar line; after the last, an empty one."""
    end = 0
    for bar_line in _BAR_LINE.finditer(body):
        yield body[end : bar_line.start()], bar_line[0]
        end = bar_line.end()
    yield body[end:], ""


def _bar(symbols: Sequence[str], before: Sequence[Slots]) -> Slots:
    number = len(before) + 1
    if list(symbols) == ["%"]:
        if not before:
            raise LeadSheetError(
                "bar 1 of the chart is %, the bar before, and there is none; write its chord"
            )
        return before[-1]
    if symbols[0] in _GO_ON and not before:
        raise LeadSheetError(
            f"bar 1 of the chart goes on with a chord before it ({symbols[0]}); write its chord"
        )
    slots: list[str | None] = []
    for symbol in symbols:
        if symbol in _GO_ON:
            slots.append(None)
        elif symbol == _UNKNOWN:
            slots.append(symbol)
        else:
            with naming(f"bar {number} of the chart", ChordError):
                slots.append(parse_symbol(symbol))
    return tuple(slots)


def _require_beats(number: int, slots: Slots, meter: MeterChange) -> None:
    """Refuses a bar of which `chart_of` could not write each chord on a beat of its own."""
    beats = meter.beats_per_bar
    if len(slots) <= beats:
        return
    starts = [slot * beats / len(slots) for slot, label in enumerate(slots) if label is not None]
    for start, end in pairwise([*starts, beats]):
        if math.ceil(start - _INTO_BEAT - _LAST_BIT) + _INTO_BEAT > end - _LAST_BIT:
            parts = "" if len(starts) == len(slots) else f" in {len(slots)} parts"
            raise LeadSheetError(
                f"bar {number} of the chart has {len(starts)} chords{parts}, and {meter.label} has {beats} "
                "beats; write a chord per beat at most, or more bars"
            )


def _in_time(bar: Bar, slots: Slots) -> Iterator[tuple[float, str | None]]:
    """When each slot of a bar begins; those after its end are left out."""
    share = bar.num_beats // len(slots)
    for number, label in enumerate(slots):
        if share:
            beat: float = bar.num_beats - share * (len(slots) - number) if number else 0
        else:
            beat = number * bar.num_beats / len(slots)
        if (seconds := bar.seconds(beat)) is not None:
            yield seconds, label


def _written(labels: Sequence[str], num_beats: int) -> str:
    """A bar by the labels of its beats: as few symbols as say it."""
    symbols = [label if label == _UNKNOWN else symbol_of(label) for label in labels]
    half = num_beats // 2
    if len(set(symbols)) == 1:
        return symbols[0]
    if num_beats % 2 == 0 and len({*symbols[:half]}) == 1 and len({*symbols[half:]}) == 1:
        return f"{symbols[0]}  {symbols[half]}"
    changes = (symbol if symbol != before else "." for before, symbol in pairwise(["", *symbols]))
    return " ".join([*changes, *["."] * (num_beats - len(symbols))])
