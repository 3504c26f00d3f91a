"""One picture of a lead sheet, as a musician prints it, with the pitch that is sung in it.

In: a `LeadSheet` and its vocal. Out: the bytes of a PNG, 1800 pixels wide.

    vocal                                                A minor   4/4   92 bpm
        Verse
       | Am            | F             | C     G/B     | %             |
    1  |    ~~~__       |  __~~   ~~    | ...           |               |      pitch over beats
    drums ================================                ===============
    bass  ================================================================
       | Am ...                                                         |
    5  |                                                                |

Four bars per row, all of the same width, with what comes before the first downbeat in front of them; a
section begins a row. Who plays is drawn below each row, where the sheet says so. In free time a row is eight
seconds. The pitch axis is that of the whole vocal, in semitones.

Pitch is where the normalised difference of the waveform with itself, shifted, is largest: McLeod and Wyvill,
"A smarter way to find pitch" (2005). It is for the eye; nothing else is made of it.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hafm.app.picture import FAINT, GRID, INK, new_figure, png_of
from hafm.audio.resample import resample
from hafm.guide.bars import bars_of
from hafm.guide.chart import lines_of_bars
from hafm.guide.chord import NOTE_NAMES
from hafm.guide.chord_symbol import symbol_of
from hafm.guide.lead_sheet import PLAYERS, LeadSheet
from hafm.guide.summary import key_words, tempo_words
from hafm.words import clock, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_sheet", "sung_pitch"]

_VOICE = "#c2410c"
_WIDTH = 12.0
_HEAD, _ROW, _FOOT = 0.85, 1.35, 0.35
_PITCH_SHARE = 0.68  # of a row; the rest is for chords
_SECTION = 0.16  # more, above a row in which a section begins
_LANES = 0.38  # more, below a row, where the sheet says who plays
_LANE_HEIGHT, _FIRST_LANE = 0.075, 0.045
_BARS_PER_ROW, _FREE_SECONDS = 4, 8.0
_LEAST_LEAD_SECONDS = 0.05
_NEAR_SECONDS = 0.02

_RATE, _WINDOW, _HOP = 12_000, 1024, 240
_LOWEST_HZ, _HIGHEST_HZ = 70.0, 1000.0
_CLEAR, _NEARLY = 0.7, 0.9
_SILENT_DB = -35.0
_MOST_JUMP = 1.5  # semitones in a frame: more, and it is another note, or a mistake


@dataclass(frozen=True)
class _Cell:
    """A bar of a row: when it begins and ends, its number or time, and where its beats are."""

    start_seconds: float
    end_seconds: float
    width: float
    name: str
    beats: tuple[float, ...] = ()


def draw_sheet(sheet: LeadSheet, vocal: Float[Tensor, " T"], sample_rate: int, *, title: str) -> bytes:
    """Draw a lead sheet.

    Args:
        vocal: of the same length.
        sample_rate: in hertz.

    Returns:
        The PNG. The same sheet and sound give the same bytes.
    """
    rows = _rows(sheet)
    below = _LANES * bool(sheet.arrangement)
    tops = [_ROW + _SECTION * bool(_sections(row, sheet)) + below for row in rows]
    height = _HEAD + sum(tops) + _FOOT
    figure = new_figure(_WIDTH, height)
    times, pitch = sung_pitch(vocal, sample_rate)
    span = _span(pitch)
    for number, row in enumerate(rows):
        bottom = 1 - (_HEAD + sum(tops[: number + 1]) - below) / height
        axes = figure.add_axes((0.055, bottom, 0.925, _ROW * _PITCH_SHARE / height))
        _draw_row(axes, row, sheet, times, pitch, span)
        _draw_players(axes, row, sheet)
    _draw_head(figure, sheet, readable(title), height)
    return png_of(figure)


def sung_pitch(
    vocal: Float[Tensor, " T"], sample_rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times, in seconds, and the pitch there, as MIDI numbers; NaN where nothing is sung.

    >>> tone = torch.sin(2 * torch.pi * 220 * torch.arange(24_000) / 24_000)
    >>> times, pitch = sung_pitch(tone, 24_000)
    >>> round(float(np.nanmedian(pitch)), 1)                                        # A3
    57.0
    """
    voice = resample(vocal[None].float(), sample_rate, _RATE)[0]
    padded = torch.nn.functional.pad(voice, (_WINDOW // 2, _WINDOW))
    frames = padded.unfold(0, _WINDOW, _HOP)[: len(voice) // _HOP + 1]
    low, high = math.floor(_RATE / _HIGHEST_HZ), math.ceil(_RATE / _LOWEST_HZ)
    found = [_frame_pitch(part, low, high) for part in frames.split(2048)]
    level = frames.square().mean(dim=1).clamp(min=1e-12).log10() * 10
    pitch = torch.cat(found).double().numpy().copy()
    pitch[level.numpy() < float(level.max()) + _SILENT_DB] = np.nan
    return np.arange(len(pitch)) * _HOP / _RATE, pitch


def _frame_pitch(frames: Float[Tensor, "F W"], low: int, high: int) -> Float[Tensor, " F"]:
    """MIDI numbers; NaN where there is no clear period between `low` and `high` samples."""
    window = frames.shape[1]
    spectrum = torch.fft.rfft(frames, n=2 * window)
    correlation = torch.fft.irfft(spectrum.abs().square())[:, : high + 2]
    energy = torch.nn.functional.pad(frames.square().cumsum(dim=1), (1, 0))
    shifts = torch.arange(high + 2)
    total = energy[:, -1:]
    both = energy[:, window - shifts] + total - energy[:, shifts]
    clearness = 2 * correlation / both.clamp(min=1e-9)
    inner = clearness[:, low : high + 1]
    is_peak = (inner >= clearness[:, low - 1 : high]) & (inner > clearness[:, low + 1 : high + 2])
    peaks = torch.where(is_peak, inner, torch.zeros(()))
    best = peaks.max(dim=1).values
    first = (peaks >= _NEARLY * best[:, None]).int().argmax(dim=1) + low
    rows = torch.arange(len(frames))
    before, at, after = (clearness[rows, first + step] for step in (-1, 0, 1))
    bend = before - 2 * at + after
    offset = torch.where(bend < 0, 0.5 * (before - after) / bend.clamp(max=-1e-9), torch.zeros(()))
    midi = 69 + 12 * torch.log2(_RATE / (first + offset) / 440)
    return torch.where(best > _CLEAR, midi, torch.full((), math.nan))


# ---- rows


def _rows(sheet: LeadSheet) -> list[list[_Cell]]:
    """Cells, four bars per row."""
    duration = sheet.duration_seconds
    if len(sheet.beats) < 2 or not sheet.downbeats:
        width = _FREE_SECONDS / _BARS_PER_ROW
        edges = [*np.arange(0, duration, width).tolist(), duration]
        cells = [
            _Cell(start, end, width=(end - start) / width, name=clock(start))
            for start, end in pairwise(edges)
        ]
        rows = [cells[first : first + _BARS_PER_ROW] for first in range(0, len(cells), _BARS_PER_ROW)]
    else:
        cells = [
            _Cell(bar.beats[0], bar.end_seconds, len(bar.beats) / bar.num_beats, str(number), bar.beats)
            for number, bar in enumerate(bars_of(sheet), 1)
        ]
        rows = [cells[inside.start : inside.stop] for _, inside in lines_of_bars(sheet)]
    lead = cells[0].start_seconds
    if lead > _LEAST_LEAD_SECONDS:
        early = tuple(beat.seconds for beat in sheet.beats if beat.seconds < lead)
        width = min(1.0, lead / (cells[0].end_seconds - lead))
        rows[0].insert(0, _Cell(0.0, lead, width, name="", beats=early))
    return rows


def _place(row: Sequence[_Cell], seconds: float) -> float:
    """Where a time within a row is, in bars."""
    edges = np.cumsum([0.0, *(cell.width for cell in row)])
    times = [row[0].start_seconds, *(cell.end_seconds for cell in row)]
    return float(np.interp(seconds, times, edges))


def _draw_row(
    axes: "Axes",
    row: Sequence[_Cell],
    sheet: LeadSheet,
    times: NDArray[np.float64],
    pitch: NDArray[np.float64],
    span: tuple[float, float],
) -> None:
    start, end = row[0].start_seconds, row[-1].end_seconds
    low, high = span
    axes.set_xlim(0, max(sum(cell.width for cell in row), float(_BARS_PER_ROW)))
    axes.set_ylim(low, high)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xticks([])
    notes = [note for note in range(math.ceil(low), math.floor(high) + 1) if note % 12 in (0, 4, 7)]
    axes.set_yticks(notes, [f"{NOTE_NAMES[note % 12]}{note // 12 - 1}" for note in notes])
    axes.tick_params(colors=FAINT, labelsize=6.5, length=0, pad=8)
    reached = _place(row, end)
    for note in notes:
        axes.plot([0, reached], [note, note], color=GRID, linewidth=0.6, zorder=0)
    for cell in row:
        for beat in cell.beats:
            place = _place(row, beat)
            axes.plot([place, place], [low, high], color=GRID, linewidth=0.9, zorder=1)
        left = _place(row, cell.start_seconds)
        if cell.name:
            _bar_line(axes, left, span)
            axes.text(left + 0.012, high, cell.name, fontsize=6.5, color=FAINT, va="top")
    _bar_line(axes, reached, span)
    for edge in span:
        axes.plot([0, reached], [edge, edge], color=INK, linewidth=0.6, clip_on=False)
    inside = (times >= start) & (times < end)
    places = np.array([_place(row, time) for time in times[inside]])
    axes.plot(places, _joined(pitch[inside]), color=_VOICE, linewidth=1.6, solid_capstyle="round", zorder=3)
    _draw_changes(axes, row, sheet, (start, end), high)


def _draw_changes(
    axes: "Axes", row: Sequence[_Cell], sheet: LeadSheet, inside: tuple[float, float], high: float
) -> None:
    """Chords above the row, in brackets if it goes on from the row before; changes of key and meter above."""
    start, end = inside
    starts = [span.start_seconds for span in sheet.chords]
    going = bisect_right(starts, start + 0.02) - 1
    for number, chord in enumerate(sheet.chords):
        begins_here = start - 1e-6 <= chord.start_seconds < end - 0.02
        goes_on = number == going and not begins_here and chord.end_seconds > start + 0.02
        if not (begins_here or goes_on):
            continue
        symbol = symbol_of(chord.label)
        said, weight, colour = (f"({symbol})", "normal", FAINT) if goes_on else (symbol, "bold", INK)
        at = (_place(row, max(chord.start_seconds, start)), high)
        _write(axes, said, at, (2, 5), fontsize=12, fontweight=weight, color=colour)
    sections = _sections(row, sheet)
    for seconds, name in sections.items():
        box = {"boxstyle": "square,pad=0.25", "facecolor": "white", "edgecolor": INK, "linewidth": 0.8}
        style = {"fontsize": 9, "fontweight": "bold", "color": INK, "parse_math": False, "bbox": box}
        _write(axes, readable(name), (_place(row, max(seconds, start)), high), (3, 25), **style)
    changes = [(key.start_seconds, key_words(key)) for key in sheet.keys[1:]]
    changes += [(meter.start_seconds, meter.label) for meter in sheet.meters[1:]]
    for seconds, words in changes:
        if start <= seconds < end:
            beside = next((name for at, name in sections.items() if abs(at - seconds) < _NEAR_SECONDS), None)
            offset = (2, 20) if beside is None else (16 + 7.5 * len(beside), 25)
            at = (_place(row, seconds), high)
            _write(axes, words, at, offset, fontsize=7.5, style="italic", color=FAINT)


def _draw_players(axes: "Axes", row: Sequence[_Cell], sheet: LeadSheet) -> None:
    """A lane for each player below the row, filled where the sheet says that they play."""
    start, end = row[0].start_seconds, row[-1].end_seconds
    spans = [span for span in sheet.arrangement if span.start_seconds < end and start < span.end_seconds]
    per_inch = 1 / (_ROW * _PITCH_SHARE)  # in heights of the axes
    for number, player in enumerate(PLAYERS if spans else ()):
        middle = -(_FIRST_LANE + (number + 0.5) * _LANE_HEIGHT) * per_inch
        style = {"xycoords": axes.transAxes, "fontsize": 5, "color": FAINT, "ha": "right", "va": "center"}
        _write(axes, player, (0, middle), (-8, 0), **style)
        places = [
            (_place(row, max(span.start_seconds, start)), _place(row, min(span.end_seconds, end)))
            for span in spans
            if player in span.players
        ]
        axes.broken_barh(
            [(left, right - left) for left, right in places],
            (middle - 0.35 * _LANE_HEIGHT * per_inch, 0.7 * _LANE_HEIGHT * per_inch),
            transform=axes.get_xaxis_transform(),
            facecolors=FAINT,
            clip_on=False,
        )


def _write(
    axes: "Axes", text: str, at: tuple[float, float], offset: tuple[float, float], **style: Any
) -> None:
    """A text beside a place, at a distance in points."""
    axes.annotate(text, at, xytext=offset, textcoords="offset points", **style)


def _sections(row: Sequence[_Cell], sheet: LeadSheet) -> dict[float, str]:
    """The sections that begin in a row, by when."""
    start, end = row[0].start_seconds, row[-1].end_seconds
    return {
        section.start_seconds: section.name
        for section in sheet.sections
        if start - _NEAR_SECONDS <= section.start_seconds < end - _NEAR_SECONDS
    }


def _bar_line(axes: "Axes", place: float, span: tuple[float, float]) -> None:
    axes.plot([place, place], span, color=INK, linewidth=1.1, zorder=2, clip_on=False)


def _joined(pitch: NDArray[np.float64]) -> NDArray[np.float64]:
    """A curve without the strokes between two notes."""
    curve = pitch.copy()
    curve[1:][np.abs(np.diff(pitch)) > _MOST_JUMP] = np.nan
    return curve


def _span(pitch: NDArray[np.float64]) -> tuple[float, float]:
    """Lowest and highest pitch of the axis: all but the stray hundredth, an octave at least."""
    sung = pitch[np.isfinite(pitch)]
    if not len(sung):
        return 54.0, 66.0
    low, high = np.percentile(sung, [1, 99])
    middle, half = (low + high) / 2, max((high - low) / 2 + 1.5, 6.0)
    return float(middle - half), float(middle + half)


def _draw_head(figure: "Figure", sheet: LeadSheet, title: str, height: float) -> None:
    place = 1 - 0.38 / height
    # Not as mathematics: a dollar in a file name is a dollar.
    figure.text(0.055, place, title, fontsize=17, fontweight="bold", color=INK, va="center", parse_math=False)
    words = [key_words(sheet.keys[0])] if sheet.keys else []
    words += [sheet.meters[0].label] if sheet.beats else []
    tempo = tempo_words(sheet) if sheet.beats else "free time"
    said = "     ".join([*words, tempo, *([sheet.style] if sheet.style else [])])
    figure.text(0.98, place, said, fontsize=12, color=INK, va="center", ha="right")
    doubted = [
        f"{part} {100 * origin.confidence:.0f} %"
        for part, origin in sheet.origins.items()
        if origin.source == "estimated"
    ]
    if doubted:
        said, below = f"estimated: {', '.join(doubted)}", place - 0.24 / height
        figure.text(0.98, below, said, fontsize=8, color=FAINT, va="center", ha="right")
