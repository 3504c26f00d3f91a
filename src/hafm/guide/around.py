"""What the band plays before the voice and after it: an intro and an ending, as bars of a longer sheet.

In: a `LeadSheet` with bars. Out: the sheet of a longer sound, the voice's part in it unchanged.

    the voice's          | pick-up |1       |2       |3     end
    with an intro  |i1      |i2    ..|1     |2       |3     end          i1, i2: chords of bars 1, 2
    with an ending       | pick-up |1       |2       |3       |e        rings out

An intro of N bars is exactly N bars long, so that bars before the voice and with it are one row. It has the
chords of the song's first N bars, and before them those of the pick-up, or else what the bars end with. An
ending fills up the bar in which the voice ends, and adds one with the tonic of the key, or else the last
chord; in it the band dies away. It goes on at the median period, as bars do after the last beat
(`hafm.guide.bars`). Who was said to play at an end of the song plays beyond it, too; if that was estimated,
the whole band does. A sheet without bars is refused (`LeadSheetError`).
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from hafm.errors import LeadSheetError
from hafm.guide.bars import Bar, bars_of, continued_beats
from hafm.guide.lead_sheet import PLAYERS, Beat, ChordSpan, LeadSheet, PlayingSpan

__all__ = ["Span", "ending_seconds", "intro_seconds", "spans_between", "with_ending", "with_intro"]

Span = TypeVar("Span", bound=ChordSpan | PlayingSpan)
_LAST_BIT = 1e-6
_SLIVER_SECONDS = 1e-3


def intro_seconds(sheet: LeadSheet, num_bars: int) -> float:
    """How long a number of bars are, at the tempo and in the meter of the beginning."""
    return num_bars * _bar_seconds(_bars(sheet, "an intro")[0])


def with_intro(sheet: LeadSheet, seconds: float) -> LeadSheet:
    """The sheet with an intro in front of it.

    Args:
        seconds: of the intro: what `intro_seconds` says, to the sample.
    """
    first = _bars(sheet, "an intro")[0]
    later = sheet.shifted(seconds)
    period = _bar_seconds(first) / first.num_beats
    start = later.beats[0]
    num_early = int((start.seconds + _LAST_BIT) / period)
    early = tuple(
        Beat(max(start.seconds - number * period, 0.0), (start.position - 1 - number) % first.num_beats + 1)
        for number in range(num_early, 0, -1)
    )
    downbeat = first.beats[0]
    sung_over = spans_between(sheet.chords, 0.0, downbeat)
    if sung_over:
        before, begins = sung_over, seconds
    else:  # what is before the song's first bar is before its repetition, too
        begins = seconds + downbeat
        moved = spans_between(sheet.chords, seconds, begins, later=-seconds)
        before = spans_between(moved, 0.0, downbeat)  # a moved end may have lost its last bit
    chords = (
        *before,
        *spans_between(sheet.chords, downbeat, begins),
        *spans_between(later.chords, begins, later.duration_seconds),
    )
    arrangement = later.arrangement
    if sheet.arrangement and sheet.arrangement[0].start_seconds < _SLIVER_SECONDS:
        arrangement = (_beyond(sheet, arrangement[0], 0.0, arrangement[0].start_seconds), *arrangement)
    return replace(later, beats=(*early, *later.beats), chords=chords, arrangement=arrangement)


def spans_between(
    spans: Iterable[Span], start_seconds: float, end_seconds: float, *, later: float = 0.0
) -> tuple[Span, ...]:
    """What of spans lies between two times, without slivers.

    Args:
        later: by how many seconds what is found is moved.
    """
    cut = (
        (max(span.start_seconds, start_seconds), min(span.end_seconds, end_seconds), span) for span in spans
    )
    return tuple(
        replace(span, start_seconds=max(start + later, 0.0), end_seconds=end + later)
        for start, end, span in cut
        if end - start > _SLIVER_SECONDS
    )


def _beyond(sheet: LeadSheet, nearest: PlayingSpan, start_seconds: float, end_seconds: float) -> PlayingSpan:
    """Who plays beyond an end of the sheet."""
    is_given = sheet.origin("arrangement").source == "given"
    return PlayingSpan.of(start_seconds, end_seconds, nearest.players if is_given else PLAYERS)


def ending_seconds(sheet: LeadSheet) -> float:
    """How much longer a sound gets by an ending: to the end of its last bar, and a bar more."""
    return _ending(sheet)[1] - sheet.duration_seconds


def with_ending(sheet: LeadSheet, seconds: float) -> LeadSheet:
    """The sheet with an ending behind it.

    Args:
        seconds: of the ending: what `ending_seconds` says, to the sample.
    """
    last, _ = _ending(sheet)
    duration = sheet.duration_seconds + seconds
    longer = replace(sheet, duration_seconds=duration, beats=continued_beats(sheet))
    chords = list(sheet.chords)
    labels = [span.label for span in chords] + [key.label for key in sheet.keys]
    if chords and sheet.duration_seconds - chords[-1].end_seconds < _LAST_BIT:
        chords[-1] = replace(chords[-1], end_seconds=last)
    chords += [ChordSpan(last, duration, label) for label in labels[-1:]]
    arrangement = sheet.arrangement
    if arrangement and sheet.duration_seconds - arrangement[-1].end_seconds < _SLIVER_SECONDS:
        beyond = _beyond(sheet, arrangement[-1], arrangement[-1].end_seconds, duration)
        arrangement = (*arrangement, beyond)
    return replace(longer, beats=continued_beats(longer), chords=tuple(chords), arrangement=arrangement)


def _ending(sheet: LeadSheet) -> tuple[float, float]:
    """When the bar after the last begins and ends."""
    bar = _bars(sheet, "an ending")[-1]
    period = sheet.period_seconds
    begin = bar.beats[-1] + (bar.num_beats - len(bar.beats) + 1) * period
    return begin, begin + sheet.meters[-1].beats_per_bar * period


def last_downbeat(sheet: LeadSheet) -> float:
    """When the last bar begins."""
    return _bars(sheet, "an ending")[-1].beats[0]


def _bars(sheet: LeadSheet, what: str) -> tuple[Bar, ...]:
    bars = bars_of(sheet) if len(sheet.beats) > 1 else ()
    if not bars:
        raise LeadSheetError(f"{what} needs bars, and there are none; give the tempo (--bpm)")
    return bars


def _bar_seconds(bar: Bar) -> float:
    """The length of a bar, also of one that is cut off or whose last beat is."""
    if len(bar.beats) > 1:
        return (bar.beats[-1] - bar.beats[0]) / (len(bar.beats) - 1) * bar.num_beats
    return (bar.end_seconds - bar.beats[0]) * bar.num_beats
