"""The one way from a file to decoded blocks.

In: a path or an open binary file. Out: a `DecodedStream`, with the file, its name for messages and what was
mended.

    path, file --sniff--> kind, first byte --layout--> links --libsndfile--> blocks
                             |                                    | not decodable
                             +-- no libsndfile --ffmpeg--> blocks +-> ffmpeg, where it is installed
"""

import contextlib
import functools
import mmap
import os
import shutil
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import IO, TypeVar

from hafm.audio.ffmpeg import open_ffmpeg
from hafm.audio.layout_mpeg import mpeg_layout
from hafm.audio.layout_pages import flac_layout, ogg_layout
from hafm.audio.layout_riff import aiff_layout, au_layout, caf_layout, caf_span, wav_layout
from hafm.audio.libsndfile import NotDecodable, open_libsndfile
from hafm.audio.sniff import AIFF, AU, CAF, FLAC, MP3, OGG, WAV, WAVE64, Kind, sniff
from hafm.audio.sound import check_format
from hafm.audio.source import BinaryStream, open_source
from hafm.audio.stream import DecodedStream
from hafm.errors import AudioContentError, AudioError, AudioReadError

__all__ = ["OpenSound", "open_sound"]

_LAYOUTS = {
    WAV: wav_layout,
    WAVE64: wav_layout,
    AIFF: aiff_layout,
    AU: au_layout,
    CAF: caf_layout,
    FLAC: flac_layout,
    OGG: ogg_layout,
    MP3: lambda data, _: mpeg_layout(data),  # it finds the first frame by itself
}
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class OpenSound:
    """A file that is being decoded.

    Args:
        notes: what was mended so that all of the sound is taken.
    """

    file: IO[bytes]
    kind: Kind
    name: str
    stream: DecodedStream
    notes: tuple[str, ...]


@contextlib.contextmanager
def open_sound(
    source: str | os.PathLike[str] | BinaryStream,
    *,
    audio_stream: int = 0,
    start_seconds: float = 0.0,
    seconds: float,
) -> Generator[OpenSound]:
    """Open a sound for decoding, and check its rate and channels.

    Args:
        source: a path, or a binary file open for reading.
        audio_stream: which of the audio streams of a container, from 0 on.
        start_seconds: where to begin.
        seconds: the most that is wanted.

    Raises:
        AudioReadError: the file cannot be opened, is no audio, or cannot be decoded.
        AudioContentError: its rate or channels are outside the limits, or it has no such stream or start.
    """
    with open_source(source) as (file, path, name), contextlib.ExitStack() as stack:
        kind, begin = sniff(file, name=name)
        if audio_stream and kind.libsndfile:
            raise AudioContentError(
                f"{name} is {kind.name}, which has no audio stream {audio_stream}; read stream 0"
            )

        ffmpeg = functools.partial(
            open_ffmpeg,
            path,
            kind=kind,
            name=name,
            audio_stream=audio_stream,
            start_seconds=start_seconds,
            seconds=seconds,
        )
        notes: tuple[str, ...] = ()
        if kind.libsndfile:
            layout = _mapped(file, _LAYOUTS[kind], begin)
            try:
                stream = stack.enter_context(
                    open_libsndfile(file, layout, kind=kind, name=name, start_seconds=start_seconds)
                )
                notes = layout.notes
                if len(layout.links) > 1:
                    notes += (f"the file joins {len(layout.links)} recordings",)
            except NotDecodable as refusal:
                read_error = AudioReadError(str(refusal))
                if shutil.which("ffmpeg") is None:
                    raise read_error from refusal
                try:
                    stream = stack.enter_context(
                        ffmpeg(span=_mapped(file, caf_span, begin) if kind is CAF else None)
                    )
                except AudioError:
                    raise read_error from refusal
        else:
            stream = stack.enter_context(ffmpeg())
        check_format(sample_rate=stream.sample_rate, num_channels=stream.num_channels, name=name)
        yield OpenSound(file=file, kind=kind, name=name, stream=stream, notes=notes)


def _mapped(file: IO[bytes], look: Callable[[mmap.mmap, int], Found], begin: int) -> Found:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return look(data, begin)
