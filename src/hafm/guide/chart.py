"""Chord charts as people type them.

In: text. Out: bars of chords, which `put_on` lays over the bars of a lead sheet; and back.

    [Verse]                              in square brackets: passed over
    |: Am   | F     | C  G/B | % :|      bars; |: ... :| twice, :|x3 three times; % is the bar before
    | Dm7 . . E7 | N.C. |                . or / goes on with the chord: one mark per beat
    Am F C G                             without any bar line, every chord is a bar

A bar's chords share its beats evenly; if that leaves beats over, the first chord has them. A chart begins at
the first downbeat. One that is shorter than its sheet is repeated to the end of the sound; a longer one is
refused.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, pairwise
from typing import TypeAlias

from hafm.errors import ChordError, LeadSheetError
from hafm.guide.bars import Bar, bars_of
from hafm.guide.chord_symbol import parse_symbol, symbol_of
from hafm.guide.lead_sheet import ChordSpan, LeadSheet, Origin

__all__ = ["BARS_PER_LINE", "Chart", "bars_as_text", "chart_of", "parse_chart", "put_on"]

MOST_BARS = 2000
BARS_PER_LINE = 4

Slots: TypeAlias = tuple[str | None, ...]
"""A bar: labels in even shares of it; None goes on with the one before."""

_BAR_LINE = re.compile(r"\|:|:\|(?:\s*[x×]\s*\d+)?|\|\]|\|")
_SECTION = re.compile(r"(?<!\S)\[[^\]|]*\]")
_GO_ON = (".", "/", "-")
_UNKNOWN = "?"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart.

    Args:
        bars: labels of their chords, repeats written out; at least one.
    """

    bars: tuple[Slots, ...]


def parse_chart(text: str) -> Chart:
    """The chart that a text says.

    Raises:
        ChordError: a chord is not understood; its bar is named.
        LeadSheetError: there is no chord, a repeat is not closed, or there are more than 2000 bars.

    >>> parse_chart("|: Am | F :| C  G/B | % |").bars
    (('A:min',), ('F:maj',), ('A:min',), ('F:maj',), ('C:maj', 'G:maj/3'), ('C:maj', 'G:maj/3'))
    """
    lines = [_SECTION.sub(" ", line) for line in text.splitlines()]
    has_bar_lines = any("|" in line for line in lines)
    body = "|".join(lines if has_bar_lines else " ".join(lines).split())
    bars: list[Slots] = []
    opened: int | None = None
    for written, bar_line in _pieces(body):
        if symbols := written.split():
            bars.append(_bar(symbols, bars))
        if bar_line == "|:":
            opened = len(bars)
        elif bar_line.startswith(":|"):
            repeated = bars[opened or 0 :]
            times = int(re.sub(r"\D", "", bar_line) or 2)
            bars += repeated * min(times - 1, MOST_BARS)
            opened = None
        if len(bars) > MOST_BARS:
            raise LeadSheetError(f"a chart has more than {MOST_BARS} bars; leave out what repeats")
    if opened is not None:
        raise LeadSheetError(f"the chart's repeat at bar {opened + 1} has no end; write :| after it")
    if not bars:
        raise LeadSheetError("the chart has no chord; write it as in | Am | F | C  G/B | % |")
    return Chart(bars=tuple(bars))


def put_on(sheet: LeadSheet, chart: Chart, *, origin: Origin | None = None) -> LeadSheet:
    """The sheet with the chords of a chart, from the first downbeat to the end of the sound.

    Args:
        sheet: with beats; its chords are replaced.
        chart: repeated if it is shorter.
        origin: of the chords; None for given.

    Raises:
        LeadSheetError: the sheet has no beats, or fewer bars than the chart.
    """
    bars = bars_of(sheet)
    if len(chart.bars) > len(bars):
        raise LeadSheetError(
            f"the chart has {len(chart.bars)} bars and the sound {len(bars)}; give a shorter chart, or check "
            "the tempo"
        )
    changes = [
        (start, label)
        for bar, slots in zip(bars, cycle(chart.bars), strict=False)
        for start, label in _in_time(bar, slots)
        if label is not None
    ]
    ends = [*(start for start, _ in changes[1:]), sheet.duration_seconds]
    return replace(
        sheet,
        chords=tuple(
            ChordSpan(start, end, label)
            for (start, label), end in zip(changes, ends, strict=True)
            if label != _UNKNOWN
        ),
        origins={**sheet.origins, "chords": origin or Origin()},
    )


def chart_of(sheet: LeadSheet) -> str:
    """The chart of a sheet, four bars per line; `?` where its chord is unknown.

    Chords are written on the beat on which they sound, so that one that comes a little early is on its beat.

    Raises:
        LeadSheetError: the sheet has no beats.

    >>> from hafm.guide.lead_sheet import Beat, MeterChange
    >>> beats = tuple(Beat(number / 2, number % 4 + 1) for number in range(8))
    >>> sheet = LeadSheet(duration_seconds=8.0, beats=beats, meters=(MeterChange(0.0, 4, 4),))
    >>> print(chart_of(put_on(sheet, parse_chart("Am | F . . G | C  G/B"))))
    | Am | F . . G | C  G/B | Am |
    """
    bars = bars_as_text(sheet)
    lines = (bars[first : first + BARS_PER_LINE] for first in range(0, len(bars), BARS_PER_LINE))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bars_as_text(sheet: LeadSheet) -> list[str]:
    """What `chart_of` writes between its bar lines.

    Raises:
        LeadSheetError: the sheet has no beats.
    """
    starts = [span.start_seconds for span in sheet.chords]
    bars = []
    for bar in bars_of(sheet):
        labels = []
        for beat in range(len(bar.beats)):
            sounding = bar.seconds(beat + 0.25)
            assert sounding is not None, "the beat is there"
            number = bisect_right(starts, sounding) - 1
            is_known = number >= 0 and sounding < sheet.chords[number].end_seconds
            labels.append(sheet.chords[number].label if is_known else _UNKNOWN)
        bars.append(_written(labels, bar.num_beats))
    return bars


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
            try:
                slots.append(parse_symbol(symbol))
            except ChordError as error:
                raise ChordError(f"bar {number} of the chart: {error}") from error
    return tuple(slots)


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
