"""What the band plays before the voice and after it: an intro and an ending, as bars of a longer sheet.

In: a `LeadSheet` with bars. Out: the sheet of a longer sound, the voice's part in it unchanged.

    the voice's          | pick-up |1       |2       |3     end
    with an intro  |i1      |i2    ..|1     |2       |3     end          i1, i2: chords of bars 1, 2
    with an ending       | pick-up |1       |2       |3       |e        rings out

An intro of N bars is exactly N bars long, so that bars before the voice and with it are one row, and it has
the chords of the song's first N bars. An ending fills up the bar in which the voice ends, and adds one with
the tonic of the key, or else the last chord; in it the band dies away.
"""

from dataclasses import replace

from hafm.errors import LeadSheetError
from hafm.guide.bars import Bar, bars_of, continued_beats
from hafm.guide.lead_sheet import Beat, ChordSpan, LeadSheet

__all__ = ["ending_seconds", "intro_seconds", "with_ending", "with_intro"]

_LAST_BIT = 1e-6


def intro_seconds(sheet: LeadSheet, num_bars: int) -> float:
    """How long a number of bars are, at the tempo and in the meter of the beginning.

    Raises:
        LeadSheetError: the sheet has no bars.
    """
    return num_bars * _bar_seconds(_bars(sheet, "an intro")[0])


def with_intro(sheet: LeadSheet, seconds: float) -> LeadSheet:
    """The sheet with an intro in front of it.

    Args:
        sheet: with bars.
        seconds: of the intro: what `intro_seconds` says, to the sample.

    Raises:
        LeadSheetError: the sheet has no bars.
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
    played = [
        ChordSpan(max(span.start_seconds, downbeat), min(span.end_seconds, downbeat + seconds), span.label)
        for span in sheet.chords
        if span.end_seconds > downbeat and span.start_seconds < downbeat + seconds
    ]
    sung = tuple(
        span if span.start_seconds >= downbeat + seconds else replace(span, start_seconds=downbeat + seconds)
        for span in later.chords
        if span.end_seconds > downbeat + seconds + _LAST_BIT
    )
    end = min(downbeat + seconds, sung[0].start_seconds) if sung else downbeat + seconds
    copied = tuple(
        replace(span, end_seconds=min(span.end_seconds, end)) for span in played if span.start_seconds < end
    )
    return replace(later, beats=(*early, *later.beats), chords=(*copied, *sung))


def ending_seconds(sheet: LeadSheet) -> float:
    """How much longer a sound gets by an ending: to the end of its last bar, and a bar more.

    Raises:
        LeadSheetError: the sheet has no bars.
    """
    last = _bars(sheet, "an ending")[-1]
    return last.beats[0] + 2 * _bar_seconds(_whole(sheet)) - sheet.duration_seconds


def with_ending(sheet: LeadSheet, seconds: float) -> LeadSheet:
    """The sheet with an ending behind it.

    Args:
        sheet: with bars.
        seconds: of the ending: what `ending_seconds` says, to the sample.

    Raises:
        LeadSheetError: the sheet has no bars.
    """
    last = _bars(sheet, "an ending")[-1].beats[0] + _bar_seconds(_whole(sheet))
    duration = sheet.duration_seconds + seconds
    longer = replace(sheet, duration_seconds=duration, beats=continued_beats(sheet))
    label = f"{sheet.keys[-1].tonic}:{sheet.keys[-1].mode}" if sheet.keys else None
    if label is None and sheet.chords:
        label = sheet.chords[-1].label
    chords = list(sheet.chords)
    if chords and sheet.duration_seconds - chords[-1].end_seconds < _LAST_BIT:
        chords[-1] = replace(chords[-1], end_seconds=last)
    if label is not None:
        chords.append(ChordSpan(last, duration, label))
    return replace(longer, beats=continued_beats(longer), chords=tuple(chords))


def last_downbeat(sheet: LeadSheet) -> float:
    """When the last bar begins.

    Raises:
        LeadSheetError: the sheet has no bars.
    """
    return _bars(sheet, "an ending")[-1].beats[0]


def _bars(sheet: LeadSheet, what: str) -> tuple[Bar, ...]:
    bars = bars_of(sheet) if len(sheet.beats) > 1 else ()
    if not bars:
        raise LeadSheetError(f"{what} needs bars, and there are none; give the tempo (--bpm)")
    return bars


def _whole(sheet: LeadSheet) -> Bar:
    """The last bar that is not cut off, by whose length one that is cut is filled up."""
    whole = [bar for bar in bars_of(sheet) if len(bar.beats) == bar.num_beats]
    return (whole or list(bars_of(sheet)))[-1]


def _bar_seconds(bar: Bar) -> float:
    """The length of a bar, also of one that is cut off or whose last beat is."""
    if len(bar.beats) > 1:
        return (bar.beats[-1] - bar.beats[0]) / (len(bar.beats) - 1) * bar.num_beats
    return (bar.end_seconds - bar.beats[0]) * bar.num_beats
