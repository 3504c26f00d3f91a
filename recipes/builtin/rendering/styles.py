"""The band styles, as data: what the rhythm section plays in one bar, and on which instruments.

A drum lane is a string whose characters divide the bar evenly: ``.`` is silence, a digit d a stroke of MIDI
velocity 14 d. A lane of 8 characters in a bar of 4 beats is therefore in quavers, one of 12 in triplets, one
of 16 in semiquavers::

    kick   8 . . . 8 6 . .
    snare  . . 8 . . . 8 .

Bass notes are (beat, degree, length in beats); chord strokes are beats. A bar shorter than the pattern plays
its beginning. Program numbers are General MIDI, counted from 0; drum notes and kits are those of General MIDI
channel 10 (kits as in the GS set, which FluidR3 and its cuts follow).

`RESERVED_PROGRAMS` and `RESERVED_KITS` sound in the test split only, so that a test pair may bring an
instrument that nothing was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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

_VELOCITY_STEP = 14


@dataclass(frozen=True, kw_only=True)
class Style:
    """What a band plays in one bar.

    Attributes:
        beats: beats in the pattern.
        drums: lane name (a key of `DRUMS`) to its string of strokes; empty for a band without drums.
        bass: (beat, degree, length in beats); degree is "root" (the chord's bass), "fifth" or "octave".
        comp: beats on which the chordal instrument strikes.
        kits: drum kits that suit.
        staccato: chord strokes are a quarter of a beat long rather than reaching the next.
        strum_seconds: delay from string to string of a chord stroke.
        weight: relative chance of the style to be drawn.
    """

    beats: int = 4
    drums: Mapping[str, str] = field(default_factory=dict)
    bass: tuple[tuple[float, str, float], ...]
    comp: tuple[float, ...]
    kits: tuple[int, ...] = (0,)
    staccato: bool = False
    strum_seconds: float = 0.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        unknown = set(self.drums) - set(DRUMS)
        if unknown:
            raise ValueError(f"unknown drum lanes {sorted(unknown)}; known: {', '.join(DRUMS)}")
        for beat, degree, length in self.bass:
            if degree not in ("root", "fifth", "octave") or not 0 <= beat < self.beats or length <= 0:
                raise ValueError(
                    f"bass note {(beat, degree, length)} does not fit a bar of {self.beats} beats"
                )

    def strokes(self) -> list[tuple[float, str, int]]:
        """Drum strokes of a bar as (beat, lane, velocity).

        >>> Style(drums={"kick": "8.6."}, bass=(), comp=()).strokes()
        [(0.0, 'kick', 112), (2.0, 'kick', 84)]
        """
        return [
            (step * self.beats / len(pattern), lane, _VELOCITY_STEP * int(mark))
            for lane, pattern in self.drums.items()
            for step, mark in enumerate(pattern)
            if mark != "."
        ]


STYLES: Mapping[str, Style] = {
    "rock": Style(
        drums={"kick": "8...86..", "snare": "..8...8.", "closed_hat": "64546454"},
        bass=tuple((0.5 * step, "root", 0.48) for step in range(8)),
        comp=(0, 1, 1.5, 2, 3, 3.5),
        kits=(0, 16),
        weight=2.0,
    ),
    "ballad": Style(
        drums={"kick": "6....4..", "rim": "....6...", "closed_hat": "43434343"},
        bass=((0, "root", 1.9), (2, "fifth", 1.4), (3.5, "root", 0.5)),
        comp=(0, 2),
        kits=(0, 40),
        weight=2.0,
    ),
    "disco": Style(
        drums={"kick": "8888", "clap": ".7.7", "open_hat": ".6.6.6.6", "closed_hat": "3333333333333333"},
        bass=tuple((0.5 * step, "octave" if step % 2 else "root", 0.4) for step in range(8)),
        comp=(0.5, 1.5, 2.5, 3.5),
        kits=(0, 24, 25),
    ),
    "funk": Style(
        drums={
            "kick": "8..6.....7......",
            "snare": "....8..3...38...",
            "closed_hat": "5444544454445444",
        },
        bass=(
            (0, "root", 0.3),
            (0.75, "root", 0.2),
            (1.5, "octave", 0.3),
            (2.25, "root", 0.4),
            (3, "fifth", 0.3),
            (3.5, "octave", 0.3),
        ),
        comp=(0.5, 1.25, 2.5, 3.25),
        kits=(0, 16),
    ),
    "bossa": Style(
        drums={"kick": "6..56..5", "rim": "5..5..5.", "shaker": "44444444"},
        bass=((0, "root", 1.4), (1.5, "fifth", 0.5), (2, "fifth", 1.4), (3.5, "root", 0.5)),
        comp=(0, 1.5, 2.5, 3.5),
        kits=(0, 32, 40),
    ),
    "reggae": Style(
        drums={"kick": "..7.", "rim": "..6.", "closed_hat": "45454545"},
        bass=((0, "root", 0.7), (1.5, "fifth", 0.4), (2, "root", 0.7), (3, "octave", 0.6)),
        comp=(0.5, 1.5, 2.5, 3.5),
        staccato=True,
    ),
    "trap": Style(
        drums={
            "kick": "8......6...7....",
            "clap": "..8.",
            "snare": "..6.",
            "closed_hat": "535353535353535353535444",
        },
        bass=((0, "root", 1.7), (1.75, "root", 1.0), (2.75, "root", 1.2)),
        comp=(0,),
        kits=(25, 24),
    ),
    "folk": Style(
        drums={"shaker": "53535353", "tambourine": ".4.4"},
        bass=((0, "root", 0.9), (2, "fifth", 0.9)),
        comp=(0, 1, 1.5, 2.5, 3, 3.5),
        strum_seconds=0.012,
    ),
    "synth": Style(
        drums={"kick": "8..67...", "snare": "..8...8.", "clap": "...6", "closed_hat": "44444444"},
        bass=tuple((0.25 * step, "octave" if step % 4 > 1 else "root", 0.2) for step in range(16)),
        comp=(0, 0.75, 1.5, 2.5, 3.25),
        kits=(24, 16),
    ),
    "shuffle": Style(
        drums={"kick": "7.7.", "snare": ".7.7", "ride": "5.35.35.35.3"},
        bass=((0, "root", 0.9), (1, "fifth", 0.9), (2, "octave", 0.9), (3, "fifth", 0.9)),
        comp=(0, 2 / 3, 2, 8 / 3),
        kits=(0, 32),
    ),
    "unplugged": Style(bass=((0, "root", 3.8),), comp=(0,)),
    "waltz": Style(
        beats=6,
        drums={"kick": "7..6..", "rim": ".44..4", "snare": "....6.", "closed_hat": "444444"},
        bass=((0, "root", 2.5), (3, "fifth", 2.5)),
        comp=(1, 2, 4, 5),
        kits=(0, 40),
        weight=0.0,  # only where the metre asks for it
    ),
}


@dataclass(frozen=True, kw_only=True)
class Role:
    """A seat in the band.

    Attributes:
        programs: General MIDI programs that may take it; one listed twice is drawn twice as often.
        level_db: range the level is drawn from: RMS while it plays, dB full scale.
        presence: chance that the seat is taken.
        stem: the stem its sound belongs to.
    """

    programs: tuple[int, ...]
    level_db: tuple[float, float]
    presence: float
    stem: str


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

STEMS = ("drums", "bass", "harmony", "melody")

RESERVED_PROGRAMS = frozenset({26, 35, 46, 68, 75, 95})
RESERVED_KITS = frozenset({32})


def style_weights(beats_per_bar: int) -> dict[str, float]:
    """Chance of each style, for a song with bars of so many beats.

    >>> {name for name, weight in style_weights(6).items() if weight > 0}
    {'waltz'}
    """
    if beats_per_bar in (3, 6):
        return {name: float(name == "waltz") for name in STYLES}
    total = sum(style.weight for style in STYLES.values())
    return {name: style.weight / total for name, style in STYLES.items()}


def allowed(programs: tuple[int, ...], reserved: frozenset[int], *, test: bool) -> tuple[int, ...]:
    """The programs a split may draw: all in the test split, the unreserved ones elsewhere.

    >>> allowed((0, 26, 0), RESERVED_PROGRAMS, test=False)
    (0, 0)
    """
    return programs if test else tuple(program for program in programs if program not in reserved)
