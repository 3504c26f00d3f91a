"""The plan of a pair's band, drawn: its feel, its sections, and what happens in each bar.

In: a `Score` in window time. Out: a `Feel`, drawn before the score is bent in time; then one `PlannedBar` for
each bar that touches the window.

A section is a run of 4, 8 or 16 bars, counted from the bar in which the voice enters. It has an energy, the
roles that play in it, and patterns of its own. Most sections end in a fill, some in a break (everybody stops
for the last beats), and the next begins with a crash. A count-in is a bar of sticks, with nothing before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hafm.arrange.plan import DOUBLE, FILLS, HALF, NORMAL, TRIPLET_SWING, Bar, Feel, PlannedBar, Section
from hafm.arrange.styles import ROLES, STYLES, Style
from recipes.builtin.rendering.scores import Score

SLOW_TEMPO_BPM = 80.0
FAST_TEMPO_BPM = 105.0

FILL_CHANCE = 0.75
BREAK_CHANCE = 0.12
CRASH_CHANCE = 0.7
THIN_CHANCE = 0.12
_SECTION_BARS = ((4, 0.35), (8, 0.5), (16, 0.15))
_BASS_LINES = ("pattern", "approach", "walking")


def style_weights(beats_per_bar: int, *, drums: bool = False) -> dict[str, float]:
    """Chance of each style, for a song with bars of that many beats.

    Args:
        beats_per_bar: 3 and 6 are the waltz's.
        drums: whether the style must have drums.

    >>> {name for name, weight in style_weights(6).items() if weight > 0}
    {'waltz'}
    """
    if beats_per_bar in (3, 6):
        return {name: float(name == "waltz") for name in STYLES}
    weights = {name: style.weight if style.drums or not drums else 0.0 for name, style in STYLES.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


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
                crash=bool(begins and crash < CRASH_CHANCE and bar.number > 0),
                thin=bool(section.energy < 0.5 and thin < THIN_CHANCE),
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
