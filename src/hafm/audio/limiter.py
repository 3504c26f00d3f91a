"""A look-ahead peak limiter: a gain that is down before the peak comes, and the length stays the same.

In: a waveform `[C, T]`. Out: a waveform `[C, T]` whose true peak is at most the ceiling. Channels share one
gain, so that the stereo image stays. What already lies under the ceiling comes back bit by bit.

The gain is made in decibels of reduction, in three steps, each stretch by stretch:

    needed    |      #          |   what each sample asks for: 20 log10(peak / ceiling), or 0
    held      |   ####```---__  |   the most that is asked for within the look-ahead, before and after;
              |                 |   from there the reduction goes back at a steady rate
    smoothed  |  .:####```---__ |   a mean over a window that is no wider than the hold

Why it holds: around each peak, `held` is at least what the peak needs, over a stretch as wide as the
smoothing window. A mean of values that are all at least x is at least x, so the smoothed reduction at the
peak is enough, and there is no attack that comes late. The price is that half the window of sound before the
peak is turned down with it.

Source: the hold-and-smooth construction is common knowledge; the steady release as one running maximum is
ours: max over s <= t of (held[s] - rate * (t - s)) is a running maximum of held[s] + rate * s, less rate * t.
"""

import math
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.true_peak import oversampled_blocks, true_peak_dbtp

__all__ = ["LOOKAHEAD_SECONDS", "RELEASE_DB_PER_SECOND", "limit_peaks", "reduced", "smooth_reduction"]

Decibels: TypeAlias = npt.NDArray[np.float64]
"""`[T]`"""

Rows: TypeAlias = npt.NDArray[np.float64]
"""`[2, T]`: what is held, and what is needed, in decibels."""

LOOKAHEAD_SECONDS = 0.005
"""How long before a peak the gain begins to fall."""

RELEASE_DB_PER_SECOND = 40.0
"""How fast it comes back."""

_SAMPLES_AT_ONCE = 1 << 15
_NEGLIGIBLE_DB = 1e-9  # what running sums leave behind where the reduction is zero
_NEAR_SAMPLES = 2  # a peak between samples belongs to both, and interpolation reaches a little further


def limit_peaks(
    waveform: Float[Tensor, "C T"], sample_rate: int, *, ceiling_dbtp: float = -1.0
) -> Float[Tensor, "C T"]:
    """Keep the true peak of a sound at or under a ceiling.

    Args:
        waveform: finite samples.
        sample_rate: samples a second.
        ceiling_dbtp: the ceiling, 0 or less.

    Shape:
        `[C, T] -> [C, T]`

    Returns:
        The limited sound; the same tensor if it lies under the ceiling already.

    Raises:
        ValueError: the waveform is not finite, or the ceiling is above 0.

    >>> loud = 2 * torch.sin(torch.arange(24_000) / 20)[None]
    >>> round(true_peak_dbtp(limit_peaks(loud, 24_000)), 2)
    -1.0
    >>> limit_peaks(0.1 * loud, 24_000).equal(0.1 * loud)
    True
    """
    if ceiling_dbtp > 0:
        raise ValueError(f"ceiling_dbtp must be 0 or less, got {ceiling_dbtp}")
    if not waveform.isfinite().all():
        raise ValueError("waveform holds NaN or infinity")
    ceiling = 10 ** (ceiling_dbtp / 20)
    peaks = torch.zeros(waveform.shape[1])
    for start, block in oversampled_blocks(waveform):
        peaks[start : start + block.shape[1]] = block.abs().amax(dim=(0, 2))
    if not len(peaks) or float(peaks.max()) / ceiling <= 1.0:
        return waveform
    needed_db = (
        20 * np.log10(np.maximum(some.double().numpy() / ceiling, 1.0))
        for some in peaks.split(_SAMPLES_AT_ONCE)
    )
    limited, _ = reduced(waveform.detach().cpu(), needed_db, sample_rate)
    return trim_to(limited, ceiling_dbtp)


def reduced(
    waveform: Float[Tensor, "C T"], needed_db: Iterable[Decibels], sample_rate: int
) -> tuple[Float[Tensor, "C T"], float]:
    """A sound that is turned down smoothly, by at least what is needed.

    Args:
        waveform: samples.
        needed_db: reduction that each sample needs, 0 or more, in stretches that together are as long.
        sample_rate: samples a second.

    Returns:
        The sound, and the most that it was turned down, in decibels.
    """
    out, done, most_db = torch.empty_like(waveform, memory_format=torch.contiguous_format), 0, 0.0
    for reduction_db in smooth_reduction(needed_db, sample_rate):
        here = slice(done, done + len(reduction_db))
        gain = torch.from_numpy((10 ** (-reduction_db / 20)).astype(np.float32))
        torch.mul(waveform[:, here], gain, out=out[:, here])
        done, most_db = here.stop, max(most_db, float(reduction_db.max()))
    return out, most_db


def trim_to(waveform: Float[Tensor, "C T"], ceiling_dbtp: float) -> Float[Tensor, "C T"]:
    """Take off the last hundredths of a decibel: a gain that moves shifts the peaks between samples a little.

    >>> trim_to(torch.full((1, 9), 0.25), -1.0).max()
    tensor(0.2500)
    """
    peak = true_peak_dbtp(waveform)
    if peak is None or peak <= ceiling_dbtp:
        return waveform
    return waveform * 10 ** ((ceiling_dbtp - peak) / 20)


def smooth_reduction(needed_db: Iterable[Decibels], sample_rate: int) -> Iterator[Decibels]:
    """A smooth reduction that is at least what each sample needs.

    Args:
        needed_db: reduction that each sample needs, 0 or more, in stretches of any length.
        sample_rate: samples a second.

    Yields:
        Decibels of reduction, in stretches that together are as long: at least `needed_db`, at most its
        maximum, and exactly 0 where nothing is near. Memory is that of one stretch.

    >>> needed = np.zeros(1000)
    >>> needed[500] = 6.0
    >>> reduction = np.concatenate(list(smooth_reduction([needed[:600], needed[600:]], 8_000)))
    >>> float(reduction[450]), round(float(reduction[500]), 6), round(float(reduction[600]), 1)
    (0.0, 6.0, 5.6)
    """
    # Two means over 2 * half + 1 samples, one after the other, reach 2 * half to each side. The hold reaches
    # as far, so the gain begins to fall 4 * half samples before a peak.
    half = max(1, math.ceil(LOOKAHEAD_SECONDS * sample_rate / 4))
    # What is needed goes along as a second row, since every step is behind the one before by its reach.
    rows: Iterable[Rows] = (np.stack([some_db, some_db]) for some_db in needed_db if len(some_db))
    rows = _held(rows, 2 * half + _NEAR_SAMPLES, fall=RELEASE_DB_PER_SECOND / sample_rate)
    for _ in range(2):
        rows = _mean(rows, half)
    for held, needed in rows:
        held[held < _NEGLIGIBLE_DB] = 0.0
        yield np.maximum(held, needed)


def _held(rows: Iterable[Rows], reach: int, *, fall: float) -> Iterator[Rows]:
    """The most within the reach, and from there on a steady fall."""
    width, first, before = 2 * reach + 1, 0, -math.inf
    for stretch in _with_sides(rows, reach, nearest=False):
        out = stretch[:, reach:-reach].copy()
        held, num_samples = out[0], out.shape[1]
        # A window of that width is the end of a block of that width and the start of the next.
        blocks = np.pad(stretch[0], (0, -stretch.shape[1] % width)).reshape(-1, width)
        until = np.maximum.accumulate(blocks, axis=1).ravel()
        behind = np.maximum.accumulate(blocks[:, ::-1], axis=1)[:, ::-1].ravel()
        np.maximum(behind[:num_samples], until[width - 1 : width - 1 + num_samples], out=held)
        fallen = fall * np.arange(first, first + num_samples)
        held += fallen
        np.maximum(np.maximum.accumulate(held), before, out=held)
        before = held[-1]
        held -= fallen
        np.maximum(held, 0.0, out=held)
        first += num_samples
        yield out


def _mean(rows: Iterable[Rows], half: int) -> Iterator[Rows]:
    """The mean over `2 * half + 1` samples, as a running sum, which goes on from one stretch to the next."""
    width, total, left = 2 * half + 1, None, 0.0
    for stretch in _with_sides(rows, half, nearest=True):
        out, values = stretch[:, half:-half].copy(), stretch[0]
        sums = np.empty(out.shape[1])
        if total is None:
            sums[0] = np.add.accumulate(values[:width])[-1]
        else:
            sums[0] = total + (values[width - 1] - left)
        np.subtract(values[width:], values[:-width], out=sums[1:])
        np.add.accumulate(sums, out=sums)
        np.divide(sums, width, out=out[0])
        total, left = sums[-1], values[-width]
        yield out


def _with_sides(rows: Iterable[Rows], reach: int, *, nearest: bool) -> Iterator[Rows]:
    """Stretches with `reach` samples more on each side: zeros at the ends of the sound, or its end samples.

    >>> [each[0].tolist() for each in _with_sides([np.ones((2, 2)), np.ones((2, 3))], 1, nearest=False)]
    [[0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]
    """
    kept = None
    for stretch in rows:
        before = np.repeat(stretch[:, :1] * nearest, reach, axis=1) if kept is None else kept
        kept = np.concatenate([before, stretch], axis=1)
        if kept.shape[1] > 2 * reach:
            yield kept
            kept = kept[:, -2 * reach :]
    if kept is not None:
        yield np.concatenate([kept, np.repeat(kept[:, -1:] * nearest, reach, axis=1)], axis=1)
