"""What a user knows better than the analyser: a tempo, a meter, a key, chords; and how the band is to play.

In: `Corrections`, and a `LeadSheet` or what there is of one. Out: the sheet with them.

| correction | beats and bars | chords that are estimated |
|---|---|---|
| `bpm` | exact; the phase is found | found again in the new bars |
| `first_beat` | the first bar begins there | found again in the new bars |
| `meter`, `half_time`, `double_time` | counted otherwise | found again in the new bars |
| `free_time` | there are none | found again, one per second at most |
| `key` | - | found again as that key makes them likely |
| `chords` | - | replaced, from the first downbeat to the end |
| `transpose_chords` | - | moved, after all else; the key is not |

Chords that were given stay what they are; on bars that move, they move with their bars. To find chords again
takes the sound (`hafm.guide.analyser`); `corrected` has the sheet alone, and moves them with their bars.
"""

import math
import re
from dataclasses import dataclass, fields, replace
from functools import cached_property

from hafm.errors import LeadSheetError, UsageError
from hafm.guide.bars import bars_of
from hafm.guide.beats import FASTEST_BPM
from hafm.guide.chart import Chart, parse_chart, put_on
from hafm.guide.chord import parse_note
from hafm.guide.grid import (
    at_double_time,
    at_half_time,
    at_tempo,
    steady_beats,
    with_first_beat,
    with_meters,
    without_beats,
)
from hafm.guide.lead_sheet import (
    PLAYERS,
    STYLES,
    KeyChange,
    LeadSheet,
    MeterChange,
    Origin,
    PlayingSpan,
    parse_meter,
)
from hafm.jsonfile import Mismatch, as_type, unknown_name

__all__ = ["Corrections", "corrected", "parse_key"]

SLOWEST_GIVEN_BPM, FASTEST_GIVEN_BPM = 20.0, 400.0
MOST_SEMITONES = 11

_KEY = re.compile(
    r"(?P<tonic>[A-Ga-gHh](?:#{1,2}|b{1,2})?)(?:\s*[\s:-]\s*(?=[A-Za-z]))?(?P<mode>[A-Za-z]*|-)"
)
_MODES = {
    "maj": ("", "M", "maj", "major", "dur"),
    "min": ("m", "-", "min", "minor", "moll"),
}
_FREE_RULES_OUT = ("bpm", "first_beat", "meter", "half_time", "double_time", "chords")
_EXACT_RULES_OUT = ("half_time", "double_time")
_COMMON_TIME = ((1, MeterChange(0.0, 4, 4)),)


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """What is known better; all of it may be left out.

    Args:
        bpm: beats per minute, 20 to 400, exact. In 6/8 a beat is three eighths.
        first_beat: when the first bar begins, in seconds.
        meter: as in `3/4`; with changes at bars, as in `4/4, 3/4@9`.
        half_time, double_time: the tempo that is heard is twice, or half, what it is.
        free_time: there is no beat.
        key: as in `Am`, `F# minor`, `Bb`; with changes at bars, as in `Am, C@9`.
        chords: a chart (`hafm.guide.chart`), repeated to the end.
        transpose_chords: semitones that chords sound higher than they are written, -11 to 11: a capo.
        style: one of `hafm.guide.lead_sheet.STYLES`.
        players: who plays, as in `bass harmony` or `all`; with changes at bars, as in `harmony, all@5`.

    Raises:
        UsageError: a value is of another type or out of range, or two contradict each other.
        LeadSheetError: a chart, meter, key or player is not understood.

    >>> Corrections(free_time=True, bpm=92)
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: --free-time says that there is no beat, and --bpm cannot stand beside it; ...
    """

    bpm: float | None = None
    first_beat: float | None = None
    meter: str | None = None
    half_time: bool = False
    double_time: bool = False
    free_time: bool = False
    key: str | None = None
    chords: str | None = None
    transpose_chords: int = 0
    style: str | None = None
    players: str | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if hasattr(value, "item"):  # of NumPy
                object.__setattr__(self, each.name, value := value.item())
            try:
                as_type(value, each.type, name=each.name)
            except Mismatch as error:
                raise UsageError(str(error).replace("or null,", "or None,")) from error
        for value, name, low, high in (
            (self.bpm, "--bpm", SLOWEST_GIVEN_BPM, FASTEST_GIVEN_BPM),
            (self.first_beat, "--first-beat", 0.0, math.inf),
            (self.transpose_chords, "--transpose-chords", -MOST_SEMITONES, MOST_SEMITONES),
        ):
            if value is not None and not (low <= value <= high and math.isfinite(value)):
                span = "of 0 or more" if high == math.inf else f"from {low:g} to {high:g}"
                raise UsageError(f"{name} is {value:g}; give a number {span}")
        if self.half_time and self.double_time:
            raise UsageError("--half-time and --double-time contradict each other; leave one out")
        self._refuse(self.free_time, _FREE_RULES_OUT, "--free-time says that there is no beat")
        self._refuse(self.bpm is not None, _EXACT_RULES_OUT, "--bpm is exact")
        if self.style is not None and self.style not in STYLES:
            near = unknown_name(self.style, STYLES)
            raise UsageError(f"there is no style {self.style!r}{near}; choose {', '.join(STYLES)}")
        _ = (self.chart, self.meters, self.keys, self.line_ups)  # refuses what is not understood

    def _refuse(self, holds: bool, others: tuple[str, ...], reason: str) -> None:
        for name in others if holds else ():
            if getattr(self, name) is not None and getattr(self, name) is not False:
                raise UsageError(f"{reason}, and {_spelt(name)} cannot stand beside it; leave one out")

    @cached_property
    def chart(self) -> Chart | None:
        """The chords, understood."""
        return None if self.chords is None else parse_chart(self.chords)

    @cached_property
    def meters(self) -> tuple[tuple[int, MeterChange], ...]:
        """The meters, and from which bar each holds, counted from 1."""
        changes = _at_bars("--meter", self.meter)
        meters = tuple((bar, MeterChange(0.0, *parse_meter(label))) for bar, label in changes)
        for _, meter in meters:
            LeadSheet(duration_seconds=1.0, meters=(meter,))  # refuses such as 0/4 and 4/3
        return meters

    @cached_property
    def keys(self) -> tuple[tuple[int, KeyChange], ...]:
        """The keys, and from which bar each holds, counted from 1."""
        return tuple((bar, parse_key(label)) for bar, label in _at_bars("--key", self.key))

    @cached_property
    def line_ups(self) -> tuple[tuple[int, tuple[str, ...]], ...]:
        """Who plays, and from which bar on, counted from 1."""
        return tuple((bar, _players(label)) for bar, label in _at_bars("--players", self.players))

    @property
    def given(self) -> tuple[str, ...]:
        """The options that were given, as they are spelt on the command line.

        >>> Corrections(bpm=92.0, key="Am").given
        ('--bpm', '--key')
        """
        return tuple(_spelt(each.name) for each in fields(self) if getattr(self, each.name) != each.default)

    def require_duration(self, seconds: float) -> None:
        """Refuses what no sound of that length can have, before anything is heard.

        Raises:
            LeadSheetError: the chart has more bars than the sound, or the first beat is after its end.
        """
        if self.first_beat is not None and self.first_beat >= seconds:
            raise LeadSheetError(
                f"--first-beat is {self.first_beat:g} s, and the sound lasts {seconds:g} s; give a time "
                "within it"
            )
        if self.chart is None:
            return
        beats_per_bar = min((meter.beats_per_bar for _, meter in self.meters), default=2)
        fastest = (FASTEST_BPM if self.bpm is None else self.bpm) * (2 if self.double_time else 1)
        left = seconds - (self.first_beat or 0.0)
        most = math.ceil(left * fastest / 60 / beats_per_bar)
        if len(self.chart.bars) > most:
            raise LeadSheetError(
                f"the chart has {len(self.chart.bars)} bars, and {seconds:.4g} s of sound have {most} at "
                "most; give a shorter chart"
            )

    def on_beats(self, sheet: LeadSheet, *, moves_chords: bool = True) -> LeadSheet:
        """The sheet at half or double time, with its first bar and its meter as they are given.

        Args:
            sheet: any; without beats, nothing of that can be corrected.
            moves_chords: as for `hafm.guide.grid.with_first_beat`.

        Raises:
            LeadSheetError: there is no beat to be corrected, or a correction does not fit.
        """
        if self.half_time:
            sheet = at_half_time(sheet)
        if self.double_time:
            sheet = at_double_time(sheet)
        if self.first_beat is not None:
            sheet = with_first_beat(sheet, self.first_beat, moves_chords=moves_chords)
            sheet = replace(sheet, origins={**sheet.origins, "bars": Origin()})
        return with_meters(sheet, self.meters) if self.meters else sheet

    def on_steady_beats(self, sheet: LeadSheet) -> LeadSheet:
        """A sheet without beats at the tempo that is given, from the first beat that is given.

        Raises:
            LeadSheetError: only one of the two is given.
        """
        if self.bpm is None or self.first_beat is None:
            raise LeadSheetError(
                "only a sound, or beats, can tell where bars begin; give the first beat, too (--first-beat)"
            )
        meters = self.meters or _COMMON_TIME
        beats = steady_beats(
            self.bpm,
            downbeat_seconds=self.first_beat,
            beats_per_bar=meters[0][1].beats_per_bar,
            duration_seconds=sheet.duration_seconds,
        )
        origins = {**sheet.origins, "beats": Origin()}
        return with_meters(replace(sheet, beats=beats, meters=(meters[0][1],), origins=origins), meters)

    def with_harmony(self, sheet: LeadSheet) -> LeadSheet:
        """The sheet with the keys and chords that are given.

        Raises:
            LeadSheetError: a key changes at a bar that the sheet does not have, or the chart has more bars.
        """
        if self.keys:
            starts = self._starts("key changes", [bar for bar, _ in self.keys], sheet)
            keys = (replace(key, start_seconds=at) for at, (_, key) in zip(starts, self.keys, strict=True))
            sheet = replace(sheet, keys=tuple(keys), origins={**sheet.origins, "key": Origin()})
        return sheet if self.chart is None else put_on(sheet, self.chart)

    def finished(self, sheet: LeadSheet) -> LeadSheet:
        """The sheet with chords transposed, and with the style and the players that are given.

        Raises:
            LeadSheetError: the players change at a bar that the sheet does not have.
        """
        if self.transpose_chords:
            sheet = replace(sheet, chords=sheet.transposed(self.transpose_chords).chords)
        if self.style is not None:
            sheet = replace(sheet, style=self.style, origins={**sheet.origins, "style": Origin()})
        return self._with_players(sheet) if self.line_ups else sheet

    def _with_players(self, sheet: LeadSheet) -> LeadSheet:
        starts = self._starts("players change", [bar for bar, _ in self.line_ups], sheet)
        ends = (*starts[1:], sheet.duration_seconds)
        spans = tuple(
            PlayingSpan.of(start, end, players)
            for start, end, (_, players) in zip(starts, ends, self.line_ups, strict=True)
        )
        return replace(sheet, arrangement=spans, origins={**sheet.origins, "arrangement": Origin()})

    @staticmethod
    def _starts(what: str, numbers: list[int], sheet: LeadSheet) -> list[float]:
        """When each of these bars begins, counted from 1; the first begins with the sheet."""
        bars = bars_of(sheet) if len(numbers) > 1 else ()
        if numbers[-1] > max(len(bars), 1):
            raise LeadSheetError(
                f"the {what} at bar {numbers[-1]}, and there are {len(bars)} bars; give a bar that is there"
            )
        return [0.0, *(bars[number - 1].beats[0] for number in numbers[1:])]


def corrected(sheet: LeadSheet, corrections: Corrections) -> LeadSheet:
    """A sheet with corrections, from what it says itself; its chords move with their bars.

    Raises:
        LeadSheetError: they do not fit the sheet; the message says which.

    >>> sheet = corrected(LeadSheet(duration_seconds=4.0), Corrections(bpm=120, first_beat=0, chords="Am F"))
    >>> [(span.start_seconds, span.label) for span in sheet.chords]
    [(0.0, 'A:min'), (2.0, 'F:maj')]
    """
    if corrections.free_time:
        sheet = without_beats(sheet)
    elif corrections.bpm is None:
        sheet = corrections.on_beats(sheet)
    elif sheet.beats:
        sheet = corrections.on_beats(at_tempo(sheet, corrections.bpm))
    else:
        sheet = corrections.on_steady_beats(sheet)
    return corrections.finished(corrections.with_harmony(sheet))


def parse_key(text: str) -> KeyChange:
    """The key that a text says, from second 0.

    Raises:
        LeadSheetError: it is not understood.

    >>> [parse_key(text).label for text in ("Am", "F# minor", "Bb", "C:maj", "e-Moll", "Eb-")]
    ['A:min', 'F#:min', 'Bb:maj', 'C:maj', 'E:min', 'Eb:min']
    """
    matched = _KEY.fullmatch(text.strip().replace("♯", "#").replace("♭", "b"))
    mode = None
    if matched is not None:
        written = matched["mode"]
        mode = next(
            (m for m, names in _MODES.items() if written in names or written.lower() in names[2:]), None
        )
    if matched is None or mode is None:
        raise LeadSheetError(f"{text!r} is not a key; write it as in Am, F# minor or Bb")
    tonic = matched["tonic"]
    if tonic[0] in "Hh":
        raise LeadSheetError(
            f"key {text!r}: does H mean the note below C? write B{tonic[1:]}{matched['mode']}, and Bb for a "
            "German B"
        )
    if tonic[0].islower() and not matched["mode"]:
        raise LeadSheetError(f"key {text!r}: is it {tonic.capitalize()} or {tonic.capitalize()}m? write that")
    parse_note(tonic.capitalize())
    return KeyChange(0.0, tonic.capitalize(), mode)


def _players(label: str) -> tuple[str, ...]:
    """Who plays, of a text.

    >>> _players("harmony+bass"), _players("all")
    (('bass', 'harmony'), ('drums', 'bass', 'harmony', 'melody'))
    """
    names = label.lower().replace("+", " ").split()
    for name in names:
        if name not in (*PLAYERS, "all"):
            near = unknown_name(name, (*PLAYERS, "all"))
            raise LeadSheetError(
                f"there is no player {name!r}{near}; choose of {', '.join(PLAYERS)}, with spaces between them"
            )
    if not names:
        raise LeadSheetError(f"--players names nobody; choose of {', '.join(PLAYERS)}, or write all")
    return tuple(player for player in PLAYERS if player in names or "all" in names)


def _at_bars(option: str, text: str | None) -> list[tuple[int, str]]:
    """What holds from which bar; the first from bar 1.

    >>> _at_bars("--key", "Am, C@9")
    [(1, 'Am'), (9, 'C')]
    """
    changes: list[tuple[int, str]] = []
    for part in [] if text is None else text.split(","):
        label, _, bar = (each.strip() for each in part.partition("@"))
        if bar and not (bar.isdecimal() and len(bar) < 6):
            raise LeadSheetError(f"{option} changes at bar {bar!r}; write a number, as in X, Y@9")
        if option == "--players" and changes and not bar:
            raise LeadSheetError(
                f"{option} is {text!r}; put spaces between players, as in 'bass drums', and @ before the bar "
                "where they change, as in 'bass, all@9'"
            )
        number = int(bar) if bar else 1
        if (number == 1) == bool(changes) or (changes and number <= changes[-1][0]):
            raise LeadSheetError(
                f"{option} is {text!r}; write what holds from bar 1, then changes in order, as in X, Y@9"
            )
        changes.append((number, label))
    return changes


def _spelt(name: str) -> str:
    return f"--{name.replace('_', '-')}"
