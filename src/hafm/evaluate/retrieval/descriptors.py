"""What retrieval knows of an instrumental, and of a vocal.

In: a waveform `[T]` at any rate. Out: `Descriptors` of an instrumental, which an index stores; a
`VocalProfile` of a vocal, which holds its onsets too, so that pulses of any period can be laid over them.

Waveforms hold finite samples, one or more, at 8000 per second or more. Both are measured at 24 000, so that
recordings at other rates compare. Chroma are those of `hafm.evaluate.fit.chroma`, 10 frames per second. The
pitch-class profile is the mean of their square roots, in which a loud chord does not decide alone.

A key is never certain in a few seconds, so a profile gives a probability for each of the 24:

    p(key) = exp(r(key) / 0.1) / sum over keys of exp(r / 0.1),     r the correlation with its probe tones
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hafm.audio.resample import resample
from hafm.evaluate.fit.chroma import chroma_of
from hafm.evaluate.fit.onsets import onset_envelope
from hafm.evaluate.key import KEYS, Key, key_correlations
from hafm.evaluate.retrieval.pulse import Pulse, find_pulses, pulse_at
from hafm.tokens.level import active_rms

__all__ = [
    "ANALYSIS_RATE",
    "CHROMA_FRAMES_PER_SECOND",
    "Descriptors",
    "VocalProfile",
    "describe",
    "describe_vocal",
    "key_probabilities",
    "likeliest_keys",
    "pack",
    "unpack",
]

ANALYSIS_RATE = 24_000
CHROMA_FRAMES_PER_SECOND = 10

_SHARPNESS = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sound:
    """How long it lasts, and what sounds in each tenth of a second, C first, each of length 0 to 1."""

    chroma: Float[Tensor, "F 12"]
    seconds: float

    @property
    def profile(self) -> Float[Tensor, "12"]:
        """How much of every pitch class sounds, C first, summing to 1; 0 where nothing does."""
        mean = self.chroma.sqrt().mean(dim=0)
        total = mean.sum()
        return mean / total if total > 0 else mean


@dataclass(frozen=True, kw_only=True, eq=False)
class Descriptors(_Sound):
    """What an index knows of an instrumental.

    Args:
        pulse: the strongest, with the period and the phase of the beat; None without a beat.
        level_dbfs: active RMS (`hafm.tokens.level`); -120 for silence.
    """

    pulse: Pulse | None
    level_dbfs: float


@dataclass(frozen=True, kw_only=True, eq=False)
class VocalProfile(_Sound):
    """What retrieval knows of a vocal: pulses, the strongest first, and onsets, 100 frames per second."""

    onsets: Float[Tensor, " F100"]
    pulses: tuple[Pulse, ...]


def describe(waveform: Float[Tensor, " T"], sample_rate: int) -> Descriptors:
    """What an index knows of an instrumental.

    >>> tone = torch.sin(2 * torch.pi * 440 * torch.arange(48_000) / 24_000)
    >>> known = describe(0.1 * tone, 24_000)
    >>> int(known.profile.argmax()), known.pulse, round(known.level_dbfs), known.seconds
    (9, None, -23, 2.0)
    """
    sound = resample(waveform[None], sample_rate, ANALYSIS_RATE)[0]
    onsets = onset_envelope(sound, ANALYSIS_RATE)
    pulses = find_pulses(onsets, count=1)
    rms = float(active_rms(sound[None], sample_rate=ANALYSIS_RATE)[0])
    return Descriptors(
        chroma=chroma_of(sound, ANALYSIS_RATE),
        pulse=pulse_at(onsets, pulses[0].beat_seconds) if pulses else None,
        level_dbfs=20 * float(np.log10(max(rms, 1e-6))),
        seconds=len(waveform) / sample_rate,
    )


def describe_vocal(waveform: Float[Tensor, " T"], sample_rate: int) -> VocalProfile:
    """What is known of a vocal."""
    sound = resample(waveform[None], sample_rate, ANALYSIS_RATE)[0]
    onsets = onset_envelope(sound, ANALYSIS_RATE)
    return VocalProfile(
        chroma=chroma_of(sound, ANALYSIS_RATE),
        onsets=onsets,
        pulses=find_pulses(onsets),
        seconds=len(waveform) / sample_rate,
    )


def key_probabilities(profile: Float[Tensor, "12"]) -> NDArray[np.float64]:
    """How likely each of `KEYS` is, given how much of every pitch class sounds; all alike in silence.

    >>> scale = torch.zeros(12).index_fill(0, torch.tensor([0, 2, 4, 5, 7, 9, 11]), 1.0)
    >>> scale[[0, 4, 7]] = 2.0
    >>> probabilities = key_probabilities(scale)
    >>> str(KEYS[int(probabilities.argmax())]), round(float(probabilities.sum()), 6)
    ('C major', 1.0)
    """
    correlations = key_correlations(profile)
    weights: NDArray[np.float64] = np.exp((correlations - correlations.max()) / _SHARPNESS)
    weights /= weights.sum()
    return weights


def likeliest_keys(profile: Float[Tensor, "12"], count: int = 3) -> list[tuple[Key, float]]:
    """The likeliest keys with their probabilities, for a person to read."""
    probabilities = key_probabilities(profile)
    best = np.argsort(-probabilities, kind="stable")[:count]
    return [(KEYS[number], float(probabilities[number])) for number in best.tolist()]


def pack(known: Sequence[Descriptors]) -> dict[str, NDArray[np.generic]]:
    """Descriptors as a few arrays; the same descriptors give the same bytes.

    Chroma become float16: a thousandth of their size is below what two encodings of one song differ by.
    """
    frames = [len(each.chroma) for each in known]
    pulses = [(0.0, 0.0, 0.0) if each.pulse is None else astuple(each.pulse) for each in known]
    return {
        "chroma": torch.cat([torch.zeros(0, 12), *(each.chroma for each in known)]).half().numpy(),
        "chroma_ends": np.cumsum(frames, dtype=np.int64),
        "pulse": np.array(pulses, np.float64).reshape(-1, 3),
        "level_dbfs": np.array([each.level_dbfs for each in known], np.float64),
        "seconds": np.array([each.seconds for each in known], np.float64),
    }


def unpack(arrays: Mapping[str, NDArray[np.generic]]) -> list[Descriptors]:
    """What `pack` packed; KeyError or ValueError where these arrays are something else."""
    ends = arrays["chroma_ends"].tolist()
    chroma = torch.from_numpy(arrays["chroma"].astype(np.float32))
    if chroma.shape[1:] != (12,) or (ends[-1] if ends else 0) != len(chroma):
        raise ValueError(f"chroma of shape {tuple(chroma.shape)} do not end at {ends[-1:]}")
    rest = (arrays[name].tolist() for name in ("pulse", "level_dbfs", "seconds"))
    columns = zip([0, *ends][:-1], ends, *rest, strict=True)
    return [
        Descriptors(
            chroma=chroma[start:end],
            pulse=Pulse(period_seconds=period, phase_seconds=phase, strength=strength) if period else None,
            level_dbfs=level,
            seconds=seconds,
        )
        for start, end, (period, phase, strength), level, seconds in columns
    ]
