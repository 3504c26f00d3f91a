"""A lead sheet as a page draws it: bars, each with its beats, its chords as they are typed, and who plays.

In: a `LeadSheet`. Out: JSON values.

    {"sheet": {...},                                    `hafm.guide.sheet_json`
     "tempo_bpm": 76.0, "meter": "4/4", "key": "F:maj", "style": null,
     "chart": "| F | Bb  C |",                          `hafm.guide.chart`
     "unsure": ["key"],                                 parts that were guessed
     "chords": [{"start", "end", "symbol": "Bb", "notes": [46, 58, 62, 65]}],    notes as MIDI, the bass first
     "bars": [{"start", "end", "beats": [...], "size", "chords": "Bb  C", "without": ["drums"]}]}

What needs beats is null, or an empty list, where there are none.
"""

import json
from typing import Any

from hafm.guide.bars import Bar, bars_of
from hafm.guide.chart import chart_of, players_of_bar
from hafm.guide.chord import Chord
from hafm.guide.chord_symbol import symbol_of
from hafm.guide.lead_sheet import PLAYERS, LeadSheet
from hafm.guide.sheet_json import lead_sheet_to_json

__all__ = ["view"]

_SURE = 0.6
_BASS_FROM, _CHORD_FROM = 40, 55


def view(sheet: LeadSheet) -> dict[str, Any]:
    """The values.

    >>> view(LeadSheet(duration_seconds=2.0))["bars"]
    []
    """
    has_bars = len(sheet.beats) > 1
    bars = bars_of(sheet) if has_bars else ()
    chart = chart_of(sheet) if bars else None
    written = (
        [] if chart is None else [bar.strip() for bar in chart.replace("\n", " ").split("|") if bar.strip()]
    )
    return {
        "sheet": json.loads(lead_sheet_to_json(sheet)),
        "tempo_bpm": sheet.tempo_bpm,
        "meter": sheet.meters[0].label if sheet.meters else None,
        "key": sheet.keys[0].label if sheet.keys else None,
        "style": sheet.style,
        "chart": chart,
        "unsure": [  # what an analyser estimated without being sure
            part
            for part, origin in sheet.origins.items()
            if origin.source == "estimated" and origin.confidence < _SURE
        ],
        "chords": [
            {
                "start": span.start_seconds,
                "end": span.end_seconds,
                "symbol": symbol_of(span.label),
                "notes": _notes(span.chord),
            }
            for span in sheet.chords
        ],
        "bars": [
            {
                "start": bar.beats[0],
                "end": bar.end_seconds,
                "beats": list(bar.beats),
                "size": bar.num_beats,
                "chords": chords,
                "without": _without(sheet, bar),
            }
            for bar, chords in zip(bars, filter(None, written), strict=True)
        ],
    }


def _notes(chord: Chord) -> list[int]:
    """A chord as it may be played: its bass below, the others in one octave around middle C."""
    if chord.bass is None:
        return []
    around = (_CHORD_FROM + (pitch_class - _CHORD_FROM) % 12 for pitch_class in chord.pitch_classes)
    return [_BASS_FROM + (chord.bass - _BASS_FROM) % 12, *sorted(around)]


def _without(sheet: LeadSheet, bar: Bar) -> list[str]:
    """Who does not play in most of a bar; nobody where that is left to the band."""
    players = players_of_bar(sheet, bar)
    return [] if players is None else [player for player in PLAYERS if player not in players]
