"""The plan of an arrangement: its feel, its sections, and what happens in each bar.

In: a `Score` in window time. Out: a `Feel`, drawn before the score is bent in time; then one `PlannedBar` for
each bar that touches the window.

A section is a run of 4, 8 or 16 bars, counted from the bar in which the voice enters. It has an energy, the
roles that play in it, and patterns of its own. Most sections end in a fill, some in a break (everybody stops
for the last beats), and the next begins with a crash. A count-in is a bar of sticks, with nothing before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recipes.builtin.rendering.clock import swing_positions
from recipes.builtin.rendering.scores import Score
from recipes.builtin.rendering.styles import ROLES, STYLES, Lanes, Style, style_weights

SLOW_TEMPO_BPM = 80.0
FAST_TEMPO_BPM = 105.0
HALF, NORMAL, DOUBLE = 0.5, 1.0, 2.0
TRIPLET_SWING = 2 / 3

FILL_CHANCE = 0.75
BREAK_CHANCE = 0.12
CRASH_CHANCE = 0.7
THIN_CHANCE = 0.12
_SECTION_BARS = ((4, 0.35), (8, 0.5), (16, 0.15))
_BASS_LINES = ("pattern", "approach", "walking")

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

    Attributes:
        style: a key of `styles.STYLES`.
        rate: pattern beats per beat of the song: `HALF`, `NORMAL` or `DOUBLE` time.
        swing: where the off-beat of a pair falls, 1/2 (straight) to 2/3.
        swing_pair_beats: length of that pair, in beats of the song.
    """

    style: str
    rate: float
    swing: float
    swing_pair_beats: float


def draw_feel(score: Score, rng: np.random.Generator, *, drums: bool = False) -> Feel:
    """Draw the feel for a song.

    Args:
        score: its metre and tempo count.
        rng: source of the draw.
        drums: whether the style must have drums.
    """
    weights = style_weights(score.beats_per_bar, drums=drums)
    name = str(rng.choice(list(weights), p=list(weights.values())))
    style = STYLES[name]
    slow, fast = score.tempo_bpm < SLOW_TEMPO_BPM, score.tempo_bpm > FAST_TEMPO_BPM
    turns, swings = rng.random() < 0.4, rng.random() < 0.2
    rate = NORMAL
    if style.beats == 4 and turns and (slow or fast):
        rate = DOUBLE if slow else HALF
    swing = float(rng.uniform(0.54, 0.66))
    if style.triplets:
        swing = TRIPLET_SWING
    elif not (swings and style.swing_pair_beats):
        swing = 0.5
    return Feel(style=name, rate=rate, swing=swing, swing_pair_beats=(style.swing_pair_beats or 1.0) / rate)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar of the song, and how patterns lie in it.

    Attributes:
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

    Attributes:
        energy: 0..1; moves loudness and the choice of cymbals.
        roles: keys of `styles.ROLES` that play.
        drums: index of a pattern, to be taken modulo their number; so are `bass` and `comp`.
        bass: index of a pattern.
        bass_line: "pattern", "approach" (a step into the next chord) or "walking" (crotchets).
        comp: index of a pattern.
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

    Attributes:
        bar: where it lies.
        section: what it belongs to.
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


def bars_in_window(score: Score, feel: Feel, seconds: float) -> list[Bar]:
    """The bars of a score that touch [-1, seconds)."""
    starts = score.downbeats
    if not len(starts):
        return []
    last = min(len(score.beat_seconds), int(starts[-1]) + score.beats_per_bar)
    bars = (
        Bar(
            number=number,
            first_beat=int(first),
            beats=int(after - first),
            beat_seconds=score.beat_seconds,
            feel=feel,
        )
        for number, (first, after) in enumerate(zip(starts, np.append(starts[1:], last), strict=True))
    )
    return [bar for bar in bars if bar.beats > 0 and bar.start_seconds < seconds and bar.end_seconds > -1.0]


def plan_bars(
    bars: Sequence[Bar],
    *,
    entry_bar: int,
    count_in: bool,
    stems: frozenset[str],
    rng: np.random.Generator,
) -> list[PlannedBar]:
    """Draw the sections and what happens in each bar.

    Args:
        bars: in order.
        entry_bar: number of the bar in which the voice enters; a section begins with it.
        count_in: whether the first bar that begins in the window counts in.
        stems: what the instrumental keeps; in each section one of them plays at least.
        rng: source of the draws.
    """
    length = int(rng.choice([bars for bars, _ in _SECTION_BARS], p=[chance for _, chance in _SECTION_BARS]))
    counting = next((bar.number for bar in bars if bar.start_seconds >= 0), None) if count_in else None
    sections: dict[int, Section] = {}
    planned = []
    for bar in bars:
        ordinal, position = divmod(bar.number - entry_bar, length)
        if ordinal not in sections:
            sections[ordinal] = _draw_section(STYLES[bar.feel.style], stems=stems, rng=rng, intro=ordinal < 0)
        section = sections[ordinal]
        ends, begins = position == length - 1, position == 0
        fill, stop, crash, thin = rng.random(4)
        number = int(rng.integers(len(FILLS)))
        beats = FILLS[number][0] / bar.feel.rate
        silent = counting is not None and bar.number <= counting
        planned.append(
            PlannedBar(
                bar=bar,
                section=section,
                roles=frozenset() if silent else section.roles,
                fill=FILLS[number] if ends and fill < FILL_CHANCE and beats <= bar.beats else None,
                break_beat=float(rng.integers(1, bar.beats))
                if ends and stop < BREAK_CHANCE and bar.beats > 1
                else None,
                crash=begins and crash < CRASH_CHANCE and bar.number > 0,
                thin=section.energy < 0.5 and thin < THIN_CHANCE,
                count_in=bar.number == counting,
            )
        )
    return planned


def _draw_section(style: Style, *, stems: frozenset[str], rng: np.random.Generator, intro: bool) -> Section:
    """Quiet sections lose drums, bass and pads more often than loud ones; intros most of all."""
    energy = float(rng.uniform(0.2, 0.8) if intro else rng.uniform(0.3, 1.0))
    chances = {
        "keys": 0.9,
        "bridge": 0.85,
        "bass": 0.75 + 0.25 * energy,
        "drums": (0.45 if intro else 0.75) + 0.3 * energy,
        "pad": 0.4 + 0.6 * energy,
        "comp": 0.5 + 0.5 * energy,
    }
    roles = {role for role in ROLES if rng.random() < chances[role]}
    if not roles & {"keys", "pad", "comp"} and rng.random() < 0.7:
        roles.add("keys")
    if not stems & {ROLES[role].stem for role in roles & {"keys", "bass", "drums"}}:
        roles |= {"keys", "bass", "drums"}
    line = str(rng.choice(_BASS_LINES, p=(0.4, 0.35, 0.25) if style.walks else (0.55, 0.45, 0.0)))
    return Section(
        energy=energy,
        roles=frozenset(roles),
        drums=int(rng.integers(60)),
        bass=int(rng.integers(60)),
        bass_line=line,
        comp=int(rng.integers(60)),
        arpeggio=bool(rng.random() < 0.25),
    )
