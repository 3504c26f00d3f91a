"""The gateway: sounds come in by `read_audio` or `audio_from_array`, and leave by `write_audio`.

In: a path, an open binary file, or an array. Out: an `Audio` (float32 `[C, T]`, checked: see `sound.py`), or
an `AudioError` whose one line says what is wrong and what to do.

    path, file --open_sound--[rate, channels, claim]--blocks--limit--admit--> Audio
    array -------------------[rate, channels]-------------------------admit--> Audio

Conventions: what a header claims is checked before anything is allocated, and is used to refuse, never to
allocate; samples are taken in blocks under a running limit. A file that is cut or damaged is taken as far as
it decodes, with a note.
"""

import hashlib
import math
import os
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.opening import OpenSound, open_sound
from hafm.audio.sound import (
    MAX_SECONDS,
    MIN_SECONDS,
    Audio,
    admit,
    check_format,
    fold_channels,
    fold_note,
    too_long,
)
from hafm.audio.source import BinaryStream
from hafm.audio.stream import DecodedStream
from hafm.audio.write_blocks import write_blocks
from hafm.errors import AudioContentError, UsageError
from hafm.words import clock

__all__ = ["Audio", "audio_from_array", "read_audio", "write_audio"]

_LEAST_BYTES_PER_SECOND = 500  # a claim of more seconds than the file can hold at 4 kbit/s says nothing


def read_audio(
    source: str | os.PathLike[str] | BinaryStream,
    *,
    start_seconds: float | None = None,
    seconds: float | None = None,
    audio_stream: int = 0,
    min_seconds: float = MIN_SECONDS,
    max_seconds: float = MAX_SECONDS,
    allow_silence: bool = False,
) -> Audio:
    """Read a sound, or a part of it, from a file.

    Args:
        source: a path, or a binary file open for reading. WAV, FLAC, MP3, Ogg, Opus, AIFF and CAF are read by
            libsndfile; m4a, mp4, webm and aac by the ffmpeg program. The name and its ending say nothing.
        start_seconds: where to begin, 0 or more; None for the beginning.
        seconds: how much to read, above 0 and up to `max_seconds`; None for all of it. Only this part is
            decoded.
        audio_stream: which of the audio streams of a container (a stem file holds several), from 0 on. Other
            files have stream 0 alone.
        min_seconds: refuse anything shorter.
        max_seconds: refuse anything longer.
        allow_silence: take a silent sound too; a part of a sum may be silent.

    Returns:
        The sound. Tell the user its `notes`.

    Raises:
        UsageError: `start_seconds`, `seconds` or `audio_stream` is out of range.
        AudioReadError: the file cannot be opened, is no audio, or cannot be decoded.
        AudioContentError: it decodes, but is silent, too short, too long, not finite, or outside the limits
            of rate and channels.

    >>> audio = read_audio("vocal.wav", start_seconds=10, seconds=20)  # doctest: +SKIP
    """
    start, limit = _checked_part(start_seconds, seconds, max_seconds)
    if audio_stream < 0:
        raise UsageError(f"audio stream {audio_stream} was asked for; give 0 or more")
    with open_sound(source, audio_stream=audio_stream, start_seconds=start, seconds=limit + 1) as sound:
        name, stream = sound.name, sound.stream
        if seconds is None:
            _refuse_claim(sound, start, max_seconds)
        waveform = _collect(stream, math.ceil(limit * stream.sample_rate) + 1)
        damage = stream.damage()
        sound.file.seek(0)
        sha256 = hashlib.file_digest(sound.file, "sha256").hexdigest()  # type: ignore[arg-type]
    notes = sound.notes + damage
    rate = stream.sample_rate
    if start > 0 and waveform.shape[1] == 0:
        raise AudioContentError(
            f"{name} ends before {clock(start)}; choose an earlier --start (start_seconds=)"
        )
    if seconds is not None:
        waveform = waveform[:, : round(seconds * rate)]
        if waveform.shape[1] < round(seconds * rate):
            notes += (f"the file ends {waveform.shape[1] / rate:.2f} s after the start of the part",)
    return admit(
        waveform,
        sample_rate=rate,
        name=name,
        sha256=sha256,
        path=os.fspath(source) if isinstance(source, str | os.PathLike) else None,
        start_seconds=start,
        is_whole=not damage,
        file_channels=stream.num_channels,
        notes=fold_note(stream.num_channels) + notes,
        min_seconds=min_seconds,
        max_seconds=max_seconds,
        allow_silence=allow_silence,
    )


def audio_from_array(
    waveform: Any, sample_rate: int, *, min_seconds: float = MIN_SECONDS, max_seconds: float = MAX_SECONDS
) -> Audio:
    """Take a sound from an array, under the same checks as a file.

    Args:
        waveform: a tensor or array of floats, full scale 1.0. It is copied.
        sample_rate: samples a second.
        min_seconds: refuse anything shorter.
        max_seconds: refuse anything longer.

    Shape:
        `[T]` or `[C, T]` -> `[C, T]`

    Raises:
        AudioContentError: the array has another shape or type, or fails the checks.

    >>> audio_from_array(torch.rand(2, 24_000) - 0.5, 24_000).seconds
    1.0
    """
    name = "the array"
    tensor = torch.as_tensor(waveform).detach().cpu()
    if not tensor.is_floating_point():
        raise AudioContentError(
            f"{name} is of type {tensor.dtype}, not floating point; scale it so that full scale is 1.0 "
            f"(int16: / 32768)"
        )
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, int | np.integer):
        raise AudioContentError(
            f"the sample rate is {sample_rate!r}, not a whole number; give it in hertz, such as 44100"
        )
    if tensor.ndim == 1:
        tensor = tensor[None]
    if tensor.ndim != 2 or (tensor.shape[0] > tensor.shape[1] > 0):
        raise AudioContentError(
            f"{name} has shape {list(tensor.shape)}, not [samples] or [channels, samples]; transpose or "
            f"pick one sound"
        )
    check_format(sample_rate=int(sample_rate), num_channels=tensor.shape[0], name=name)
    samples = tensor.to(torch.float32, copy=True)
    return admit(
        fold_channels(samples),
        sample_rate=int(sample_rate),
        name=name,
        sha256=hashlib.sha256(samples.numpy().astype("<f4").tobytes()).hexdigest(),
        file_channels=tensor.shape[0],
        notes=fold_note(tensor.shape[0]),
        min_seconds=min_seconds,
        max_seconds=max_seconds,
    )


def write_audio(
    path: str | os.PathLike[str],
    waveform: Float[Tensor, "C T"],
    sample_rate: int,
    *,
    format: Literal["wav", "flac"] = "wav",
) -> None:
    """Write a sound as 24-bit PCM: whole, or not at all.

    Args:
        path: where to; taken as it is, whatever its ending. An existing file is replaced.
        waveform: finite, within full scale.
        sample_rate: samples a second.
        format: `"wav"` or `"flac"`; both hold the same samples.

    Raises:
        ValueError: the waveform is not finite, exceeds full scale (it would be clipped: limit it first), or
            the format is unknown.
        OutputError: the disk is full or the place not writable. Nothing half-written is left.
    """
    if format not in ("wav", "flac"):
        raise ValueError(f"format must be 'wav' or 'flac', got {format!r}")
    if waveform.ndim != 2 or not waveform.shape[0] or not waveform.shape[1]:
        raise ValueError(f"waveform must be [C, T], got {list(waveform.shape)}")
    samples = waveform.detach().cpu().to(torch.float32)
    if not samples.isfinite().all():
        raise ValueError("waveform holds NaN or infinity")
    if (peak := float(samples.abs().max())) > 1.0:
        raise ValueError(
            f"waveform peaks at {peak:.3f}, over full scale, and would be clipped; limit it first"
        )
    write_blocks(
        path,
        [samples],
        sample_rate,
        num_channels=samples.shape[0],
        num_samples=samples.shape[1],
        encoding=format,
    )


def _checked_part(
    start_seconds: float | None, seconds: float | None, max_seconds: float
) -> tuple[float, float]:
    """Start, and the most that may be decoded, in seconds."""
    start = 0.0 if start_seconds is None else float(start_seconds)
    if not (math.isfinite(start) and start >= 0):
        raise UsageError(f"start is {start_seconds} s; give 0 or more seconds")
    if seconds is None:
        return start, max_seconds
    if not 0 < seconds <= max_seconds:
        raise UsageError(
            f"a part of {seconds} s was asked for; give more than 0 and at most {max_seconds:g} seconds"
        )
    return start, float(seconds)


def _refuse_claim(sound: OpenSound, start: float, max_seconds: float) -> None:
    stream = sound.stream
    if stream.claimed_frames is None:
        return
    claimed = stream.claimed_frames / stream.sample_rate
    num_bytes = os.fstat(sound.file.fileno()).st_size
    if claimed - start > max_seconds and num_bytes >= claimed * _LEAST_BYTES_PER_SECOND:
        raise too_long(sound.name, claimed, max_seconds)


def _collect(stream: DecodedStream, most_frames: int) -> Float[Tensor, "C T"]:
    blocks: list[Tensor] = []
    frames = 0
    for block in stream.blocks:
        blocks.append(fold_channels(torch.from_numpy(block[: most_frames - frames].T)))
        frames += blocks[-1].shape[1]
        if frames == most_frames:
            break
    return torch.cat(blocks, dim=1) if blocks else torch.zeros(min(stream.num_channels, 2), 0)
