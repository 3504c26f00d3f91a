"""Where the sound lies in an Ogg, which may be a chain, and in a FLAC, which may count wrongly or be joined.

In: the bytes of a file. Out: its `Layout`.

An Ogg is a row of pages. A *chain* is several streams one after the other, each with its own head; libsndfile
decodes the first alone, so each becomes a link:

    page    "OggS" version flags granule serial number checksum segments lengths [packets]
    flags   2: first of its stream     4: last of its stream
    chain   2 . . . 4 | 2 . . . 4      several first pages in a row are streams side by side, and one link

A FLAC counts its samples in its head, and libsndfile stops there. Each frame carries its number, so the last
one tells how many there are.

    head    "fLaC" 0 length, block sizes, frame sizes, rate, channels, bits, samples (36 bits), MD5
    frame   14 ones, 0, blocking | block size, rate | channels, bits | number (UTF-8) ... CRC-8 ... CRC-16

Source: RFC 3533 (Ogg); RFC 9639 (FLAC).
"""

import functools
import mmap
import re

from hafm.audio.layout import END_MISSING, Layout, Link
from hafm.words import clock

__all__ = ["flac_frames", "flac_layout", "ogg_layout"]

_PAGE_HEAD_BYTES = 27
_FIRST, _LAST = 2, 4
_STREAM_HEADS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")
_SAMPLES_MASK = (1 << 36) - 1
_LONGEST_FRAME = 1 << 17
_LEAST_FRAME_HEAD = 6
_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_ZEROS = 64  # in a row, which no frame ends with


def ogg_layout(data: mmap.mmap, start: int) -> Layout:
    """The layout of an Ogg that begins at a byte."""
    begins: list[int] = []
    place: int | None = start
    flags, end, first_in_a_row = 0, start, False
    while place is not None:
        page = _page(data, place)
        if page is None:
            found = data.find(b"OggS\0", place + 1)
            place = found if found >= 0 else None
            continue
        end, flags = page
        if flags & _FIRST and not first_in_a_row:
            begins.append(place)
        first_in_a_row = bool(flags & _FIRST)
        place = end if end < len(data) else None
    damage = () if flags & _LAST and end <= len(data) else (END_MISSING,)
    if len(begins) < 2:
        return Layout.whole(start, len(data), damage=damage)
    ends = [*begins[1:], len(data)]
    return Layout(links=tuple(Link(pieces=(span,)) for span in zip(begins, ends, strict=True)), damage=damage)


def _page(data: mmap.mmap, place: int) -> tuple[int, int] | None:
    """Where the page at a place ends, and its flags; None if no page begins there."""
    head = data[place : place + _PAGE_HEAD_BYTES]
    if len(head) < _PAGE_HEAD_BYTES or head[:5] != b"OggS\0":
        return None
    lengths = data[place + _PAGE_HEAD_BYTES : place + _PAGE_HEAD_BYTES + head[26]]
    return place + _PAGE_HEAD_BYTES + len(lengths) + sum(lengths), head[5]


def flac_layout(data: mmap.mmap, start: int) -> Layout:
    """The layout of a FLAC that begins at a byte."""
    begins = [start]
    while (found := _next_flac(data, begins[-1] + 4)) is not None:
        begins.append(found)
    links: list[Link] = []
    notes: tuple[str, ...] = ()
    for begin, end in zip(begins, [*begins[1:], len(data)], strict=True):
        link, note = _flac_link(data, begin, _end_without_tags(data, begin, end))
        links.append(link)
        notes += note
    return Layout(links=tuple(links), notes=notes)


def _next_flac(data: mmap.mmap, start: int) -> int | None:
    found = [place for head in _STREAM_HEADS if (place := data.find(head, start)) >= 0]
    return min(found, default=None)


def _end_without_tags(data: mmap.mmap, begin: int, end: int) -> int:
    """Where the last frame ends: libsndfile loses its last block to a tag or zeros behind it."""
    if data[end - 128 : end - 125] == b"TAG":
        end -= 128
    if data[end - 32 : end - 24] == b"APETAGEX":  # a footer, whose size counts itself
        end -= int.from_bytes(data[end - 20 : end - 16], "little")
    if any(data[end - _ZEROS : end]):
        return end
    filled = end
    while filled > begin + 42 and not data[filled - 1]:
        filled -= 1
    # The frame may itself end with a few zeros: its checksum tells.
    ends = (filled + zeros for zeros in range(9))
    return next((place for place in ends if _last_sample(data, begin, place) is not None), filled)


def _flac_link(data: mmap.mmap, begin: int, end: int) -> tuple[Link, tuple[str, ...]]:
    """One FLAC, behind a head that counts all of its samples, and a note if it had to be mended."""
    place = begin + 18  # behind "fLaC", the head of the block, block sizes and frame sizes
    fields = int.from_bytes(data[place : place + 8], "big")
    claimed, rate = fields & _SAMPLES_MASK, fields >> 44
    whole = Link(pieces=((begin, end),))
    counted = _last_sample(data, begin, end)
    if not claimed or counted is None or counted <= claimed or not rate:
        return whole, ()
    mended = (fields & ~_SAMPLES_MASK | counted).to_bytes(8, "big")
    note = (
        f"its header counts {clock(claimed / rate)} of sound and {clock(counted / rate)} are there; "
        "all of it was taken"
    )
    return Link(pieces=((begin, place), mended, (place + 8, end))), (note,)


def _last_sample(data: mmap.mmap, begin: int, end: int) -> int | None:
    """Samples up to the end of the last frame, from its number; None if no frame is believed."""
    smallest = int.from_bytes(data[begin + 8 : begin + 10], "big")
    lowest = max(begin + 42, end - _LONGEST_FRAME)
    place = end
    while (place := data.rfind(b"\xff", lowest, place)) >= 0:
        if (data[place + 1] if place + 1 < end else 0) & 0xFE == 0xF8:
            frame = _frame(data[place : place + 16], smallest)
            # A frame is believed if what follows up to the end of the file carries its checksum.
            if frame is not None and _crc(data[place : end - 2], 16, 0x8005) == int.from_bytes(
                data[end - 2 : end], "big"
            ):
                return sum(frame)
    return None


def flac_frames(data: mmap.mmap) -> list[int]:
    """The first samples of all frames of a FLAC, rising; a few may be junk that looks like a frame's head."""
    smallest = int.from_bytes(data[8:10], "big")
    heads = (_frame(data[found.start() : found.start() + 16], smallest) for found in _SYNC.finditer(data))
    return sorted({head[0] for head in heads if head is not None})


def _frame(head: bytes, block_size: int) -> tuple[int, int] | None:
    """First sample and number of samples of the frame that has this head; None if it is no such head."""
    if len(head) < _LEAST_FRAME_HEAD:
        return None
    size_code, rate_code = head[2] >> 4, head[2] & 15
    ones = 8 - (head[4] ^ 0xFF).bit_length()  # leading ones of the number's first byte
    if ones in (1, 8):
        return None
    length = max(ones, 1)
    number = head[4] & (0x7F >> ones)
    for byte in head[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    place = 4 + length
    explicit = {6: 1, 7: 2}.get(size_code, 0)
    if explicit:
        samples = int.from_bytes(head[place : place + explicit], "big") + 1
    elif size_code == 1:
        samples = 192
    elif 2 <= size_code <= 5:
        samples = 576 << size_code - 2
    elif size_code >= 8:
        samples = 256 << size_code - 8
    else:
        return None
    place += explicit + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if place >= len(head) or _crc(head[:place], 8, 0x07) != head[place]:
        return None
    return number if head[1] & 1 else number * block_size, samples


def _crc(data: bytes, width: int, polynomial: int) -> int:
    """A checksum that starts at 0, not reflected."""
    table, shift, mask = _crcs_of_bytes(width, polynomial), width - 8, (1 << width) - 1
    crc = 0
    for byte in data:
        crc = (crc << 8 & mask) ^ table[crc >> shift ^ byte]
    return crc


@functools.cache
def _crcs_of_bytes(width: int, polynomial: int) -> tuple[int, ...]:
    top, mask, found = 1 << width - 1, (1 << width) - 1, list[int]()
    for byte in range(256):
        crc = byte << width - 8
        for _ in range(8):
            crc = (crc << 1 ^ polynomial if crc & top else crc << 1) & mask
        found.append(crc)
    return tuple(found)
