"""One picture of a take: the vocal above, the accompaniment below, on one time axis.

In: an accompaniment. Out: the bytes of a PNG, 1800 x 1320 pixels.

    vocal           waveform       ~~~~~~~~~~~~~~~~
                    chromagram     ::::::::::::::::    one below the other, so that one sees at a glance
    accompaniment   chromagram     ::::::::::::::::    whether the notes of one are among those of the other
                    waveform       ~~~~~~~~~~~~~~~~
                                   0:00  0:05  0:10

matplotlib is not among the packages that HAFM always needs; it comes with the extra `plot`.
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.app.chromagram import chromagram, outline
from hafm.app.picture import FAINT, GRID, headline, new_figure, png_of
from hafm.errors import UsageError
from hafm.words import clock

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["check_matplotlib", "draw", "has_matplotlib"]

_VOCAL, _ACCOMPANIMENT = "#c2410c", "#1d4ed8"
_COLUMNS = 1400
_CHROMA_COLUMNS = 700
_STEPS_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0)
_MOST_STEPS = 16
_NATURALS = {0: "C", 2: "D", 4: "E", 5: "F", 7: "G", 9: "A", 11: "B"}


def check_matplotlib() -> None:
    """Refuse to draw, before any work is done, where matplotlib is not installed.

    Raises:
        UsageError: it is missing.
    """
    if not has_matplotlib():
        raise UsageError(
            "--plot needs matplotlib, which is not installed; install it with: pip install 'hafm[plot]'"
        )


def has_matplotlib() -> bool:
    """Whether pictures can be drawn."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return False
    return True


def draw(
    *,
    vocal: Float[Tensor, "C T"],
    accompaniment: Float[Tensor, "C2 T"],
    sample_rate: int,
    title: str,
    subtitle: str = "",
    start_seconds: float = 0.0,
) -> bytes:
    """Draw a vocal and its accompaniment.

    Args:
        vocal: the singing.
        accompaniment: of the same length.
        sample_rate: of both, in hertz.
        title: the headline.
        subtitle: a line below it.
        start_seconds: what the time axis begins with.

    Returns:
        The PNG. The same sounds give the same bytes.
    """
    seconds = vocal.shape[1] / sample_rate
    span = (start_seconds, start_seconds + seconds)
    figure = new_figure()
    grid = figure.add_gridspec(
        4, 1, height_ratios=[1, 1.25, 1.25, 1], hspace=0.17, left=0.06, right=0.975, top=0.875, bottom=0.065
    )
    axes = [figure.add_subplot(grid[row]) for row in range(4)]
    _waveform(axes[0], vocal, span, _VOCAL, "vocal")
    _chroma(axes[1], chromagram(vocal, sample_rate, _CHROMA_COLUMNS), span, _VOCAL, "vocal, pitch classes")
    _chroma(
        axes[2],
        chromagram(accompaniment, sample_rate, _CHROMA_COLUMNS),
        span,
        _ACCOMPANIMENT,
        "accompaniment, pitch classes",
    )
    _waveform(axes[3], accompaniment, span, _ACCOMPANIMENT, "accompaniment")
    _time_axis(axes, span)
    headline(figure, title, subtitle)
    return png_of(figure)


def _waveform(axes: "Axes", waveform: Tensor, span: tuple[float, float], colour: str, label: str) -> None:
    low, high = outline(waveform, _COLUMNS)
    edges = torch.linspace(span[0], span[1], len(low) + 1)[:-1] + (span[1] - span[0]) / len(low) / 2
    axes.axhline(0, color=colour, linewidth=0.6, alpha=0.6)
    axes.fill_between(edges.numpy(), low.numpy(), high.numpy(), color=colour, linewidth=0.35)
    # Each in its own scale: the mix sets the balance, the picture shows the shape.
    most = max(float(high.max()), -float(low.min()), 1e-6)
    axes.set_ylim(-1.08 * most, 1.08 * most)
    axes.set_yticks([-most, 0, most], [f"{-most:.2f}", "0", f"{most:.2f}"])
    _frame(axes, colour, label)


def _chroma(axes: "Axes", chroma: Tensor, span: tuple[float, float], colour: str, label: str) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    axes.imshow(
        chroma.numpy(),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(*span, -0.5, 11.5),
        cmap=LinearSegmentedColormap.from_list("tone", ["white", colour]),
        vmin=0,
        vmax=1,
    )
    for boundary in range(11):
        axes.axhline(boundary + 0.5, color=GRID, linewidth=0.5)
    axes.set_yticks(list(_NATURALS), list(_NATURALS.values()))
    _frame(axes, colour, label)


def _frame(axes: "Axes", colour: str, label: str) -> None:
    for side in axes.spines.values():
        side.set_color(GRID)
    axes.tick_params(colors=FAINT, labelsize=9, length=0)
    axes.set_title(label, loc="left", fontsize=10, fontweight="bold", color=colour, pad=4)


def _time_axis(axes: "list[Axes]", span: tuple[float, float]) -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    step_seconds = next((step for step in _STEPS_SECONDS if (span[1] - span[0]) / step <= _MOST_STEPS), 60.0)
    for each in axes:
        each.set_xlim(*span)
        each.xaxis.set_major_locator(MultipleLocator(step_seconds))
        each.grid(axis="x", color=FAINT, alpha=0.25, linewidth=0.6)
        each.tick_params(labelbottom=False)
    axes[-1].tick_params(labelbottom=True)
    axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds)))
    axes[-1].set_xlabel("time (min:s)", fontsize=10, color=FAINT)
