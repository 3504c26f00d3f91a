"""What a singer changes about the lead sheet, one edit at a time.

In: a `LeadSheet` and an edit, as it comes over HTTP. Out: the sheet with it, or an error that says why not.

| edit | values | does |
|---|---|---|
| `tempo` | `bpm`, `first_beat`? | exactly this tempo; given chords stay in their bars |
| `double_time`, `half_time` | | twice, half the tempo |
| `first_beat` | `seconds` | the first bar begins there |
| `meter` | `meter` | the same beats, counted otherwise |
| `move_beat` | `beat`, `seconds` | one beat there; its neighbours make room, chords go with them |
| `key` | `key`, `moves_chords`? | another key; chords follow |
| `bar` | `bar`, `chords` | the chords of a bar, as in a chart |
| `chart` | `chords` | all chords |
| `players` | `first_bar`, `last_bar`, `without` | who does not play there; `[]`: as the band likes |
| `style` | `style` | one of the twelve; null: as the band likes |

Bars and beats count from 1. What a singer changed is `given` from then on.
"""

from dataclasses import replace
from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from hafm.audio.sound import MAX_SECONDS
from hafm.errors import LeadSheetError
from hafm.guide.bars import Bar, bars_of
from hafm.guide.chart import Slots, chart_of, parse_chart, put_on
from hafm.guide.chord import parse_note
from hafm.guide.corrections import Corrections, corrected, parse_key
from hafm.guide.grid import moved_spans
from hafm.guide.lead_sheet import PLAYERS, Beat, ChordSpan, LeadSheet, Origin, PartName, Player, PlayingSpan

__all__ = ["Edit", "edited", "sheet_of_chart"]

_LEAST_APART_SECONDS = 0.05
Seconds: TypeAlias = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
Number: TypeAlias = Annotated[int, Field(ge=1, le=100_000)]
Span = TypeVar("Span", ChordSpan, PlayingSpan)
Chords: TypeAlias = Annotated[str, Field(max_length=20_000)]


class _Edit(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Tempo(_Edit):
    """Exactly this tempo."""

    edit: Literal["tempo"]
    bpm: Annotated[float, Field(ge=20, le=400, allow_inf_nan=False)]
    first_beat: Seconds | None = None


class TimesTwo(_Edit):
    """Twice, or half the tempo."""

    edit: Literal["double_time", "half_time"]


class FirstBeat(_Edit):
    """The first bar begins there."""

    edit: Literal["first_beat"]
    seconds: Seconds


class Meter(_Edit):
    """Another meter."""

    edit: Literal["meter"]
    meter: Annotated[str, Field(max_length=200)]


class MoveBeat(_Edit):
    """One beat elsewhere."""

    edit: Literal["move_beat"]
    beat: Number
    seconds: Seconds


class Key(_Edit):
    """Another key."""

    edit: Literal["key"]
    key: Annotated[str, Field(max_length=30)]
    moves_chords: bool = True


class BarChords(_Edit):
    """The chords of one bar."""

    edit: Literal["bar"]
    bar: Number
    chords: Chords


class Chart(_Edit):
    """All chords."""

    edit: Literal["chart"]
    chords: Chords


class Players(_Edit):
    """Who does not play in some bars."""

    edit: Literal["players"]
    first_bar: Number
    last_bar: Number
    without: list[Player]


class Style(_Edit):
    """The style."""

    edit: Literal["style"]
    style: Annotated[str, Field(max_length=30)] | None


Edit: TypeAlias = Annotated[
    Tempo | TimesTwo | FirstBeat | Meter | MoveBeat | Key | BarChords | Chart | Players | Style,
    Field(discriminator="edit"),
]


def edited(sheet: LeadSheet, edit: Edit) -> LeadSheet:
    """The sheet with an edit.

    Raises:
        UsageError, LeadSheetError: it does not fit the sheet, or is not understood.

    >>> sheet = edited(LeadSheet(duration_seconds=4.0), Tempo(edit="tempo", bpm=120, first_beat=0))
    >>> sheet = edited(sheet, BarChords(edit="bar", bar=2, chords="F C"))
    >>> [(span.end_seconds, span.label) for span in sheet.chords]
    [(3.0, 'F:maj'), (4.0, 'C:maj')]
    """
    if isinstance(edit, Tempo):
        first = 0.0 if edit.first_beat is None and not sheet.beats else edit.first_beat
        return _in_bars_of(sheet, corrected(sheet, Corrections(bpm=edit.bpm, first_beat=first)))
    if isinstance(edit, TimesTwo):
        corrections = Corrections(half_time=edit.edit == "half_time", double_time=edit.edit == "double_time")
        return _in_bars_of(sheet, corrected(sheet, corrections))
    if isinstance(edit, FirstBeat):
        return corrected(sheet, Corrections(first_beat=edit.seconds))  # after which the bars are given
    if isinstance(edit, Meter):
        return _given(corrected(sheet, Corrections(meter=edit.meter)), "beats")
    if isinstance(edit, MoveBeat):
        return _given(_with_beat_at(sheet, edit.beat, edit.seconds), "beats")
    if isinstance(edit, Key):
        return _in_key(sheet, edit.key, moves_chords=edit.moves_chords)
    if isinstance(edit, BarChords):
        return _given(_with_bar(sheet, edit.bar, edit.chords), "chords")
    if isinstance(edit, Chart):
        return put_on(sheet, parse_chart(edit.chords))
    if isinstance(edit, Players):
        return _given(_with_players(sheet, edit), "arrangement")
    if edit.style is None:
        return replace(sheet, style=None)
    return corrected(sheet, Corrections(style=edit.style))


def sheet_of_chart(chords: str, *, bpm: float, meter: str) -> LeadSheet:
    """A chart once through, from 0 s on.

    Raises:
        UsageError, LeadSheetError: the chart or the meter is not understood, or lasts too long.

    >>> sheet = sheet_of_chart("| Am | F  C |", bpm=120, meter="4/4")
    >>> [(span.end_seconds, span.label) for span in sheet.chords]
    [(2.0, 'A:min'), (3.0, 'F:maj'), (4.0, 'C:maj')]
    """
    known = Corrections(bpm=bpm, first_beat=0.0, meter=meter, chords=chords)
    beats = len(parse_chart(chords).bars) * known.meters[0][1].beats_per_bar
    seconds = beats * 60 / bpm
    if seconds > MAX_SECONDS:
        raise LeadSheetError(f"the chart lasts {seconds:.0f} s, and a song {MAX_SECONDS:.0f} s; shorten it")
    return corrected(LeadSheet(duration_seconds=seconds), known)


def _given(sheet: LeadSheet, part: PartName) -> LeadSheet:
    origins = {**sheet.origins, part: Origin()}
    if part == "beats" and sheet.origin("bars").source == "estimated":
        origins["bars"] = sheet.origin("bars")  # or they would be given with the beats
    return replace(sheet, origins=origins)


def _in_bars_of(before: LeadSheet, after: LeadSheet) -> LeadSheet:
    """A sheet whose beats changed: given chords stay in their bars, guessed ones in their time."""
    after = _given(after, "beats")
    if not before.beats or not before.chords or before.origin("chords").source == "estimated":
        return after
    chart = parse_chart(chart_of(before))
    return put_on(after, replace(chart, bars=chart.bars[: len(bars_of(after))]))


def _bar(sheet: LeadSheet, number: int) -> Bar:
    bars = bars_of(sheet)
    if number > len(bars):
        raise LeadSheetError(f"there is no bar {number}; the last is bar {len(bars)}")
    return bars[number - 1]


def _with_bar(sheet: LeadSheet, number: int, chords: str) -> LeadSheet:
    bar = _bar(sheet, number)
    start, end = bar.beats[0], bar.end_seconds
    inside: list[ChordSpan] = []
    if chords.strip() not in ("", "?"):
        chart = parse_chart(f"|{chords.strip()}|")
        if len(chart.bars) > 1:
            raise LeadSheetError(f"these are the chords of {len(chart.bars)} bars; give those of one")
        bars: list[Slots] = [("?",)] * len(bars_of(sheet))
        bars[number - 1] = chart.bars[0]
        inside = _between(put_on(sheet, replace(chart, bars=tuple(bars))).chords, start, end)
    before, after = _between(sheet.chords, 0.0, start), _between(sheet.chords, end, sheet.duration_seconds)
    return replace(sheet, chords=(*before, *inside, *after))


def _between(spans: tuple[Span, ...], start: float, end: float) -> list[Span]:
    """What of some spans lies between two times."""
    cut = (
        replace(span, start_seconds=max(span.start_seconds, start), end_seconds=min(span.end_seconds, end))
        for span in spans
    )
    return [span for span in cut if span.start_seconds < span.end_seconds]


def _with_players(sheet: LeadSheet, edit: Players) -> LeadSheet:
    if edit.last_bar < edit.first_bar:
        raise LeadSheetError(f"bars {edit.first_bar} to {edit.last_bar} are no stretch; give the first first")
    bars = bars_of(sheet)
    _bar(sheet, edit.last_bar)
    chosen = bars[edit.first_bar - 1 : edit.last_bar]
    start, end = chosen[0].beats[0], chosen[-1].end_seconds
    players = [player for player in PLAYERS if player not in edit.without]
    new = [PlayingSpan.of(bar.beats[0], bar.end_seconds, players) for bar in chosen] if edit.without else []
    before = _between(sheet.arrangement, 0.0, start)
    after = _between(sheet.arrangement, end, sheet.duration_seconds)
    return replace(sheet, arrangement=(*before, *new, *after))


def _in_key(sheet: LeadSheet, text: str, *, moves_chords: bool) -> LeadSheet:
    key = parse_key(text)
    if moves_chords and sheet.keys and sheet.chords:
        semitones = (parse_note(key.tonic) - parse_note(sheet.keys[0].tonic)) % 12
        moved = sheet.transposed(semitones - 12 if semitones > 6 else semitones)
        sheet = _given(replace(sheet, chords=moved.chords), "chords") if semitones else sheet
    return _given(replace(sheet, keys=(key,)), "key")


def _with_beat_at(sheet: LeadSheet, number: int, seconds: float) -> LeadSheet:
    """One beat elsewhere: beats up to a bar away follow, the less the further they are."""
    if number > len(sheet.beats):
        raise LeadSheetError(f"there is no beat {number}; the last is beat {len(sheet.beats)}")
    index = number - 1
    reach = max(meter.beats_per_bar for meter in sheet.meters)
    low, high = max(0, index - reach), min(len(sheet.beats) - 1, index + reach)
    times = [beat.seconds for beat in sheet.beats]
    old = times[index]
    left = times[low] if low < index else -1.0
    right = times[high] if high > index else sheet.duration_seconds + 1.0
    least = _LEAST_APART_SECONDS * reach
    if (
        not max(left + least, 0.0)
        <= seconds
        <= min(right - least, sheet.duration_seconds - _LEAST_APART_SECONDS)
    ):
        raise LeadSheetError(
            f"beat {number} cannot be at {seconds:.2f} s: the beats around it leave no room; give a time "
            f"nearer to {old:.2f} s, or change the tempo"
        )

    def place(time: float) -> float:
        if not left < time < right:
            return time
        if time <= old:
            return left + (time - left) * (seconds - left) / (old - left)
        return right - (right - time) * (right - seconds) / (right - old)

    beats = tuple(Beat(max(0.0, place(beat.seconds)), beat.position) for beat in sheet.beats)
    return replace(
        sheet,
        beats=beats,
        chords=moved_spans(sheet.chords, place, sheet.duration_seconds),
        arrangement=moved_spans(sheet.arrangement, place, sheet.duration_seconds),
        sections=moved_spans(sheet.sections, place, sheet.duration_seconds),
    )
