"""What a sound looks like: a spectrogram with its pitch classes below, on one time axis.

In: a waveform `[T]`. Out: the bytes of a PNG, `COLUMNS` wide whatever the length, so that the pictures of one
clip lie under each other.

    11 kHz  ::::::::::::::::    mel spectrogram, 70 dB from clear to full, on a fixed scale: first bring the
     60 Hz  ::::::::::::::::    sound to the level that it is heard at
         B  ::::::::::::::::    chroma, as the measures of fit hear them (`hafm.evaluate.fit.chroma`)
         C  ::::::::::::::::

The PNG has a palette of sixteen shades of one colour, from clear to full, so that it lies on light and dark
pages alike. The same sound gives the same bytes with the same zlib. matplotlib is not needed: the picture is
an array, and the page writes the labels.

Source: Portable Network Graphics, third edition (W3C, 2025), sections 5 (chunks), 7.2 (packed samples),
11.2.2 and 11.3.1 (palette and its transparency).
"""

import struct
import zlib

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from hafm.evaluate.fit.chroma import chroma_of
from hafm.tokens.spectrum import band_powers, mel_filters

__all__ = ["CHROMA_ROWS", "COLUMNS", "GAP_ROWS", "LEVELS", "SPECTRUM_ROWS", "picture", "shades_png"]

COLUMNS = 480
SPECTRUM_ROWS = 72
GAP_ROWS = 4
CHROMA_ROWS = 48
LEVELS = 16

_WINDOW = 1024
_LOW_HZ, _HIGH_HZ = 60.0, 11_000.0
_TOP_DB, _SPAN_DB = -20.0, 70.0


@torch.no_grad()
def picture(waveform: Float[Tensor, " T"], sample_rate: int, *, colour: tuple[int, int, int]) -> bytes:
    """The picture of one sound, at the level that it is heard at; of a second or more, at 8000 Hz or more.

    >>> picture(torch.zeros(8000), 8000, colour=(29, 78, 216))[1:4]
    b'PNG'
    """
    spectrum = _stretched(_spectrum(waveform, sample_rate).T.flip(0), SPECTRUM_ROWS)
    chroma = _stretched(chroma_of(waveform, sample_rate).T.flip(0), CHROMA_ROWS)
    gap = np.zeros((GAP_ROWS, COLUMNS), dtype=np.uint8)
    return shades_png(np.concatenate([_levels(spectrum), gap, _levels(chroma)]), colour=colour)


def _spectrum(waveform: Tensor, sample_rate: int) -> Float[Tensor, "F N"]:
    """From 0 (70 dB down) to 1."""
    filters = mel_filters(
        size=_WINDOW,
        sample_rate=sample_rate,
        num_bands=SPECTRUM_ROWS,
        low_hz=_LOW_HZ,
        high_hz=min(_HIGH_HZ, sample_rate / 2),
    )
    hop = max(1, -(-len(waveform) // COLUMNS))
    powers = band_powers(waveform[None].float(), filters, hop=hop)[0]
    db = 10 * powers.clamp_min(1e-12).log10()
    return ((db - _TOP_DB) / _SPAN_DB + 1).clamp(0, 1)


def _stretched(values: Float[Tensor, "N F"], rows: int) -> Float[Tensor, "rows columns"]:
    """Each value as a rectangle, none of them blurred."""
    down = torch.arange(rows) * values.shape[0] // rows
    across = torch.arange(COLUMNS) * values.shape[1] // COLUMNS
    return values[down][:, across]


def _levels(values: Float[Tensor, "rows columns"]) -> UInt8[np.ndarray, "rows columns"]:
    return (values.clamp(0, 1) * (LEVELS - 1)).round().to(torch.uint8).numpy()


def shades_png(levels: UInt8[np.ndarray, "rows columns"], *, colour: tuple[int, int, int]) -> bytes:
    """A picture of levels below `LEVELS` (0 is clear), first row on top, at four bits per pixel.

    >>> shades_png(np.zeros((2, 3), dtype=np.uint8), colour=(0, 0, 0))[1:4]
    b'PNG'
    """
    rows, columns = levels.shape
    assert levels.size, "a picture has rows and columns"
    assert int(levels.max()) < LEVELS, "a level is below LEVELS"
    padded = np.pad(levels, ((0, 0), (0, columns % 2)))
    packed = (padded[:, 0::2] << 4) | padded[:, 1::2]
    # Each row begins with its filter; 0 filters nothing.
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
