"""The picture of `benchmarks/fit_curves.py`.

In: its figures. Out: the bytes of a PNG, 1800 x 1140 pixels.

    key credit       chord tones       chroma r          over semitones; the dashed line is random pairing
    beats, score     beats, vocal      onset lag         over delay
"""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_fit_curves"]

_BLUE, _RED = "#1d4ed8", "#c2410c"
_INK, _FAINT, _GRID = "#1f2937", "#6b7280", "#e5e7eb"
_DPI = 150
_DASHED = (0, (4, 2))


def draw_fit_curves(found: Mapping[str, Any]) -> bytes:
    """Draws what `fit_curves.measured` found. The same figures give the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.6), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 3, hspace=0.42, wspace=0.2, left=0.05, right=0.985, top=0.825, bottom=0.075)
    panels = (
        ("key credit", {"key_truth": "against the score", "key_vocal": "against the vocal"}, (-0.05, 1)),
        ("share of chord tones", {"chord_tones": "against the score"}, (-0.05, 1)),
        ("chroma correlation", {"chroma_vocal": "with the vocal"}, (-0.25, 0.5)),
        (
            "beats against the score",
            {"beat_truth": "F, 70 ms", "beat_closeness": "closeness, 40 ms"},
            (-0.05, 1),
        ),
        ("vocal onsets on the beats, deviations", {"beat_vocal": "against the vocal"}, (-0.6, 0.8)),
        ("size of the onset lag, s", {"onset_lag": "against the vocal"}, (0, 0.3)),
    )
    for place, (title, names, span) in enumerate(panels):
        harmony = place < 3
        axes = figure.add_subplot(grid[place // 3, place % 3])
        values = found["semitones" if harmony else "late"]
        _panel(axes, values, names, found["random"])
        axes.set_ylim(*span)
        axes.set_xlabel("semitones up" if harmony else "delay, ms", fontsize=10, color=_FAINT)
        axes.set_xticks(list(range(12)) if harmony else [0, 50, 100, 150, 200, 300, 400])
        if "chord_tones" in names:
            axes.annotate(
                "a fifth up",
                (7, values[7]["chord_tones"][0]),
                xytext=(0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=9.5,
                color=_FAINT,
            )
        _frame(axes, title)
    figure.text(
        0.05, 0.952, "What the measures of fit see", fontsize=16, fontweight="bold", color=_INK, va="center"
    )
    figure.text(
        0.05,
        0.908,
        f"True accompaniments of {found['songs']} rendered test songs, transposed or late. "
        "Bands: 95 % over songs. Dashed: accompaniments of other songs.",
        fontsize=10.5,
        color=_FAINT,
        va="center",
    )
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


def _panel(
    axes: "Axes",
    values: Mapping[int, Mapping[str, Sequence[float]]],
    names: Mapping[str, str],
    random: Mapping[str, Sequence[float]],
) -> None:
    """A line with its band for each measure, and random pairing with its own."""
    points = list(values)
    for (name, label), colour in zip(names.items(), (_BLUE, _RED), strict=False):
        mean, low, high = np.array([values[point][name] for point in points]).T
        axes.fill_between(points, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(points, mean, color=colour, linewidth=1.8, marker="o", markersize=4, label=label)
        wrong, wrong_low, wrong_high = random[name]
        axes.axhspan(wrong_low, wrong_high, color=colour, alpha=0.08, linewidth=0)
        axes.axhline(wrong, color=colour, linewidth=1.1, linestyle=_DASHED)
    room = 0.03 * (points[-1] - points[0])  # for the marks at the ends
    axes.set_xlim(points[0] - room, points[-1] + room)
    axes.legend(
        fontsize=9.5, labelcolor=_INK, loc="upper right", handlelength=1.4, edgecolor="none", framealpha=0.85
    )


def _frame(axes: "Axes", title: str) -> None:
    for side in axes.spines.values():
        side.set_color(_GRID)
    axes.tick_params(which="both", colors=_FAINT, labelsize=9.5, length=0)
    axes.grid(color=_FAINT, alpha=0.18, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=_INK, pad=5)
