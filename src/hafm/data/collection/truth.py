"""The truth of a rendered pair as a lead sheet.

In: the JSON that `recipes/builtin/render.py` writes beside a pair (`recipes/builtin/README.md` lists its
fields). Out: a `LeadSheet` whose parts are given.

What such a truth leaves out is known to be absent: between its chords no chord sounds. The arrangement is
newer than the format; an older truth comes without.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from hafm.errors import LeadSheetError
from hafm.guide.chord import NO_CHORD
from hafm.guide.lead_sheet import PLAYERS, Beat, ChordSpan, KeyChange, LeadSheet, MeterChange, PlayingSpan

__all__ = ["lead_sheet_of_truth"]


def lead_sheet_of_truth(truth: Mapping[str, Any]) -> LeadSheet:
    """The lead sheet of a rendered pair.

    Args:
        truth: its JSON.

    Raises:
        LeadSheetError: a field is missing or of another type, or the sheet would not be valid.
    """
    try:
        seconds = float(truth["seconds"])
        beats, meters = _bars(truth["beats_seconds"], truth["downbeats_seconds"], truth["beats_per_bar"])
        return LeadSheet(
            duration_seconds=seconds,
            beats=beats,
            meters=meters,
            keys=(KeyChange.parse(0.0, truth["key"]["label"]),),
            chords=tuple(_without_gaps(truth["chords"], seconds)),
            arrangement=tuple(
                PlayingSpan(bar["start_seconds"], bar["end_seconds"], *(bar[name] for name in PLAYERS))
                for bar in truth.get("arrangement", ())
            ),
            style=truth["band"]["style"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LeadSheetError(
            f"this is no truth of a rendered pair ({type(error).__name__}: {error}); render it again"
        ) from error


def _bars(
    beats: Sequence[float], downbeats: Iterable[float], beats_per_bar: int
) -> tuple[tuple[Beat, ...], tuple[MeterChange, ...]]:
    """Beats with their positions, and a change of meter wherever a bar has another number of beats.

    The bars at both ends may be cut off by the window; they have the usual number, unless more is there.
    """
    starts = [beats.index(seconds) for seconds in downbeats]
    first = starts[0] if starts else len(beats)
    pick_up = max(first, beats_per_bar)
    positions = [pick_up - first + number + 1 for number in range(first)]
    sizes = [(0.0, pick_up)] if first else []
    for begin, end in pairwise([*starts, len(beats)]):
        positions += range(1, end - begin + 1)
        whole = end < len(beats)
        size = end - begin if whole else max(end - begin, beats_per_bar)
        sizes.append((beats[begin] if sizes else 0.0, size))
    meters: list[MeterChange] = []
    for start, size in sizes:
        if not meters or meters[-1].numerator != size:
            meters.append(MeterChange(start, size, 4))
    return tuple(map(Beat, beats, positions)), tuple(meters)


def _without_gaps(chords: Iterable[Mapping[str, Any]], seconds: float) -> Iterator[ChordSpan]:
    """The chords, and `N` wherever there is none."""
    reached = 0.0
    for chord in chords:
        if chord["start_seconds"] > reached:
            yield ChordSpan(reached, chord["start_seconds"], NO_CHORD)
        yield ChordSpan(chord["start_seconds"], chord["end_seconds"], chord["label"])
        reached = chord["end_seconds"]
    if reached < seconds:
        yield ChordSpan(reached, seconds, NO_CHORD)
