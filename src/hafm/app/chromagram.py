"""What a picture of a sound is made of: the outline of its waveform and its chromagram, a column at a time.

In: waveforms `[C, T]`. Out: `[columns]` arrays of least and greatest sample, and `[12, columns]` pitch
classes, C first, 0 (silent or without pitch) to 1.

Convention: column `i` of `n` shows the time from `i/n` to `(i+1)/n` of the sound, so pictures of sounds of
the same length lie under each other. The number of columns bounds the memory, whatever the sound's
length. A file of its own: what is measured, apart from what matplotlib draws of it.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.resample import resample
from hafm.audio.sound import to_mono
from hafm.tokens.chroma import HARMONIC_SPAN, contrast, fold_octaves, harmonic_sum, semitone_filters
from hafm.tokens.spectrum import band_powers

__all__ = ["chromagram", "outline"]

_RATE_HZ = 12_000
_WINDOW = 4096  # 0.34 s: bins of 2.9 Hz, and a semitone at C2 is 3.9 Hz wide
_LOW_NOTE = 36  # C2; the top, with its partials, is E8 (5274 Hz)
_NUM_NOTES = 48
_FADE = 0.15  # length of a column's pitch classes, against the loudest column, where it fades to half


def outline(
    waveform: Float[Tensor, "C T"], num_columns: int
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Least and greatest sample of every column, all channels together.

    Args:
        waveform: the sound.
        num_columns: N, at least 1; as many as there are samples, where those are fewer.

    >>> low, high = outline(torch.tensor([[0.0, 0.5, -0.25, 0.0]]), 2)
    >>> low.tolist(), high.tolist()
    ([0.0, -0.25], [0.5, 0.0])
    """
    num_samples = waveform.shape[1]
    num_columns = min(num_columns, num_samples)
    low, high = torch.empty(num_columns), torch.empty(num_columns)
    for column in range(num_columns):
        part = waveform[:, column * num_samples // num_columns : (column + 1) * num_samples // num_columns]
        low[column], high[column] = torch.aminmax(part)
    return low, high


def chromagram(waveform: Float[Tensor, "C T"], sample_rate: int, num_columns: int) -> Float[Tensor, "12 N"]:
    """How much of each pitch class sounds, over time.

    Args:
        waveform: the sound.
        sample_rate: its rate in hertz.
        num_columns: the most columns wanted, at least 1.

    Shape: `[C, T] -> [12, N]`, N at most `num_columns`

    >>> a3 = torch.sin(2 * math.pi * 220 / 8000 * torch.arange(8000))[None]
    >>> chroma = chromagram(a3, 8000, num_columns=10)
    >>> chroma.shape, int(chroma[:, 5].argmax())
    (torch.Size([12, 10]), 9)
    """
    mono = resample(to_mono(waveform)[None], sample_rate, _RATE_HZ)
    hop = max(1, math.ceil(mono.shape[1] / num_columns))
    # Windows that do not overlap would miss what sounds between them: look more often, and average.
    looks = max(1, math.ceil(hop / (_WINDOW // 2)))
    filters = semitone_filters(
        size=_WINDOW,
        sample_rate=_RATE_HZ,
        low_note=_LOW_NOTE,
        high_note=_LOW_NOTE + _NUM_NOTES + HARMONIC_SPAN - 1,
    )
    salience = harmonic_sum(band_powers(mono, filters, hop=math.ceil(hop / looks)))
    classes = fold_octaves(salience, low_note=_LOW_NOTE, by="sum")[0].T
    num_kept = math.ceil(classes.shape[1] / looks)
    classes = torch.nn.functional.pad(classes, (0, num_kept * looks - classes.shape[1]))
    classes = classes.unflatten(1, (num_kept, looks)).mean(dim=2)
    loudest = float(classes.norm(dim=0).max())
    standing_out = contrast(classes.T[None], floor=_FADE * max(loudest, 1e-6))[0].T
    return standing_out / standing_out.max().clamp_min(1e-6)
