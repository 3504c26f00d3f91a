"""The guide: a lead sheet on the grid of the semantic tokens, as the stages are given it.

In: a `LeadSheet`. Out: float32 `[F, 63]` at 50 Hz; frame f describes its centre, (f + 1/2) / 50 s.

| channels | group | content |
|---|---|---|
| 0-1, 2-3 | beats | sine, cosine of the phase within the beat, within the bar |
| 4, 5 | beats | 1 on the frame that holds a beat, a downbeat |
| 6-17, 18-29, 30 | chords | pitch classes; root; 1 where no chord sounds |
| 31-42 | chords | bass note |
| 43-46 | arrangement | drums, bass, harmony, melody play |
| 47-58 | style | one of `STYLES` |
| 59, 60, 61, 62 | flags | beats, chords, arrangement, style are known at this frame |

Phases run evenly from beat to beat; before the first and after the last beat they go on at the median period.
A group that is unknown at a frame is zeros there, and so is its flag: a group is dropped by zeroing both.

Transposition by a semitone rolls each twelve of pitches by one. A sheet that is shifted by whole frames has
shifted frames, and a stretch of a sheet has that stretch of its frames; except for phases outside of all
beats, if the tempo or the meter is not even.
"""

from collections.abc import Iterator
from functools import lru_cache
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from hafm.guide.chord import parse_chord
from hafm.guide.lead_sheet import STYLES, ChordSpan, LeadSheet, PlayingSpan
from hafm.rates import SEMANTIC_RATE

__all__ = ["GROUPS", "GUIDE_CHANNELS", "KNOWN", "guide_frames"]

GROUPS = MappingProxyType(
    {
        "beats": slice(0, 6),
        "chords": slice(6, 43),
        "arrangement": slice(43, 47),
        "style": slice(47, 59),
        "flags": slice(59, 63),
    }
)
"""Channels by group."""

KNOWN = MappingProxyType({"beats": 59, "chords": 60, "arrangement": 61, "style": 62})
"""The flag of each group."""

GUIDE_CHANNELS = 63

_RATE = int(SEMANTIC_RATE)


def guide_frames(sheet: LeadSheet, *, num_frames: int) -> Float[np.ndarray, "F 63"]:
    """The guide of a sheet.

    Args:
        num_frames: F, 0 or more; usually `frames_for` the sound.

    Returns:
        Float32, a new array.

    >>> from hafm.guide.lead_sheet import Beat, MeterChange
    >>> beats = (Beat(0.01, 1), Beat(0.51, 2))
    >>> sheet = LeadSheet(duration_seconds=1.0, beats=beats, meters=(MeterChange(0.0, 2, 4),))
    >>> guide_frames(sheet, num_frames=50)[[0, 25], 4:6]
    array([[1., 1.],
           [1., 0.]], dtype=float32)
    """
    guide = np.zeros((num_frames, GUIDE_CHANNELS), np.float32)
    if len(sheet.beats) > 1:
        guide[:, GROUPS["beats"]] = _beat_rows(sheet, num_frames)
        guide[:, KNOWN["beats"]] = 1
    for begin, end, chord in _inside(sheet.chords, num_frames):
        guide[begin:end, GROUPS["chords"]] = _chord_row(chord.label)
        guide[begin:end, KNOWN["chords"]] = 1
    for begin, end, bar in _inside(sheet.arrangement, num_frames):
        guide[begin:end, GROUPS["arrangement"]] = (bar.drums, bar.bass, bar.harmony, bar.melody)
        guide[begin:end, KNOWN["arrangement"]] = 1
    if sheet.style is not None:
        guide[:, GROUPS["style"].start + STYLES.index(sheet.style)] = 1
        guide[:, KNOWN["style"]] = 1
    return guide


_Span = TypeVar("_Span", ChordSpan, PlayingSpan)


def _inside(spans: tuple[_Span, ...], num_frames: int) -> Iterator[tuple[int, int, _Span]]:
    """First frame and end of each span: its frames are those whose centres it holds."""
    times = np.array([(span.start_seconds, span.end_seconds) for span in spans]).reshape(-1, 2)
    edges = np.ceil(_on_grid(times) - 0.5).clip(0, num_frames).astype(int)
    for (begin, end), span in zip(edges.tolist(), spans, strict=True):
        if begin < end:
            yield begin, end, span


def _on_grid(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times in frames. To a millionth of a frame, so that a time that was moved by whole frames, and so lost
    its last bit, does not cross an edge."""
    frames: NDArray[np.float64] = np.round(seconds * _RATE, 6)
    return frames


@lru_cache(maxsize=4096)
def _chord_row(label: str) -> NDArray[np.float32]:
    """What the channels of the group `chords` hold while a chord sounds. Shape [37]; not to be changed."""
    chord = parse_chord(label)
    row = np.zeros(GROUPS["chords"].stop - GROUPS["chords"].start, np.float32)
    if chord.root is None or chord.bass is None:
        row[24] = 1
    else:
        row[[*chord.pitch_classes, 12 + chord.root, 25 + chord.bass]] = 1
    return row


def _beat_rows(sheet: LeadSheet, num_frames: int) -> NDArray[np.float32]:
    """Channels of the group `beats`. Shape [F, 6]."""
    times = np.array([beat.seconds for beat in sheet.beats])
    centres = (np.arange(num_frames) + 0.5) / _RATE
    period = float(np.median(np.diff(times)))
    # Beats and bars that have passed, as fractions; outside of the beats, at the outermost bar's pace.
    bars, pace_before, pace_after = _bars_passed(sheet)
    early, late = (times[0] - centres).clip(0) / period, (centres - times[-1]).clip(0) / period
    in_beats = np.interp(centres, times, np.arange(len(times))) - early + late
    in_bars = np.interp(centres, times, bars) - early * pace_before + late * pace_after
    rows = np.zeros((num_frames, 6), np.float32)
    for channel, passed in ((0, in_beats), (2, in_bars)):
        rows[:, channel] = np.sin(2 * np.pi * passed)
        rows[:, channel + 1] = np.cos(2 * np.pi * passed)
    frames = np.floor(_on_grid(times)).astype(int)
    downbeats = frames[[beat.position == 1 for beat in sheet.beats]]
    for channel, hit in ((4, frames), (5, downbeats)):
        rows[hit[hit < num_frames], channel] = 1
    return rows


def _bars_passed(sheet: LeadSheet) -> tuple[NDArray[np.float64], float, float]:
    """Bars that have passed at each beat, whole numbers at downbeats; bars per beat before and after them.

    A beat is 1 / n of its bar, where n is the last position in it; in the last bar, which may be cut off, at
    least what its meter says.
    """
    positions = np.array([beat.position for beat in sheet.beats])
    bar_of_beat = np.cumsum(positions == 1)
    bar_of_beat -= bar_of_beat[0]
    beats_per_bar = np.zeros(bar_of_beat[-1] + 1)
    np.maximum.at(beats_per_bar, bar_of_beat, positions)
    last_meter = sheet.meters[-1].beats_per_bar
    beats_per_bar[-1] = max(beats_per_bar[-1], last_meter)
    pace = 1 / beats_per_bar[bar_of_beat]
    passed = (positions[0] - 1) * pace[0] + np.concatenate([[0.0], np.cumsum(pace[:-1])])
    # Before the first beat lies the rest of its bar, or, if it is a downbeat, a bar of the first meter.
    before = pace[0] if positions[0] > 1 else 1 / sheet.meters[0].beats_per_bar
    return passed, float(before), float(pace[-1])
