"""What kind of file this is, from its first bytes and never from its name.

In: the bytes of a file. Out: a `Kind`, which says who decodes it, or an error that says what it is instead.

Phones, browsers and download managers give files wrong names, and a program such as ffmpeg that is left to
guess can be led to a format that opens further files or addresses (playlists, concatenations). So the kind is
settled here, once, and each decoder is told it.
"""

import os
from dataclasses import dataclass
from typing import IO

from hafm.errors import AudioReadError

__all__ = ["HEAD_BYTES", "Kind", "is_cut_short", "sniff"]

HEAD_BYTES = 4096
"""How much of the file `sniff` wants to see."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of audio file.

    Args:
        name: what people call it.
        libsndfile: the names that libsndfile gives it; empty if libsndfile cannot read it.
        demuxer: the demuxer that ffmpeg is told to use; empty if libsndfile reads it.
    """

    name: str
    libsndfile: frozenset[str] = frozenset()
    demuxer: str = ""


WAV = Kind(name="WAV", libsndfile=frozenset({"WAV", "WAVEX", "RF64"}))
AIFF = Kind(name="AIFF", libsndfile=frozenset({"AIFF"}))
CAF = Kind(name="CAF", libsndfile=frozenset({"CAF"}))
FLAC = Kind(name="FLAC", libsndfile=frozenset({"FLAC"}))
OGG = Kind(name="Ogg", libsndfile=frozenset({"OGG"}))
MP3 = Kind(name="MP3", libsndfile=frozenset({"MP3", "MPEG"}))
MPEG4 = Kind(name="MPEG-4 (m4a, mp4)", demuxer="mov")
MATROSKA = Kind(name="Matroska (webm, mkv)", demuxer="matroska")
AAC = Kind(name="AAC", demuxer="aac")

_MAGIC: tuple[tuple[int, bytes, Kind], ...] = (
    (8, b"WAVE", WAV),  # "RIFF" or "RF64", size, "WAVE"
    (8, b"AIFF", AIFF),  # "FORM", size, "AIFF"
    (8, b"AIFC", AIFF),
    (0, b"caff", CAF),
    (0, b"fLaC", FLAC),
    (0, b"OggS", OGG),
    (4, b"ftyp", MPEG4),  # size of the box, "ftyp"
    (0, b"\x1aE\xdf\xa3", MATROSKA),
    (0, b"ID3", MP3),  # a tag of ID3; what follows it is left to libsndfile
)

_NOT_AUDIO: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "is a PNG picture"),
    (b"\xff\xd8\xff", "is a JPEG picture"),
    (b"GIF8", "is a GIF picture"),
    (b"%PDF", "is a PDF document"),
    (b"PK\x03\x04", "is a ZIP archive: unpack it first"),
    (b"\x1f\x8b", "is a gzip archive: unpack it first"),
    (b"7z\xbc\xaf", "is a 7z archive: unpack it first"),
    (b"Rar!", "is a RAR archive: unpack it first"),
    (b"MThd", "is a MIDI file, which holds notes and no sound"),
    (b"version https://git-lfs", "is a Git LFS pointer: run `git lfs pull`"),
)

_UNKNOWN_SIZE = 0xFFFF_0000
_LARGEST_OGG_PAGE = 27 + 255 + 255 * 255

_ACCEPTED = "WAV, FLAC, MP3, Ogg, Opus, AIFF, or with ffmpeg m4a, mp4, webm"


def sniff(head: bytes, *, name: str) -> Kind:
    """The kind of an audio file.

    Args:
        head: its first `HEAD_BYTES` bytes, fewer if the file is shorter.
        name: the file's name, for the message alone.

    Returns:
        Its kind.

    Raises:
        AudioReadError: the file is empty or is no audio that HAFM knows.

    >>> sniff(b"fLaC" + bytes(34), name="take.mp3").name
    'FLAC'
    >>> sniff(b"<!doctype html><title>404</title>", name="song.ogg")
    Traceback (most recent call last):
    ...
    hafm.errors.AudioReadError: song.ogg is a web page (a download that failed?); give a recording: WAV, ...
    """
    if not head:
        raise AudioReadError(f"{name} is empty (0 bytes); record or export it again")
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # eleven ones: a frame of MPEG audio
        layer = head[1] >> 1 & 0b11
        if layer:
            return MP3
        if head[1] & 0xF0 == 0xF0:  # the layer that MPEG left out marks AAC (ADTS)
            return AAC
    raise AudioReadError(f"{name} {_what_instead(head)}; give a recording: {_ACCEPTED}")


def is_cut_short(file: IO[bytes], kind: Kind) -> bool:
    """Whether the file itself says that its end is missing, which libsndfile passes over in silence.

    WAV says in its header how long it is (programs that write to a pipe leave 0 or a number near 2^32 there,
    which says nothing). The last page of Ogg carries a flag (bit 2 of the byte after magic and version).

    Args:
        file: open for reading; its position is moved.
        kind: its kind.
    """
    num_bytes = file.seek(0, os.SEEK_END)
    if kind is WAV:
        file.seek(4)
        claimed = int.from_bytes(file.read(4), "little")
        return claimed < _UNKNOWN_SIZE and claimed + 8 > num_bytes
    if kind is OGG:
        file.seek(max(0, num_bytes - _LARGEST_OGG_PAGE))
        tail = file.read()
        page = tail.rfind(b"OggS")
        return not (page >= 0 and tail[page + 5 : page + 6] and tail[page + 5] & 0b100)
    return False


def _what_instead(head: bytes) -> str:
    for magic, what in _NOT_AUDIO:
        if head.startswith(magic):
            return what
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "is a web page (a download that failed?)"
    if b"\0" not in head and _is_text(head):
        return "is a text file"
    return "is not an audio file that HAFM knows"


def _is_text(head: bytes) -> bool:
    try:
        head[:1024].decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > 1000  # a character that the cut went through
    return True
