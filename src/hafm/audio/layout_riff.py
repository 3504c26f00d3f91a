"""Where the samples lie in files whose header counts them: WAV, RF64, BW64, W64, AIFF, AU and CAF.

In: the bytes of a file. Out: its `Layout`. All but AU are chunks, each with a name and a size in front:

    RIFF size WAVE   fmt  size ...   data size [samples]   LIST size ...      sizes of 32 bits, little-endian
    riff size wave   fmt  size ...   data size [samples]                      W64: names of 16 bytes, 64 bits
    FORM size AIFF   COMM size ...   SSND size [samples]                      big-endian
    caff             desc size ...   data size [samples]                      big-endian, 64 bits
    .snd offset size encoding rate channels    [samples]                      AU: big-endian, no chunks

Programs that write to a pipe, and recorders that die, leave a size of 0 or the largest number. Such a size
says nothing: the samples run to the end of the file. A size that is merely too large says that the end of the
file is missing. What follows the samples and is neither chunk nor tag nor zeros is sound that the header does
not count.

Source: Microsoft and IBM, Multimedia Programming Interface (RIFF); EBU Tech 3306 (RF64); Sonic Foundry (W64);
Apple, AIFF 1.3 and CAF 1.0.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from hafm.audio.layout import END_MISSING, Layout, Link, Piece
from hafm.words import clock

__all__ = ["aiff_layout", "au_layout", "caf_layout", "caf_span", "wav_layout"]

_UNSET_FROM = 0x7FFF_0000  # a 32-bit size from here on is a placeholder: 2^31 - 1 and its like, 2^32 - 1
_UNSET_64_FROM = 1 << 62
_ALL_ONES = 0xFFFF_FFFF
_WAVE64_HEAD = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_WAVE64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_TAGS = (b"TAG", b"ID3", b"APETAGEX")
_NOTED_SECONDS = 0.05
_COMMON_BYTES = 18  # of an AIFF: channels, frames, bits, rate


@dataclass(frozen=True, kw_only=True)
class _Samples:
    """The samples of a file, and what its header says of them.

    Args:
        start: first byte.
        claimed: bytes, as the header counts them; None where it does not say.
        size: bytes that are there.
        is_crash: the header counts nothing at all, which a program that writes to a pipe does not leave.
        bytes_per_second: of the samples; 0 where unknown.
        bytes_per_frame: likewise.
    """

    start: int
    claimed: int | None
    size: int
    is_crash: bool = False
    bytes_per_second: int = 0
    bytes_per_frame: int = 0

    @classmethod
    def counted(cls, claimed: int, *, start: int, available: int, unset_from: int) -> "_Samples":
        """Samples behind a size: all there are where it says nothing, and never more than there are."""
        available = max(available, 0)  # they may be said to begin behind the end
        if claimed == 0 or claimed >= unset_from:
            return cls(start=start, claimed=None, size=available, is_crash=claimed == 0)
        return cls(start=start, claimed=claimed, size=min(claimed, available))

    @property
    def end(self) -> int:
        return self.start + self.size

    @property
    def whole_frames(self) -> int:
        """Bytes of the frames that are there whole."""
        return self.size - self.size % max(self.bytes_per_frame, 1)

    def seconds(self, num_bytes: int) -> float:
        return num_bytes / self.bytes_per_second if self.bytes_per_second else 0.0

    @property
    def is_miscounted(self) -> bool:
        """Whether libsndfile would not take what is there."""
        return self.claimed is None or self.claimed < self.size

    def remarks(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Notes on what is mended, and damage."""
        if self.claimed is None:
            unfinished = "its header is unfinished and does not count the samples; all of them were taken"
            return (unfinished,) if self.is_crash else (), ()
        if self.claimed > self.size:
            return (), (END_MISSING,)
        if self.claimed < self.size:
            claimed, size = (clock(self.seconds(count)) for count in (self.claimed, self.size))
            return (f"its header counts {claimed} of sound and {size} are there; all of it was taken",), ()
        return (), ()

    def with_tail(self, data: mmap.mmap, end: int) -> "_Samples":
        """The same with what follows up to `end`, if that is sound: no tag, not zeros, not short."""
        tail = end - self.end
        if self.seconds(tail) <= _NOTED_SECONDS or data[self.end : self.end + 8].startswith(_TAGS):
            return self
        if not any(data[self.end : end]):
            return self
        return replace(self, size=end - self.start)


@dataclass(frozen=True, kw_only=True)
class _Chunks:
    """How the chunks of a kind are written.

    Args:
        name_bytes, size_bytes: of the head of a chunk.
        unset_from: sizes that say nothing.
        alignment: chunks begin at multiples of it.
        size_includes_head: whether the size counts the head too.
    """

    name_bytes: int = 4
    size_bytes: int = 4
    byteorder: Literal["little", "big"] = "little"
    unset_from: int = _UNSET_FROM
    alignment: int = 2
    size_includes_head: bool = False

    @property
    def head_bytes(self) -> int:
        return self.name_bytes + self.size_bytes

    def at(self, data: mmap.mmap, place: int, end: int) -> tuple[bytes, int] | None:
        """Name (its first four bytes) and size of the body of the chunk at a place; None if none is there."""
        head = data[place : min(place + self.head_bytes, end)]
        if len(head) < self.head_bytes or not _is_name(head[: self.name_bytes]):
            return None
        size = int.from_bytes(head[self.name_bytes :], self.byteorder)
        return head[:4], max(0, size - self.head_bytes) if self.size_includes_head else size

    def after(self, data: mmap.mmap, body: int, size: int, origin: int, end: int) -> int:
        """Where the next chunk begins; some writers leave out the padding."""
        place = body + size
        padded = place + (origin - place) % self.alignment
        if padded != place and self.at(data, padded, end) is None and self.at(data, place, end) is not None:
            return place
        return padded

    def walk(
        self, data: mmap.mmap, place: int, origin: int, end: int
    ) -> Iterator[tuple[bytes, int, int, int]]:
        """Of each chunk from a place on: name, place, first byte of the body, size of the body."""
        while (chunk := self.at(data, place, end)) is not None:
            name, size = chunk
            body = place + self.head_bytes
            yield name, place, body, size
            place = self.after(data, body, size, origin, end)

    def fill(self, data: mmap.mmap, place: int, origin: int, end: int) -> bool:
        """Whether chunks fill everything from a place on."""
        for _, _, body, size in self.walk(data, place, origin, end):
            place = self.after(data, body, size, origin, end)
        return place >= end


_RIFF = _Chunks()
_RIFX = _Chunks(byteorder="big")
_WAVE64 = _Chunks(
    name_bytes=16, size_bytes=8, unset_from=_UNSET_64_FROM, alignment=8, size_includes_head=True
)
_AIFF = _Chunks(byteorder="big")
_CAF = _Chunks(size_bytes=8, byteorder="big", unset_from=_UNSET_64_FROM, alignment=1)


def _is_name(name: bytes) -> bool:
    printable = all(32 <= byte < 127 for byte in name[:4])
    return printable and (len(name) == 4 or name[4:] == _WAVE64_TAIL)


def wav_layout(data: mmap.mmap, start: int) -> Layout:
    """The layout of a WAV, RF64, BW64 or W64 that begins at a byte."""
    links: list[Link] = []
    notes: list[str] = []
    damage: list[str] = []
    while True:
        end = _next_wav(data, start + 12)
        link, mended, missing = _wav_link(data, start, len(data) if end is None else end)
        links.append(link)
        notes += mended
        damage += missing
        if end is None:
            return Layout(links=tuple(links), notes=tuple(notes), damage=tuple(damage))
        start = end


def _next_wav(data: mmap.mmap, start: int) -> int | None:
    """Where a further WAV begins, if files were joined: a head, and the layout right behind it."""
    place = start
    while (place := data.find(b"WAVEfmt ", place)) >= 0:
        if data[place - 8 : place - 4] in (b"RIFF", b"RF64"):
            return place - 8
        place += 1
    return None


def _wav_link(data: mmap.mmap, start: int, end: int) -> tuple[Link, tuple[str, ...], tuple[str, ...]]:
    """One WAV, notes on what was mended, and damage."""
    is_wave64 = data[start : start + 16] == _WAVE64_HEAD
    chunks = _WAVE64 if is_wave64 else _RIFX if data[start : start + 4] == b"RIFX" else _RIFF
    place = start + (40 if is_wave64 else 12)
    layout, size_of_64_bits = b"", None
    found: list[_Samples] = []
    while (chunk := chunks.at(data, place, end)) is not None:
        name, size = chunk
        body = place + chunks.head_bytes
        if name == b"ds64":
            size_of_64_bits = int.from_bytes(data[body + 8 : body + 16], "little")
        elif name == b"fmt ":
            layout = data[body : min(body + size, end)]
        elif name == b"data":
            unset_from = chunks.unset_from
            if size == _ALL_ONES and size_of_64_bits is not None:
                size, unset_from = size_of_64_bits, _UNSET_64_FROM
            if size == 0 and chunks.fill(data, body, start, end):
                found.append(_Samples(start=body, claimed=0, size=0))
            else:
                found.append(_Samples.counted(size, start=body, available=end - body, unset_from=unset_from))
            size = found[-1].size
        place = chunks.after(data, body, size, start, end)
    whole = Link(pieces=((start, end),))
    if len(layout) < 16 or not found or chunks is _RIFX:  # left to libsndfile, which says what is wrong
        return whole, (), ()
    bytes_per_second, bytes_per_frame = struct.unpack_from("<IH", layout, 8)
    first = replace(found[0], bytes_per_second=bytes_per_second, bytes_per_frame=bytes_per_frame)
    if place == chunks.after(data, first.start, first.size, start, end) and len(found) == 1:
        first = first.with_tail(data, end)
    mended, missing = first.remarks()
    if further := sum(samples.size for samples in found[1:]):
        missing += (f"a further data chunk of {clock(first.seconds(further))} was left out",)
    if not first.is_miscounted and len(found) == 1 and data[start : start + 4] != b"BW64":
        return whole, mended, missing
    return _rewritten_wav(layout, first), mended, missing


def _rewritten_wav(layout: bytes, samples: _Samples) -> Link:
    """The samples behind a header that counts them."""
    size = min(samples.whole_frames, _ALL_ONES - len(layout) - 64)
    head = b"WAVE" + struct.pack("<4sI", b"fmt ", len(layout)) + layout + bytes(len(layout) % 2)
    head += struct.pack("<4sI", b"data", size)
    riff = struct.pack("<4sI", b"RIFF", len(head) + size)
    return Link(pieces=(riff + head, (samples.start, samples.start + size)))


def aiff_layout(data: mmap.mmap, start: int) -> Layout:
    """The layout of an AIFF or AIFF-C that begins at a byte."""
    end = len(data)
    whole = Layout.whole(start, end)
    common = None
    for chunk in _AIFF.walk(data, start + 12, start, end):
        name, place, body, size = chunk
        if name == b"COMM":
            common = body
        if name == b"SSND":
            break
    else:
        return whole
    if common is None or end - common < _COMMON_BYTES:  # it may follow; libsndfile reads either order
        return whole
    channels, _, bits = struct.unpack_from(">HIH", data, common)
    per_frame = channels * ((bits + 7) // 8)
    # The samples begin behind two numbers of four bytes, which the size of the chunk counts.
    counted = _Samples.counted(
        max(size - 8, 0), start=body + 8, available=end - body - 8, unset_from=_UNSET_FROM
    )
    samples = replace(
        counted, bytes_per_frame=per_frame, bytes_per_second=_aiff_rate(data, common) * per_frame
    )
    mended, damage = samples.remarks()
    if not samples.is_miscounted:
        return replace(whole, damage=damage)
    count = samples.whole_frames // max(per_frame, 1)
    pieces: tuple[Piece, ...] = (
        b"FORM" + struct.pack(">I", body + samples.whole_frames - start),
        (start + 8, common + 2),
        struct.pack(">I", count),
        (common + 6, place + 4),
        struct.pack(">I", samples.whole_frames + 8),
        (body, samples.start + samples.whole_frames),
    )
    return Layout(links=(Link(pieces=pieces),), notes=mended, damage=damage)


def _aiff_rate(data: mmap.mmap, common: int) -> int:
    """The sample rate, an extended float of 80 bits behind channels, frames and bits."""
    exponent, mantissa = struct.unpack_from(">HQ", data, common + 8)
    power = (exponent & 0x7FFF) - 16446
    return int(mantissa * 2.0**power) if power < 0 else 0  # such a rate is no rate


def au_layout(data: mmap.mmap, start: int) -> Layout:
    """The layout of an AU that begins at a byte."""
    end = len(data)
    whole = Layout.whole(start, end)
    if end - start < 24:
        return whole
    offset, size, encoding, rate, channels = struct.unpack_from(">5I", data, start + 4)
    width = {2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8}.get(encoding, 1) * channels
    counted = _Samples.counted(
        size, start=start + offset, available=end - start - offset, unset_from=_UNSET_FROM
    )
    samples = replace(counted, bytes_per_frame=width, bytes_per_second=width * rate)
    if samples.claimed is not None:
        samples = samples.with_tail(data, end)
    mended, damage = samples.remarks()
    if (
        size == _ALL_ONES or not samples.is_miscounted
    ):  # the format's own way to say that the size is not known
        return replace(whole, damage=damage)
    head = b".snd" + struct.pack(">5I", offset, samples.whole_frames, encoding, rate, channels)
    return Layout(links=(Link(pieces=(head, (start + 24, samples.end))),), notes=mended, damage=damage)


def caf_layout(data: mmap.mmap, start: int) -> Layout:
    """The layout of a CAF that begins at a byte."""
    end = len(data)
    whole = Layout.whole(start, end)
    for name, place, body, size in _CAF.walk(data, start + 8, start, end):
        if name == b"data":
            # Four bytes before the samples count the edits; -1 is the format's own "to the end".
            counted = max(size - 4, 0) if size < _UNSET_64_FROM else size
            samples = _Samples.counted(
                counted, start=body + 4, available=end - body - 4, unset_from=_UNSET_64_FROM
            )
            mended, damage = samples.remarks()
            if not samples.is_miscounted:
                return replace(whole, damage=damage)
            head: tuple[Piece, ...] = ((start, place + 4), struct.pack(">q", samples.size + 4))
            link = Link(pieces=(*head, (body, samples.end)))
            return Layout(links=(link,), notes=mended, damage=damage)
    return whole


def caf_span(data: mmap.mmap, start: int) -> tuple[Fraction, Fraction] | None:
    """Where the sound lies in what a CAF of packets decodes to: what the encoder put in front, and what it
    filled the last packet up with, are none.

    Returns:
        First second, and number of seconds; None if the packet table does not say, or contradicts itself.
    """
    end = len(data)
    description: tuple[float, int] | None = None
    for name, _, body, _ in _CAF.walk(data, start + 8, start, end):
        if name == b"desc" and end - body >= 32:
            rate, _, _, _, per_packet = struct.unpack_from(">d4sIII", data, body)
            description = rate, per_packet
        if name == b"pakt" and end - body >= 24 and description is not None:
            packets, valid, before, behind = struct.unpack_from(">qqii", data, body)
            rate, per_packet = description
            if min(packets, valid, before + 1, behind + 1) < 1 or not 1 <= rate <= 1e6:
                return None
            if before + valid + behind != packets * per_packet:
                return None
            return before / Fraction(rate), valid / Fraction(rate)
    return None
