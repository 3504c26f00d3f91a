"""Containers that libsndfile cannot read (m4a, mp4, webm, aac), through the ffmpeg program.

In: a file on disk of a kind that `sniff` settled. Out: one of its audio streams, block by block, as float32.

ffmpeg can do far more than decode one file, so everything that a hostile file could reach is closed: the
demuxer is forced (no playlists, no concatenation), protocols are limited to this file and the pipe, nothing
is read from the terminal, the arguments are fixed, the path is absolute and carries its protocol (so that a
name such as `-y` or `http:x` stays a name), the duration is limited, and a watchdog ends a process that
hangs.

The samples come through a pipe as a Sun AU stream: 24 bytes of header tell rate and channels (big-endian
words: magic, offset of the data, size, encoding, sample rate, channels), then come big-endian float32
samples. Encoding 6 is float32.
"""

import contextlib
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from hafm.audio.sniff import Kind
from hafm.audio.stream import DecodedStream, without_first
from hafm.errors import AudioContentError, AudioReadError

__all__ = ["INSTALL_HINT", "open_ffmpeg"]

INSTALL_HINT = (
    "install it (apt install ffmpeg, brew install ffmpeg, winget install ffmpeg) or convert the file to WAV"
)
TIMEOUT_SECONDS = 120.0

_BLOCK_FRAMES = 1 << 14
_AU_HEADER = struct.Struct(">4s5I")
_AU_FLOAT32 = 6


@contextlib.contextmanager
def open_ffmpeg(
    path: Path,
    *,
    kind: Kind,
    name: str,
    audio_stream: int = 0,
    start_seconds: float,
    seconds: float,
    span: tuple[Fraction, Fraction] | None = None,
) -> Generator[DecodedStream]:
    """Decode a part of one audio stream of a file.

    Args:
        path: the file.
        kind: its kind, from `sniff`.
        name: what messages call it.
        audio_stream: which one, 0 or more; pictures and subtitles do not count.
        start_seconds: where to begin.
        seconds: the most to decode.
        span: where the sound lies in what is decoded, first second and number of seconds, for containers of
            which ffmpeg does not know that; None for all of it.

    Yields:
        The stream. The process ends with the context, however that is left.

    Raises:
        AudioReadError: ffmpeg is not installed, hangs, or cannot decode the file.
        AudioContentError: the file has no such audio stream.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioReadError(f"{name} is {kind.name}, which needs the ffmpeg program; {INSTALL_HINT}")
    command = [program, "-nostdin", "-hide_banner", "-v", "error", "-protocol_whitelist", "file,pipe"]
    if span is not None:
        command += ["-flags2", "+skip_manual"]  # should a version of ffmpeg know it, it is not cut twice
    command += ["-f", kind.demuxer, "-i", f"file:{path.absolute()}", "-map", f"0:a:{audio_stream}"]
    # All is decoded from the beginning: where ffmpeg seeks, Opus and AAC come out up to 0.1 s off.
    before = 0 if span is None else span[0]
    command += ["-t", f"{float(before) + start_seconds + seconds:.6f}", "-map_metadata", "-1"]
    command += ["-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None, "a pipe was asked for"
        watchdog = threading.Timer(TIMEOUT_SECONDS, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield _stream(process, process.stdout, log, watchdog, audio_stream, start_seconds, name, span)
        finally:
            watchdog.cancel()
            process.kill()
            process.stdout.close()
            process.wait()


def _stream(
    process: subprocess.Popen[bytes],
    pipe: IO[bytes],
    log: IO[bytes],
    watchdog: threading.Timer,
    audio_stream: int,
    start_seconds: float,
    name: str,
    span: tuple[Fraction, Fraction] | None,
) -> DecodedStream:
    def complaint() -> str:
        process.wait()
        if not watchdog.is_alive():
            raise AudioReadError(f"{name} took ffmpeg over {TIMEOUT_SECONDS:g} s; convert it to WAV first")
        log.seek(0)
        return log.read().decode("utf-8", "replace").strip()

    header = pipe.read(_AU_HEADER.size)
    if len(header) < _AU_HEADER.size:
        why = complaint()
        if "matches no streams" in why:
            if audio_stream:
                raise AudioContentError(
                    f"{name} has no audio stream {audio_stream}; give a file with more stems"
                )
            raise AudioContentError(f"{name} has no audio stream; give a recording that has sound")
        last_line = why.splitlines()[-1].rpartition(": ")[2] if why else "no reason given"
        raise AudioReadError(
            f"{name} cannot be decoded by ffmpeg ({last_line}); export it again as WAV or FLAC"
        )
    magic, data_offset, _, encoding, sample_rate, channels = _AU_HEADER.unpack(header)
    assert (magic, encoding) == (b".snd", _AU_FLOAT32), "ffmpeg was asked for an AU stream of float32"
    pipe.read(data_offset - _AU_HEADER.size)
    start = round(start_seconds * sample_rate)
    blocks = _blocks(pipe, channels)
    if span is not None:
        before, length = (round(part * sample_rate) for part in span)
        blocks = _only_first(without_first(blocks, before), length)
    return DecodedStream(
        sample_rate=sample_rate,
        num_channels=channels,
        claimed_frames=None,
        start_frame=start,
        blocks=without_first(blocks, start),
        complaint=complaint,
        is_impatient=True,
    )


def _blocks(pipe: IO[bytes], channels: int) -> Iterator[npt.NDArray[np.float32]]:
    frame_bytes = 4 * channels
    while data := pipe.read(_BLOCK_FRAMES * frame_bytes):
        whole = len(data) // frame_bytes * frame_bytes
        yield np.frombuffer(data[:whole], dtype=">f4").astype(np.float32).reshape(-1, channels)


def _only_first(
    blocks: Iterator[npt.NDArray[np.float32]], num_frames: int
) -> Iterator[npt.NDArray[np.float32]]:
    """The first samples; the blocks behind them are taken, since a pipe that nobody empties never ends."""
    for block in blocks:
        if num_frames:
            yield block[:num_frames]
        num_frames -= min(num_frames, len(block))
