"""The key of a sound, and how near two keys are.

In: a waveform. Out: a tonic (0 = C) and a mode. The profile sums the semitone energies of the whole
sound, folded over octaves; the key whose Krumhansl-Kessler profile correlates best wins.

Two keys are the same, or easily mistaken for each other, and score from 0 to 1:

    same                                1.0
    a fifth above the reference         0.5    (same mode)
    relative (C major, A minor)         0.3    they hold the same seven notes
    parallel (C major, C minor)         0.2
    any other                           0.0

Chance, over keys drawn evenly, is 2.0 / 24 = 0.083; songs agree more often than that, since some keys are
sung more than others: take chance from shuffled pairs.

Source: Krumhansl, "Cognitive Foundations of Musical Pitch" (1990), the probe-tone profiles; the weighted
score of MIREX's audio key detection, as mir_eval.key has it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hafm.errors import UsageError
from hafm.tokens.chroma import semitone_filters

__all__ = [
    "KEYS",
    "MAJOR_PROFILE",
    "MINOR_PROFILE",
    "Key",
    "estimate_key",
    "key_agreement",
    "key_correlations",
    "key_of_profile",
    "key_score",
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
    """`maj` or `min`."""

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


KEYS = tuple(Key(tonic, mode) for mode in ("maj", "min") for tonic in range(12))
"""All 24, majors first."""

_PROBES = np.stack(
    [np.roll(MAJOR_PROFILE if key.mode == "maj" else MINOR_PROFILE, key.tonic) for key in KEYS]
)
_PROBES = _PROBES - _PROBES.mean(axis=1, keepdims=True)
_PROBES = _PROBES / np.linalg.norm(_PROBES, axis=1, keepdims=True)


def key_correlations(profile: Float[Tensor, "12"]) -> NDArray[np.float64]:
    """How well the probe tones of each of `KEYS` go with a profile, -1 to 1; 0 where it is even."""
    centred = profile.double().numpy() - float(profile.double().mean())
    size = float(np.linalg.norm(centred))
    correlations: NDArray[np.float64] = _PROBES @ (centred / size if size >= 1e-9 else np.zeros(12))
    return correlations


def key_of_profile(profile: Float[Tensor, "12"]) -> Key:
    """The key whose probe-tone profile correlates best.

    >>> scale = torch.zeros(12)
    >>> scale[[2, 4, 6, 7, 9, 11, 1]] = 1.0
    >>> scale[[2, 9]] = 2.0
    >>> str(key_of_profile(scale))
    'D major'
    """
    return KEYS[int(key_correlations(profile).argmax())]


def estimate_key(waveform: Float[Tensor, " T"], sample_rate: int) -> Key:
    """The key of a whole sound."""
    return key_of_profile(pitch_class_profile(waveform, sample_rate))


def key_score(estimated: Key, reference: Key) -> float:
    """The credit of an estimated key.

    >>> c, a_minor, g = Key(0, "maj"), Key(9, "min"), Key(7, "maj")
    >>> key_score(c, c), key_score(g, c), key_score(c, g), key_score(a_minor, c)
    (1.0, 0.5, 0.0, 0.3)
    """
    if estimated == reference:
        return 1.0
    if estimated.mode == reference.mode:
        return 0.5 if (estimated.tonic - reference.tonic) % 12 == 7 else 0.0
    if estimated.same_notes(reference):
        return 0.3
    return 0.2 if estimated.tonic == reference.tonic else 0.0


def key_agreement(accompaniment: Float[Tensor, " T"], sample_rate: int, reference: Key) -> float | None:
    """The credit of the accompaniment's key, against that of the score or the vocal; None in silence."""
    return key_score(estimate_key(accompaniment, sample_rate), reference) if accompaniment.any() else None
