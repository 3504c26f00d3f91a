"""The key of a sound: its pitch-class profile against the profiles of the 24 major and minor keys.

In: a waveform. Out: a tonic (0 = C) and a mode. The profile sums the semitone energies of the whole
sound, folded over octaves; the key whose Krumhansl-Kessler profile correlates best wins.

Two answers are compared exactly, or up to what a listener can hardly tell apart in a short clip:
C major and A minor hold the same seven notes (``same_notes``).

Source: Krumhansl, "Cognitive Foundations of Musical Pitch" (1990), the probe-tone profiles.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.errors import UsageError
from hafm.tokens.chroma import semitone_filters

__all__ = [
    "MAJOR_PROFILE",
    "MINOR_PROFILE",
    "Key",
    "estimate_key",
    "key_of_profile",
    "pitch_class_profile",
]

MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR_PROFILE = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
"""How well each pitch class above the tonic was felt to fit, in major and in minor."""
_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")

_WINDOW = 8192
_LOW_NOTE, _HIGH_NOTE = 36, 84  # C2 to C6: below and above, partials outnumber notes


@dataclass(frozen=True)
class Key:
    """A key.

    >>> Key(9, "min").same_notes(Key(0, "maj")), str(Key(9, "min"))
    (True, 'A minor')
    """

    tonic: int
    """Pitch class, 0 = C."""
    mode: str
    """``maj`` or ``min``."""

    def __post_init__(self) -> None:
        if not 0 <= self.tonic < 12 or self.mode not in ("maj", "min"):
            raise UsageError(
                f"A key has a tonic of 0 to 11 and mode maj or min, not {self.tonic} {self.mode}."
            )

    @property
    def signature(self) -> int:
        """The tonic of the major key with the same notes."""
        return self.tonic if self.mode == "maj" else (self.tonic + 3) % 12

    def same_notes(self, other: "Key") -> bool:
        """Whether both hold the same seven notes."""
        return self.signature == other.signature

    def __str__(self) -> str:
        return f"{_NAMES[self.tonic]} {'major' if self.mode == 'maj' else 'minor'}"


def pitch_class_profile(waveform: Float[Tensor, " T"], sample_rate: int) -> Float[Tensor, "12"]:
    """How much of every pitch class sounds, C first, summing to 1 (all 0 in silence).

    Amplitudes, not powers, are summed, so that one loud note does not decide alone.
    """
    window = torch.hann_window(_WINDOW)
    padded = torch.nn.functional.pad(waveform, (0, max(0, _WINDOW - waveform.shape[0])))
    spectrum = torch.stft(
        padded, _WINDOW, hop_length=_WINDOW // 4, window=window, center=False, return_complex=True
    ).abs()
    filters = semitone_filters(
        size=_WINDOW, sample_rate=sample_rate, low_note=_LOW_NOTE, high_note=_HIGH_NOTE
    )
    amplitude = (filters.T @ spectrum).mean(1)
    profile = torch.zeros(12)
    for offset, value in enumerate(amplitude):
        profile[(_LOW_NOTE + offset) % 12] += value
    total = profile.sum()
    return profile / total if total > 0 else profile


def key_of_profile(profile: Float[Tensor, "12"]) -> Key:
    """The key whose probe-tone profile correlates best.

    >>> scale = torch.zeros(12)
    >>> scale[[2, 4, 6, 7, 9, 11, 1]] = 1.0
    >>> scale[[2, 9]] = 2.0
    >>> str(key_of_profile(scale))
    'D major'
    """
    keys = [Key(tonic, mode) for mode in ("maj", "min") for tonic in range(12)]
    probes = np.stack(
        [np.roll(MAJOR_PROFILE if key.mode == "maj" else MINOR_PROFILE, key.tonic) for key in keys]
    )
    probes = probes - probes.mean(1, keepdims=True)
    centred = profile.double().numpy() - float(profile.mean())
    scores = probes @ centred / np.linalg.norm(probes, axis=1)
    return keys[int(scores.argmax())]


def estimate_key(waveform: Float[Tensor, " T"], sample_rate: int) -> Key:
    """The key of a whole sound."""
    return key_of_profile(pitch_class_profile(waveform, sample_rate))
