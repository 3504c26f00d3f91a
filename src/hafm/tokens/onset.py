"""Onset strength: how much louder each part of the spectrum just became.

In:  powers of 40 mel bands `[B, F, 40]` of sound at a known level. Out: strength in three bands `[B, F, 3]`.

    flux[f, m] = max(0, L[f, m] - max(L[f-2, m-1], L[f-2, m], L[f-2, m+1])),     L = log10(power + floor)

averaged over the low (up to about 270 Hz: kick), middle (to 2.2 kHz: snare, syllables) and high bands (hats,
consonants). Looking back two frames (40 ms) covers an attack that falls between two frames. Taking the
largest of three neighbouring bands before, as SuperFlux does, keeps vibrato from counting as onsets.

Source: Boeck and Widmer, "Maximum filter vibrato suppression for onset detection" (2013).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import max_pool1d

from hafm.tokens.spectrum import mel_filters

__all__ = ["ONSET_BANDS", "onset_mel_filters", "onset_strength"]

ONSET_BANDS = 3
NUM_MEL = 40
BORDERS = (4, 20)
LAG_FRAMES = 2
FLOOR_POWER = 1e-4


def onset_mel_filters(*, size: int, sample_rate: int) -> Float[Tensor, "bins 40"]:
    """The mel bands that `onset_strength` expects."""
    high_hz = min(11_500.0, sample_rate / 2)
    return mel_filters(size=size, sample_rate=sample_rate, num_bands=NUM_MEL, low_hz=40.0, high_hz=high_hz)


def onset_strength(powers: Float[Tensor, "B F 40"]) -> Float[Tensor, "B F 3"]:
    """Positive log-spectral flux in three bands; zero in the first two frames.

    >>> powers = torch.zeros(1, 6, 40)
    >>> powers[0, 3:, 30:] = 1.0                                    # a hiss begins in frame 3
    >>> onset_strength(powers)[0].round(decimals=1).tolist()[2:]
    [[0.0, 0.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]
    """
    logs = torch.log10(powers + FLOOR_POWER)
    before = max_pool1d(logs, kernel_size=3, stride=1, padding=1)
    flux = torch.zeros_like(logs)
    flux[:, LAG_FRAMES:] = (logs[:, LAG_FRAMES:] - before[:, : logs.shape[1] - LAG_FRAMES]).clamp_min(0)
    low, high = BORDERS
    return torch.stack(
        [flux[..., part].mean(dim=-1) for part in (slice(low), slice(low, high), slice(high, None))], dim=-1
    )
