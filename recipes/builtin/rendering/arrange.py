"""A score and a feel as the parts of a band, drawn at random: what a training pair plays.

In: a `Score` in window time (second 0 is the start of the window), a `Feel`, and the length of the window.
Out: `Part`s, each one instrument with its note events, in the same clock and already transposed; and which
stems play in each bar.

What is played: `keys` the recorded piano, `bridge` the recorded second voice, `bass`, `drums` and `comp` the
style's patterns on the song's own beats, `pad` the chords held; of these, what the plan of each bar asks for.
How it is played is in `hafm.arrange`, which `hafm arrange` uses, too.

`RESERVED_PROGRAMS` and `RESERVED_KITS` sound in the test split only, so that a test pair may bring an
instrument that nothing was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hafm.arrange.basslines import bass_line
from hafm.arrange.harmony import ChordsInTime, Harmony
from hafm.arrange.parts import (
    EARLY_SECONDS,
    HEARD_SECONDS,
    Hand,
    Part,
    chords,
    drums,
    heard,
    pad,
    spans_of,
    with_dynamics,
)
from hafm.arrange.plan import Feel, PlannedBar
from hafm.arrange.sampler import Event
from hafm.arrange.styles import ROLES, STYLES
from hafm.guide.lead_sheet import PLAYERS
from recipes.builtin.rendering.chords import Chord
from recipes.builtin.rendering.plan import bars_in_window, plan_bars
from recipes.builtin.rendering.scores import Notes, Score

STEMS = PLAYERS
RESERVED_PROGRAMS = frozenset({26, 35, 46, 68, 75, 95})
RESERVED_KITS = frozenset({32})


@dataclass(frozen=True, kw_only=True)
class BarActivity:
    """Which stems play in a bar, as far as it lies in the window."""

    start_seconds: float
    end_seconds: float
    stems: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """The band's parts, with what was drawn to make them.

    Attributes:
        feel: style, half or double time, swing.
        humanise_seconds: standard deviation of the timing.
        parts: the instruments.
        bars: what plays when.
    """

    feel: Feel
    humanise_seconds: float
    parts: tuple[Part, ...]
    bars: tuple[BarActivity, ...]


def arrange(
    score: Score,
    feel: Feel,
    *,
    seconds: float,
    rng: np.random.Generator,
    entry_seconds: float = 0.0,
    count_in: bool = False,
    stems: frozenset[str] = frozenset(STEMS),
    test: bool = False,
) -> Arrangement:
    """Draw instruments and levels, and play the score.

    Args:
        score: in window time, and bent by the feel's swing.
        feel: of the band.
        seconds: length of the window; only bars and notes that touch it are played.
        rng: every choice comes from here.
        entry_seconds: when the voice enters.
        count_in: whether the band is counted in.
        stems: what the instrumental keeps; parts of other stems are left out.
        test: whether the instruments reserved for the test split may be drawn.

    Returns:
        The arrangement.
    """
    style = STYLES[feel.style]
    humanise_seconds = float(rng.uniform(0.004, 0.012))
    hand = Hand(rng, humanise_seconds)
    bars = bars_in_window(score, feel, seconds)
    starts = score.beat_seconds[score.downbeats] - EARLY_SECONDS
    entry_bar = max(int(np.searchsorted(starts, entry_seconds, side="right")) - 1, 0)
    planned = plan_bars(bars, entry_bar=entry_bar, count_in=count_in, stems=stems, rng=rng)
    chord_at = ChordsInTime((span.start_seconds, _harmony(span.value)) for span in score.chords)
    events: dict[str, list[Event]] = {
        "keys": with_dynamics(_recorded(score.piano, seconds), planned),
        "bridge": _recorded(score.bridge, seconds),
        "bass": [
            (start + hand.late(), end, pitch, hand.velocity(95, energy))
            for (start, end, pitch), energy in bass_line(planned, chord_at, rng)
        ],
        "drums": drums(planned, hand),
        "pad": pad(
            [
                (span.start_seconds, span.end_seconds, harmony)
                for span in score.chords
                if (harmony := _harmony(span.value)) is not None
                and span.end_seconds >= -1.0
                and span.start_seconds <= seconds
            ]
        ),
        "comp": chords(planned, chord_at, hand),
    }
    parts = []
    for role_name, role in ROLES.items():
        present = rng.random() < role.presence
        pool, reserved = (
            (style.kits, RESERVED_KITS) if role_name == "drums" else (role.programs, RESERVED_PROGRAMS)
        )
        program = int(rng.choice(allowed(pool, reserved, test=test)))
        level_db = float(rng.uniform(*role.level_db))
        played = heard(events[role_name], spans_of(planned, role_name), role=role_name)
        if present and played and role.stem in stems:
            parts.append(Part(role=role_name, program=program, level_db=level_db, events=tuple(played)))
    return Arrangement(
        feel=feel,
        humanise_seconds=humanise_seconds,
        parts=tuple(parts),
        bars=tuple(_activity(plan, parts, seconds) for plan in planned if _touches(plan, seconds)),
    )


def allowed(programs: tuple[int, ...], reserved: frozenset[int], *, test: bool) -> tuple[int, ...]:
    """The programs a split may draw: all in the test split, the unreserved ones elsewhere.

    >>> allowed((0, 26, 0), RESERVED_PROGRAMS, test=False)
    (0, 0)
    """
    return programs if test else tuple(program for program in programs if program not in reserved)


def _harmony(chord: Chord | None) -> Harmony | None:
    return None if chord is None else Harmony(chord.root, chord.bass, frozenset(chord.pitch_classes))


def _touches(plan: PlannedBar, seconds: float) -> bool:
    return plan.bar.end_seconds > 0.0 and plan.bar.start_seconds < seconds


def _activity(plan: PlannedBar, parts: Sequence[Part], seconds: float) -> BarActivity:
    """What is heard in a bar, by the events themselves."""
    start, end = max(plan.bar.start_seconds, 0.0), min(plan.bar.end_seconds, seconds)
    stems: set[str] = set()
    for part in parts:
        for begins, stops, *_ in part.events:
            strikes = start - EARLY_SECONDS <= begins < end - EARLY_SECONDS and begins >= 0.0
            if strikes or (not part.is_drums and min(stops, end) - max(begins, start) > HEARD_SECONDS):
                stems.add(part.stem)
                break
    return BarActivity(start_seconds=start, end_seconds=end, stems=frozenset(stems))


def _recorded(notes: Notes, seconds: float) -> list[Event]:
    inside = notes[(notes[:, 1] > -1.0) & (notes[:, 0] < seconds)]
    return [
        (float(start), max(float(end), float(start) + 0.03), int(pitch), int(velocity))
        for start, end, pitch, velocity in inside
    ]
