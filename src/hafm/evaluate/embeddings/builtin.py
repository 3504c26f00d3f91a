"""An embedding that needs no weights: how loud each band is, how much it moves, and how fast.

In:  a mono waveform `[T]` at 24 kHz. Out: `[N, 128]`, one point for each whole 2 s, without overlap.

Its distances are in its own unit and have nothing to do with VGGish's: it hears timbre, density and rhythm,
not what is played. Hence its name, `hafm-mel-modulation`, which is given with each number. It is for
comparing systems where no published weights are at hand.

A point describes 200 frames of 10 ms, as levels in bels (log10 of power: a full-scale sine in a band is about
0, silence -8):

    32   mean level of each mel band, 60 Hz to 11 kHz
    32   its standard deviation over the frames
    64   modulation: 8 groups of four bands, each in 8 ranges of rate between 0.5 and 34 Hz

Modulation is the root of the power that the mean level of a group has in a range of rates: a sine of
amplitude A bels counts about A / sqrt(2), wherever its rate lies. The slow ranges hold bars and beats, the
middle ones notes, the fast ones tremolo and roughness. Level counts, as it does for VGGish: match it first
where it should not.

All in float32 without randomness; the same sound gives the same numbers on one machine.

Source: ours; modulation spectra of band levels after Dau et al., "Modeling auditory processing of amplitude
modulation" (1997).
"""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.evaluate.embeddings.base import WindowedEmbedding
from hafm.tokens.fingerprint import fingerprint
from hafm.tokens.spectrum import band_powers, mel_filters

__all__ = ["MelModulation"]

SAMPLE_RATE = 24_000
HOP_SAMPLES = 240
WINDOW_SAMPLES = 1024
NUM_BANDS = 32
LOW_HZ, HIGH_HZ = 60.0, 11_000.0
FRAMES = 200
NUM_GROUPS = 8
RATE_EDGES_HZ = (0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0)
FLOOR = 1e-8


class MelModulation(WindowedEmbedding):
    """The built-in embedding. It has no arguments, so that all of its numbers compare.

    >>> points = MelModulation().embed(torch.zeros(10 * 24_000))
    >>> points.shape, points[0, 0]
    ((5, 128), np.float32(-8.0))
    """

    name = "hafm-mel-modulation"
    sample_rate = SAMPLE_RATE
    dim = 2 * NUM_BANDS + NUM_GROUPS * (len(RATE_EDGES_HZ) - 1)

    window_samples = FRAMES * HOP_SAMPLES
    batch_windows = 1 << 20  # all of them: they are small
    _fingerprint = fingerprint(
        {
            "embedding": name,
            "version": 1,
            "sample_rate": SAMPLE_RATE,
            "hop_samples": HOP_SAMPLES,
            "window_samples": WINDOW_SAMPLES,
            "num_bands": NUM_BANDS,
            "range_hz": [LOW_HZ, HIGH_HZ],
            "frames": FRAMES,
            "num_groups": NUM_GROUPS,
            "rate_edges_hz": list(RATE_EDGES_HZ),
            "floor": FLOOR,
        }
    )

    def _rows(self, windows: Float[Tensor, "B window"]) -> Float[Tensor, "B D"]:
        filters = mel_filters(
            size=WINDOW_SAMPLES, sample_rate=SAMPLE_RATE, num_bands=NUM_BANDS, low_hz=LOW_HZ, high_hz=HIGH_HZ
        )
        # Each stretch by itself: a point does not know what sounds before and after it.
        levels = (band_powers(windows, filters, hop=HOP_SAMPLES) + FLOOR).log10()  # [N, 200, 32]
        return torch.cat((levels.mean(1), levels.std(1, correction=0), _modulation(levels)), dim=1)


def _modulation(levels: Float[Tensor, "N F bands"]) -> Float[Tensor, "N M"]:
    """Root of the power in each range of rates, of each group of bands: group by group, slow to fast."""
    count, frames, _ = levels.shape
    groups = levels.view(count, frames, NUM_GROUPS, -1).mean(-1)
    centred = groups - groups.mean(1, keepdim=True)
    window = torch.hann_window(frames)
    # By Parseval: 2 |X|^2 / (F sum w^2), summed over the bins around a sine's rate, is the sine's mean power.
    scale = 2 / (frames * window.square().sum())
    power = torch.fft.rfft(centred * window[:, None], dim=1).abs().square() * scale
    rates_hz = torch.arange(power.shape[1]) * (SAMPLE_RATE / HOP_SAMPLES / frames)
    ranges = [
        power[:, (rates_hz >= low) & (rates_hz < high)].sum(1)
        for low, high in itertools.pairwise(RATE_EDGES_HZ)
    ]
    return torch.stack(ranges, dim=2).sqrt().flatten(1)
