"""A PNG of sixteen shades of one colour, from clear to full, so that it lies on light and dark pages alike.

In: levels from 0 to 15, `[rows, columns]`, first row on top. Out: the bytes of a PNG with a palette, four
bits a pixel. The same levels give the same bytes with the same zlib.

Source: Portable Network Graphics, third edition (W3C, 2025), sections 5 (chunks), 7.2 (packed samples),
11.2.2 and 11.3.1 (palette and its transparency).
"""

import struct
import zlib

import numpy as np
from jaxtyping import UInt8

__all__ = ["LEVELS", "shades_png"]

LEVELS = 16


def shades_png(levels: UInt8[np.ndarray, "rows columns"], *, colour: tuple[int, int, int]) -> bytes:
    """The picture.

    Args:
        levels: below `LEVELS`; 0 is clear.
        colour: red, green and blue of the full shade.

    >>> shades_png(np.zeros((2, 3), dtype=np.uint8), colour=(0, 0, 0))[1:4]
    b'PNG'
    """
    rows, columns = levels.shape
    assert rows > 0, "a picture has rows"
    assert columns > 0, "a picture has columns"
    assert int(levels.max()) < LEVELS, "a level is below LEVELS"
    padded = np.pad(levels, ((0, 0), (0, columns % 2)))
    packed = (padded[:, 0::2] << 4) | padded[:, 1::2]
    # Each row begins with its filter; 0 is none.
    lines = np.pad(packed, ((0, 0), (1, 0))).tobytes()
    header = struct.pack(">IIBBBBB", columns, rows, 4, 3, 0, 0, 0)
    alphas = bytes(round(255 * level / (LEVELS - 1)) for level in range(LEVELS))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, content)
        for name, content in (
            (b"IHDR", header),
            (b"PLTE", bytes(colour) * LEVELS),
            (b"tRNS", alphas),
            (b"IDAT", zlib.compress(lines, 9)),
            (b"IEND", b""),
        )
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)
