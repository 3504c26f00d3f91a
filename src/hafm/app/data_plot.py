"""One picture of a folder of shards: how loud its clips are, and how its tokens are used.

In: levels of all clips, the filter, counts of tokens. Out: the bytes of a PNG, 1800 x 1320 pixels.

    vocal over instrumental, dB     instrumental, dBFS
      kept ### | ## dropped           dropped ## | ### kept    histograms; the line is the filter's

    vocal    instrumental    coarse codes    fine codes
    -._      -._             -._             -._               share of every id, most frequent first

An id that never occurs ends its curve: a short curve is a codebook with dead ids. The dashed line is where
all ids would be equally frequent.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from hafm.app.picture import FAINT, INK, frame, headline, new_figure, png_of
from hafm.data.shards.token_use import TokenUse
from hafm.data.tokenising.clip_filter import ClipFilter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_data"]

_KEPT, _DROPPED = "#1d4ed8", "#c2410c"
_CODEBOOKS = ("#1e3a8a", "#2563eb", "#0891b2", "#65a30d", "#ca8a04", "#ea580c", "#dc2626", "#9333ea")
_OVER_DB = (-40.0, 40.0)
_ENERGY_DBFS = (-70.0, 0.0)
_SHARES = (1e-5, 0.1)  # at least this range, so that pictures can be compared


def draw_data(
    *,
    vocal_dbfs: np.ndarray,
    instrumental_dbfs: np.ndarray,
    clip_filter: ClipFilter,
    use: Mapping[str, Sequence[TokenUse]],
    title: str,
    subtitle: str = "",
) -> bytes:
    """Draws what `hafm data show` tells.

    Args:
        vocal_dbfs: level of every clip's vocal. Shape [clips].
        instrumental_dbfs: of its instrumental. Shape [clips].
        clip_filter: that decides which are kept.
        use: token counts of every codebook, by stream.

    Returns:
        The PNG. The same data give the same bytes.
    """
    figure = new_figure()
    grid = figure.add_gridspec(
        2,
        12,
        height_ratios=[1, 1.05],
        hspace=0.36,
        wspace=1.2,
        left=0.06,
        right=0.975,
        top=0.85,
        bottom=0.075,
    )
    quiet = instrumental_dbfs < clip_filter.min_instrumental_dbfs
    loud = np.round(vocal_dbfs - instrumental_dbfs, 3) > clip_filter.max_vocal_over_db
    left, right = figure.add_subplot(grid[0, :6]), figure.add_subplot(grid[0, 6:])
    _histogram(left, vocal_dbfs - instrumental_dbfs, quiet | loud, _OVER_DB, "vocal over instrumental")
    _line(
        left,
        clip_filter.max_vocal_over_db,
        f"kept up to {_number(clip_filter.max_vocal_over_db)} dB",
        "right",
    )
    left.set_ylabel("clips", fontsize=10, color=FAINT)
    left.set_xlabel("dB, one clip", fontsize=10, color=FAINT)
    _histogram(right, instrumental_dbfs, quiet | loud, _ENERGY_DBFS, "instrumental")
    _line(
        right,
        clip_filter.min_instrumental_dbfs,
        f"kept from {_number(clip_filter.min_instrumental_dbfs)} dBFS on",
        "left",
    )
    right.set_xlabel("dBFS (RMS), one clip", fontsize=10, color=FAINT)
    axes = None
    for column, (name, codebooks) in enumerate(use.items()):
        axes = figure.add_subplot(grid[1, 3 * column : 3 * column + 3], sharey=axes)
        first = 1 + len(use["coarse_codes"]) if name == "fine_codes" else 1
        _usage(axes, codebooks, name.replace("_", " "), first_codebook=first)
        axes.tick_params(labelleft=column == 0)
        if column == 0:
            axes.set_ylabel("share of all tokens", fontsize=10, color=FAINT)
    headline(figure, title, subtitle)
    return png_of(figure)


def _histogram(
    axes: "Axes", values: np.ndarray, dropped: np.ndarray, span: tuple[float, float], title: str
) -> None:
    """Kept clips with the dropped ones on top. What lies outside is counted at the edge."""
    shown = np.clip(values, *span)
    edges = np.arange(span[0], span[1] + 1)  # of 1 dB, so that thresholds lie between bins
    axes.hist(
        [shown[~dropped], shown[dropped]],
        bins=edges.tolist(),
        stacked=True,
        color=[_KEPT, _DROPPED],
        label=[f"kept: {np.sum(~dropped):,} clips", f"dropped: {np.sum(dropped):,} clips"],
    )
    axes.set_xlim(*span)
    _legend(axes, "upper left", fontsize=9)
    axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    frame(axes, title, INK)


def _line(axes: "Axes", at: float, label: str, side: str) -> None:
    """The filter's threshold, with its label on the side of what is dropped."""
    axes.axvline(at, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
    axes.annotate(
        label,
        (at, 1),
        xycoords=("data", "axes fraction"),
        xytext=(5 if side == "right" else -5, -12),
        textcoords="offset points",
        ha="left" if side == "right" else "right",
        fontsize=9,
        color=INK,
    )


def _usage(axes: "Axes", codebooks: Sequence[TokenUse], title: str, first_codebook: int) -> None:
    """Shares of ids, falling, on a logarithmic axis; the flatter, the better used."""
    from matplotlib.ticker import NullFormatter

    num_ids = max(len(use.counts) for use in codebooks)
    axes.axhline(1 / num_ids, color=FAINT, linewidth=1, linestyle=(0, (4, 2)), label="if all were equal")
    for number, use in enumerate(codebooks):
        shares = np.sort(use.shares[use.counts > 0])[::-1]
        of_several = f"{first_codebook + number}: " if len(codebooks) > 1 else ""
        colour = _CODEBOOKS[(first_codebook - 1 + number) % len(_CODEBOOKS)] if len(codebooks) > 1 else _KEPT
        label = f"{of_several}{use.used:,} of {len(use.counts):,} used"
        axes.plot(np.arange(1, len(shares) + 1), shares, color=colour, linewidth=1.5, label=label)
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, _SHARES[0]), max(high, _SHARES[1]))
    axes.set_xlim(0, num_ids * 1.02)
    _legend(axes, "lower left", fontsize=8)
    axes.grid(color=FAINT, alpha=0.2, linewidth=0.6)
    axes.set_xlabel("ids, most frequent first", fontsize=10, color=FAINT)
    frame(axes, title, INK)


def _legend(axes: "Axes", place: Literal["upper left", "lower left"], fontsize: int) -> None:
    axes.legend(
        fontsize=fontsize, labelcolor=FAINT, loc=place, handlelength=1, edgecolor="none", framealpha=0.85
    )


def _number(value: float) -> str:
    """With the minus sign that the axes have."""
    return f"{value:g}".replace("-", "−")
