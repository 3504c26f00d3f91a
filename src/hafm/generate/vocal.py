"""The vocal, whatever it is given as.

In: a path, an open file, or an array with its sample rate. Out: an `Audio` that passed the gateway, or the
part of it that was asked for.
"""

import math
import os
from typing import IO, Any

import numpy as np
import torch

from hafm.audio.io import audio_from_array, read_audio
from hafm.audio.sound import Audio
from hafm.errors import UsageError

__all__ = ["read_vocal"]


def read_vocal(
    vocal: Any,
    *,
    sample_rate: int | None = None,
    start_seconds: float | None = None,
    seconds: float | None = None,
) -> Audio:
    """Reads the vocal, or a part of it.

    Args:
        vocal: a path or an open binary file; or a tensor or array of floats, `[T]` or `[C, T]`, with
            `sample_rate`.
        sample_rate: of an array, and of nothing else: a file says its own.
        start_seconds: where the part begins, 0 or more; None for the beginning.
        seconds: its length, above 0; None for all that follows.

    Raises:
        UsageError: an argument is missing, too many, or out of range.
        AudioError: it cannot be read, or cannot be used.

    >>> read_vocal(torch.rand(48_000) - 0.5, sample_rate=24_000, start_seconds=0.5, seconds=1.0).num_samples
    24000
    """
    if isinstance(vocal, str | os.PathLike) or hasattr(vocal, "read"):
        if sample_rate is not None:
            raise UsageError(
                f"sample_rate={sample_rate} was given for a file, which says its own; leave it out"
            )
        source: str | os.PathLike[str] | IO[bytes] = vocal
        return read_audio(source, start_seconds=start_seconds, seconds=seconds)
    if not isinstance(vocal, torch.Tensor | np.ndarray):
        raise UsageError(
            f"the vocal is a {type(vocal).__name__}; give a path, an open binary file, or a tensor or array "
            "of samples"
        )
    if sample_rate is None:
        raise UsageError(
            "the vocal is an array, and its sample rate was not given; add sample_rate=, in hertz"
        )
    samples = torch.as_tensor(vocal)
    first, last = 0, samples.shape[-1] if samples.ndim else 0
    if start_seconds is not None:
        if not (math.isfinite(start_seconds) and start_seconds >= 0):
            raise UsageError(f"start_seconds={start_seconds}: give 0 or more")
        first = round(start_seconds * sample_rate)
    if seconds is not None:
        if not (math.isfinite(seconds) and seconds > 0):
            raise UsageError(f"seconds={seconds}: give more than 0")
        last = first + round(seconds * sample_rate)
    part = samples[..., first:last] if samples.ndim else samples
    return audio_from_array(part, sample_rate)
