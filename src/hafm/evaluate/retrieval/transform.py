"""Transposes and stretches a sound, each without the other.

In: a waveform `[T]`. Out: N samples, in time with the first: what was at sample t is at t / speed.

Through `python_stretch`, the Signalsmith Stretch library: a phase vocoder that adds up spectral peaks, works
on blocks of 0.12 s, and takes its own delay off. Measured: clicks stay within 3 ms of where they belong at
speeds of 0.8 to 1.25, and a tone within 10 cents. It gets a seed, so the same sound comes out each time. The
level is brought back to that of the input (`hafm.tokens.level`): smeared attacks lose some.

Above 8 kHz partials are moved less than by the full interval, as the library advises: up there is the noise
of voices and cymbals, whose place is not a pitch.
"""

from importlib import import_module
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from hafm.errors import UsageError
from hafm.tokens.level import SILENCE_RMS, active_rms, set_active_rms

__all__ = ["MARGIN_SECONDS", "check_stretcher", "transform"]

MARGIN_SECONDS = 0.15
"""Sound before and after the wanted part (in the result's time) that keeps the ends from being faded."""

_TONAL_BELOW_HZ = 8000.0
_SEED = 0


def check_stretcher() -> Any:
    """The library; UsageError where it is not installed."""
    try:
        return import_module("python_stretch.Signalsmith")
    except ImportError as error:
        raise UsageError(
            "retrieval transposes and stretches with python-stretch, which is missing: pip install "
            "'hafm[eval]'"
        ) from error


def transform(
    waveform: Float[Tensor, " T"], sample_rate: int, *, semitones: int, speed: float, num_samples: int
) -> Float[Tensor, " N"]:
    """Transposes by `semitones`, and makes it `speed` times as fast.

    Args:
        num_samples: N, to which the end is cut or padded with zeros.

    Shape: `[T] -> [N]`; N = T / speed keeps all of it.

    Raises:
        UsageError: the library is missing, or gave numbers that are not finite.
    """
    if semitones == 0 and speed == 1:
        return _of_length(waveform, num_samples)
    stretch = check_stretcher().Stretch(_SEED)
    stretch.preset(1, float(sample_rate))
    stretch.setTransposeSemitones(float(semitones), _TONAL_BELOW_HZ / sample_rate)
    stretch.timeFactor = speed
    changed = stretch.process(np.ascontiguousarray(waveform[None].float().numpy()))
    sound = torch.from_numpy(np.array(changed[0], np.float32))
    if not sound.isfinite().all():
        raise UsageError(
            f"python-stretch gave numbers that are not finite ({semitones} semitones, speed {speed:g}); "
            "retrieve another candidate with --rank"
        )
    level = float(active_rms(waveform[None].float(), sample_rate=sample_rate)[0])
    if level > SILENCE_RMS:
        sound = set_active_rms(sound[None], level, sample_rate=sample_rate)[0]
    return _of_length(sound, num_samples)


def _of_length(sound: Tensor, num_samples: int) -> Tensor:
    return pad(sound[:num_samples], (0, max(0, num_samples - len(sound))))
