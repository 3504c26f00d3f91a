"""The bars of a lead sheet, and the meters that beats are in.

In: a sheet with beats. Out: its bars, from the first downbeat to the end of the sound. After the last beat
they go on at the median period in the last meter, as in the guide; the last bar may be cut off. A sheet of
fewer than two beats has no bars and is refused (`LeadSheetError`).

    beats      |   3   1   2   3   1   2   |.........      |
    bars           |           |           |           |   |
                   first downbeat          goes on         end of the sound
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hafm.errors import LeadSheetError
from hafm.guide.lead_sheet import Beat, LeadSheet, MeterChange

__all__ = ["Bar", "bars_of", "continued_beats", "meters_of"]

_LAST_BIT = 1e-6


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar.

    Args:
        beats: when its beats are, in seconds; at least the first.
        num_beats: that it has when it is not cut off.
        end_seconds: when the next bar begins, or the sound ends.
    """

    beats: tuple[float, ...]
    num_beats: int
    end_seconds: float

    def seconds(self, beat: float) -> float | None:
        """When a number of its beats have passed; None if that is after its end."""
        whole = int(beat)
        if whole >= len(self.beats):
            return None
        after = [*self.beats, self.end_seconds][whole + 1]
        return self.beats[whole] + (beat - whole) * (after - self.beats[whole])


def continued_beats(sheet: LeadSheet) -> tuple[Beat, ...]:
    """The beats, and those that would follow until the sound ends."""
    if len(sheet.beats) < 2:
        raise LeadSheetError("a lead sheet without beats has no bars; give its tempo, or beats")
    beats = list(sheet.beats)
    period = sheet.period_seconds
    start, beats_per_bar = beats[-1].seconds, sheet.meters[-1].beats_per_bar
    for number in range(1, int((sheet.duration_seconds - _LAST_BIT - start) / period) + 1):
        beats.append(Beat(start + number * period, beats[-1].position % beats_per_bar + 1))
    return tuple(beats)


def bars_of(sheet: LeadSheet) -> tuple[Bar, ...]:
    """All bars of a sheet.

    >>> beats = (Beat(0.5, 2), Beat(1.0, 1), Beat(1.5, 2))
    >>> bars = bars_of(LeadSheet(duration_seconds=2.5, beats=beats, meters=(MeterChange(0.0, 2, 4),)))
    >>> [(bar.beats, bar.num_beats, bar.end_seconds) for bar in bars]
    [((1.0, 1.5), 2, 2.0), ((2.0,), 2, 2.5)]
    """
    beats = continued_beats(sheet)
    starts = [number for number, beat in enumerate(beats) if beat.position == 1]
    ends = [*(beat.seconds for beat in beats), sheet.duration_seconds]
    return tuple(
        Bar(
            beats=tuple(beat.seconds for beat in beats[begin:end]),
            num_beats=end - begin if end < len(beats) else max(end - begin, sheet.meters[-1].beats_per_bar),
            end_seconds=ends[end],
        )
        for begin, end in pairwise([*starts, len(beats)])
    )


def meters_of(beats: Sequence[Beat], *, beats_per_bar: int | None = None) -> tuple[MeterChange, ...]:
    """The meters that beats are in: a change wherever a bar has another number of beats.

    Args:
        beats: in order.
        beats_per_bar: the usual number, which the bars at both ends have unless more is there; None for
            that of most whole bars.

    >>> meters_of([])
    ()
    >>> [meter.label for meter in meters_of([Beat(float(n), p) for n, p in enumerate((2, 1, 2, 3, 1, 2, 1))])]
    ['3/4', '2/4', '3/4']
    """
    if not beats:
        return () if beats_per_bar is None else (MeterChange(0.0, beats_per_bar, 4),)
    starts = [number for number, beat in enumerate(beats) if number == 0 or beat.position == 1]
    sizes = [beats[end - 1].position for end in [*starts[1:], len(beats)]]
    whole = sizes[1:-1] if beats[0].position > 1 else sizes[:-1]
    if beats_per_bar is None:
        beats_per_bar = Counter(whole or sizes).most_common(1)[0][0]
    meters: list[MeterChange] = []
    for number, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        is_cut = number == len(sizes) - 1 or (number == 0 and beats[0].position > 1)
        size = max(size, beats_per_bar or size) if is_cut else size
        if not meters or meters[-1].numerator != size:
            meters.append(MeterChange(beats[start].seconds if meters else 0.0, size, 4))
    return tuple(meters)
