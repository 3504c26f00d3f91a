"""The plan of an arrangement: its feel, its sections, and what happens in each bar.

This is what a plan consists of. `hafm.arrange.sections` makes one for a lead sheet and a voice, and
`recipes/builtin/rendering` draws thousands at random, for training pairs.

A section is a run of bars with an energy, the roles that play in it, and patterns of its own. Most sections
end in a fill, some in a break (everybody stops for the last beats), and the next begins with a crash.

Swing: the second half of each pair of notes comes late. A pair of `pair_beats` is cut at `ratio` instead of
1/2; beats stay where they are::

    straight   |     .     |     .     |
    2/3        |       .   |       .   |
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hafm.arrange.styles import STYLES, Lanes

__all__ = [
    "DOUBLE",
    "FILLS",
    "HALF",
    "NORMAL",
    "TRIPLET_SWING",
    "Bar",
    "Feel",
    "PlannedBar",
    "Section",
    "swing_positions",
]

HALF, NORMAL, DOUBLE = 0.5, 1.0, 2.0
TRIPLET_SWING = 2 / 3

FILLS: tuple[tuple[float, Lanes], ...] = (
    (1, {"snare": "6...", "high_tom": ".77.", "low_tom": "...8"}),
    (1, {"snare": "5678"}),
    (1, {"snare": "7.8", "kick": ".6."}),
    (1, {"open_hat": "..7.", "snare": "6..7"}),
    (2, {"snare": "67......", "high_tom": "..67....", "low_tom": "....6788"}),
    (2, {"kick": "7.....7.", "snare": "..6.67.8"}),
    (2, {"snare": "345678"}),
    (2, {"snare": "7..7..78", "low_tom": ".6..6..."}),
    (4, {"snare": "3.3.4.4.55667788"}),
    (4, {"kick": "8...", "snare": "..6.67..", "high_tom": "....6.7.7.......", "low_tom": "............6788"}),
)
"""Pattern beats at the end of the bar, and what is played there."""


@dataclass(frozen=True, kw_only=True)
class Feel:
    """How the band feels the beat.

    Args:
        style: a key of `styles.STYLES`.
        rate: pattern beats per beat of the song: `HALF`, `NORMAL` or `DOUBLE` time; 3 where a beat is three
            notes of a pattern of six.
        swing: where the off-beat of a pair falls, 1/2 (straight) to 2/3.
        swing_pair_beats: length of that pair, in beats of the song.
    """

    style: str
    rate: float
    swing: float
    swing_pair_beats: float


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar of the song, and how patterns lie in it.

    Args:
        number: of the bar in the song, from 0.
        first_beat: index of its first beat in the song.
        beats: its length.
        beat_seconds: all beats of the song; past the last the last tempo goes on.
        feel: of the band.
    """

    number: int
    first_beat: int
    beats: int
    beat_seconds: npt.NDArray[np.float64]
    feel: Feel

    def seconds(self, beat: float, *, swings: bool = True) -> float:
        """Time of a position in the bar, in beats of the song."""
        clock, position = self.beat_seconds, self.first_beat + beat
        if swings and self.feel.swing != 0.5 and not STYLES[self.feel.style].triplets:
            position = float(
                swing_positions(position, ratio=self.feel.swing, pair_beats=self.feel.swing_pair_beats)
            )
        last = len(clock) - 1
        beyond = max(0.0, position - last) * (clock[-1] - clock[-2])
        return float(np.interp(position, np.arange(last + 1), clock) + beyond)

    @property
    def start_seconds(self) -> float:
        return self.seconds(0, swings=False)

    @property
    def end_seconds(self) -> float:
        return self.seconds(self.beats, swings=False)

    def occurrences(self, pattern_beat: float, pattern_beats: int) -> Iterator[float]:
        """Where in this bar a place of a pattern falls, in beats of the song.

        In double time a pattern comes twice per bar; in half time even bars hold its first half.
        """
        rate = self.feel.rate
        skipped = self.number % 2 * pattern_beats / 2 if rate == HALF else 0.0
        beat = (pattern_beat - skipped) / rate
        while beat < self.beats:
            if beat >= 0:
                yield beat
            beat += pattern_beats / rate


@dataclass(frozen=True, kw_only=True)
class Section:
    """What a run of bars has in common.

    Args:
        energy: 0..1; moves loudness and the choice of cymbals.
        roles: keys of `styles.ROLES` that play.
        drums: index of a pattern, to be taken modulo their number; so are `bass` and `comp`.
        bass_line: "pattern", "approach" (a step into the next chord) or "walking" (crotchets).
        arpeggio: the chordal instrument breaks its chords.
    """

    energy: float
    roles: frozenset[str]
    drums: int
    bass: int
    bass_line: str
    comp: int
    arpeggio: bool


@dataclass(frozen=True, kw_only=True)
class PlannedBar:
    """A bar and what happens in it.

    Args:
        roles: who plays; nobody before a count-in.
        fill: of the drums at its end, an entry of `FILLS`.
        break_beat: where all fall silent until the bar ends, in beats of the song; None for no break.
        crash: whether it begins with a crash.
        thin: drums without kick and snare.
        count_in: sticks on the beats, and nothing else.
    """

    bar: Bar
    section: Section
    roles: frozenset[str]
    fill: tuple[float, Lanes] | None
    break_beat: float | None
    crash: bool
    thin: bool
    count_in: bool


def swing_positions(positions: npt.ArrayLike, *, ratio: float, pair_beats: float) -> npt.NDArray[np.float64]:
    """Where positions in beats go under swing; any shape.

    >>> swing_positions([0.0, 0.25, 0.5, 0.75, 1.0], ratio=0.6, pair_beats=1.0).round(3).tolist()
    [0.0, 0.3, 0.6, 0.8, 1.0]
    """
    pairs, share = np.divmod(np.asarray(positions, np.float64) / pair_beats, 1.0)
    late = np.where(share < 0.5, 2.0 * ratio * share, 1.0 - 2.0 * (1.0 - ratio) * (1.0 - share))
    return np.asarray((pairs + late) * pair_beats)
