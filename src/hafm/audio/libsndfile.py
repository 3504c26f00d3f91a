"""WAV, W64, FLAC, MP3, Ogg, Opus, AIFF, AU and CAF, through libsndfile.

In: an open file of a kind that `sniff` settled. Out: its samples from a given second on, block by block.

What libsndfile does that a gateway has to know (1.2.2, measured): it fits the claimed length of a WAV to the
file without a word, but believes a FLAC or an MP3 that claims more than it holds; a FLAC of unknown length
claims 2^63 - 1; it stops where a header counts too few samples, and at the end of the first of joined files
(which `layout.py` prevents); at the first damaged FLAC frame it stops for good, and opened anew it can be
sent behind that (what is lost becomes silence, so that the rest stays in its place); where the claim is too
long, the last block before the end is lost to an error, so blocks are small; its MP3 decoder writes on the
process's standard error.
"""

import contextlib
import mmap
import os
import threading
from bisect import bisect_right
from collections.abc import Generator, Iterator
from typing import IO

import numpy as np
import numpy.typing as npt
import soundfile

from hafm.audio.layout import Layout, Link
from hafm.audio.layout_pages import flac_frames
from hafm.audio.sniff import FLAC, MP3, OGG, WAV, Kind
from hafm.audio.stream import DecodedStream, without_first
from hafm.errors import AudioContentError, AudioReadError
from hafm.words import clock

__all__ = ["NotDecodable", "open_libsndfile"]

_BLOCK_FRAMES = 4096
_WAV_BLOCK_FRAMES = 1 << 16  # its claim is never too long; a call costs as much as decoding 4096 frames
_MOST_PASSED_OVER = 32  # heads of frames behind damage that are no sound either
_UNKNOWN_FRAMES = 1 << 40
_UNREAD = "{count} of the recordings that the file joins cannot be decoded and were left out"
_PLAIN_REASONS = (  # where libsndfile's own words mislead
    ("SF_INFO struct incomplete", "its header gives an impossible sample rate"),
    ("File does not exist", "it holds no sound"),
    ("Format not recognised", "it holds no sound"),
)
_STDERR_LOCK = threading.Lock()


class NotDecodable(AudioReadError):
    """libsndfile does not accept the file; another decoder may."""


@contextlib.contextmanager
def open_libsndfile(
    file: IO[bytes], layout: Layout, *, kind: Kind, name: str, start_seconds: float
) -> Generator[DecodedStream]:
    """Decode a file from a given second on.

    Args:
        file: a real file, open for reading.
        layout: where the sound lies in it.
        kind: its kind, from `sniff`.
        name: what messages call it.
        start_seconds: where to begin.

    Yields:
        The stream, which ends with the context.

    Raises:
        NotDecodable: libsndfile does not accept the file.
        AudioReadError: it cannot find the start in it.
        AudioContentError: the start lies past the end.
    """
    with contextlib.ExitStack() as stack:
        if kind is MP3:
            stack.enter_context(_silent_stderr())
        decoder, further, unread = _first_decoder(file, layout, stack, kind=kind, name=name)
        claimed = decoder.frames if decoder.frames < _UNKNOWN_FRAMES and len(layout.links) == 1 else None
        start = round(start_seconds * decoder.samplerate)
        if claimed is not None and start >= claimed and start:
            raise AudioContentError(
                f"{name} lasts {clock(claimed / decoder.samplerate)}, so it cannot be read from "
                f"{clock(start_seconds)} on; choose an earlier --start (start_seconds= in Python)"
            )
        seeks = kind not in (MP3, OGG) and len(layout.links) == 1
        if seeks and start and kind is FLAC:
            decoder, seeks = _at(decoder, start, stack)
        elif seeks and start:
            _seek(decoder, start, name)
        complaints: list[str] = []
        damage = [*layout.damage, *unread]
        holes: list[tuple[int, int]] = []
        blocks = _blocks(decoder, complaints, holes, kind)
        if further:
            opening = (_decoder(file, link, kind=kind, name=name) for link in further)
            blocks = _joined(decoder, blocks, opening, complaints, damage, holes, kind)
        yield DecodedStream(
            sample_rate=decoder.samplerate,
            num_channels=decoder.channels,
            claimed_frames=claimed,
            start_frame=start,
            blocks=blocks if seeks or not start else without_first(blocks, start),
            complaint=lambda: "; ".join(complaints),
            missing=lambda: tuple(damage),
            holes=holes,
            is_impatient=kind is MP3,
        )


def _first_decoder(
    file: IO[bytes], layout: Layout, stack: contextlib.ExitStack, *, kind: Kind, name: str
) -> tuple[soundfile.SoundFile, tuple[Link, ...], list[str]]:
    """The first link that decodes, the links behind it, and what is to be said of those before.

    Raises:
        NotDecodable: none decodes; of the first link.
    """
    refusal: NotDecodable | None = None
    for number, link in enumerate(layout.links):
        try:
            decoder = stack.enter_context(_decoder(file, link, kind=kind, name=name))
        except NotDecodable as error:
            refusal = refusal or error
            continue
        unread = [_UNREAD.format(count=number)] if number else []
        return decoder, layout.links[number + 1 :], unread
    assert refusal is not None, "a layout has a link"
    raise refusal


@contextlib.contextmanager
def _decoder(file: IO[bytes], link: Link, *, kind: Kind, name: str) -> Generator[soundfile.SoundFile]:
    with link.opened(file) as part:
        # By descriptor: libsndfile cannot be misled by the name, and no callback is between it and
        # Ctrl-C.
        os.lseek(part.fileno(), 0, os.SEEK_SET)
        try:
            decoder = _OnwardFile(part.fileno(), closefd=False)
        except soundfile.LibsndfileError as error:
            raise NotDecodable(
                f"{name} looks like {kind.name} but cannot be decoded ({_reason(error)}); export it again "
                f"as WAV or FLAC"
            ) from error
        with decoder:
            if decoder.format not in kind.libsndfile:
                raise NotDecodable(
                    f"{name} looks like {kind.name} but decodes as {decoder.format}; export it again as WAV "
                    f"or FLAC"
                )
            yield decoder


def _joined(
    first: soundfile.SoundFile,
    blocks: Iterator[npt.NDArray[np.float32]],
    further: Iterator[contextlib.AbstractContextManager[soundfile.SoundFile]],
    complaints: list[str],
    damage: list[str],
    holes: list[tuple[int, int]],
    kind: Kind,
) -> Iterator[npt.NDArray[np.float32]]:
    """The blocks of the first link, and those behind it, as long as they have its rate and channels."""
    reached = unread = 0
    for block in blocks:
        reached += len(block)
        yield block
    for number, opening in enumerate(further, start=2):
        with contextlib.ExitStack() as stack:
            try:
                decoder = stack.enter_context(opening)
            except NotDecodable:  # a head that was cut off, or junk that looks like one
                unread += 1
                continue
            if (decoder.samplerate, decoder.channels) != (first.samplerate, first.channels):
                damage.append(
                    f"the file joins recordings of different kinds, and what follows the first {number - 1} "
                    f"was left out ({decoder.samplerate} Hz and {decoder.channels} channels after "
                    f"{first.samplerate} Hz and {first.channels}); convert it to WAV first"
                )
                return
            inside: list[tuple[int, int]] = []
            size = 0
            for block in _blocks(decoder, complaints, inside, kind):
                size += len(block)
                yield block
            holes += [(reached + begin, reached + end) for begin, end in inside]
            reached += size
    if unread:
        damage.append(_UNREAD.format(count=unread))


class _OnwardFile(soundfile.SoundFile):  # type: ignore[misc] # it has no types
    """A file that is read on from its position.

    soundfile seeks to its own position after every block, unless the file says that it cannot seek. A decoder
    that has to seek forgets what its next frame builds on: of MP3 files with a variable bit rate, up to
    half of the samples came out wrong (soundfile 0.14, blocks of 4096).
    """

    def seekable(self) -> bool:
        return False


def _seek(decoder: soundfile.SoundFile, start: int, name: str) -> None:
    try:
        decoder.seek(start)
    except soundfile.LibsndfileError as error:
        raise AudioReadError(
            f"{name} cannot be read from {clock(start / decoder.samplerate)} on ({_reason(error)}); choose "
            f"an earlier --start (start_seconds= in Python) or export it again"
        ) from error


def _blocks(
    decoder: soundfile.SoundFile, complaints: list[str], holes: list[tuple[int, int]], kind: Kind
) -> Iterator[npt.NDArray[np.float32]]:
    if kind is FLAC:
        yield from _flac_blocks(decoder, complaints, holes)
        return
    block_frames = _WAV_BLOCK_FRAMES if kind is WAV else _BLOCK_FRAMES
    while True:
        try:
            block = decoder.read(block_frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            complaints.append(_reason(error))
            return
        if not len(block):
            return
        yield block


def _flac_blocks(
    decoder: soundfile.SoundFile, complaints: list[str], holes: list[tuple[int, int]]
) -> Iterator[npt.NDArray[np.float32]]:
    """The samples of a FLAC, with silence where they cannot be decoded and others behind them can."""
    place, singly = decoder.tell(), 0
    frames: list[int] | None = None
    with contextlib.ExitStack() as stack:
        while True:
            try:
                block = decoder.read(1 if singly else _BLOCK_FRAMES, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                # What the block held before the damage is not lost.
                again = None if singly else _flac_from(decoder.name, place, stack)
                if again is not None:
                    decoder, singly = again, _BLOCK_FRAMES
                    continue
                if frames is None:
                    with mmap.mmap(decoder.name, 0, access=mmap.ACCESS_READ) as data:
                        frames = flac_frames(data)
                first = bisect_right(frames, place)
                for behind in frames[first : first + _MOST_PASSED_OVER]:
                    again = _flac_from(decoder.name, behind, stack)
                    if again is not None:
                        break
                else:
                    complaints.append(_reason(error))
                    return
                holes.append((place, behind))
                for begin in range(place, behind, _BLOCK_FRAMES):
                    yield np.zeros((min(_BLOCK_FRAMES, behind - begin), decoder.channels), np.float32)
                decoder, place, singly = again, behind, 0
                continue
            if not len(block):
                return
            place, singly = place + len(block), max(0, singly - 1)
            yield block


def _at(
    decoder: soundfile.SoundFile, start: int, stack: contextlib.ExitStack
) -> tuple[soundfile.SoundFile, bool]:
    """The decoder of a FLAC at a sample; or, if it is damaged there, at its beginning, and False."""
    there = _flac_from(decoder.name, start, stack)
    if there is not None:
        return there, True
    return _flac_from(decoder.name, 0, stack) or decoder, False


def _flac_from(descriptor: int, place: int, stack: contextlib.ExitStack) -> soundfile.SoundFile | None:
    """The FLAC of a descriptor, opened anew and at a sample; None if it does not decode there."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        decoder = stack.enter_context(_OnwardFile(descriptor, closefd=False))
        decoder.seek(place)
    except soundfile.LibsndfileError:
        return None
    return decoder


def _reason(error: soundfile.LibsndfileError) -> str:
    reason = str(error.error_string).removeprefix("Error : ").strip().rstrip(".")
    return next((ours for theirs, ours in _PLAIN_REASONS if theirs in reason), reason or "no reason given")


@contextlib.contextmanager
def _silent_stderr() -> Generator[None]:
    """Keep what C code writes on standard error from the terminal. One thread at a time."""
    with _STDERR_LOCK:
        try:
            saved = os.dup(2)
        except OSError:  # there is no standard error
            yield
            return
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            os.close(null)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
