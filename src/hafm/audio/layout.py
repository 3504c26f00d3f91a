"""Where the sound lies in a file, whatever its header says.

In: an open file of a kind that `sniff` settled. Out: its `Layout`: one or more *links*, each a file that
libsndfile decodes whole, and what there is to say about them.

    a sound file        [header, samples]                    one link: the file as it is
    joined with `cat`   [header, samples][header, samples]   two links, decoded one after the other
    crashed recorder    [header: 0 bytes][samples........]   one link: a header that is right, and the samples

A link is a list of pieces: ranges of the file, and bytes that stand in for what is wrong there. A healthy
file is a single piece and is decoded where it lies; any other link is copied to a temporary file without a
name.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from typing import IO, TypeAlias

__all__ = ["END_MISSING", "Layout", "Link", "Piece"]

Piece: TypeAlias = bytes | tuple[int, int]
"""Bytes to insert, or the first byte and the end of a range of the file."""

END_MISSING = "the end of the file is missing"

_COPY_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Link:
    """A part of a file that decodes by itself.

    Args:
        pieces: what it consists of, in order.
    """

    pieces: tuple[Piece, ...]

    @contextlib.contextmanager
    def opened(self, file: IO[bytes]) -> Generator[IO[bytes]]:
        """The link as a file with a descriptor: `file` itself where the link is all of it, else a copy."""
        if self.pieces == ((0, os.fstat(file.fileno()).st_size),):
            yield file
            return
        with tempfile.TemporaryFile(prefix="hafm-") as copy:
            for piece in self.pieces:
                if isinstance(piece, bytes):
                    copy.write(piece)
                else:
                    _copy(file, copy, *piece)
            copy.flush()
            yield copy


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the sound lies in a file.

    Args:
        links: in the order of time, at least one.
        notes: what was mended so that all of the sound is taken.
        damage: what is missing or was left out.
    """

    links: tuple[Link, ...]
    notes: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()

    @classmethod
    def whole(cls, start: int, end: int, *, damage: tuple[str, ...] = ()) -> "Layout":
        """One range of the file, as it is."""
        return cls(links=(Link(pieces=((start, end),)),), damage=damage)


def _copy(source: IO[bytes], target: IO[bytes], start: int, end: int) -> None:
    source.seek(start)
    if end - start > _COPY_BYTES and end == os.fstat(source.fileno()).st_size:
        shutil.copyfileobj(source, target, _COPY_BYTES)
        return
    while start < end:
        block = source.read(min(_COPY_BYTES, end - start))
        if not block:
            return
        target.write(block)
        start += len(block)
