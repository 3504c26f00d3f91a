"""Vocal and accompaniment to a finished mix, in which the vocal is the recording times one constant.

In: both as `[C, T]`, of equal length. Out: the mix and the `Levels` that made it.

    mix = g * vocal + g * b * r(t) * accompaniment

`b` sets the balance of loudness, `g` the loudness of the whole, and `r(t)` (1 at rest) is the limiter. A
limiter on the sum would move the vocal's level too. So only the accompaniment gives way, and the limiter
listens to the sum. How far it may go is bounded by `MAX_REDUCTION_DB` (r0 = 0.5), which settles the largest
`g` at once. With c the ceiling and a = b * accompaniment, every moment wants |v + r a| <= c / g. That is
convex in r, so the r that satisfy it are one interval, and if r0 is among them, it is [r0, r(t)] (up to 1):

    g <= c / max over t of |v + r0 a|          then, with s the sign of a,
    r(t) = min(1, (c / g - s v) / |a|)

(or g <= c / max |v + a|, where that is more: the limiter then has nothing to do.)

Any r between r0 and r(t) will do, so smoothing downwards is safe. What remains is a trim of hundredths of a
decibel on `g`. If the ceiling asks for a smaller `g` than the loudness does, the ceiling wins and the mix is
quieter than asked.

Channels: the mix has as many as the wider of the two; a mono part of a stereo mix is the same on both sides.
A vocal keeps its channels as they are.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.limiter import Decibels, reduced
from hafm.audio.loudness import integrated_lufs, level_db
from hafm.audio.true_peak import oversampled_blocks, true_peak_dbtp
from hafm.errors import UsageError

__all__ = ["BALANCE_DB", "CEILING_DBTP", "LOUDNESS_LUFS", "Levels", "mixdown"]

BALANCE_DB = -3.0
"""The accompaniment's loudness against the vocal's: a singer's demo, voice in front."""

LOUDNESS_LUFS = -14.0
"""The loudness that streaming services play at."""

CEILING_DBTP = -1.0
"""The true peak that lossy encoders want left."""

MAX_REDUCTION_DB = 20 * math.log10(2)
"""The most that the limiter takes off the accompaniment for a moment: half its amplitude."""

_CLOSE_DB = 0.1
"""Further below the ceiling, no rounding brings a peak over it, and the limiter need not look."""


@dataclass(frozen=True, kw_only=True)
class Levels:
    """What `mixdown` did, in numbers fit for JSON. None means a sound that counts as silent.

    Args:
        vocal_lufs: loudness of the vocal as it came, placed in the mix's channels.
        accompaniment_lufs: the same of the accompaniment.
        vocal_gain_db: the constant gain of the vocal.
        accompaniment_gain_db: the constant gain of the accompaniment, before the limiter.
        limiter_reduction_db: the most that the limiter took off the accompaniment, 0 or more.
        mix_lufs: loudness of the mix.
        mix_true_peak_dbtp: true peak of the mix.
    """

    vocal_lufs: float | None
    accompaniment_lufs: float | None
    vocal_gain_db: float
    accompaniment_gain_db: float
    limiter_reduction_db: float
    mix_lufs: float | None
    mix_true_peak_dbtp: float | None


def mixdown(
    vocal: Float[Tensor, "C1 T"],
    accompaniment: Float[Tensor, "C2 T"],
    sample_rate: int,
    *,
    balance_db: float = BALANCE_DB,
    loudness_lufs: float = LOUDNESS_LUFS,
    ceiling_dbtp: float = CEILING_DBTP,
) -> tuple[Float[Tensor, "C T"], Levels]:
    """Mix a vocal and its accompaniment.

    Args:
        vocal: one or two channels, finite.
        accompaniment: one or two channels, finite, as long as the vocal.
        sample_rate: samples a second of both.
        balance_db: loudness of the accompaniment against the vocal's, from -60 to 60. Where one of them
            counts as silent, the accompaniment keeps its level beside the vocal.
        loudness_lufs: loudness of the mix, from -70 to 0, reached as far as the ceiling permits.
        ceiling_dbtp: true peak of the mix at most, from -40 to 0.

    Shape:
        `[C1, T], [C2, T] -> [max(C1, C2), T]`

    Returns:
        The mix, and the levels it was made with.

    Raises:
        UsageError: a level is outside its range.
        ValueError: the two differ in length, have other channels than one or two, or are not finite.

    >>> time = torch.arange(48_000) / 24_000
    >>> vocal, band = torch.sin(1382 * time)[None], 0.1 * torch.sin(691 * time).repeat(2, 1)
    >>> mix, levels = mixdown(vocal, band, 24_000)
    >>> mix.shape, round(levels.mix_lufs, 1), levels.limiter_reduction_db
    (torch.Size([2, 48000]), -14.0, 0.0)
    """
    _check_range("balance", balance_db, -60, 60, "dB")
    _check_range("loudness", loudness_lufs, -70, 0, "LUFS")
    _check_range("ceiling", ceiling_dbtp, -40, 0, "dBTP")
    vocal, accompaniment = _placed(vocal, accompaniment)
    vocal_lufs = integrated_lufs(vocal, sample_rate)
    accompaniment_lufs = integrated_lufs(accompaniment, sample_rate)

    balance_gain_db = 0.0
    if vocal_lufs is not None and accompaniment_lufs is not None:
        balance_gain_db = vocal_lufs + balance_db - accompaniment_lufs
    band = accompaniment * 10 ** (balance_gain_db / 20)

    gain = _loudness_gain(vocal + band, sample_rate, loudness_lufs)
    ceiling = 10 ** (ceiling_dbtp / 20)
    least_ratio = 10 ** (-MAX_REDUCTION_DB / 20)
    whole_peak = true_peak_dbtp(vocal + band)
    if whole_peak is None or gain > 10 ** ((ceiling_dbtp - whole_peak) / 20):
        both = (true_peak_dbtp(vocal + least_ratio * band), whole_peak)
        peak = min((peak for peak in both if peak is not None), default=ceiling_dbtp)
        gain = min(gain, 10 ** ((ceiling_dbtp - peak) / 20))

    most_reduction_db, limited_peak = 0.0, whole_peak
    if limited_peak is not None and limited_peak + 20 * math.log10(gain) > ceiling_dbtp - _CLOSE_DB:
        needed_db = _needed_db(vocal, band, ceiling / gain, least_ratio)
        band, most_reduction_db = reduced(band, needed_db, sample_rate)
        limited_peak = true_peak_dbtp(vocal + band)
    if limited_peak is not None:
        gain = min(gain, 10 ** ((ceiling_dbtp - limited_peak) / 20))
    mix = gain * vocal + gain * band

    gain_db = 20 * math.log10(gain)
    return mix, Levels(
        vocal_lufs=vocal_lufs,
        accompaniment_lufs=accompaniment_lufs,
        vocal_gain_db=gain_db,
        accompaniment_gain_db=gain_db + balance_gain_db,
        limiter_reduction_db=most_reduction_db,
        mix_lufs=integrated_lufs(mix, sample_rate),
        mix_true_peak_dbtp=true_peak_dbtp(mix),
    )


def _placed(vocal: Tensor, accompaniment: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float32 with the channels of the mix."""
    for name, waveform in (("vocal", vocal), ("accompaniment", accompaniment)):
        if waveform.ndim != 2 or waveform.shape[0] not in (1, 2) or not waveform.shape[1]:
            raise ValueError(f"{name} must be [1 or 2, T], got {list(waveform.shape)}")
        if not waveform.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity")
    if vocal.shape[1] != accompaniment.shape[1]:
        raise ValueError(
            f"vocal has {vocal.shape[1]} samples and accompaniment {accompaniment.shape[1]}; they must agree"
        )
    channels = max(vocal.shape[0], accompaniment.shape[0])
    both = (waveform.detach().cpu().to(torch.float32) for waveform in (vocal, accompaniment))
    placed_vocal, placed_accompaniment = (waveform.expand(channels, -1) for waveform in both)
    return placed_vocal, placed_accompaniment


def _loudness_gain(sound: Tensor, sample_rate: int, target_lufs: float) -> float:
    loudness = integrated_lufs(sound, sample_rate)
    if loudness is None:
        if not sound.any():
            return 1.0
        loudness = level_db(sound)
    return float(10 ** ((target_lufs - loudness) / 20))


def _needed_db(vocal: Tensor, band: Tensor, ceiling: float, least_ratio: float) -> Iterator[Decibels]:
    """Decibels to take off the band so that the sum stays under the ceiling: r(t) of the derivation above."""
    channels = len(vocal)
    for _, block in oversampled_blocks(vocal, band):
        v, a = block[:channels], block[channels:]
        over = (v + a).abs() > ceiling
        ratio = torch.where(over, (ceiling - a.sign() * v) / a.abs(), 1.0).clamp(least_ratio, 1.0)
        yield 20 * np.log10(1 / ratio.amin(dim=(0, 2)).double().numpy())


def _check_range(name: str, value: float, low: int, high: int, unit: str) -> None:
    if not low <= value <= high:
        raise UsageError(f"--{name} is {value} {unit}; give {low} to {high}")
