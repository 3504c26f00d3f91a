"""The lead sheet: when the beats and bars are, which chords and key hold, in which style, and who plays.

In: what a user gave, or what an analyser estimated. Out: a value that is valid, or an error that says which
of its items is wrong and what to do.

    seconds    0        1        2        3        4        5     duration_seconds
    beats      |  4  1     2     3     4     1     2     3    |   position in the bar; 1 is the downbeat
    meters     4/4                                                holds until the next; the first is at 0
    keys       A:min                                              the same
    chords     [A:min7------------------][F:maj/3-------------]   from start to end; a gap is unknown
    arrangement[drums, bass-------------][drums, bass, harmony]   the same, a bar each
    sections   [Verse-------------------][Chorus--------------]   the same; for people alone

Conventions: times are float64 seconds, which hold ten minutes to 1e-13 s and survive JSON bit by bit; no
tempo is stored, so none is ever rounded. A part that is empty is unknown; where no chord sounds, the chord is
`N`.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median
from types import MappingProxyType
from typing import Literal, Self, TypeAlias, TypeVar, get_args

from hafm.errors import ChordError, LeadSheetError
from hafm.guide.chord import Chord, parse_chord, parse_note, transpose_note
from hafm.guide.chord_symbol import parse_label
from hafm.jsonfile import unknown_name

__all__ = [
    "LEAST_APART_SECONDS",
    "PARTS",
    "PLAYERS",
    "STYLES",
    "Beat",
    "Change",
    "ChordSpan",
    "KeyChange",
    "LeadSheet",
    "MeterChange",
    "Origin",
    "PartName",
    "Player",
    "PlayingSpan",
    "SectionSpan",
    "Span",
    "naming",
    "parse_meter",
    "placed_spans",
    "span_at",
]

STYLES = (
    "rock",
    "ballad",
    "disco",
    "funk",
    "bossa",
    "reggae",
    "trap",
    "folk",
    "synth",
    "shuffle",
    "unplugged",
    "waltz",
)
"""What a style can be; the order is that of the guide's channels and never changes."""

PartName: TypeAlias = Literal["beats", "bars", "key", "chords", "arrangement", "style"]
PARTS: tuple[PartName, ...] = get_args(PartName)
"""What a sheet consists of. `bars` are which beats begin one, and the meter; `beats` are when they are."""

Player: TypeAlias = Literal["drums", "bass", "harmony", "melody"]
PLAYERS: tuple[Player, ...] = get_args(Player)
"""Who is in an arrangement; the order is that of the guide's channels."""

MOST_BEATS_PER_BAR = 32
_MOST_PER_SECOND, _MOST_ANYWAY = 10, 100
_LONGEST_NAME = 40
_NOT_IN_NAMES = "[]|"  # which a chart puts around them
LEAST_APART_SECONDS = 0.001
_LAST_BIT = 1e-9


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a part of the sheet comes from.

    Args:
        source: a person `given` it, or an analyser `estimated` it.
        confidence: 0 to 1; the chance that it is right, as far as the analyser can tell.

    Raises:
        LeadSheetError: another source, or a confidence out of range.
    """

    source: Literal["given", "estimated"] = "given"
    confidence: float = 1.0

    def __post_init__(self) -> None:
        if self.source not in ("given", "estimated"):
            raise LeadSheetError(f"a part's source is {self.source!r}; write given or estimated")
        if not 0 <= self.confidence <= 1:
            raise LeadSheetError(f"a part's confidence is {self.confidence}; write 0 to 1")


@dataclass(frozen=True, slots=True)
class Beat:
    """A beat.

    Args:
        seconds: when.
        position: in its bar; 1 is the downbeat.
    """

    seconds: float
    position: int


def parse_meter(label: str) -> tuple[int, int]:
    """Numerator and denominator of a meter.

    Raises:
        LeadSheetError: it is not of the form 6/8.

    >>> parse_meter("6/8")
    (6, 8)
    """
    matched = re.fullmatch(r"(\d{1,2})/(\d{1,2})", label)
    if matched is None:
        raise LeadSheetError(f"{label!r} is not a meter; write it as in 4/4, 3/4 or 6/8")
    return int(matched[1]), int(matched[2])


@dataclass(frozen=True, slots=True)
class MeterChange:
    """A meter, which holds until the next.

    Args:
        start_seconds: from when.
        numerator: 1 to 32.
        denominator: a power of two up to 32.

    >>> MeterChange(0.0, 4, 4).beats_per_bar, MeterChange(0.0, 6, 8).beats_per_bar
    (4, 2)
    """

    start_seconds: float
    numerator: int
    denominator: int

    @property
    def label(self) -> str:
        """As in `6/8`."""
        return f"{self.numerator}/{self.denominator}"

    @property
    def is_compound(self) -> bool:
        """Whether a beat is three notes of the denominator: 6/8, 9/8, 12/8."""
        return self.denominator >= 8 and self.numerator > 3 and self.numerator % 3 == 0

    @property
    def beats_per_bar(self) -> int:
        """Beats of a bar."""
        return self.numerator // 3 if self.is_compound else self.numerator


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A key, which holds until the next.

    Args:
        start_seconds: from when.
        tonic: name of its note.
        mode: `maj` or `min`.
    """

    start_seconds: float
    tonic: str
    mode: str

    @classmethod
    def parse(cls, start_seconds: float, label: str) -> Self:
        """The key that a label such as `F#:min` names; a sheet checks it."""
        tonic, _, mode = label.partition(":")
        return cls(start_seconds, tonic, mode)

    @property
    def label(self) -> str:
        """As in `F#:min`."""
        return f"{self.tonic}:{self.mode}"


@dataclass(frozen=True, slots=True)
class ChordSpan:
    """A chord from start to end.

    Args:
        start_seconds: its first instant.
        end_seconds: the first instant after it.
        label: see `hafm.guide.chord`.
    """

    start_seconds: float
    end_seconds: float
    label: str

    @property
    def chord(self) -> Chord:
        """The label, understood."""
        return parse_chord(self.label)


@dataclass(frozen=True, slots=True)
class PlayingSpan:
    """Who plays from start to end, usually a bar.

    Args:
        drums, bass, harmony, melody: whether they play.
    """

    start_seconds: float
    end_seconds: float
    drums: bool
    bass: bool
    harmony: bool
    melody: bool

    @classmethod
    def of(cls, start_seconds: float, end_seconds: float, players: Collection[str]) -> Self:
        """The span in which these of `PLAYERS` play."""
        return cls(start_seconds, end_seconds, *(player in players for player in PLAYERS))

    @property
    def players(self) -> tuple[Player, ...]:
        """Those of `PLAYERS` that play."""
        return tuple(player for player in PLAYERS if getattr(self, player))


@dataclass(frozen=True, slots=True)
class SectionSpan:
    """A part of the song, such as a verse, from start to end.

    Args:
        name: 1 to 40 characters on one line, without `[`, `]` and `|`.

    Raises:
        LeadSheetError: that is no name.
    """

    start_seconds: float
    end_seconds: float
    name: str

    def __post_init__(self) -> None:
        name = self.name
        if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable() or set(name) & set(_NOT_IN_NAMES):
            raise LeadSheetError(
                f"a section is named {name!r}; give 1 to {_LONGEST_NAME} characters on one line, without "
                f"{' '.join(_NOT_IN_NAMES)}"
            )


@dataclass(frozen=True, kw_only=True)
class LeadSheet:
    """A lead sheet.

    Args:
        duration_seconds: of the sound that it belongs to; above 0. Nothing is outside of it.
        beats: rising, by a millisecond or more. Each is one position after the last, or a downbeat.
        meters: at least one if there are beats. A bar may be shorter than its meter says, never longer.
        keys: may be none.
        chords: in order, without overlap; gaps are unknown.
        arrangement: the same.
        style: one of `STYLES`; None is unknown.
        sections: as the chords.
        origins: of the parts; one that is missing was given, but bars come from where the beats do.

    Raises:
        LeadSheetError: something of that does not hold; the message names the item, counted from 1.
    """

    duration_seconds: float
    beats: tuple[Beat, ...] = ()
    meters: tuple[MeterChange, ...] = ()
    keys: tuple[KeyChange, ...] = ()
    chords: tuple[ChordSpan, ...] = ()
    arrangement: tuple[PlayingSpan, ...] = ()
    style: str | None = None
    sections: tuple[SectionSpan, ...] = ()
    origins: Mapping[PartName, Origin] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "origins", MappingProxyType(dict(self.origins)))
        _check(self)

    def __hash__(self) -> int:
        return hash((self.duration_seconds, self.beats, self.chords))

    def origin(self, part: PartName) -> Origin:
        """Where a part comes from."""
        if part == "bars" and part not in self.origins:
            part = "beats"
        return self.origins.get(part, Origin())

    @property
    def tempo_bpm(self) -> float | None:
        """Beats per minute, from the median distance of two beats; None without two beats."""
        return None if len(self.beats) < 2 else 60 / self.period_seconds

    @property
    def period_seconds(self) -> float:
        """The median distance of two beats, of which there must be two."""
        return median(after.seconds - before.seconds for before, after in pairwise(self.beats))

    def meter_at(self, seconds: float) -> MeterChange:
        """The meter that holds at a time; there must be one."""
        return self.meters[bisect_right(self.meters, seconds, key=lambda each: each.start_seconds) - 1]

    @property
    def downbeats(self) -> tuple[float, ...]:
        """When bars begin, in seconds."""
        return tuple(beat.seconds for beat in self.beats if beat.position == 1)

    def transposed(self, semitones: int) -> Self:
        """The sheet with chords and keys `semitones` higher."""
        return replace(
            self,
            keys=tuple(replace(key, tonic=transpose_note(key.tonic, semitones)) for key in self.keys),
            chords=tuple(replace(span, label=span.chord.transposed(semitones).label) for span in self.chords),
        )

    def shifted(self, seconds: float) -> Self:
        """The sheet `seconds` later, and longer by them; nothing is known of the time before.

        Args:
            seconds: 0 or more. Something is cut off at the beginning by `cropped`.
        """
        if not 0 <= seconds < math.inf:
            raise LeadSheetError(f"a lead sheet cannot begin {seconds} s later; give 0 or more, or crop it")
        return self._moved(seconds, duration_seconds=self.duration_seconds + seconds)

    def cropped(self, start_seconds: float, end_seconds: float) -> Self:
        """The stretch from `start_seconds` to `end_seconds`, which begins at 0.

        Raises:
            LeadSheetError: the stretch is empty or not inside the sheet.
        """
        if not 0 <= start_seconds < end_seconds <= self.duration_seconds:
            raise LeadSheetError(
                f"a lead sheet of {self.duration_seconds:g} s has no stretch from {start_seconds:g} to "
                f"{end_seconds:g} s; give a start and an end within it"
            )
        return self._moved(-start_seconds, duration_seconds=end_seconds - start_seconds)

    def _moved(self, seconds: float, *, duration_seconds: float) -> Self:
        """Everything `seconds` later; what falls outside of the new duration is cut off."""

        def at(time: float) -> float:
            return min(max(time + seconds, 0.0), duration_seconds)

        # A beat at the cut may have lost its last bit.
        beats = [
            Beat(max(beat.seconds + seconds, 0.0), beat.position)
            for beat in self.beats
            if -_LAST_BIT <= beat.seconds + seconds < duration_seconds - _LAST_BIT
        ]
        return replace(
            self,
            duration_seconds=duration_seconds,
            beats=tuple(beats),
            meters=_moved_changes(self.meters, seconds, duration_seconds),
            keys=_moved_changes(self.keys, seconds, duration_seconds),
            chords=placed_spans(self.chords, at),
            arrangement=placed_spans(self.arrangement, at),
            sections=placed_spans(self.sections, at),
        )


Change = TypeVar("Change", MeterChange, KeyChange)
Span = TypeVar("Span", ChordSpan, PlayingSpan, SectionSpan)


def span_at(spans: Sequence[Span], seconds: float) -> Span | None:
    """The span that a time is in; None where none is."""
    number = bisect_right(spans, seconds, key=lambda span: span.start_seconds) - 1
    return spans[number] if number >= 0 and seconds < spans[number].end_seconds else None


def placed_spans(spans: Sequence[Span], place: Callable[[float], float]) -> tuple[Span, ...]:
    """Spans whose borders are elsewhere; an empty one goes."""
    placed = (
        replace(span, start_seconds=place(span.start_seconds), end_seconds=place(span.end_seconds))
        for span in spans
    )
    return tuple(span for span in placed if span.start_seconds < span.end_seconds)


def _moved_changes(
    changes: tuple[Change, ...], seconds: float, duration_seconds: float
) -> tuple[Change, ...]:
    """The change that holds at 0, from 0, and those that come later."""
    moved = [replace(change, start_seconds=change.start_seconds + seconds) for change in changes]
    num_past = sum(change.start_seconds < LEAST_APART_SECONDS for change in moved)
    kept = [change for change in moved[max(0, num_past - 1) :] if change.start_seconds < duration_seconds]
    kept[:1] = [replace(change, start_seconds=0.0) for change in kept[:1]]
    return tuple(kept)


@contextmanager
def naming(what: str, error: type[LeadSheetError] = LeadSheetError) -> Iterator[None]:
    """Says what an error of this kind is about: a file, or an item of one."""
    try:
        yield
    except error as found:
        raise error(f"{what}: {found}") from found


# ---- what holds of every sheet


def _check(sheet: LeadSheet) -> None:
    duration = sheet.duration_seconds
    if not 0 < duration < math.inf:
        raise LeadSheetError(f"a lead sheet lasts {duration} s; give the duration of its sound, above 0")
    for name, items in (
        ("beats", sheet.beats),
        ("chords", sheet.chords),
        ("bars", sheet.arrangement),
        ("sections", sheet.sections),
    ):
        if len(items) > _MOST_PER_SECOND * duration + _MOST_ANYWAY:
            raise LeadSheetError(
                f"a lead sheet has {len(items)} {name} in {duration:g} s, more than {_MOST_PER_SECOND} per "
                "second; is it the sheet of this sound?"
            )
    _check_changes("meter", sheet.meters, duration)
    _check_changes("key", sheet.keys, duration)
    for number, meter in enumerate(sheet.meters, 1):
        if not 1 <= meter.numerator <= MOST_BEATS_PER_BAR or meter.denominator not in (1, 2, 4, 8, 16, 32):
            raise LeadSheetError(f"meter {number} is {meter.label}; write it as in 4/4, 3/4 or 6/8")
    for number, key in enumerate(sheet.keys, 1):
        if key.mode not in ("maj", "min"):
            raise LeadSheetError(f"key {number} is {key.label}; its mode must be maj or min, as in A:min")
        with naming(f"key {number}", ChordError):
            parse_note(key.tonic)
    _check_beats(sheet)
    _check_spans("chord", sheet.chords, duration)
    for number, span in enumerate(sheet.chords, 1):
        with naming(f"chord {number} at {span.start_seconds:.3f} s", ChordError):
            parse_label(span.label)
    _check_spans("bar of the arrangement", sheet.arrangement, duration)
    _check_spans("section", sheet.sections, duration)
    if sheet.style is not None and sheet.style not in STYLES:
        near = unknown_name(sheet.style, STYLES)
        raise LeadSheetError(f"there is no style {sheet.style!r}{near}; choose {', '.join(STYLES)}")
    for part in sheet.origins:
        if part not in PARTS:
            near = unknown_name(part, PARTS)
            raise LeadSheetError(f"a lead sheet has no part {part!r}{near}; it has {', '.join(PARTS)}")


def _check_changes(name: str, changes: Sequence[MeterChange | KeyChange], duration_seconds: float) -> None:
    for number, change in enumerate(changes, 1):
        start = change.start_seconds
        if number == 1:
            if start != 0:
                raise LeadSheetError(f"{name} 1 begins at {start} s; the first begins at 0")
        elif not changes[number - 2].start_seconds + LEAST_APART_SECONDS <= start < duration_seconds:
            raise LeadSheetError(
                f"{name} {number} begins at {start} s, which is not between {name} {number - 1} and the end "
                f"at {duration_seconds:g} s; put it in order, or leave it out"
            )


def _check_beats(sheet: LeadSheet) -> None:
    if sheet.beats and not sheet.meters:
        raise LeadSheetError("there are beats and no meter; give one, as in 4/4")
    earliest, position = 0.0, 0
    for number, beat in enumerate(sheet.beats, 1):
        if not earliest <= beat.seconds < sheet.duration_seconds:
            raise LeadSheetError(
                f"beat {number} is at {beat.seconds} s, which is not between {earliest:g} s and the end at "
                f"{sheet.duration_seconds:g} s; put the beats in order, or leave it out"
            )
        meter = sheet.meter_at(beat.seconds)
        if not 1 <= beat.position <= meter.beats_per_bar:
            raise LeadSheetError(
                f"beat {number} at {beat.seconds:.3f} s has position {beat.position} in a bar of "
                f"{meter.label}; write 1 to {meter.beats_per_bar}, or change the meter there"
            )
        if number > 1 and beat.position not in (position + 1, 1):
            raise LeadSheetError(
                f"beat {number} at {beat.seconds:.3f} s has position {beat.position} after {position}; write "
                f"{position + 1}, or 1 where a bar begins"
            )
        earliest, position = beat.seconds + LEAST_APART_SECONDS, beat.position


def _check_spans(
    name: str, spans: Sequence[ChordSpan | PlayingSpan | SectionSpan], duration_seconds: float
) -> None:
    before = 0.0
    for number, span in enumerate(spans, 1):
        start, end = span.start_seconds, span.end_seconds
        if not start < end:
            raise LeadSheetError(f"{name} {number} lasts from {start} to {end} s; its end must be later")
        if not before <= start:
            raise LeadSheetError(
                f"{name} {number} begins at {start} s, and what is before it ends at {before} s; put them in "
                "order, without overlap"
            )
        if not end <= duration_seconds:
            raise LeadSheetError(
                f"{name} {number} ends at {end} s and the sound at {duration_seconds} s; end it there, or "
                "leave it out"
            )
        before = end
