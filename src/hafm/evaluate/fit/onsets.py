"""Whether the accompaniment's attacks come together with the singer's syllables.

In: waveforms `[T]` on one clock. Out: where their onset strengths correlate best (a lag in seconds, above 0
where the accompaniment is late) and how well (Pearson's r there).

Onset strength is that of `hafm.tokens.onset`, 100 frames per second, its three bands added up. Lags go
up to 0.3 s: beyond that lies the next eighth note, and music repeats. The lag of one clip is coarse,
since singers lead and drag and attacks fall on beats that syllables leave out; that of many clips says more.

Source: ours; the strength after Boeck and Widmer (2013).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.tokens.level import set_active_rms
from hafm.tokens.onset import onset_mel_filters, onset_strength
from hafm.tokens.spectrum import band_powers, window_samples

__all__ = ["ONSET_FRAMES_PER_SECOND", "OnsetAlignment", "align_onsets", "onset_envelope"]

ONSET_FRAMES_PER_SECOND = 100
_WINDOW_SECONDS = 1024 / 24_000
_MOST_LAG_SECONDS = 0.3
_REFERENCE_RMS = 0.1


@dataclass(frozen=True, kw_only=True)
class OnsetAlignment:
    """How much later the second onsets come where both strengths correlate best, and Pearson's r there."""

    lag_seconds: float
    correlation: float


@torch.no_grad()
def onset_envelope(waveform: Float[Tensor, " T"], sample_rate: int) -> Float[Tensor, " F"]:
    """Onset strength in each hundredth of a second; 0 where nothing begins.

    The largest value is about where the sound begins: a window of 43 ms sees it half a window early, and
    the strength peaks when most of it is in.

    Args:
        sample_rate: in hertz, a multiple of 100 (other rates are rounded to one, and times by as much).

    >>> click = torch.zeros(24_000).index_fill(0, torch.tensor(12_000), 1.0)
    >>> abs(int(onset_envelope(click, 24_000).argmax()) - 50) <= 2
    True
    """
    filters = onset_mel_filters(size=window_samples(_WINDOW_SECONDS, sample_rate), sample_rate=sample_rate)
    sound = set_active_rms(waveform[None].float(), _REFERENCE_RMS, sample_rate=sample_rate)
    powers = band_powers(sound, filters, hop=sample_rate // ONSET_FRAMES_PER_SECOND)
    return onset_strength(powers)[0].sum(dim=1)


def align_onsets(
    vocal: Float[Tensor, " T"], accompaniment: Float[Tensor, " T"], sample_rate: int
) -> OnsetAlignment | None:
    """How much later than the vocal's the accompaniment's onsets come; None where one of them has none.

    Both last a second or more, so that lags differ.

    >>> clicks = torch.zeros(48_000).index_fill(0, torch.tensor([6_000, 20_000, 31_000]), 1.0)
    >>> align_onsets(clicks, clicks.roll(2_400), 24_000).lag_seconds
    0.1
    """
    first, second = onset_envelope(vocal, sample_rate), onset_envelope(accompaniment, sample_rate)
    first, second = first - first.mean(), second - second.mean()
    size = float(first.norm() * second.norm())
    if size == 0:
        return None
    most = min(round(_MOST_LAG_SECONDS * ONSET_FRAMES_PER_SECOND), len(first) - 1)
    # r[lag] = sum over f of first[f] * second[f + lag], by one FFT with room for all lags
    length = 2 * len(first)
    spectra = torch.fft.rfft(first, length).conj() * torch.fft.rfft(second, length)
    circular = torch.fft.irfft(spectra, length)
    lags = torch.arange(-most, most + 1)
    correlations = circular[lags] / size
    best = int(correlations.argmax())
    return OnsetAlignment(
        lag_seconds=int(lags[best]) / ONSET_FRAMES_PER_SECOND, correlation=float(correlations[best])
    )
