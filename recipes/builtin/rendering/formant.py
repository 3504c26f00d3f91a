"""A parametric singer: a `Voice` computed from formants, with no recorded speech behind it.

In: a random generator and a register. Out: a `Voice` like those of the bank. Each draw is another singer:
vocal tract length, upper formants, glottal tilt and singer's formant vary, so that the training set holds as
many voices as pairs.

Source: envelopes are sums of two-pole resonances (Fant, 1960); vowel formants after Peterson & Barney, 1952.
"""

from __future__ import annotations

import numpy as np

from recipes.builtin.rendering.voices import BAND_HZ, HIGH_RANGE, LOW_RANGE, ONSETS, VOWELS, Segment, Voice

_VOWEL_FORMANTS_HZ = {
    "aa": (750, 1150, 2700),
    "ae": (700, 1700, 2500),
    "ah": (620, 1250, 2550),
    "ao": (560, 880, 2500),
    "eh": (560, 1800, 2550),
    "iy": (300, 2250, 3000),
    "ih": (400, 1980, 2600),
    "ow": (470, 900, 2450),
    "uw": (320, 850, 2300),
    "ey": (420, 2050, 2650),
    "ay": (680, 1350, 2550),
    "er": (480, 1300, 1700),
}
_UPPER_FORMANTS_HZ = np.array([3500.0, 4500.0, 5600.0, 7000.0, 8600.0])
_BANDWIDTHS_HZ = np.array([70.0, 90.0, 120.0, 200.0, 260.0, 350.0, 450.0, 600.0])

# Voiced onsets: formants, and how far (nepers of power) they lie below the vowel.
_VOICED_ONSETS = {
    "l": ((360, 1150, 2800), 1.2),
    "m": ((280, 1000, 2200), 2.5),
    "n": ((280, 1600, 2500), 2.5),
    "r": ((350, 1150, 1650), 1.2),
    "w": ((320, 700, 2300), 1.2),
    "y": ((290, 2250, 3000), 1.2),
    "d": ((280, 1700, 2600), 5.0),
    "b": ((280, 900, 2300), 5.0),
    "g": ((280, 1500, 2000), 5.0),
}
_SONORANTS = ("l", "m", "n", "r", "w", "y")

# Noise onsets: centre and width of the noise in Hz, level in nepers of power, frames.
_NOISE_ONSETS = {
    "s": (7500, 2200, -3.0, 11),
    "z": (7500, 2200, -3.2, 11),
    "sh": (3800, 1500, -2.6, 11),
    "ch": (3800, 1500, -2.3, 9),
    "f": (6000, 4000, -4.5, 11),
    "v": (6000, 4000, -5.0, 11),
    "t": (5500, 2500, -2.6, 6),
    "k": (2200, 1200, -2.0, 6),
    "p": (1200, 1500, -3.5, 5),
}
_PLOSIVES = ("t", "k", "p")
_VOICED_FRICATIVES = ("z", "v")
_ASPIRATION_FRAMES = 11

_VOWEL_FRAMES = 14
_VOWEL_NOISE = np.array([0.01, 0.04, 0.12, 0.30, 0.55])
_ONSET_NOISE = np.array([0.02, 0.05, 0.15, 0.35, 0.60])
_FRICATIVE_NOISE = np.array([0.3, 0.6, 0.9, 1.0, 1.0])
_FLOOR = -16.0


def formant_voice(rng: np.random.Generator, *, high: bool, name: str = "formant") -> Voice:
    """Draw a singer.

    Args:
        rng: source of the singer's traits.
        high: a high voice (short vocal tract) or a low one.
        name: the voice's name.

    Returns:
        A voice with all 20 x 12 syllables.
    """
    singer = _Tract(rng, high=high)
    bands, aperiodicity, voiced = [], [], []
    segments: dict[tuple[str, str], Segment] = {}
    position = 0
    for onset in ONSETS:
        for vowel in VOWELS:
            target = singer.vowel(vowel, rng)
            onset_bands, onset_noise, onset_voiced = _onset(onset, target, singer)
            vowel_bands = np.repeat(target[None], _VOWEL_FRAMES, axis=0)
            if len(onset_bands) and onset_voiced[-1]:  # glide out of a voiced onset
                glide = np.linspace(0.4, 1.0, 5)[:, None]
                vowel_bands[:5] = onset_bands[-1] * (1 - glide) + vowel_bands[:5] * glide
            bands += [onset_bands, vowel_bands]
            aperiodicity += [onset_noise, np.tile(_VOWEL_NOISE, (_VOWEL_FRAMES, 1))]
            voiced += [onset_voiced, np.ones(_VOWEL_FRAMES, bool)]
            middle = position + len(onset_bands)
            end = middle + _VOWEL_FRAMES
            segments[onset, vowel] = Segment(begin=position, vowel=middle, end=end)
            position = end
    return Voice(
        name=name,
        range_pitches=HIGH_RANGE if high else LOW_RANGE,
        warp_range=(0.95, 1.05),
        bands=np.concatenate(bands).astype(np.float32),
        aperiodicity=np.concatenate(aperiodicity).astype(np.float32),
        voiced=np.concatenate(voiced),
        segments=segments,
    )


class _Tract:
    """One singer's vocal tract and glottis."""

    def __init__(self, rng: np.random.Generator, *, high: bool) -> None:
        self.scale = rng.uniform(1.08, 1.22) if high else rng.uniform(0.90, 1.05)
        self._upper_hz = _UPPER_FORMANTS_HZ * self.scale * rng.uniform(0.95, 1.05)
        self._tilt = rng.uniform(4.0, 6.6)  # dB an octave above 350 Hz
        self._singers_formant_db = rng.uniform(0.0, 8.0)

    def vowel(self, vowel: str, rng: np.random.Generator) -> np.ndarray:
        formants_hz = np.array(_VOWEL_FORMANTS_HZ[vowel]) * self.scale * rng.uniform(0.97, 1.03, 3)
        return self._envelope(formants_hz, _BANDWIDTHS_HZ * rng.uniform(0.9, 1.2))

    def consonant(self, formants_hz: tuple[int, int, int]) -> np.ndarray:
        return self._envelope(np.array(formants_hz) * self.scale, _BANDWIDTHS_HZ * 1.4)

    def _envelope(self, formants_hz: np.ndarray, bandwidths_hz: np.ndarray) -> np.ndarray:
        """Log power, 0 at its maximum. A resonance at F of bandwidth B has power F^4 / ((f^2-F^2)^2 + (B
        f)^2)."""
        centre = np.concatenate([formants_hz, self._upper_hz])[:, None]
        f = BAND_HZ[None]
        power = centre**4 / ((f**2 - centre**2) ** 2 + (bandwidths_hz[:, None] * f) ** 2)
        db = 10 * np.log10(power).sum(axis=0)
        db -= self._tilt * np.log2(1 + BAND_HZ / 350)
        db += self._singers_formant_db * np.exp(-(((BAND_HZ - 3000 * self.scale) / 500) ** 2))
        db -= 2 * np.maximum(0.0, BAND_HZ - 7000) / 1000
        return (db - db.max()) * np.log(10) / 10


def _onset(onset: str, vowel: np.ndarray, singer: _Tract) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames of the consonant before a vowel: bands, aperiodicity, voiced."""
    if onset == "":
        return np.zeros((0, len(BAND_HZ))), np.zeros((0, 5)), np.zeros(0, bool)
    if onset in _VOICED_ONSETS:
        formants_hz, drop = _VOICED_ONSETS[onset]
        frames = 9 if onset in _SONORANTS else 5
        towards_vowel = 0.6 * np.linspace(0, 1, frames)[:, None] ** 2
        bands = (singer.consonant(formants_hz) - drop) * (1 - towards_vowel) + vowel * towards_vowel
        return bands, np.tile(_ONSET_NOISE, (frames, 1)), np.ones(frames, bool)
    if onset == "hh":
        frames, noise = _ASPIRATION_FRAMES, vowel - 3.5
    else:
        centre_hz, width_hz, level, frames = _NOISE_ONSETS[onset]
        noise = level - ((BAND_HZ - centre_hz) / width_hz) ** 2
    bands = np.maximum(noise, -14.0)[None] + np.linspace(-2, 0, frames)[:, None]
    if onset in _PLOSIVES:
        bands[: frames // 2] = _FLOOR  # the closure before the burst
    sings = onset in _VOICED_FRICATIVES
    noise_share = np.tile(_FRICATIVE_NOISE, (frames, 1)) if sings else np.ones((frames, 5))
    return bands, noise_share, np.full(frames, sings)
