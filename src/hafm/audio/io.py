"""The gateway: sounds come in by `read_audio` or `audio_from_array`, and leave by `write_audio`.

In: a path, an open binary file, or an array. Out: an `Audio` (float32 `[C, T]`, checked: see `sound.py`), or
an `AudioError` whose one line says what is wrong and what to do.

    path, file --hash--sniff--+- libsndfile -+--[rate, channels, claim]--blocks--limit--admit--> Audio
                              +--- ffmpeg ---+
    array -----------------------------------[rate, channels]-----------------------admit--> Audio

Conventions: what a header claims is checked before anything is allocated, and is used to refuse, never to
allocate; samples are taken in blocks under a running limit. A file that is cut or damaged is taken as far as
it decodes, with a note.
"""

import hashlib
import io
import math
import os
from typing import Any, Literal

import numpy as np
import soundfile
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.ffmpeg import open_ffmpeg
from hafm.audio.libsndfile import open_libsndfile
from hafm.audio.sniff import HEAD_BYTES, is_cut_short, sniff
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
from hafm.audio.source import BinaryStream, open_source
from hafm.audio.stream import DecodedStream
from hafm.errors import AudioContentError, UsageError
from hafm.files import atomic_file
from hafm.words import clock

__all__ = ["Audio", "audio_from_array", "read_audio", "write_audio"]

_SHORTFALL_SECONDS = 0.05  # lossy formats claim up to a few frames more than they hold
_LEAST_BYTES_A_SECOND = 500  # a claim of more seconds than the file can hold at 4 kbit/s says nothing


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
    with open_source(source) as (file, path, name):
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        file.seek(0)
        kind = sniff(file.read(HEAD_BYTES), name=name)
        num_bytes = file.seek(0, os.SEEK_END)
        if audio_stream and not kind.demuxer:
            raise AudioContentError(
                f"{name} is {kind.name}, which has no audio stream {audio_stream}; read stream 0"
            )
        notes: tuple[str, ...] = ("the end of the file is missing",) if is_cut_short(file, kind) else ()
        decoder = (
            open_ffmpeg(
                path, kind=kind, name=name, audio_stream=audio_stream, start_seconds=start, seconds=limit + 1
            )
            if kind.demuxer
            else open_libsndfile(file, kind=kind, name=name, start_seconds=start)
        )
        with decoder as stream:
            check_format(sample_rate=stream.sample_rate, num_channels=stream.num_channels, name=name)
            if seconds is None:
                _refuse_claim(stream, num_bytes, start, max_seconds, name)
            waveform = _collect(stream, math.ceil(limit * stream.sample_rate) + 1)
            if waveform.shape[1] <= limit * stream.sample_rate:
                notes += _shortfall(stream, waveform.shape[1], start)
    is_whole = not notes
    rate = stream.sample_rate
    if seconds is not None:
        waveform = waveform[:, : round(seconds * rate)]
        if start > 0 and waveform.shape[1] == 0:
            raise AudioContentError(
                f"{name} ends before {clock(start)}; choose an earlier --start (start_seconds=)"
            )
        if waveform.shape[1] < round(seconds * rate):
            notes += (f"the file ends {waveform.shape[1] / rate:.2f} s after the start of the part",)
    return admit(
        waveform,
        sample_rate=rate,
        name=name,
        sha256=sha256,
        path=os.fspath(source) if isinstance(source, str | os.PathLike) else None,
        start_seconds=start,
        is_whole=is_whole,
        file_channels=stream.num_channels,
        notes=fold_note(stream.num_channels) + notes,
        min_seconds=min_seconds,
        max_seconds=max_seconds,
        allow_silence=allow_silence,
    )


def audio_from_array(
    waveform: Any,
    sample_rate: int,
    *,
    min_seconds: float = MIN_SECONDS,
    max_seconds: float = MAX_SECONDS,
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
    # Encoded in memory: a full disk then shows as an OSError of ours, and not somewhere inside libsndfile.
    encoded = io.BytesIO()
    soundfile.write(encoded, samples.T.numpy(), sample_rate, format=format.upper(), subtype="PCM_24")
    with atomic_file(path) as file:
        file.write(encoded.getbuffer())


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


def _refuse_claim(stream: DecodedStream, num_bytes: int, start: float, max_seconds: float, name: str) -> None:
    if stream.claimed_frames is None:
        return
    claimed = stream.claimed_frames / stream.sample_rate
    if claimed - start > max_seconds and num_bytes >= claimed * _LEAST_BYTES_A_SECOND:
        raise too_long(name, claimed, max_seconds)


def _collect(stream: DecodedStream, most_frames: int) -> Float[Tensor, "C T"]:
    blocks: list[Tensor] = []
    frames = 0
    for block in stream.blocks:
        blocks.append(fold_channels(torch.from_numpy(block[: most_frames - frames].T)))
        frames += blocks[-1].shape[1]
        if frames == most_frames:
            break
    return torch.cat(blocks, dim=1) if blocks else torch.zeros(min(stream.num_channels, 2), 0)


def _shortfall(stream: DecodedStream, frames: int, start: float) -> tuple[str, ...]:
    """Notes for a stream that was read to its end: did it hold what it claimed?"""
    rate = stream.sample_rate
    end = start + frames / rate
    complaint = stream.complaint()
    if stream.claimed_frames is not None and stream.claimed_frames / rate - end > _SHORTFALL_SECONDS:
        claimed = clock(stream.claimed_frames / rate)
        return (f"the file is damaged or cut short: it claims {claimed} and decodes up to {clock(end)}",)
    if complaint:
        return (f"the file is damaged or cut short: it decodes up to {clock(end)}",)
    return ()
