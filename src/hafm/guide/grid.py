"""Corrections of the beats: another tempo, first downbeat, meter, or metrical level.

In: a `LeadSheet` and what is known better. Out: the sheet with other beats and bars; what was tied to a bar
goes with it.

    half time      |1 . 2 . 3 . 4 . |1 . 2 .           every second beat, from the first downbeat
    as heard       |1 2 3 4|1 2 3 4 |1 2 3 4
    double time    |1234|1234|1234|1234|1234           and beats half-way between
    first beat         |1 2 3 4 |1 2 3 4 |1 2          bars moved to where the first begins, chords with them
    meter          |1 2 3|1 2 3|1 2 3|1 2 3|1          the same beats, counted otherwise
    tempo          |1 2 3 4|1 2 3 4 |1 2 3             beat n at start + 60 n / bpm, n counted, never summed

Conventions: before the first downbeat lies less than a bar, the pick-up; so a chart begins where the first
downbeat is. What reaches an end of the sound still does when it is moved. Whether beats are given or
estimated is said by who calls these.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from hafm.errors import LeadSheetError
from hafm.guide.bars import continued_beats
from hafm.guide.lead_sheet import (
    LEAST_APART_SECONDS,
    Beat,
    Change,
    LeadSheet,
    MeterChange,
    Span,
    placed_spans,
)

__all__ = [
    "at_double_time",
    "at_half_time",
    "at_tempo",
    "moved_spans",
    "steady_beats",
    "with_first_beat",
    "with_meters",
    "without_beats",
]

_LAST_BIT = 1e-9
_LEAST_STEADY = 0.3
"""Length of the mean vector of the phases of beats, below which another tempo has no phase for them."""


def steady_beats(
    bpm: float, *, downbeat_seconds: float, beats_per_bar: int, duration_seconds: float
) -> tuple[Beat, ...]:
    """Beats of an even tempo.

    Args:
        downbeat_seconds: when the first bar begins, within the sound.

    Returns:
        Beat n of the first bar on is at `downbeat_seconds + 60 n / bpm`, to the last bit; before it come
        those of a pick-up.

    >>> steady_beats(120.0, downbeat_seconds=0.75, beats_per_bar=3, duration_seconds=2.0)
    (Beat(seconds=0.25, position=3), Beat(seconds=0.75, position=1), Beat(seconds=1.25, position=2), ...
    """
    least = math.ceil((-downbeat_seconds - _LAST_BIT) * bpm / 60)
    most = math.ceil((duration_seconds - downbeat_seconds - _LAST_BIT) * bpm / 60)
    return tuple(
        Beat(max(downbeat_seconds + number * 60 / bpm, 0.0), number % beats_per_bar + 1)
        for number in range(max(least, 1 - beats_per_bar), most)
    )


def at_tempo(sheet: LeadSheet, bpm: float) -> LeadSheet:
    """The sheet at an exact tempo, as near to its beats as that tempo can be.

    Beats are laid on the mean phase of those that are there, bars on most of their downbeats; where the
    tempo is so different that they have no phase in common, on the first downbeat. Chords, keys and players
    change on the beat nearest to where they did.

    Raises:
        LeadSheetError: the sheet has no two beats, or changes its meter.
    """
    _require_one_meter(sheet, "an exact tempo")
    period, times = 60 / bpm, np.array([beat.seconds for beat in sheet.beats])
    mean = np.exp(2j * np.pi * times / period).mean()
    downbeats = np.array(sheet.downbeats or (times[0],))
    start = float(downbeats[0])
    if abs(mean) > _LEAST_STEADY:
        phase = float(np.angle(mean)) / (2 * math.pi) * period
        start = phase + round((start - phase) / period) * period
    beats_per_bar = sheet.meters[0].beats_per_bar
    votes = np.bincount(np.round((downbeats - start) / period).astype(int) % beats_per_bar)
    start += int(votes.argmax()) * period
    start -= math.floor((start + _LAST_BIT) / (beats_per_bar * period)) * beats_per_bar * period
    beats = steady_beats(
        bpm,
        downbeat_seconds=max(start, 0.0),
        beats_per_bar=beats_per_bar,
        duration_seconds=sheet.duration_seconds,
    )
    grid = np.array([beat.seconds for beat in beats])

    def nearest(seconds: float) -> float:
        return float(grid[np.abs(grid - seconds).argmin()]) if len(grid) else seconds

    return _moved(sheet, beats, (replace(sheet.meters[0], start_seconds=0.0),), nearest)


def with_first_beat(sheet: LeadSheet, seconds: float, *, moves_chords: bool = True) -> LeadSheet:
    """The sheet whose first bar begins at `seconds`.

    The beat nearest to it becomes that downbeat: all beats move by what is between the two, which is less
    than a beat, and bars by whole beats. What lies a bar or more before is no longer counted.

    Args:
        sheet: with beats.
        seconds: within the sound.
        moves_chords: whether chords, keys and players move with their bars; else they keep their seconds.

    Raises:
        LeadSheetError: the sheet has no two beats, or ends before.
    """
    _require_beats(sheet)
    if not 0 <= seconds < sheet.duration_seconds:
        raise LeadSheetError(
            f"the first downbeat is given at {seconds:g} s, and the sound lasts "
            f"{sheet.duration_seconds:g} s; give a time within it"
        )
    beats = continued_beats(sheet)
    times = np.array([beat.seconds for beat in beats])
    period = float(np.median(np.diff(times)))
    first = (
        round((seconds - times[0]) / period) if seconds < times[0] else int(np.abs(times - seconds).argmin())
    )
    later = seconds - _at(first, times, period)
    downbeats = [number for number, beat in enumerate(beats) if beat.position == 1] or [0]
    turn = first - min(downbeats, key=lambda number: (abs(number - first), number))
    meter = [each for each in sheet.meters if each.start_seconds <= _at(first - turn, times, period)]
    size = (meter or sheet.meters)[-1].beats_per_bar
    moved = []
    for number in range(first + 1 - size, len(beats) + max(0, math.ceil(-later / period)) + 1):
        time = seconds if number == first else _at(number, times, period) + later
        if number < first:
            position = (number - first) % size + 1
        else:
            position = _position(beats, number - turn, size, sheet.meters[-1].beats_per_bar)
        if -_LAST_BIT <= time < sheet.duration_seconds - _LAST_BIT:
            moved.append(Beat(max(time, 0.0), position))

    def warped(time: float) -> float:
        if time < times[0]:
            place = (time - times[0]) / period
        elif time > times[-1]:
            place = len(times) - 1 + (time - times[-1]) / period
        else:
            place = float(np.interp(time, times, np.arange(len(times))))
        return _at(place + turn, times, period) + later

    meters = tuple(
        replace(meter, start_seconds=warped(meter.start_seconds) if number else 0.0)
        for number, meter in enumerate(sheet.meters)
    )
    return _moved(sheet, tuple(moved), meters, warped if moves_chords else float)


def with_meters(sheet: LeadSheet, changes: Sequence[tuple[int, MeterChange]]) -> LeadSheet:
    """The sheet in other meters: the same beats, counted from the first downbeat on.

    Args:
        changes: the bar from which each meter holds, counted from 1, and the meter; the first from bar 1.

    Raises:
        LeadSheetError: the sheet has no two beats, or fewer bars than a change names.
    """
    _require_beats(sheet)
    size = changes[0][1].beats_per_bar
    first = _first_downbeat(sheet) % size  # a pick-up that holds a whole bar has that bar
    beats = [
        Beat(beat.seconds, (number - first) % size + 1) for number, beat in enumerate(sheet.beats[:first])
    ]
    meters, left = [replace(changes[0][1], start_seconds=0.0)], list(changes[1:])
    bar, position = 0, 0
    for beat in sheet.beats[first:]:
        position = position % size + 1
        if position == 1:
            bar += 1
            if left and left[0][0] == bar:
                meters.append(replace(left.pop(0)[1], start_seconds=beat.seconds))
                size = meters[-1].beats_per_bar
        beats.append(Beat(beat.seconds, position))
    if left:
        raise LeadSheetError(
            f"the meter changes at bar {left[0][0]}, and there are {bar} bars; give a bar that is there"
        )
    return replace(sheet, beats=tuple(beats), meters=tuple(meters))


def at_half_time(sheet: LeadSheet) -> LeadSheet:
    """The sheet at half its tempo: every second beat, from the first downbeat on.

    Raises:
        LeadSheetError: it has fewer than four beats, or changes its meter.
    """
    _require_one_meter(sheet, "half time")
    first = _first_downbeat(sheet)
    numbers = range(first % 2, len(sheet.beats), 2)
    if len(numbers) < 2:
        raise LeadSheetError(
            f"a lead sheet of {len(sheet.beats)} beats cannot be at half time; give the tempo (--bpm)"
        )
    times = [sheet.beats[number].seconds for number in numbers]
    return _renumbered(sheet, times, first // 2, sheet.meters[0])


def at_double_time(sheet: LeadSheet) -> LeadSheet:
    """The sheet at twice its tempo: there are beats half-way between, too.

    Raises:
        LeadSheetError: it has no two beats, or changes its meter.
    """
    _require_one_meter(sheet, "double time")
    beats = [beat.seconds for beat in sheet.beats]
    half = sheet.period_seconds / 2
    times = [beats[0]]
    for before, after in pairwise(beats):
        times += [(before + after) / 2, after]
    first = 2 * _first_downbeat(sheet)
    if beats[0] - half >= 0:
        times.insert(0, beats[0] - half)
        first += 1
    if beats[-1] + half < sheet.duration_seconds - _LAST_BIT:
        times.append(beats[-1] + half)
    return _renumbered(sheet, times, first, sheet.meters[0])


def without_beats(sheet: LeadSheet) -> LeadSheet:
    """The sheet in free time: no beats, no meter; all else as it was."""
    origins = {part: origin for part, origin in sheet.origins.items() if part not in ("beats", "bars")}
    return replace(sheet, beats=(), meters=(), origins=origins)


def _require_beats(sheet: LeadSheet) -> None:
    if len(sheet.beats) < 2:
        raise LeadSheetError("there are no beats to be moved or counted; give the tempo, too (--bpm)")


def _require_one_meter(sheet: LeadSheet, what: str) -> None:
    _require_beats(sheet)
    if len({meter.beats_per_bar for meter in sheet.meters}) > 1:
        raise LeadSheetError(
            f"a lead sheet that changes its meter cannot be brought to {what}; give one meter (--meter)"
        )


def _first_downbeat(sheet: LeadSheet) -> int:
    """Number of the first downbeat; without any, the beat after all, from which positions count back."""
    positions = [beat.position for beat in sheet.beats]
    return positions.index(1) if 1 in positions else len(positions)


def _renumbered(sheet: LeadSheet, times: Sequence[float], first: int, meter: MeterChange) -> LeadSheet:
    """The sheet with its beats in one meter, of which number `first` is the first downbeat."""
    size = meter.beats_per_bar
    beats = tuple(
        Beat(time, (number - first) % size + 1) for number, time in enumerate(times) if number > first - size
    )
    return replace(sheet, beats=beats, meters=(replace(meter, start_seconds=0.0),))


def _at(place: float, times: np.ndarray, period: float) -> float:
    """When a number of beats have passed; at the median period outside of them."""
    if place <= 0:
        return float(times[0] + place * period)
    if place >= len(times) - 1:
        return float(times[-1] + (place - len(times) + 1) * period)
    return float(np.interp(place, np.arange(len(times)), times))


def _position(beats: Sequence[Beat], number: int, size_before: int, size_after: int) -> int:
    """Position in its bar of a beat that may be before or after all."""
    if number < 0:
        return (beats[0].position - 1 + number) % size_before + 1
    if number >= len(beats):
        return (beats[-1].position - 1 + number - len(beats) + 1) % size_after + 1
    return beats[number].position


def moved_spans(
    spans: Sequence[Span], place: Callable[[float], float], duration_seconds: float
) -> tuple[Span, ...]:
    """Spans whose borders are elsewhere; one that reaches an end of the sound still does, an empty one goes.

    >>> from hafm.guide.lead_sheet import ChordSpan
    >>> moved_spans([ChordSpan(0.0, 1.0, "N"), ChordSpan(1.0, 2.0, "C")], lambda time: time + 0.5, 2.0)
    (ChordSpan(start_seconds=0.0, end_seconds=1.5, label='N'), ChordSpan(start_seconds=1.5, ...
    """

    def at(time: float) -> float:
        if time <= 0 or time >= duration_seconds:
            return time
        return min(max(place(time), 0.0), duration_seconds)

    return placed_spans(spans, at)


def _moved(
    sheet: LeadSheet,
    beats: tuple[Beat, ...],
    meters: tuple[MeterChange, ...],
    place: Callable[[float], float],
) -> LeadSheet:
    duration = sheet.duration_seconds
    keys = tuple(
        replace(key, start_seconds=place(key.start_seconds) if number else 0.0)
        for number, key in enumerate(sheet.keys)
    )
    return replace(
        sheet,
        beats=beats,
        meters=_in_order(meters, duration),
        keys=_in_order(keys, duration),
        chords=moved_spans(sheet.chords, place, duration),
        arrangement=moved_spans(sheet.arrangement, place, duration),
        sections=moved_spans(sheet.sections, place, duration),
    )


def _in_order(changes: Sequence[Change], duration_seconds: float) -> tuple[Change, ...]:
    """Changes within the sound; of two at one place the later holds."""
    kept: list[Change] = []
    for change in changes:
        if change.start_seconds >= duration_seconds:
            break
        while kept and change.start_seconds < kept[-1].start_seconds + LEAST_APART_SECONDS:
            change = replace(change, start_seconds=kept.pop().start_seconds)
        kept.append(change)
    return tuple(kept)
