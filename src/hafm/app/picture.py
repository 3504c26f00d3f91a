"""What all pictures share: their colours, the headline, and how they become bytes.

In: a matplotlib figure. Out: the bytes of a PNG, 150 dots per inch; the same figure gives the same bytes.
"""

import io
import warnings
from typing import TYPE_CHECKING, Any

from hafm.words import readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FAINT", "GRID", "INK", "frame", "headline", "new_figure", "png_of"]

INK, FAINT, GRID = "#1f2937", "#6b7280", "#e5e7eb"
_DPI = 150


def new_figure(width: float = 12, height: float = 8.8) -> "Figure":
    """An empty white figure, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def headline(figure: "Figure", title: str, subtitle: str) -> None:
    """Writes both at the top. They are not mathematics: a dollar in a file name is a dollar."""
    common: dict[str, Any] = {"va": "center", "parse_math": False}
    figure.text(0.06, 0.962, readable(title), fontsize=16, fontweight="bold", color=INK, **common)
    figure.text(0.06, 0.926, subtitle, fontsize=10.5, color=FAINT, **common)


def frame(axes: "Axes", title: str, colour: str) -> None:
    """A pale frame, small numbers without ticks, and a title above the left edge."""
    for side in axes.spines.values():
        side.set_color(GRID)
    axes.tick_params(which="both", colors=FAINT, labelsize=9, length=0)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=colour, pad=4)


def png_of(figure: "Figure") -> bytes:
    """The PNG of a figure."""
    png = io.BytesIO()
    with warnings.catch_warnings():
        # A file name may hold characters that the font lacks; a box in their place is good enough.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()
