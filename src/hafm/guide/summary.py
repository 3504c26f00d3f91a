"""What a lead sheet says, for people: a line, what is unsure, and the chart as a musician prints it.

In: a `LeadSheet`. Out: text.

    92 bpm, 4/4, A minor, first downbeat 1.37 s; a guess: where bars begin (41 %: --first-beat)

    [Verse]
     1  | Am        | F         | C    G/B  | %         |          four bars per row, numbered at its start;
     5  | Am        | F  .  .  G| C         | N.C.      |          a section begins a row

Conventions: what was given is not in doubt, and neither is what is `SURE` or more. Percentages are the
analyser's confidence, the chance that it is right as far as it can tell.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from hafm.guide.bars import bars_of
from hafm.guide.chart import bars_as_text, lines_of_bars, players_of_bar
from hafm.guide.chord_symbol import symbol_of
from hafm.guide.lead_sheet import PLAYERS, KeyChange, LeadSheet, PartName, Player
from hafm.words import clock

__all__ = [
    "SURE",
    "beyond_guide",
    "headline",
    "key_words",
    "printed_chart",
    "resting_players",
    "tempo_words",
    "unsure",
]

SURE = 0.75
_EVEN_SECONDS = 1e-6
_LEAST_WIDTH = 9
_MOST_NAMED = 4
_ABOVE_OCTAVE = re.compile(r"9|1[0-3]")
_SETTLED_BY: Mapping[PartName, tuple[str, str]] = {
    "beats": ("beats", "--bpm, --half-time, --double-time"),
    "bars": ("where bars begin", "--first-beat"),
    "key": ("key", "--key"),
    "chords": ("chords", "--chords"),
}


def headline(sheet: LeadSheet) -> str:
    """All that matters, in one line.

    >>> from hafm.guide.lead_sheet import Beat, MeterChange, Origin
    >>> beats = tuple(Beat(0.5 + number / 2, number % 3 + 1) for number in range(6))
    >>> sheet = LeadSheet(
    ...     duration_seconds=4.0,
    ...     beats=beats,
    ...     meters=(MeterChange(0.0, 3, 4),),
    ...     keys=(KeyChange(0.0, "A", "min"),),
    ...     origins={"key": Origin(source="estimated", confidence=0.26)},
    ... )
    >>> headline(sheet)
    '120 bpm, 3/4, A minor, first downbeat 0.50 s; a guess: key (26 %: --key)'
    """
    parts = [tempo_words(sheet)]
    if sheet.beats:
        parts.append(_in_turn([meter.label for meter in sheet.meters]))
    if sheet.keys:
        parts.append(_in_turn([key_words(key) for key in sheet.keys]))
    if sheet.downbeats:
        parts.append(f"first downbeat {sheet.downbeats[0]:.2f} s")
    doubts = unsure(sheet)
    return ", ".join(parts) + (f"; a guess: {', '.join(doubts)}" if doubts else "")


def unsure(sheet: LeadSheet) -> tuple[str, ...]:
    """What may well be wrong, each with the options that settle it."""
    known: Mapping[PartName, bool] = {
        "beats": bool(sheet.beats) and not _is_even(sheet),  # even ones move with their bars
        "bars": bool(sheet.beats),
        "key": bool(sheet.keys),
        "chords": bool(sheet.chords),
    }
    return tuple(
        f"{what} ({100 * sheet.origin(part).confidence:.0f} %: {options})"
        for part, (what, options) in _SETTLED_BY.items()
        if known[part] and sheet.origin(part).source == "estimated" and sheet.origin(part).confidence < SURE
    )


def _is_even(sheet: LeadSheet) -> bool:
    """Whether all beats are equally far apart, as only a given tempo makes them."""
    gaps = [after.seconds - before.seconds for before, after in pairwise(sheet.beats)]
    return len(gaps) > 1 and max(gaps) - min(gaps) < _EVEN_SECONDS


def tempo_words(sheet: LeadSheet) -> str:
    """The tempo, or that it is free.

    >>> tempo_words(LeadSheet(duration_seconds=1.0))
    'free time (no steady beat; --bpm gives one)'
    """
    if sheet.tempo_bpm is None:
        return "free time (no steady beat; --bpm gives one)"
    return f"{sheet.tempo_bpm:.1f}".removesuffix(".0") + " bpm"


def _in_turn(names: Sequence[str]) -> str:
    return " then ".join(names) if len(names) < 4 else f"{names[0]} and others"


def key_words(key: KeyChange) -> str:
    """A key in words.

    >>> key_words(KeyChange(0.0, "F#", "min"))
    'F# minor'
    """
    return f"{key.tonic} {'minor' if key.mode == 'min' else 'major'}"


def beyond_guide(sheet: LeadSheet | None) -> tuple[str, ...]:
    """A note of the given chords with a tone above the octave, such as a ninth; nothing where there are none.

    >>> from hafm.guide.lead_sheet import ChordSpan
    >>> labels = ("C:maj", "D:min9", "G:7(b9)", "D:min9", "A:min/b3")
    >>> chords = tuple(ChordSpan(number, number + 1, label) for number, label in enumerate(labels))
    >>> beyond_guide(LeadSheet(duration_seconds=5.0, chords=chords))
    ('the band gets pitch classes, root and bass of a chord, and may play the colours of Dm9, G7b9 in any ...
    """
    if sheet is None or sheet.origin("chords").source == "estimated":
        return ()
    labels = (span.label for span in sheet.chords if _ABOVE_OCTAVE.search(span.label.partition(":")[2]))
    symbols = tuple(dict.fromkeys(symbol_of(label) for label in labels))
    if not symbols:
        return ()
    named = ", ".join(symbols[:_MOST_NAMED]) + (", ..." if len(symbols) > _MOST_NAMED else "")
    return (
        f"the band gets pitch classes, root and bass of a chord, and may play the colours of {named} in any "
        "octave; the lead sheet keeps them as they were given",
    )


def resting_players(sheet: LeadSheet | None) -> tuple[str, ...]:
    """A note of who was left out where, by an estimate; nothing where drums, bass and harmony always play.

    >>> from hafm.guide.lead_sheet import Origin, PlayingSpan
    >>> spans = (PlayingSpan.of(0.0, 9.6, ["harmony"]), PlayingSpan.of(9.6, 20.0, ["bass", "harmony"]))
    >>> origins = {"arrangement": Origin(source="estimated", confidence=0.2)}
    >>> resting_players(LeadSheet(duration_seconds=20.0, arrangement=spans, origins=origins))
    ('the band is smaller where the voice is thin, without drums for 20.0 s, bass for 9.6 s; to change ...
    """
    if sheet is None or sheet.origin("arrangement").source == "given":
        return ()
    rests = {
        player: sum(
            span.end_seconds - span.start_seconds for span in sheet.arrangement if player not in span.players
        )
        for player in PLAYERS[:3]
    }  # a melody need not always be there
    named = [f"{player} for {seconds:.1f} s" for player, seconds in rests.items() if seconds]
    if not named:
        return ()
    return (
        f"the band is smaller where the voice is thin, without {', '.join(named)}; to change that, "
        "say who plays with --players",
    )


def printed_chart(sheet: LeadSheet, *, most_rows: int | None = None) -> str:
    """The chords in bars of equal width, four per row and a new row per section; without beats, with times.

    Where the sheet says who plays, a remark behind a row says what changes in it. `parse_chart` reads the
    chords and sections of such a chart, and passes over its numbers and remarks.

    Args:
        most_rows: after which the rest is only counted; None for all.
    """
    if len(sheet.beats) < 2:
        rows = [f"{clock(span.start_seconds):>7}  {symbol_of(span.label)}" for span in sheet.chords]
        return _cut(rows, most_rows, "chords")
    bars = [f" {text}" for text in bars_as_text(sheet)]
    line_ups = [players_of_bar(sheet, bar) for bar in bars_of(sheet)]
    width = max(_LEAST_WIDTH, *map(len, bars)) + 1
    digits = len(str(len(bars)))
    rows = []
    for name, inside in lines_of_bars(sheet):
        cells = "|".join(f"{bar:<{width}}" for bar in bars[inside.start : inside.stop])
        head = "" if name is None else f"[{name}]\n"
        rows.append(f"{head}{inside.start + 1:>{digits + 1}}  |{cells}|{_changes(line_ups, inside)}")
    return _cut(rows, most_rows, "rows")


def _changes(line_ups: Sequence[tuple[Player, ...] | None], row: range) -> str:
    """A remark of who plays from where on, if that changes in a row of bars; before the first, all do.

    >>> _changes([("bass",), ("bass",), PLAYERS, ()], range(4))
    '  # bass; from bar 3 all; from bar 4 nobody'
    >>> _changes([("bass",), ("bass",), None, ("bass", "drums")], range(1, 4))
    '  # from bar 3 as the band likes; from bar 4 bass, drums'
    """
    words = []
    for number in row:
        players = line_ups[number]
        if players != line_ups[number - 1] if number else players not in (None, PLAYERS):
            named = {None: "as the band likes", (): "nobody", PLAYERS: "all"}
            who = named.get(players) or ", ".join(players or ())
            words.append(who if number == row.start else f"from bar {number + 1} {who}")
    return f"  # {'; '.join(words)}" if words else ""


def _cut(rows: Sequence[str], most: int | None, what: str) -> str:
    if most is None or len(rows) <= most:
        return "\n".join(rows)
    return "\n".join([*rows[:most], f"    and {len(rows) - most} more {what}"])
