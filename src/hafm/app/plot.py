"""One picture of a take: the vocal above, the accompaniment below, on one time axis.

In: an accompaniment. Out: the bytes of a PNG, 1800 x 1320 pixels.

    vocal           waveform       ~~~~~~~~~~~~~~~~
                    chromagram     ::::::::::::::::    one below the other, so that one sees at a glance
    accompaniment   chromagram     ::::::::::::::::    whether the notes of one are among those of the other
                    waveform       ~~~~~~~~~~~~~~~~
                                   0:00  0:05  0:10

Column `i` of `n` shows the time from `i/n` to `(i+1)/n` of the sound, so pictures of sounds of the same
length lie under each other. The number of columns bounds the memory, whatever the sound's length.
matplotlib is not among the packages that HAFM always needs; it comes with the extra `plot`.
"""

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.app.picture import FAINT, GRID, frame, headline, new_figure, png_of
from hafm.audio.resample import resample
from hafm.audio.sound import to_mono
from hafm.errors import UsageError
from hafm.tokens.chroma import HARMONIC_SPAN, contrast, fold_octaves, harmonic_sum, semitone_filters
from hafm.tokens.spectrum import band_powers
from hafm.words import clock

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["check_matplotlib", "chromagram", "draw", "has_matplotlib", "outline"]

_VOCAL, _ACCOMPANIMENT = "#c2410c", "#1d4ed8"
_COLUMNS = 1400
_CHROMA_COLUMNS = 700
_STEPS_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0)
_MOST_STEPS = 16
_NATURALS = {0: "C", 2: "D", 4: "E", 5: "F", 7: "G", 9: "A", 11: "B"}

_RATE_HZ = 12_000
_WINDOW = 4096  # 0.34 s: bins of 2.9 Hz, and a semitone at C2 is 3.9 Hz wide
_LOW_NOTE = 36  # C2; the top, with its partials, is E8 (5274 Hz)
_NUM_NOTES = 48
_FADE = 0.15  # length of a column's pitch classes, against the loudest column, where it fades to half


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
        accompaniment: of the same length.
        sample_rate: of both, in hertz.
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
    frame(axes, label, colour)


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
    frame(axes, label, colour)


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


# ---- what is drawn


def outline(
    waveform: Float[Tensor, "C T"], num_columns: int
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Least and greatest sample of every column, all channels together.

    Args:
        num_columns: N, at least 1; as many as there are samples, where those are fewer.

    >>> low, high = outline(torch.tensor([[0.0, 0.5, -0.25, 0.0]]), 2)
    >>> low.tolist(), high.tolist()
    ([0.0, -0.25], [0.5, 0.0])
    """
    num_samples = waveform.shape[1]
    num_columns = min(num_columns, num_samples)
    low, high = torch.empty(num_columns), torch.empty(num_columns)
    for column in range(num_columns):
        part = waveform[:, column * num_samples // num_columns : (column + 1) * num_samples // num_columns]
        low[column], high[column] = torch.aminmax(part)
    return low, high


def chromagram(waveform: Float[Tensor, "C T"], sample_rate: int, num_columns: int) -> Float[Tensor, "12 N"]:
    """How much of each pitch class sounds, over time.

    Args:
        num_columns: the most columns wanted, at least 1.

    Shape: `[C, T] -> [12, N]`, N at most `num_columns`

    >>> a3 = torch.sin(2 * math.pi * 220 / 8000 * torch.arange(8000))[None]
    >>> chroma = chromagram(a3, 8000, num_columns=10)
    >>> chroma.shape, int(chroma[:, 5].argmax())
    (torch.Size([12, 10]), 9)
    """
    mono = resample(to_mono(waveform)[None], sample_rate, _RATE_HZ)
    hop = max(1, math.ceil(mono.shape[1] / num_columns))
    # Windows that do not overlap would miss what sounds between them: look more often, and average.
    looks = max(1, math.ceil(hop / (_WINDOW // 2)))
    filters = semitone_filters(
        size=_WINDOW,
        sample_rate=_RATE_HZ,
        low_note=_LOW_NOTE,
        high_note=_LOW_NOTE + _NUM_NOTES + HARMONIC_SPAN - 1,
    )
    salience = harmonic_sum(band_powers(mono, filters, hop=math.ceil(hop / looks)))
    classes = fold_octaves(salience, low_note=_LOW_NOTE, by="sum")[0].T
    num_kept = math.ceil(classes.shape[1] / looks)
    classes = torch.nn.functional.pad(classes, (0, num_kept * looks - classes.shape[1]))
    classes = classes.unflatten(1, (num_kept, looks)).mean(dim=2)
    loudest = float(classes.norm(dim=0).max())
    standing_out = contrast(classes.T[None], floor=_FADE * max(loudest, 1e-6))[0].T
    return standing_out / standing_out.max().clamp_min(1e-6)
