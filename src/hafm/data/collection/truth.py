"""The truth of a rendered pair as a lead sheet.

In: the JSON that `recipes/builtin/render.py` writes beside a pair (`recipes/builtin/README.md` lists its
fields). Out: a `LeadSheet` whose parts are given.

What such a truth leaves out is known to be absent: between its chords no chord sounds. The arrangement is
newer than the format; an older truth comes without. Times are rounded there, so that a beat on the window's
edge may be at its end, and a chord may have become nothing; these are passed over.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from hafm.errors import LeadSheetError
from hafm.guide.bars import meters_of
from hafm.guide.chord import NO_CHORD
from hafm.guide.lead_sheet import PLAYERS, Beat, ChordSpan, KeyChange, LeadSheet, PlayingSpan

__all__ = ["lead_sheet_of_truth"]


def lead_sheet_of_truth(truth: Mapping[str, Any]) -> LeadSheet:
    """The lead sheet of a rendered pair.

    Raises:
        LeadSheetError: a field is missing or of another type, or the sheet would not be valid.
    """
    try:
        seconds = float(truth["seconds"])
        times, starts = (
            [time for time in truth[name] if time < seconds]
            for name in ("beats_seconds", "downbeats_seconds")
        )
        beats = _beats(times, starts, truth["beats_per_bar"])
        return LeadSheet(
            duration_seconds=seconds,
            beats=beats,
            meters=meters_of(beats, beats_per_bar=truth["beats_per_bar"]),
            keys=(KeyChange.parse(0.0, truth["key"]["label"]),),
            chords=tuple(_without_gaps(truth["chords"], seconds)),
            arrangement=tuple(
                PlayingSpan(start, end, *(bar[name] for name in PLAYERS))
                for start, end, bar in _inside(truth.get("arrangement", ()), seconds)
            ),
            style=truth["band"]["style"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LeadSheetError(
            f"this is no truth of a rendered pair ({type(error).__name__}: {error}); render it again"
        ) from error


def _beats(times: Sequence[float], downbeats: Iterable[float], beats_per_bar: int) -> tuple[Beat, ...]:
    """Beats with their positions; the bar before the first downbeat has its last beats."""
    starts = [times.index(seconds) for seconds in downbeats]
    first = starts[0] if starts else len(times)
    positions = [max(first, beats_per_bar) - first + number + 1 for number in range(first)]
    for begin, end in pairwise([*starts, len(times)]):
        positions += range(1, end - begin + 1)
    return tuple(map(Beat, times, positions))


def _without_gaps(chords: Iterable[Mapping[str, Any]], seconds: float) -> Iterator[ChordSpan]:
    reached = 0.0
    for start, end, chord in _inside(chords, seconds):
        if start > reached:
            yield ChordSpan(reached, start, NO_CHORD)
        yield ChordSpan(start, end, chord["label"])
        reached = end
    if reached < seconds:
        yield ChordSpan(reached, seconds, NO_CHORD)


def _inside(
    spans: Iterable[Mapping[str, Any]], seconds: float
) -> Iterator[tuple[float, float, Mapping[str, Any]]]:
    """Start and end of spans as far as they are inside the window, if they are."""
    for span in spans:
        start, end = max(span["start_seconds"], 0.0), min(span["end_seconds"], seconds)
        if start < end:
            yield start, end, span
