"""Whether the notes of the accompaniment go with the vocal, with the true backing, or with the chords.

In: waveforms `[T]` on one clock, or one and its chords. Out: a correlation (-1 to 1) or a share (0 to 1);
None where no frame holds notes. Waveforms have one sample or more, as many in both; sample rates are in
hertz, 8000 or more.

Chroma are those of `hafm.tokens.chroma`, 10 frames per second, averaged over a second: one note of a melody
says little, a second of them says which chord would do.

* `chroma_correlation`: Pearson's r of the twelve values of each frame in both, averaged over the frames in
  which both sound. Against a vocal, true pairs reach no more than chords share with melodies.
* `chord_tone_share`: how much of the accompaniment's chroma lies on the tones of the chord that the score has
  at that time. Playing all twelve notes evenly gives a quarter for triads.

Source: chroma after Fujishima, "Realtime chord recognition of musical sound" (1999); the use is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv1d, pad

from hafm.errors import UsageError
from hafm.tokens.chroma import HARMONIC_SPAN, contrast, fold_octaves, harmonic_sum, semitone_filters
from hafm.tokens.level import set_active_rms
from hafm.tokens.spectrum import band_powers, window_samples

__all__ = ["Chord", "chord_tone_share", "chroma_correlation", "chroma_frames", "chroma_of", "tone_share"]

_FRAMES_PER_SECOND = 10
_WINDOW_SECONDS = 8192 / 24_000
_SMOOTHING_FRAMES = 11
_LOW_NOTE, _HIGH_NOTE = 45, 84
_REFERENCE_RMS = 0.1
_FLOOR = 0.1  # at it a frame has faded by half, as in the instrumental features of `hafm.tokens.spectral`
_SOUNDS = 0.3  # length of a chroma (at most 1) that counts as holding notes


@dataclass(frozen=True, kw_only=True)
class Chord:
    """A chord of the score and its tones (C is 0), none where no chord sounds; UsageError if impossible."""

    start_seconds: float
    end_seconds: float
    pitch_classes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.start_seconds < self.end_seconds:
            raise UsageError(
                f"a chord ends after it begins, not {self.start_seconds} to {self.end_seconds} s"
            )
        if not all(0 <= pitch_class < 12 for pitch_class in self.pitch_classes):
            raise UsageError(f"pitch classes are 0 (C) to 11 (B), not {self.pitch_classes}")


@torch.no_grad()
def chroma_of(waveform: Float[Tensor, " T"], sample_rate: int) -> Float[Tensor, "F 12"]:
    """What sounds in each tenth of a second, C first; of length 0 (no class is prominent) to 1.

    >>> a4 = torch.sin(2 * torch.pi * 440 * torch.arange(24_000) / 24_000)
    >>> chroma_of(a4, 24_000)[5].argmax()
    tensor(9)
    """
    return contrast(_average(chroma_frames(waveform, sample_rate)[0])[None], floor=_FLOOR)[0]


@torch.no_grad()
def chroma_frames(
    waveform: Float[Tensor, " T"],
    sample_rate: int,
    *,
    low_note: int = _LOW_NOTE,
    high_note: int = _HIGH_NOTE,
    window_seconds: float = _WINDOW_SECONDS,
    frames_per_second: int = _FRAMES_PER_SECOND,
) -> Float[Tensor, "1 F 12"]:
    """Salience of each pitch class, C first, before averaging and contrast; low and high are fundamentals."""
    filters = semitone_filters(
        size=window_samples(window_seconds, sample_rate),
        sample_rate=sample_rate,
        low_note=low_note,
        high_note=high_note + HARMONIC_SPAN,
    )
    sound = set_active_rms(waveform[None].float(), _REFERENCE_RMS, sample_rate=sample_rate)
    salience = harmonic_sum(band_powers(sound, filters, hop=sample_rate // frames_per_second))
    return fold_octaves(salience, low_note=low_note, by="sum")


def chroma_correlation(
    reference: Float[Tensor, " T"], accompaniment: Float[Tensor, " T"], sample_rate: int
) -> float | None:
    """Mean over time of the correlation of two chroma; the reference is the vocal, or the true backing.

    >>> t = torch.arange(24_000) / 24_000
    >>> c, e = (torch.sin(2 * torch.pi * hz * t) for hz in (261.63, 329.63))
    >>> chroma_correlation(c, c, 24_000) > 0.99 > 0.1 > chroma_correlation(c, e, 24_000)
    True
    """
    first, second = chroma_of(reference, sample_rate), chroma_of(accompaniment, sample_rate)
    both = _sounds(first) & _sounds(second)
    if not both.any():
        return None
    first, second = (chroma[both] - chroma[both].mean(dim=1, keepdim=True) for chroma in (first, second))
    return float(torch.cosine_similarity(first, second, dim=1).mean())


def chord_tone_share(
    accompaniment: Float[Tensor, " T"], sample_rate: int, chords: Sequence[Chord]
) -> float | None:
    """Mean over time of the share of the chroma that lies on the tones of the chord.

    >>> a4 = torch.sin(2 * torch.pi * 440 * torch.arange(24_000) / 24_000)
    >>> minor = [Chord(start_seconds=0.0, end_seconds=1.0, pitch_classes=(n, (n + 3) % 12, (n + 7) % 12))
    ...     for n in range(12)]
    >>> chord_tone_share(a4, 24_000, minor[9:10]) > 0.7 > 0.1 > chord_tone_share(a4, 24_000, minor[10:11])
    True
    """
    return tone_share(chroma_of(accompaniment, sample_rate), chords)


def tone_share(chroma: Float[Tensor, "F 12"], chords: Sequence[Chord]) -> float | None:
    """See `chord_tone_share`; the chroma has ten frames per second, of length up to 1."""
    seconds = (torch.arange(len(chroma)) + 0.5) / _FRAMES_PER_SECOND
    tones = torch.zeros_like(chroma)
    for chord in chords:
        during = (seconds >= chord.start_seconds) & (seconds < chord.end_seconds)
        for pitch_class in chord.pitch_classes:
            tones[during, pitch_class] = 1.0
    counted = tones.any(dim=1) & _sounds(chroma)
    if not counted.any():
        return None
    share = (chroma * tones).sum(dim=1)[counted] / chroma.sum(dim=1)[counted]
    return float(share.mean())


def _sounds(chroma: Tensor) -> Tensor:
    length: Tensor = chroma.norm(dim=1)
    return length > _SOUNDS


def _average(values: Tensor) -> Tensor:
    """Hann average over a second; near the ends over what there is."""
    kernel = torch.hann_window(_SMOOTHING_FRAMES + 2, periodic=False)[1:-1][None, None]
    half = _SMOOTHING_FRAMES // 2
    summed = conv1d(pad(values.T[:, None], (half, half)), kernel)
    weight = conv1d(pad(torch.ones(1, 1, len(values)), (half, half)), kernel)
    return (summed / weight)[:, 0].T
