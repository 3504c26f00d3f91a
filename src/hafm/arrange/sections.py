"""The plan of an arrangement for a lead sheet: sections whose energy follows the voice, and who plays when.

In: a song's bars, the voice if there is one, a seed's random numbers. Out: a `PlannedBar` for each.

A section is a run of 8 bars (4 in short songs), counted from the bar in which the voice enters. Its energy
comes from how loud the voice sings there; what comes before the voice is an intro, what has no voice an
interlude. The more energy, the more instruments; in each bar energy follows the voice a little further. A
section ends in a fill and the next begins with a crash; a repeated chorus comes back with more. Where the
sheet says who plays, and that was given, they play.

    energy   0       .3         .45           .6            .75        1
    plays    keys    + bass     + drums       + comp        + pad
                                  + melody
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from hafm.arrange.plan import FILLS, Bar, PlannedBar, Section
from hafm.arrange.styles import STYLES
from hafm.arrange.voice import Voice
from hafm.guide.bars import bars_of
from hafm.guide.lead_sheet import PLAYERS, LeadSheet, Player, PlayingSpan, span_at

__all__ = ["line_up", "plan_song"]

_INTRO, _INTERLUDE = 0.42, 0.66
_WITHOUT_VOICE = (0.5, 0.6, 0.8, 0.55, 0.65, 0.85, 0.6, 0.9)
_QUIETEST, _SPAN, _FULL_RANGE_DB = 0.45, 0.42, 9.0
_RISE_PER_SECTION, _MOST_RISE = 0.03, 0.12
_PER_DB, _MOST_IN_BAR = 0.015, 0.1
_LEAST = {"keys": 0.0, "bass": 0.3, "drums": 0.4, "bridge": 0.4, "comp": 0.58, "pad": 0.68}
_SHORT_SONG_BARS = 24
_BREAK_CHANCE = 0.15
_SUNG_LEAST = 0.15
"""Share of a section; a voice that sings less of it rests."""
_LINE_UP_BARS = 4
_JOINS: Mapping[Player, float] = {"harmony": 0.0, "bass": 0.42, "drums": 0.5, "melody": 0.61}
"""How full a voice sings where a player joins: quantiles .12, .25, .55 of 794 stretches of 10 s of training
vocals."""


def line_up(sheet: LeadSheet, voice: Voice) -> tuple[PlayingSpan, ...]:
    """Who plays, where nobody says: the fuller the voice sings in a section, the more of the band.

    A section has four bars. Harmony always plays, then bass, drums and melody join it: each in as large a
    share of the sections as in the bands that the built-in model learned from. Where the voice rests, all do.
    Without bars nobody is named.
    """
    if len(sheet.beats) < 2:
        return ()
    bars = bars_of(sheet)
    entry = next((number for number, bar in enumerate(bars) if bar.end_seconds > voice.entry_seconds), 0)
    starts = [bar.beats[0] for bar in bars[entry % _LINE_UP_BARS :: _LINE_UP_BARS] if bar.beats[0] > 0]
    return tuple(
        PlayingSpan.of(start, end, _players(voice, start, end))
        for start, end in pairwise([0.0, *starts, sheet.duration_seconds])
    )


def _players(voice: Voice, start_seconds: float, end_seconds: float) -> list[Player]:
    if voice.sung_share(start_seconds, end_seconds) < _SUNG_LEAST:
        return list(PLAYERS)
    fullness = voice.fullness(start_seconds, end_seconds)
    return [player for player, least in _JOINS.items() if fullness >= least]


def plan_song(
    bars: Sequence[Bar], sheet: LeadSheet, *, voice: Voice | None, excerpt: bool, rng: np.random.Generator
) -> tuple[list[PlannedBar], int | None]:
    """What happens in each bar, and the bar of which the first beat ends the song, if one does.

    Args:
        excerpt: whether it is a stretch of a song, which neither begins nor ends here.
    """
    entry = 0.0 if voice is None else voice.entry_seconds
    entry_bar = next((bar.number for bar in bars if bar.end_seconds > entry + 0.3), 0)
    length = 8 if len(bars) >= _SHORT_SONG_BARS else 4
    energies = _energies(bars, sheet, voice, entry_bar, length)
    last = None if excerpt else _last(bars, sheet.duration_seconds)
    drawn: dict[int, Section] = {}
    planned: list[PlannedBar] = []
    for bar in bars:
        ordinal, position = divmod(bar.number - entry_bar, length)
        if ordinal not in drawn:
            drawn[ordinal] = _section(bar, energies[ordinal], rng)
        section = drawn[ordinal]
        energy = float(np.clip(section.energy + _nuance(bar, voice, section), 0.15, 1.0))
        ends = position == length - 1 or (ordinal < 0 and bar.number == entry_bar - 1)
        fill, stops = FILLS[int(rng.integers(len(FILLS)))], rng.random() < _BREAK_CHANCE
        roles = _roles(bar, sheet, section)
        if not excerpt and bar.start_seconds < -0.05:
            roles = _pick_up(bar, roles)
        if last is not None and bar.number >= last:
            roles = frozenset()
        planned.append(
            PlannedBar(
                bar=bar,
                section=replace(section, energy=energy, roles=roles),
                roles=roles,
                fill=fill if ends and "drums" in roles and fill[0] / bar.feel.rate <= bar.beats else None,
                break_beat=bar.beats - 1.0 if ends and stops and bar.beats > 2 and energy > 0.6 else None,
                crash=position == 0 and bar.start_seconds > 0.5 and section.energy > 0.5,
                thin=section.energy < 0.45,
                count_in=False,
            )
        )
    return planned, last


def _pick_up(bar: Bar, roles: frozenset[str]) -> frozenset[str]:
    """Who plays in a bar of which the beginning is cut off: chords alone, if more than a pick-up is left."""
    beat = (bar.end_seconds - bar.start_seconds) / bar.beats
    return roles & {"keys", "pad"} if bar.end_seconds > 1.5 * beat else frozenset()


def _last(bars: Sequence[Bar], duration_seconds: float) -> int | None:
    """The last bar of which at least two beats sound."""
    fitting = [bar.number for bar in bars if bar.seconds(min(2, bar.beats)) <= duration_seconds]
    return fitting[-1] if len(fitting) > 2 else None


def _energies(
    bars: Sequence[Bar], sheet: LeadSheet, voice: Voice | None, entry_bar: int, length: int
) -> dict[int, float]:
    """The energy of each section, by its number; those before the voice have numbers below 0."""
    spans: dict[int, tuple[float, float]] = {}
    for bar in bars:
        number = (bar.number - entry_bar) // length
        start = spans.get(number, (bar.start_seconds, 0.0))[0]
        spans[number] = (start, min(bar.end_seconds, sheet.duration_seconds))
    if voice is None:
        return {number: _WITHOUT_VOICE[number % len(_WITHOUT_VOICE)] for number in spans}
    levels = {number: voice.level_db(*span) for number, span in spans.items()}
    heard = [level for level in levels.values() if level is not None]
    quietest = min(heard, default=0.0)
    spread = max(_FULL_RANGE_DB, max(heard, default=0.0) - quietest)
    energies = {}
    for number, level in levels.items():
        rise = min(_RISE_PER_SECTION * max(number, 0), _MOST_RISE)
        if number < 0:
            energies[number] = _INTRO
        elif level is None or voice.sung_share(*spans[number]) < _SUNG_LEAST:
            energies[number] = _INTERLUDE
        else:
            loudness = (level - quietest) / spread if len(heard) > 1 else 0.5
            energies[number] = min(_QUIETEST + _SPAN * loudness + rise, 1.0)
    return energies


def _nuance(bar: Bar, voice: Voice | None, section: Section) -> float:
    """How much more energy a bar has than its section: louder singing, and rests, which the band fills."""
    if voice is None:
        return 0.0
    span = (bar.start_seconds, bar.end_seconds)
    level, around = voice.level_db(*span), voice.level_db(span[0] - 8.0, span[1] + 8.0)
    if level is None or around is None:
        return 0.05
    room = 0.04 * (0.5 - voice.sung_share(*span))
    return float(np.clip(_PER_DB * (level - around), -_MOST_IN_BAR, _MOST_IN_BAR)) + room


def _section(bar: Bar, energy: float, rng: np.random.Generator) -> Section:
    style = STYLES[bar.feel.style]
    lines = ("pattern", "approach", "walking") if style.walks and energy > 0.5 else ("pattern", "approach")
    return Section(
        energy=energy,
        roles=frozenset(role for role, least in _LEAST.items() if energy >= least),
        drums=int(rng.integers(60)),
        bass=int(rng.integers(60)),
        bass_line=str(rng.choice(lines)),
        comp=int(rng.integers(60)),
        arpeggio=bool(energy < 0.62 and rng.random() < 0.45),
    )


def _roles(bar: Bar, sheet: LeadSheet, section: Section) -> frozenset[str]:
    """Who plays in a bar: whom somebody named, or whom the energy asks for."""
    if sheet.origin("arrangement").source == "estimated":
        return section.roles
    span = span_at(sheet.arrangement, 0.5 * (max(bar.start_seconds, 0.0) + bar.end_seconds))
    if span is None:
        return section.roles
    named = {
        "drums": ("drums",),
        "bass": ("bass",),
        "harmony": ("keys", *(role for role in ("comp", "pad") if role in section.roles)),
        "melody": ("bridge",),
    }
    return frozenset(role for player in span.players for role in named[player])
