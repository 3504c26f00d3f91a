"""The vocal, whatever it is given as.

In: a path, an open file, or an array with its sample rate: a vocal, or a whole song and a separator. Out: an
`Audio` that passed the gateway, or the part of it that was asked for. A vocal that was taken out of a song
keeps the song's path and hash: from them it can be had again.
"""

import math
import os
from dataclasses import replace
from typing import IO, Any

import numpy as np
import torch

from hafm.arguments import seconds_of
from hafm.audio.checks import vocal_notes
from hafm.audio.io import audio_from_array, read_audio
from hafm.audio.sound import SILENCE_DBFS, Audio, admit
from hafm.errors import AudioContentError, UsageError
from hafm.progress import OnProgress, Progress
from hafm.separate.separator import Separator

__all__ = ["SEPARATION", "read_vocal", "take_vocal", "with_notes"]

SEPARATION = "separation"
"""The name of the stage before the stages, in `Progress`; its frames are seconds."""


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
    start_seconds, seconds = seconds_of("start_seconds", start_seconds), seconds_of("seconds", seconds)
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


def with_notes(vocal: Audio) -> Audio:
    """The vocal with notes on what is odd about it as a recording of one voice."""
    return replace(vocal, notes=vocal.notes + vocal_notes(vocal.waveform, vocal.sample_rate))


def take_vocal(song: Audio, separator: Separator, *, on_progress: OnProgress | None = None) -> Audio:
    """Takes the vocal out of a song.

    Args:
        on_progress: gets a stage `SEPARATION`, one frame per second.

    Returns:
        The vocal, with the song's length, rate, channels, path and hash.

    Raises:
        AudioContentError: there is no vocal in the song.
        UsageError: the separator's net failed.
    """
    total = math.ceil(song.seconds)
    vocal = torch.empty_like(song.waveform)
    done = 0
    if on_progress is not None:
        on_progress(Progress(step=SEPARATION, done=0, total=total))
    blocks = song.waveform.split(song.sample_rate, dim=1)
    for block, _ in separator.separate_blocks(blocks, sample_rate=song.sample_rate):
        vocal[:, done : done + block.shape[1]] = block
        done += block.shape[1]
        if on_progress is not None:
            on_progress(Progress(step=SEPARATION, done=math.ceil(done / song.sample_rate), total=total))
    name = "the array" if song.path is None else f"'{song.path}'"
    if float(vocal.abs().max()) <= 10 ** (SILENCE_DBFS / 20):
        raise AudioContentError(
            f"the separator found no vocal in {name} (nothing above {SILENCE_DBFS:g} dBFS); give a song with "
            "singing, or another part of it"
        )
    return admit(
        vocal,
        sample_rate=song.sample_rate,
        name=f"the vocal of {name}",
        sha256=song.sha256,
        path=song.path,
        start_seconds=song.start_seconds,
        is_whole=song.is_whole,
        file_channels=song.file_channels,
        notes=song.notes,
    )
