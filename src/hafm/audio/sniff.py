"""What kind of file this is, from its first bytes and never from its name.

In: the bytes of a file. Out: a `Kind`, which says who decodes it, or an error that says what it is instead.

Phones, browsers and download managers give files wrong names, and a program such as ffmpeg that is left to
guess can be led to a format that opens further files or addresses (playlists, concatenations). So the kind is
settled here, once, and each decoder gets it.
"""

import mmap
import os
import re
from dataclasses import dataclass
from typing import IO

from hafm.audio.layout_mpeg import find_frames, skip_tags
from hafm.errors import AudioReadError

__all__ = ["Kind", "sniff"]

_HEAD_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of audio file.

    Args:
        name: what people call it.
        libsndfile: the names that libsndfile gives it; empty if libsndfile cannot read it.
        demuxer: the demuxer that ffmpeg is given: for all files of the kind if libsndfile reads none, else
            for those whose encoding libsndfile does not know.
    """

    name: str
    libsndfile: frozenset[str] = frozenset()
    demuxer: str


_WAV_NAMES = frozenset({"WAV", "WAVEX", "RF64"})

WAV = Kind(name="WAV", libsndfile=_WAV_NAMES, demuxer="wav")
WAVE64 = Kind(name="W64", libsndfile=_WAV_NAMES | {"W64"}, demuxer="w64")
AIFF = Kind(name="AIFF", libsndfile=frozenset({"AIFF"}), demuxer="aiff")
AU = Kind(name="AU", libsndfile=frozenset({"AU"}), demuxer="au")
CAF = Kind(name="CAF", libsndfile=frozenset({"CAF"}), demuxer="caf")
FLAC = Kind(name="FLAC", libsndfile=frozenset({"FLAC"}), demuxer="flac")
OGG = Kind(name="Ogg", libsndfile=frozenset({"OGG"}), demuxer="ogg")
MP3 = Kind(name="MP3", libsndfile=frozenset({"MP3", "MPEG"}), demuxer="mp3")
MPEG4 = Kind(name="MPEG-4 (m4a, mp4)", demuxer="mov")
MATROSKA = Kind(name="Matroska (webm, mkv)", demuxer="matroska")
AAC = Kind(name="AAC", demuxer="aac")

_MAGIC: tuple[tuple[int, bytes, Kind], ...] = (
    (8, b"WAVE", WAV),  # "RIFF", "RF64" or "BW64", size, "WAVE"
    (0, b"riff\x2e\x91\xcf\x11", WAVE64),
    (8, b"AIFF", AIFF),  # "FORM", size, "AIFF"
    (8, b"AIFC", AIFF),
    (0, b".snd", AU),
    (0, b"caff", CAF),
    (0, b"fLaC", FLAC),
    (0, b"OggS", OGG),
    (4, b"ftyp", MPEG4),  # size of the box, "ftyp"
    (0, b"\x1aE\xdf\xa3", MATROSKA),
    (0, b"#!AMR", Kind(name="AMR", demuxer="amr")),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Kind(name="Windows Media (wma)", demuxer="asf")),
    (8, b"AVI ", Kind(name="AVI", demuxer="avi")),
    (0, b"FLV\x01", Kind(name="Flash video", demuxer="flv")),
    (0, b"wvpk", Kind(name="WavPack", demuxer="wv")),
    (0, b"MAC ", Kind(name="Monkey's Audio", demuxer="ape")),
    (0, b"TTA1", Kind(name="True Audio", demuxer="tta")),
    (0, b"\x0b\x77", Kind(name="AC-3", demuxer="ac3")),
    (0, b"\0\0\x01\xba", Kind(name="MPEG program stream", demuxer="mpeg")),
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
    (b"DSD ", "is a DSD file (dsf), which HAFM does not read: convert it to WAV"),
    (b"FRM8", "is a DSD file (dff), which HAFM does not read: convert it to WAV"),
    (b"MPCK", "is a Musepack file, which HAFM does not read: convert it to WAV"),
    (b"MP+", "is a Musepack file, which HAFM does not read: convert it to WAV"),
    (b".RMF", "is a RealMedia file, which HAFM does not read: convert it to WAV"),
    (b"Extended Module:", "is a tracker module, which holds notes and no recording"),
    (b"#EXTM3U", "is a playlist, which holds names and no sound"),
    (b"[playlist]", "is a playlist, which holds names and no sound"),
    (b"version https://git-lfs", "is a Git LFS pointer: run `git lfs pull`"),
)

_TRANSPORT = Kind(name="MPEG transport stream", demuxer="mpegts")
_UNKNOWN = "is not an audio file that HAFM knows"
_ACCEPTED = "WAV, FLAC, MP3, Ogg, Opus, AIFF, or with ffmpeg m4a, mp4, webm"
_BELIEVED_FRAMES = 4  # of MP3, in a row, where something else lies in front
_SEARCHED_BYTES = 1 << 16
_MOVIE = re.compile(rb"moov.{4}mvhd", re.DOTALL)  # the head of an MPEG-4, wherever it lies


def sniff(file: IO[bytes], *, name: str) -> tuple[Kind, int]:
    """The kind of an audio file, and where it begins: tags of MP3 and zeros may lie in front of any kind.

    Args:
        file: open for reading, with a descriptor; its position is moved.
        name: the file's name, for the message alone.

    Returns:
        Its kind, and the first byte that belongs to it.

    Raises:
        AudioReadError: the file is empty or is no audio that HAFM knows.
    """
    num_bytes = file.seek(0, os.SEEK_END)
    if not num_bytes:
        raise AudioReadError(f"{name} is empty (0 bytes); record or export it again")
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        filled = re.search(rb"[^\0]", data)
        begin = skip_tags(data, filled.start() if filled else 0)
        for start in (0, begin):
            if (kind := _kind_of(data[start : start + _HEAD_BYTES])) is not None:
                return kind, start
        if begin and data[:3] == b"ID3":  # MP3 is what tags of MP3 are for; its frames are found later
            return MP3, 0
        head = data[:_HEAD_BYTES]
        what = _what_instead(head)
        if what == _UNKNOWN:
            if data[begin : begin + 1] == b"G" and data[begin + 188 : begin + 189] == b"G":
                return _TRANSPORT, begin
            if _MOVIE.search(data):  # old QuickTime files begin with another box, damaged ones with anything
                return MPEG4, 0
            if find_frames(data, begin, frames=_BELIEVED_FRAMES, end=begin + _SEARCHED_BYTES) is not None:
                return MP3, 0
        raise AudioReadError(f"{name} {what}; give a recording: {_ACCEPTED}")


def _kind_of(head: bytes) -> Kind | None:
    """The kind of a file that begins with these bytes; None if they are not of audio.

    >>> _kind_of(b"fLaC" + bytes(34)).name
    'FLAC'
    """
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # eleven ones: a frame of MPEG audio
        layer = head[1] >> 1 & 0b11
        if layer:
            return MP3
        if head[1] & 0xF0 == 0xF0:  # the layer that MPEG left out marks AAC (ADTS)
            return AAC
    return None


def _what_instead(head: bytes) -> str:
    for magic, what in _NOT_AUDIO:
        if head.startswith(magic):
            return what
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "is a web page (a download that failed?)"
    if b"\0" not in head and _is_text(head):
        return "is a text file"
    return _UNKNOWN


def _is_text(head: bytes) -> bool:
    try:
        head[:1024].decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > 1000  # a character that the cut went through
    return True
