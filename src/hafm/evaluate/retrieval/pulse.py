"""The steady pulse of a sound: its period, where it falls, and how strong it is.

In: onset strength `onsets`, 100 frames per second (`hafm.evaluate.fit.onsets`). Out: `Pulse`s, the strongest
first.

Let z be the square root of the onset strength, of mean 0 and deviation 1, and Z(f) its Fourier transform,
divided by the root of the number of frames, so that noise has a modulus of about 1 whatever the length. A
pulse of frequency f whose halves are played too has two strong lines:

    strength(f) = |Z(f)| + |Z(2 f)|,     weighted by a bell over log2 f around 2 Hz, 0.9 octaves wide

The strongest peaks are the pulses. Which octave is the beat stays open: eighths, quarters and halves answer
alike, and who compares two pulses allows for factors of 2. Where a pulse falls, its phase, is where

    fall(t) = Re[ Z(f) e^(2 pi i f t) + Z(2 f) e^(4 pi i f t) ]

is largest. One period describes the whole sound: music that speeds up has a weak pulse.

Why not the beat tracker (`hafm.evaluate.fit.beats`), which looks at the autocorrelation: singing leaves out
more beats than it sings, so single gaps between onsets say little, and all onsets together say more.
`benchmarks/retrieval.py` counts how often each is right.

Source: the predominant pulse of Grosche and Mueller, "Extracting predominant local pulse information from
music recordings" (2011), for a whole sound at once; the second line is ours.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hafm.evaluate.fit.onsets import ONSET_FRAMES_PER_SECOND

__all__ = ["Pulse", "find_pulses", "pulse_at", "pulse_fall"]

_SLOWEST_HZ, _FASTEST_HZ = 1.0, 4.0
_PREFERRED_HZ = 2.0
_OCTAVES_WIDE = 0.9
_LEAST_SECONDS = 3.0
_LEAST_STRENGTH = 5.0  # noise reaches 4.5 at its best frequency
_PHASES = 128
_SHORTEST_BEAT_SECONDS = 0.35  # up to twice of it: each pulse has one period in an octave


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """A steady pulse: its period, the phase of its first stroke (below the period), and its strength."""

    period_seconds: float
    phase_seconds: float
    strength: float

    @property
    def beat_seconds(self) -> float:
        """The period of the beat that this pulse is, or halves, or doubles; from 0.35 s to below 0.7 s.

        >>> Pulse(period_seconds=0.25, phase_seconds=0.0, strength=9.0).beat_seconds
        0.5
        """
        octaves = math.ceil(math.log2(_SHORTEST_BEAT_SECONDS / self.period_seconds))
        return self.period_seconds * 2.0**octaves


def find_pulses(onsets: Float[Tensor, " F"], count: int = 3) -> tuple[Pulse, ...]:
    """The strongest pulses, at most `count`; none in silence, in noise, or under 3 s.

    >>> import torch
    >>> clicks = torch.zeros(1000).index_fill(0, torch.arange(7, 1000, 50), 1.0)
    >>> pulse = find_pulses(clicks)[0]
    >>> round(60 / pulse.period_seconds) in (60, 120, 240), round(pulse.phase_seconds % 0.5, 2)
    (True, 0.07)
    """
    z = _whitened(onsets)
    if z is None:
        return ()
    # Padded fourfold: the lines of a sine are then sampled finely enough for a parabola through three.
    length = 4 * 2 ** math.ceil(math.log2(len(z)))
    lines = np.abs(np.fft.rfft(z, length)) / math.sqrt(len(z))
    step_hz = ONSET_FRAMES_PER_SECOND / length
    first, last = math.ceil(_SLOWEST_HZ / step_hz), math.floor(_FASTEST_HZ / step_hz)
    numbers = np.arange(first, last + 1)
    octaves = np.log2(numbers * step_hz / _PREFERRED_HZ)
    values = (lines[numbers] + lines[2 * numbers]) * np.exp(-0.5 * np.square(octaves / _OCTAVES_WIDE))
    inner = values[1:-1]
    peaks = 1 + np.flatnonzero((inner >= values[:-2]) & (inner > values[2:]))
    pulses = []
    wide = 2 * length / len(z)  # the main lobe of a line
    for peak in _apart(peaks[np.argsort(-values[peaks], kind="stable")].tolist(), wide)[:count]:
        before, top, after = values[peak - 1 : peak + 2]
        bend = before - 2 * top + after
        at = numbers[peak] + (0.5 * (before - after) / bend if bend < 0 else 0.0)
        pulses.append(_pulse(z, float(1 / (at * step_hz))))
    return tuple(pulse for pulse in pulses if pulse.strength >= _LEAST_STRENGTH)


def pulse_at(onsets: Float[Tensor, " F"], period_seconds: float) -> Pulse | None:
    """The pulse of a given period, however weak; None in silence, or under 3 s.

    >>> import torch
    >>> clicks = torch.zeros(1000).index_fill(0, torch.arange(7, 1000, 50), 1.0)
    >>> pulse_at(clicks, 0.5).strength > 10 * pulse_at(clicks, 0.45).strength
    True
    """
    z = _whitened(onsets)
    return None if z is None else _pulse(z, period_seconds)


def pulse_fall(onsets: Float[Tensor, " F"], pulse: Pulse) -> float:
    """How much of the strength at a pulse's period falls where the pulse does, -1 to 1.

    >>> import torch
    >>> clicks = torch.zeros(1000).index_fill(0, torch.arange(7, 1000, 50), 1.0)
    >>> on = pulse_at(clicks, 0.5)
    >>> off = Pulse(period_seconds=0.5, phase_seconds=on.phase_seconds + 0.25, strength=on.strength)
    >>> pulse_fall(clicks, on) > 0.95 > 0.1 > pulse_fall(clicks, off)
    True
    """
    z = _whitened(onsets)
    if z is None:
        return 0.0
    lines = _lines(z, 1 / pulse.period_seconds)
    total = float(np.abs(lines).sum())
    turns = np.array([pulse.phase_seconds / pulse.period_seconds])
    return float(_fall(lines, turns)[0]) / total if total > 0 else 0.0


def _whitened(onsets: Tensor) -> NDArray[np.float64] | None:
    z: NDArray[np.float64] = onsets.double().sqrt().numpy()
    if len(z) < _LEAST_SECONDS * ONSET_FRAMES_PER_SECOND or not z.std() > 0:
        return None
    z -= z.mean()
    z /= np.sqrt(np.square(z).mean())
    return z


def _apart(peaks: list[int], wide: float) -> list[int]:
    """The peaks, strongest first, without those on the slopes of a stronger one."""
    kept: list[int] = []
    for peak in peaks:
        if all(abs(peak - other) >= wide for other in kept):
            kept.append(peak)
    return kept


def _pulse(z: NDArray[np.float64], period_seconds: float) -> Pulse:
    lines = _lines(z, 1 / period_seconds)
    turns = np.arange(_PHASES) / _PHASES
    phase = float(turns[int(np.argmax(_fall(lines, turns)))]) * period_seconds
    strength = float(np.abs(lines).sum())
    return Pulse(period_seconds=float(period_seconds), phase_seconds=phase, strength=strength)


def _fall(lines: NDArray[np.complex128], turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Strength collected by strokes that fall this many turns of the period after 0."""
    once = np.exp(2j * np.pi * turns)
    collected: NDArray[np.float64] = (lines[0] * once + lines[1] * np.square(once)).real
    return collected


def _lines(z: NDArray[np.float64], hz: float) -> NDArray[np.complex128]:
    seconds = (np.arange(len(z)) + 0.5) / ONSET_FRAMES_PER_SECOND
    turns = np.exp(-2j * np.pi * hz * seconds)
    return np.array([z @ turns, z @ np.square(turns)], np.complex128) / math.sqrt(len(z))
