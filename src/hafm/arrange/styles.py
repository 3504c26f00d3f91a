"""The band styles, as data: what the rhythm section plays in one bar, and on which instruments.

Patterns are strings whose characters divide the bar evenly: 8 characters in a bar of 4 beats are quavers, 12
triplets, 16 semiquavers. Each style has several of each kind, and a section of a song draws among them.

    drums   .  silence            1..9  a stroke of MIDI velocity 14 d
    bass    .  rest  -  held      r  the chord's bass   3  its third   5  its fifth   8  the octave
    comp    .  rest  -  held      x  the chord

Bars of other lengths than the pattern's begin it, and repeat it where they are longer. Program numbers are
General MIDI, counted from 0; drum notes and kits are those of General MIDI channel 10 (kits as in the GS set,
which FluidR3 and its cuts follow).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from hafm.guide.lead_sheet import Player

__all__ = ["BANDS", "DRUMS", "ROLES", "STYLES", "Lanes", "Role", "Style", "held", "strokes"]

DRUMS = {
    "kick": 36,
    "rim": 37,
    "snare": 38,
    "clap": 39,
    "closed_hat": 42,
    "low_tom": 45,
    "open_hat": 46,
    "high_tom": 48,
    "crash": 49,
    "ride": 51,
    "tambourine": 54,
    "shaker": 70,
}

BASS_MARKS = frozenset("r358")
COMP_MARKS = frozenset("x")
_VELOCITY_STEP = 14

Lanes: TypeAlias = Mapping[str, str]
"""Drum lane (a key of `DRUMS`) to its pattern."""


def strokes(lanes: Lanes, *, beats: float) -> list[tuple[float, str, int]]:
    """Drum strokes as (beat, lane, velocity), for lanes that last `beats` beats.

    >>> strokes({"kick": "8.6."}, beats=4)
    [(0.0, 'kick', 112), (2.0, 'kick', 84)]
    """
    return [
        (step * beats / len(pattern), lane, _VELOCITY_STEP * int(mark))
        for lane, pattern in lanes.items()
        for step, mark in enumerate(pattern)
        if mark != "."
    ]


def held(pattern: str, *, beats: float) -> list[tuple[float, str, float]]:
    """Notes of a bass or comp pattern as (beat, mark, length in beats).

    >>> held("r-.5", beats=4)
    [(0.0, 'r', 2.0), (3.0, '5', 1.0)]
    """
    step = beats / len(pattern)
    notes = []
    for first, mark in enumerate(pattern):
        if mark not in ".-":
            after = first + 1
            while after < len(pattern) and pattern[after] == "-":
                after += 1
            notes.append((first * step, mark, (after - first) * step))
    return notes


@dataclass(frozen=True, kw_only=True)
class Style:
    """What a band plays in one bar.

    Args:
        beats: beats in the patterns.
        drums: patterns of the drums; empty for a band without drums.
        bass: patterns of the bass.
        comp: patterns of the chordal instrument.
        kits: drum kits that suit.
        strum_seconds: delay from string to string of a chord stroke.
        swing_pair_beats: the pair of notes that may swing: 1 quavers, 0.5 semiquavers; 0 for none.
        triplets: patterns are in triplets already, so that the song swings by 2/3 and they do not.
        walks: the bass may walk in crotchets.
        weight: relative chance of the style to be drawn, where chance decides.
    """

    beats: int = 4
    drums: tuple[Lanes, ...] = ()
    bass: tuple[str, ...]
    comp: tuple[str, ...]
    kits: tuple[int, ...] = (0,)
    strum_seconds: float = 0.0
    swing_pair_beats: float = 1.0
    triplets: bool = False
    walks: bool = False
    weight: float = 1.0

    def __post_init__(self) -> None:
        unknown = {lane for lanes in self.drums for lane in lanes} - set(DRUMS)
        if unknown:
            raise ValueError(f"unknown drum lanes {sorted(unknown)}; known: {', '.join(DRUMS)}")
        for name, patterns, marks in (("bass", self.bass, BASS_MARKS), ("comp", self.comp, COMP_MARKS)):
            for pattern in patterns:
                if not pattern or set(pattern) - marks - set(".-"):
                    raise ValueError(
                        f"{name} pattern {pattern!r}: marks are '.', '-' and {', '.join(sorted(marks))}"
                    )


STYLES: Mapping[str, Style] = {
    "rock": Style(
        drums=(
            {"kick": "8...86..", "snare": "..8...8.", "closed_hat": "64546454"},
            {"kick": "8.....8.8.8.....", "snare": "....8.......8...", "closed_hat": "66666666"},
            {"kick": "8..88...", "snare": "..8...8.", "open_hat": "7.6.7.6."},
            {"kick": "8.8.8.8.", "snare": "..8...87", "ride": "65656565"},
            {"kick": "8...8...", "snare": "..8...8.", "closed_hat": "6.6.6.6.", "tambourine": ".4.4.4.4"},
        ),
        bass=("rrrrrrrr", "r--rr--5", "r.rr..r5", "r-r-r-r-"),
        comp=("x-xxx-xx", "x-------", "xxxxxxxx", "x--x--x-"),
        kits=(0, 16),
        weight=2.0,
    ),
    "ballad": Style(
        drums=(
            {"kick": "6....4..", "rim": "....6...", "closed_hat": "43434343"},
            {"kick": "6.......6.4.....", "snare": "....6.......6...", "closed_hat": "4.3.4.3."},
            {"kick": "7...6...", "snare": "..6...6.", "ride": "4.4.4.4."},
            {"kick": "6...", "rim": "..6.", "shaker": "3333333333333333"},
        ),
        bass=("r---5--r", "r-------", "r---r-5-", "r--5r--3"),
        comp=("x---x---", "x-------", "x-x-x-x-"),
        kits=(0, 40),
        walks=True,
        weight=2.0,
    ),
    "disco": Style(
        drums=(
            {"kick": "8888", "clap": ".7.7", "open_hat": ".6.6.6.6", "closed_hat": "3333333333333333"},
            {"kick": "8888", "snare": ".7.7", "closed_hat": "4.654.654.654.65"},
            {
                "kick": "8888",
                "snare": ".6.6",
                "clap": ".6.6",
                "open_hat": ".7.7.7.7",
                "tambourine": "44444444",
            },
        ),
        bass=("r8r8r8r8", "r.8.r.8.", "r.r8.r8.r.r8.r58"),
        comp=(".x.x.x.x", "..x...x...x...x.", "x--x--x-"),
        kits=(0, 24, 25),
        swing_pair_beats=0.0,
    ),
    "funk": Style(
        drums=(
            {"kick": "8..6.....7......", "snare": "....8..3...38...", "closed_hat": "5444544454445444"},
            {"kick": "8.6...6...8..6..", "snare": "....8..3.3..8..3", "closed_hat": "5.5.5.5.5.5.5.5."},
            {"kick": "8.....8..68.....", "snare": "....8....3..8...", "closed_hat": "5.55.55.5.55.55."},
        ),
        bass=("r..r..8..r..5.8.", "r.r...r8..r...58", "r...r..8.r5.r..."),
        comp=("..x..x....x..x..", "x..x......x..x..", "....x-......x-.."),
        kits=(0, 16),
        swing_pair_beats=0.5,
    ),
    "bossa": Style(
        drums=(
            {"kick": "6..56..5", "rim": "5..5..5.", "shaker": "44444444"},
            {"kick": "6..56..5", "rim": "..5..5.5", "closed_hat": "43434343"},
            {"kick": "5...5...", "rim": "5..5...5..5.5...", "ride": "4.4.4.4."},
        ),
        bass=("r--55--r", "r--5r--5", "r---5---"),
        comp=("x--x-x-x", "x-x--x--", ".x-x..x-"),
        kits=(0, 32, 40),
        swing_pair_beats=0.0,
        walks=True,
    ),
    "reggae": Style(
        drums=(
            {"kick": "..7.", "rim": "..6.", "closed_hat": "45454545"},
            {"kick": "7.7.", "snare": "..6.", "closed_hat": "5.545.54"},
            {"kick": "7777", "rim": "..7.", "closed_hat": "54545454"},
        ),
        bass=("r-.5r-8.", "r..rr.5.", "r-r-..58"),
        comp=("..x...x...x...x.", "..xx..x...xx..x."),
        swing_pair_beats=0.5,
    ),
    "trap": Style(
        drums=(
            {
                "kick": "8......6...7....",
                "clap": "..8.",
                "snare": "..6.",
                "closed_hat": "535353535353535353535444",
            },
            {"kick": "8.....8...7.....", "snare": "..8.", "closed_hat": "5353535353535353"},
            {"kick": "8..7......8.....", "clap": "..8.", "closed_hat": "5.5.5.555.5.5.5."},
        ),
        bass=("r------r---r----", "r---------r-----", "r------8--r-----"),
        comp=("x-------", "x---x---"),
        kits=(25, 24),
        swing_pair_beats=0.5,
    ),
    "folk": Style(
        drums=(
            {"shaker": "53535353", "tambourine": ".4.4"},
            {"kick": "6.6.", "rim": ".5.5", "shaker": "4343434343434343"},
            {"kick": "6666", "tambourine": ".5.5"},
            {"kick": "6..66...", "snare": "..4...4.", "closed_hat": "3.3.3.3."},
        ),
        bass=("r-5-", "r---r-5-", "r---5-3-"),
        comp=("x-xx.xxx", "x.xx.xx.", "x---xxx-"),
        strum_seconds=0.012,
        walks=True,
    ),
    "synth": Style(
        drums=(
            {"kick": "8..67...", "snare": "..8...8.", "clap": "...6", "closed_hat": "44444444"},
            {"kick": "8888", "clap": ".8.8", "open_hat": ".5.5.5.5"},
            {"kick": "8.....8.8.......", "snare": "..8...8.", "closed_hat": "4343434343434343"},
        ),
        bass=("rr88rr88rr88rr88", "rrrrrrrr", "r.rr.rr.r.rr.rr."),
        comp=("x--x--x---x--x--", "x-------", "x.x.x.x.x.x.x.x."),
        kits=(24, 16),
        swing_pair_beats=0.0,
    ),
    "shuffle": Style(
        drums=(
            {"kick": "7.7.", "snare": ".7.7", "ride": "5.35.35.35.3"},
            {"kick": "7.....7....5", "snare": "...7.....7..", "closed_hat": "5.45.45.45.4"},
            {"kick": "4444", "rim": ".5.5", "ride": "5..5.45..5.4", "closed_hat": ".4.4"},
        ),
        bass=("r-58", "r.35", "r-.5-8r-.5-3"),
        comp=("x.xx..x.xx..", "..x..x..x..x", "x---"),
        kits=(0, 32),
        triplets=True,
        walks=True,
    ),
    "unplugged": Style(
        bass=("r---", "r-5-", "r-----5-"), comp=("x---", "x-x-", "x--x--x-"), strum_seconds=0.018
    ),
    "waltz": Style(
        beats=6,
        drums=(
            {"kick": "7..6..", "rim": ".44..4", "snare": "....6.", "closed_hat": "444444"},
            {"kick": "7.....", "snare": "...7..", "closed_hat": "645545"},
            {"kick": "8....68.....", "snare": "......8.....", "closed_hat": "645645", "tambourine": ".4..4."},
            {"kick": "6..6..", "closed_hat": ".44.44"},
            {"kick": "5..5..", "rim": ".4..4.", "ride": "5.5.545.5.54"},
        ),
        bass=("r--5--", "r-----", "r-5r-3", "r--r-5"),
        comp=(".xx.xx", "x-x-x-", "xxxxxx", "x--x--"),
        kits=(0, 40),
        walks=True,
        weight=0.0,  # only where the metre asks for it
    ),
}


@dataclass(frozen=True, kw_only=True)
class Role:
    """A seat in the band.

    Args:
        programs: General MIDI programs that may take it; one listed twice is drawn twice as often.
        level_db: range the level is drawn from: RMS while it plays, dB full scale.
        presence: chance that the seat is taken.
        stem: the stem its sound belongs to.
    """

    programs: tuple[int, ...]
    level_db: tuple[float, float]
    presence: float
    stem: Player


ROLES: Mapping[str, Role] = {
    "keys": Role(
        programs=(0, 0, 0, 0, 4, 5, 11, 24, 25, 26, 27, 46, 16),
        level_db=(-24, -17),
        presence=1.0,
        stem="harmony",
    ),
    "bridge": Role(
        programs=(40, 73, 65, 66, 68, 71, 56, 11, 75, 80, 81, 27, 48, 42, 60, 46),
        level_db=(-30, -22),
        presence=0.8,
        stem="melody",
    ),
    "bass": Role(programs=(33, 33, 33, 34, 32, 35, 38, 39), level_db=(-22, -16), presence=1.0, stem="bass"),
    "drums": Role(programs=(), level_db=(-24, -16), presence=1.0, stem="drums"),  # kits: `Style.kits`
    "pad": Role(
        programs=(48, 48, 50, 52, 89, 95, 90, 16, 18, 88), level_db=(-34, -26), presence=0.7, stem="harmony"
    ),
    "comp": Role(
        programs=(25, 24, 27, 28, 29, 26, 4, 45, 61, 62, 18),
        level_db=(-32, -24),
        presence=0.6,
        stem="harmony",
    ),
}

BANDS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "rock": {
        "bass": (33, 34),
        "keys": (0, 18, 4),
        "comp": (29, 27, 28),
        "pad": (16, 48),
        "bridge": (27, 65, 18),
    },
    "ballad": {
        "bass": (33, 35),
        "keys": (0, 0, 4),
        "comp": (24, 25),
        "pad": (48, 89),
        "bridge": (40, 73, 71, 42),
    },
    "disco": {"bass": (33, 38), "keys": (4, 0), "comp": (27, 28), "pad": (48, 50), "bridge": (56, 61, 81)},
    "funk": {"bass": (33, 34), "keys": (4, 16, 5), "comp": (27, 28), "pad": (50, 48), "bridge": (65, 66, 56)},
    "bossa": {"bass": (32, 35), "keys": (0, 4, 11), "comp": (24,), "pad": (48, 52), "bridge": (73, 66, 11)},
    "reggae": {"bass": (33,), "keys": (16, 18), "comp": (27, 28), "pad": (89, 48), "bridge": (56, 66, 18)},
    "trap": {"bass": (38, 39), "keys": (0, 4, 11), "comp": (88, 45), "pad": (89, 95), "bridge": (80, 75)},
    "folk": {"bass": (32, 33), "keys": (25, 24), "comp": (25, 24), "pad": (21, 48), "bridge": (40, 73, 75)},
    "synth": {"bass": (38, 39), "keys": (5, 90), "comp": (90, 62, 81), "pad": (89, 50), "bridge": (80, 81)},
    "shuffle": {
        "bass": (32, 33),
        "keys": (0, 18, 16),
        "comp": (26, 27),
        "pad": (18, 16),
        "bridge": (66, 65, 56),
    },
    "unplugged": {
        "bass": (32, 35),
        "keys": (0, 24),
        "comp": (24, 25),
        "pad": (48,),
        "bridge": (73, 40, 42, 71),
    },
    "waltz": {"bass": (32, 33), "keys": (0, 21), "comp": (24, 21), "pad": (48, 52), "bridge": (40, 71, 73)},
}
"""Which instruments suit a style: role (a key of `ROLES`) to programs; one listed twice is taken twice as
often.

All of them are in the shipped SoundFont; in another one that lacks a program, its first instrument plays.
"""
