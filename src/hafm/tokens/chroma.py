"""Which pitch classes sound: semitone powers, harmonics summed back to their fundamental, octaves folded.

In:  powers per semitone `[B, F, P]` (from `band_powers` with `semitone_filters`). Out: chroma `[B, F, 12]`, C
first.

1. *Harmonic sum.* A sung A3 has partials at A3, A4, E5, A5, C#6: of its own energy up to half lies outside
   its pitch class, and which half depends on the vowel. Adding the powers of the semitones where partials h =
   2..5 would lie, 12 log2(h) = 12, 19, 24, 28 semitones above, collects them where they belong:

       salience[p] = s[p] + 0.8 s[p+12] + 0.65 s[p+19] + 0.5 s[p+24] + 0.4 s[p+28],   s = sqrt(power)

2. *Folding* over octaves, by maximum for one voice (a subharmonic is never larger than its source, so the
   maximum ignores it), by sum for many instruments.
3. *Contrast.* What all twelve classes share is noise and is taken off; the rest is scaled to unit length,
   softly: a frame that is faint against the clip, or flat, goes to zero instead of to amplified noise.

Tuning is A4 = 440 Hz.

Source: harmonic summation after Hermes, "Measurement of pitch by subharmonic summation" (1988), on a semitone
grid.
"""

import functools

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["contrast", "fold_octaves", "harmonic_sum", "semitone_filters"]

HARMONICS = ((12, 0.8), (19, 0.65), (24, 0.5), (28, 0.4))
"""(semitones above the fundamental, weight) of partials 2 to 5."""

HARMONIC_SPAN = HARMONICS[-1][0]


def semitone_filters(
    *, size: int, sample_rate: int, low_note: int, high_note: int
) -> Float[Tensor, "bins P"]:
    """One triangle per semitone, two semitones wide at its foot but never narrower than two bins.

    Args:
        size: samples in the window.
        sample_rate: in hertz.
        low_note: MIDI number of the lowest semitone (69 = A4 = 440 Hz).
        high_note: MIDI number of the highest.

    Returns:
        `[size / 2 + 1, high_note - low_note + 1]`, peak weight 1.

    >>> filters = semitone_filters(size=8192, sample_rate=24_000, low_note=57, high_note=81)
    >>> int(filters[round(440 * 8192 / 24_000)].argmax()) + 57
    69
    """
    return _semitone_filters(size, sample_rate, low_note, high_note).clone()


@functools.lru_cache(maxsize=16)
def _semitone_filters(size: int, sample_rate: int, low_note: int, high_note: int) -> Float[Tensor, "bins P"]:
    bin_hz = sample_rate / size
    hz = torch.arange(size // 2 + 1, dtype=torch.float64)[:, None] * bin_hz
    centres_hz = 440 * 2 ** ((torch.arange(low_note, high_note + 1, dtype=torch.float64) - 69) / 12)
    half_widths_hz = (centres_hz * (2 ** (1 / 12) - 1)).clamp_min(bin_hz)
    return (1 - (hz - centres_hz).abs() / half_widths_hz).clamp_min(0).float()


def harmonic_sum(powers: Float[Tensor, "B F P"]) -> Float[Tensor, "B F P-28"]:
    """Salience of every semitone as a fundamental: its amplitude and those of its partials 2 to 5.

    Shape: `[B, F, P] -> [B, F, P - 28]`; the top 28 semitones serve only as partials.

    >>> powers = torch.zeros(1, 1, 60)
    >>> powers[0, 0, [30, 42, 49]] = 1.0                # a fundamental with partials 2 and 3
    >>> int(harmonic_sum(powers).argmax())
    30
    """
    amplitudes = powers.sqrt()
    count = amplitudes.shape[-1] - HARMONIC_SPAN
    salience = amplitudes[..., :count].clone()
    for semitones, weight in HARMONICS:
        salience += weight * amplitudes[..., semitones : semitones + count]
    return salience


def fold_octaves(salience: Float[Tensor, "B F P"], *, low_note: int, by: str) -> Float[Tensor, "B F 12"]:
    """One value a pitch class, C = 0, over all octaves.

    Args:
        salience: per semitone, not negative.
        low_note: MIDI number of the first semitone.
        by: `"max"` (one voice) or `"sum"` (many).

    Shape: `[B, F, P] -> [B, F, 12]`

    >>> salience = torch.zeros(1, 1, 24)
    >>> salience[0, 0, [0, 12]] = torch.tensor([1.0, 2.0])
    >>> fold_octaves(salience, low_note=57, by="sum")[0, 0, 9]     # A2 and A3
    tensor(3.)
    """
    below = low_note % 12
    above = -(below + salience.shape[-1]) % 12
    octaves = pad(salience, (below, above))
    octaves = octaves.reshape(*octaves.shape[:-1], -1, 12)
    if by == "max":
        return octaves.amax(dim=-2)
    if by == "sum":
        return octaves.sum(dim=-2)
    raise ValueError(f"octaves fold by 'max' or 'sum', not by {by!r}")


def contrast(
    values: Float[Tensor, "B F N"], *, floor: float, exponent: float = 1.0
) -> Float[Tensor, "B F N"]:
    """What rises above the mean of a frame, at most of unit length, near zero in faint or flat frames.

    Args:
        values: not negative, for sound levelled to a known RMS.
        floor: the length below which a frame fades: at it, half is left.
        exponent: above 1 sharpens.

    Shape: `[B, F, N] -> [B, F, N]`

    >>> contrast(torch.tensor([[[5.0, 1.0, 1.0, 1.0]]]), floor=1e-6).round(decimals=3)
    tensor([[[1., 0., 0., 0.]]])
    >>> contrast(torch.ones(1, 1, 4), floor=0.1).abs().max()
    tensor(0.)
    """
    above: Tensor = (values - values.mean(dim=-1, keepdim=True)).clamp_min(0).pow(exponent)
    length: Tensor = above.norm(dim=-1, keepdim=True)
    fading: float = floor**exponent
    return above / (length + fading)
