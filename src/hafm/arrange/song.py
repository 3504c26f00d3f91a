"""A lead sheet as a band reads it: bars from before the first sound to after the last.

In: a `LeadSheet`. Out: a `Song`: its beats go on to both sides at the pace that they have there, so that
every instant of the sound lies in a bar.

    sound               |--------------------------------|
    sheet's beats              4   1   2   3   4   1
    song's beats    1   2  3   4   1   2   3   4   1   2   3   4   1

A sheet without beats has none here; then the chords are its time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hafm.arrange.harmony import ChordsInTime, Harmony
from hafm.arrange.plan import DOUBLE, HALF, NORMAL, TRIPLET_SWING, Bar, Feel
from hafm.arrange.styles import STYLES
from hafm.errors import LeadSheetError
from hafm.guide.bars import continued_beats
from hafm.guide.lead_sheet import LeadSheet

__all__ = ["Song"]

_SLOW_BPM, _FAST_BPM = 60.0, 150.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Song:
    """What a band plays from.

    Args:
        beat_seconds: all beats, around the sound. Shape [N]; empty in free time.
        downbeats: which of them begin a bar; the last ends the last bar.
    """

    sheet: LeadSheet
    beat_seconds: NDArray[np.float64]
    downbeats: Sequence[int]
    chord_at: ChordsInTime

    @classmethod
    def of(cls, sheet: LeadSheet) -> "Song":
        """The song of a sheet.

        Raises:
            LeadSheetError: it knows neither two beats nor a chord, so that there is nothing to play.
        """
        chord_at = ChordsInTime.of(sheet.chords)
        if len(sheet.beats) < 2:
            if not any(harmony for _, harmony in chord_at.changes):
                raise LeadSheetError(
                    "a lead sheet without beats and chords gives a band nothing to play; give its tempo or "
                    "its chords"
                )
            return cls(sheet=sheet, beat_seconds=np.zeros(0), downbeats=(), chord_at=chord_at)
        beats, downbeats = _around(sheet)
        return cls(sheet=sheet, beat_seconds=beats, downbeats=downbeats, chord_at=chord_at)

    def bars(self, style: str) -> list[Bar]:
        """Its bars, felt in a style."""
        return [
            Bar(
                number=number,
                first_beat=first,
                beats=after - first,
                beat_seconds=self.beat_seconds,
                feel=self._feel(style, float(self.beat_seconds[first])),
            )
            for number, (first, after) in enumerate(pairwise(self.downbeats))
        ]

    def held_chords(self) -> list[tuple[float, float, Harmony]]:
        """Every chord from its start to its end."""
        ends = [*(start for start, _ in self.chord_at.changes[1:]), self.sheet.duration_seconds]
        return [
            (start, end, harmony)
            for (start, harmony), end in zip(self.chord_at.changes, ends, strict=True)
            if harmony is not None and end > start
        ]

    def _feel(self, style: str, seconds: float) -> Feel:
        """How a style's patterns lie on the beats of the meter there."""
        meter = self.sheet.meter_at(max(seconds, 0.0))
        tempo = self.sheet.tempo_bpm or 0.0
        patterns = STYLES[style]
        if meter.is_compound:
            rate = 3.0 if patterns.beats == 6 else NORMAL
        elif patterns.beats == 6:
            rate = NORMAL if meter.beats_per_bar % 3 == 0 else 6 / 4
        else:
            rate = DOUBLE if tempo < _SLOW_BPM else HALF if tempo > _FAST_BPM else NORMAL
        return Feel(
            style=style,
            rate=rate,
            swing=TRIPLET_SWING if patterns.triplets else 0.5,
            swing_pair_beats=(patterns.swing_pair_beats or 1.0) / rate,
        )


def _around(sheet: LeadSheet) -> tuple[NDArray[np.float64], list[int]]:
    """Beats from the downbeat before the sound to that after it, and which are downbeats."""
    known = continued_beats(sheet)
    period = sheet.period_seconds
    times, positions = [beat.seconds for beat in known], [beat.position for beat in known]
    first, last = sheet.meters[0].beats_per_bar, sheet.meters[-1].beats_per_bar
    while times[0] > 0.0 or positions[0] != 1:
        times.insert(0, times[0] - period)
        positions.insert(0, positions[0] - 1 if positions[0] > 1 else first)
    bars_after = 0
    while bars_after < 2:
        times.append(times[-1] + period)
        positions.append(positions[-1] % last + 1 if positions[-1] <= last else 1)
        bars_after += positions[-1] == 1 and times[-1] >= sheet.duration_seconds
    downbeats = [number for number, position in enumerate(positions) if position == 1]
    return np.array(times), downbeats
