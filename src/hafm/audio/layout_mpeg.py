"""Where the sound lies in an MP3, whose header may count it wrongly or not at all.

In: the bytes of a file. Out: its `Layout`.

MPEG audio is a chain of frames, each with a header of four bytes:

    11 bits     2        2      1     4         2      1        9
    all ones    version  layer  crc   bit rate  rate   padding  ...

Encoders put a first frame in front, the *index*, that holds silence and, after its side information, "Xing"
or "Info" and the number of frames ("VBRI" of another encoder family lies elsewhere). libsndfile (1.2.2,
measured) stops at that number. Where there is no index, it takes the first frame's bit rate for that of the
whole file: it then claims a little too much, or, where the bit rate varies, ends at a third of a song without
a word. Counting the frames takes milliseconds, so they are always counted:

    ID3 | index frame frame frame ...                               a healthy file is decoded as it is
    zeros ID3 | index frame frame junk frame | TAG                  frames behind an index that is right
    ID3 | index frame frame ... | TAG | ID3 | index frame frame     joined with `cat`: a link per index

Source: ISO/IEC 11172-3, 2.4.2.3; ISO/IEC 13818-3 for the lower sample rates. What the index holds is by
convention only, as LAME writes it.
"""

import mmap
import re
import struct
from dataclasses import dataclass, field
from typing import TypeAlias

from hafm.audio.layout import Layout, Link
from hafm.words import clock

__all__ = ["find_frames", "mpeg_layout", "skip_tags"]

Bytes: TypeAlias = bytes | mmap.mmap

_KBIT_S = {  # of layer III, by version: 1, or 2 and 2.5
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_KBIT_S[0] = _KBIT_S[2]
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_LAYER_3 = 1
_MONO = 3
_INDEX_NAMES = (b"Xing", b"Info")
_INDEX_FIELDS = ((1, 4), (2, 4), (4, 100), (8, 4))  # its flags, and the bytes of a field: frames, bytes, ...
_PADDING_OFFSET = 22  # behind these, in what LAME adds: 12 bits of delay from 21 on, 12 bits of padding
_VBRI_OFFSET = 36  # of Fraunhofer's index, whatever the version
_VBRI_FRAMES = 14  # behind its name, version, delay, quality and bytes
_SEARCHED_BYTES = 1 << 16
_BELIEVED_FRAMES = 4  # in a row, where the format changes or junk lies in front


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """The header of a frame of layer III.

    Args:
        version: 3 is MPEG-1, 2 is MPEG-2, 0 is 2.5.
        rate: number of the sample rate in its table.
        num_bytes: length of the frame, header included.
    """

    version: int
    rate: int
    mono: bool
    num_bytes: int

    @classmethod
    def at(cls, data: Bytes, place: int) -> "_Frame | None":
        """The frame that begins at a place; None if none does."""
        head = data[place : place + 4]
        if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
            return None
        version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
        bit_rate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
        # Version 1 and rate 3 are reserved; bit rate 0 is free, and 15 forbidden.
        if version == 1 or layer != _LAYER_3 or bit_rate in (0, 15) or rate == 3:
            return None
        num_bytes = _frame_bytes(version, bit_rate, rate) + padding
        return cls(version=version, rate=rate, mono=head[3] >> 6 == _MONO, num_bytes=num_bytes)

    def follows(self, other: "_Frame") -> bool:
        """Whether both can belong to one stream."""
        return (self.version, self.rate, self.mono) == (other.version, other.rate, other.mono)

    def seconds(self, count: int) -> float:
        """Duration of some frames."""
        return count * (1152 if self.version == 3 else 576) / _RATES_HZ[self.version][self.rate]

    @property
    def index_offset(self) -> int:
        """Where an index is in the frame: after header and side information."""
        if self.version == 3:
            return 4 + (17 if self.mono else 32)
        return 4 + (9 if self.mono else 17)

    def as_index(self, num_frames: int) -> bytes:
        """A silent frame of this stream that holds an index of one field, the number of frames."""
        bit_rate = 9  # 128 or 80 kbit/s: room enough at every sample rate
        head = bytes(
            (
                0xFF,
                0b1110_0001 | self.version << 3 | _LAYER_3 << 1,  # the last bit: no checksum
                bit_rate << 4 | self.rate << 2,
                _MONO << 6 if self.mono else 0,
            )
        )
        index = struct.pack(">4sII", b"Info", 1, num_frames)  # 1: the number of frames, and nothing else
        num_bytes = _frame_bytes(self.version, bit_rate, self.rate)
        return (head.ljust(self.index_offset, b"\0") + index).ljust(num_bytes, b"\0")


def _frame_bytes(version: int, bit_rate: int, rate: int) -> int:
    """Length of a frame without padding: 1152 samples (MPEG-1) or 576, at eight bits a byte."""
    samples = 1152 if version == 3 else 576
    return samples // 8 * 1000 * _KBIT_S[version][bit_rate] // _RATES_HZ[version][rate]


def skip_tags(data: Bytes, place: int) -> int:
    """The first place from `place` on where no tag begins (ID3v2, ID3v1, APE)."""
    while True:
        head = data[place : place + 32]
        if head[:3] == b"ID3" and len(head) >= 10:
            size = 0
            for byte in head[6:10]:
                size = size << 7 | byte & 0x7F
            place += 10 + size + (10 if head[5] & 0x10 else 0)  # a footer repeats the header
        elif head[:3] == b"TAG" and len(data) >= place + 128:
            place += 128
        elif head[:8] == b"APETAGEX" and len(head) == 32:
            is_header = (
                head[23] & 0x20 != 0
            )  # its size does not count it, a footer's counts what is behind us
            place += 32 + (int.from_bytes(head[12:16], "little") if is_header else 0)
        else:
            return place


def find_frames(data: Bytes, start: int, *, frames: int = 2, end: int | None = None) -> int | None:
    """Where the next frame begins; it is believed if others follow.

    Args:
        data: bytes of a file.
        start: where to search from.
        frames: how many in a row are believed.
        end: where the search ends; None for the end of the data.
    """
    end = len(data) if end is None else min(end, len(data))
    while (start := data.find(b"\xff", start, end)) >= 0:
        first = _Frame.at(data, start)
        place, left = start, frames
        while (
            left
            and (frame := _Frame.at(data, place)) is not None
            and first is not None
            and frame.follows(first)
        ):
            place, left = place + frame.num_bytes, left - 1
        if not left:
            return start
        start += 1
    return None


@dataclass(kw_only=True)
class _Run:
    """Frames that belong together: those behind one index, or all of one format where there is no index.

    Args:
        frame: the first of them, the index included.
        index: what the index frame holds; None without one.
        claimed: frames, as the index counts them; None where it does not.
        spans: ranges of frames that lie side by side, without the index.
    """

    frame: _Frame
    index: bytes | None = None
    claimed: int | None = None
    spans: list[tuple[int, int]] = field(default_factory=list)
    count: int = 0

    @classmethod
    def beginning(cls, data: Bytes, place: int, frame: _Frame) -> "_Run":
        """The run whose first frame is at a place."""
        content = data[place : place + frame.num_bytes]
        claimed_at = _place_of_claim(content, frame)
        if claimed_at is None:
            run = cls(frame=frame)
            run.add(place, frame.num_bytes)
            return run
        claimed = int.from_bytes(content[claimed_at : claimed_at + 4], "big") if claimed_at else None
        return cls(frame=frame, index=content, claimed=claimed)

    def add(self, place: int, num_bytes: int) -> None:
        self.count += 1
        if self.spans and self.spans[-1][1] == place:
            self.spans[-1] = (self.spans[-1][0], place + num_bytes)
        else:
            self.spans.append((place, place + num_bytes))

    def remove_last(self, place: int) -> None:
        """Removes the frame that begins at a place, if it is the last; an index does not count as one."""
        if self.spans and self.spans[-1][0] <= place < self.spans[-1][1]:
            self.count -= 1
            self.spans[-1] = (self.spans[-1][0], place)

    @property
    def seconds(self) -> float:
        return self.frame.seconds(self.count)

    @property
    def lacks_frames(self) -> bool:
        """Whether the index counts more than are there; some encoders count the index itself."""
        return self.claimed is not None and self.claimed > self.count + 1

    def link(self) -> Link:
        """The frames, behind an index that counts them."""
        index = self.frame.as_index(self.count)
        if self.index is not None and (place := _place_of_claim(self.index, self.frame)):
            # What else it holds (delay and padding of the encoder) stays.
            index = self.index[:place] + struct.pack(">I", self.count) + self.index[place + 4 :]
            index = index[:4] + bytes(self.frame.index_offset - 4) + index[self.frame.index_offset :]
            if self.claimed is not None and self.claimed > self.count:
                index = _without_padding(index, place)  # the last frame may be lost, and what it filled up
        return Link(pieces=(index, *self.spans))


def mpeg_layout(data: mmap.mmap) -> Layout:
    """The layout of an MP3."""
    filled = re.search(rb"[^\0]", data)
    begin = skip_tags(data, filled.start() if filled else 0)
    first = find_frames(data, begin, end=begin + _SEARCHED_BYTES)
    if first is None:  # another layer, or free bit rates
        return Layout.whole(0, len(data))
    runs, junk_bytes = _runs(data, first)
    if not runs:  # an index, and no sound behind it
        return Layout.whole(0, len(data))
    if len(runs) == 1 and _is_healthy(runs[0], first == skip_tags(data, 0)):
        return Layout.whole(0, len(data))
    notes = tuple(
        f"its header counts {clock(run.frame.seconds(run.claimed))} of sound and {clock(run.seconds)} are "
        "there; all of it was taken"
        for run in runs
        if run.claimed is not None and run.claimed < run.count - 1
    )
    damage = tuple(
        f"the file is damaged or cut short: it claims {clock(run.frame.seconds(run.claimed))} and "
        f"decodes up to {clock(run.seconds)}"
        for run in runs
        if run.claimed is not None and run.lacks_frames
    )
    if junk_bytes:
        damage = (f"{junk_bytes} bytes between its frames are not sound and were passed over",)
    return Layout(links=tuple(run.link() for run in runs), notes=notes, damage=damage)


def _is_healthy(run: _Run, is_in_front: bool) -> bool:
    """Whether libsndfile decodes the file whole as it is."""
    if run.index is None or any(run.index[4 : run.frame.index_offset]):
        return False  # an index that is not silent is sound to libsndfile, which then guesses the length
    # Where it finds fewer than the index counts, it loses a block at the end.
    return is_in_front and len(run.spans) == 1 and run.claimed in (run.count - 1, run.count)


def _runs(data: mmap.mmap, first: int) -> tuple[list[_Run], int]:
    """All whole frames, by run, and the bytes between them that are neither frame nor tag."""
    runs: list[_Run] = []
    junk_bytes, place, last = 0, first, first
    while place < len(data):
        frame = _Frame.at(data, place)
        if frame is None or place + frame.num_bytes > len(data):
            if (inner := _inner(data, last, place)) is not None:
                runs[-1].remove_last(last)
                junk_bytes += inner - last
                place = last = inner
                continue
            found = _resynchronised(data, place, runs[-1].frame)
            if found is None:
                break
            junk_bytes += found - skip_tags(data, place)
            place = found
            continue
        is_index = _place_of_claim(data[place : place + frame.num_bytes], frame) is not None
        if not runs or is_index or not frame.follows(runs[-1].frame):
            if runs and not is_index and not _is_believed(data, place):
                found = _resynchronised(data, place + 1, runs[-1].frame)
                if found is None:
                    break
                junk_bytes += found - place
                place = found
                continue
            runs.append(_Run.beginning(data, place, frame))
        else:
            runs[-1].add(place, frame.num_bytes)
        last, place = place, place + frame.num_bytes
    return [run for run in runs if run.count], junk_bytes


def _inner(data: mmap.mmap, last: int, end: int) -> int | None:
    """Where frames begin within the last one, of which bytes are lost; None if they do not."""
    if skip_tags(data, end) != end:
        return None
    found = find_frames(data, last + 4, end=end) if end - last > 4 else None
    frame = None if found is None else _Frame.at(data, found)
    before = _Frame.at(data, last)
    return found if frame is not None and before is not None and frame.follows(before) else None


def _resynchronised(data: mmap.mmap, place: int, frame: _Frame) -> int | None:
    """Where frames go on behind a tag or junk: of the same format, or several in a row of another."""
    place = skip_tags(data, place)
    while (found := find_frames(data, place)) is not None:
        following = _Frame.at(data, found)
        if (following is not None and following.follows(frame)) or _is_believed(data, found):
            return found
        place = found + 1
    return None


def _without_padding(index: bytes, place: int) -> bytes:
    """An index, with its number of frames at a place, that cuts nothing off the end."""
    if index[place - 8 : place - 4] not in _INDEX_NAMES:
        return index
    flags = int.from_bytes(index[place - 4 : place], "big")
    place += sum(num_bytes for flag, num_bytes in _INDEX_FIELDS if flags & flag) + _PADDING_OFFSET
    if place + 2 > len(index):
        return index
    return index[:place] + bytes((index[place] & 0xF0, 0)) + index[place + 2 :]


def _is_believed(data: mmap.mmap, place: int) -> bool:
    """Whether a frame of another format is one: others of that follow."""
    return find_frames(data, place, frames=_BELIEVED_FRAMES, end=place + 1) is not None


def _place_of_claim(content: bytes, frame: _Frame) -> int | None:
    """Where in a frame an index counts the frames; 0 if the index does not count, None without an index."""
    place = frame.index_offset
    if content[place : place + 4] in _INDEX_NAMES:
        flags = int.from_bytes(content[place + 4 : place + 8], "big")
        return place + 8 if flags & 1 else 0
    if content[_VBRI_OFFSET : _VBRI_OFFSET + 4] == b"VBRI":
        return _VBRI_OFFSET + _VBRI_FRAMES
    return None
