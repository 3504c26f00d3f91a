"""What a sound looks like: a spectrogram with its pitch classes below, on one time axis.

In: a waveform `[T]`. Out: the bytes of a PNG, `COLUMNS` wide whatever the length, so that the pictures of one
clip stand under each other.

    11 kHz  ::::::::::::::::    mel spectrogram, 70 dB from clear to full, on a fixed scale: first bring the
     60 Hz  ::::::::::::::::    sound to the level that it is heard at
         B  ::::::::::::::::    chroma, as the measures of fit hear them (`hafm.evaluate.fit.chroma`)
         C  ::::::::::::::::

matplotlib is not needed: the picture is an array, and the page writes the labels.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from hafm.evaluate.fit.chroma import chroma_of
from hafm.evaluate.report.png import LEVELS, shades_png
from hafm.tokens.spectrum import band_powers, mel_filters

__all__ = ["CHROMA_ROWS", "COLUMNS", "GAP_ROWS", "SPECTRUM_ROWS", "picture"]

COLUMNS = 480
SPECTRUM_ROWS = 72
GAP_ROWS = 4
CHROMA_ROWS = 48

_WINDOW = 1024
_LOW_HZ, _HIGH_HZ = 60.0, 11_000.0
_TOP_DB, _SPAN_DB = -20.0, 70.0


@torch.no_grad()
def picture(waveform: Float[Tensor, " T"], sample_rate: int, *, colour: tuple[int, int, int]) -> bytes:
    """The picture of one sound.

    Args:
        waveform: at the level that it is heard at, a second or more.
        sample_rate: in hertz, 8000 or more.
        colour: red, green and blue of what is loudest.

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
