"""Voices: banks of syllables as spectral envelopes, not as sound.

In: `voicebank_flite.npz` (per speaker the arrays ``b a v s`` described in `VoiceBank`). Out: `Voice`, from
which `sing` takes the frames of a syllable and `vocoder` makes a waveform at any pitch.

A voice knows its comfortable range and how far its formants may be shifted, so that one speaker lends several
singers. `RESERVED_VOICES` sing in the test split only.

The speakers are those of flite (slt, rms, awb, kal16; BSD-style licence), analysed with WORLD (Morise et al.,
2016): CheapTrick envelope in 64 mel bands, D4C aperiodicity at 5 frequencies, every 10 ms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recipes.builtin.rendering.voice_repair import repair_syllables

ONSETS = (
    "",
    "l",
    "m",
    "n",
    "d",
    "b",
    "g",
    "t",
    "k",
    "s",
    "sh",
    "f",
    "hh",
    "w",
    "y",
    "r",
    "z",
    "v",
    "ch",
    "p",
)
DIPHTHONGS = frozenset({"ow", "ey", "ay"})
VOWELS = ("aa", "ae", "ah", "ao", "eh", "iy", "ih", "ow", "uw", "ey", "ay", "er")

NUM_BANDS = 64
LOWEST_BAND_HZ, HIGHEST_BAND_HZ = 30.0, 12_000.0
APERIODICITY_HZ = np.array([500.0, 2000.0, 4000.0, 7000.0, 11_000.0])


def _band_frequencies() -> npt.NDArray[np.float64]:
    low, high = (1127.0 * np.log1p(hz / 700.0) for hz in (LOWEST_BAND_HZ, HIGHEST_BAND_HZ))
    return 700.0 * np.expm1(np.linspace(low, high, NUM_BANDS) / 1127.0)


BAND_HZ = _band_frequencies()
"""Frequencies at which envelopes are sampled: evenly spaced in mel. Shape [64]."""

_ARRAYS = ("b", "a", "v", "s")


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Where a syllable lies in a voice's frames: onset consonant [begin, vowel), vowel [vowel, end)."""

    begin: int
    vowel: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Voice:
    """Syllables of one singer, a frame every 10 ms.

    Attributes:
        name: identifies the voice in a pair's ground truth.
        range_pitches: lowest and highest comfortable MIDI pitch.
        warp_range: factors by which the formants may be shifted.
        bands: natural log of the power spectrum at `BAND_HZ`. Shape [T, 64].
        aperiodicity: share of noise in the amplitude at `APERIODICITY_HZ`, 0..1. Shape [T, 5].
        voiced: whether the vocal folds swing. Shape [T].
        segments: (onset, vowel), from `ONSETS` and `VOWELS`, to frames.
    """

    name: str
    range_pitches: tuple[int, int]
    warp_range: tuple[float, float]
    bands: npt.NDArray[np.float32]
    aperiodicity: npt.NDArray[np.float32]
    voiced: npt.NDArray[np.bool_]
    segments: Mapping[tuple[str, str], Segment]


@dataclass(frozen=True, kw_only=True)
class Singer:
    """A way to use a speaker of the bank."""

    speaker: str
    range_pitches: tuple[int, int]
    warp_range: tuple[float, float]


HIGH_RANGE, LOW_RANGE = (55, 77), (43, 67)

SINGERS: Mapping[str, Singer] = {
    "slt": Singer(speaker="slt", range_pitches=HIGH_RANGE, warp_range=(0.95, 1.12)),
    "rms": Singer(speaker="rms", range_pitches=LOW_RANGE, warp_range=(0.93, 1.06)),
    "kal": Singer(speaker="kal16", range_pitches=LOW_RANGE, warp_range=(0.93, 1.05)),
    "rms-high": Singer(speaker="rms", range_pitches=HIGH_RANGE, warp_range=(1.14, 1.24)),
    "awb": Singer(speaker="awb", range_pitches=LOW_RANGE, warp_range=(0.95, 1.08)),
    "awb-high": Singer(speaker="awb", range_pitches=HIGH_RANGE, warp_range=(1.12, 1.22)),
}

RESERVED_VOICES = frozenset({"awb", "awb-high"})


class VoiceBank:
    """The singers of a bank file.

    For each speaker the file holds ``b`` uint8 [T, 64] (log power, 12 steps a neper, 240 is the speaker's
    loud level), ``a`` uint8 [T, 5] (aperiodicity, 255 steps), ``v`` uint8 [T] and ``s`` int32 [S, 5] (begin,
    vowel, end, onset, vowel class).

    Args:
        path: the npz file.

    Raises:
        FileNotFoundError: nothing at `path`.
        ValueError: a speaker or an array is missing.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"no voice bank at {path}; pass voicebank_flite.npz with --voices")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        missing = [
            f"{speaker}/{array}"
            for speaker in sorted({singer.speaker for singer in SINGERS.values()})
            for array in _ARRAYS
            if f"{speaker}/{array}" not in arrays
        ]
        if missing:
            raise ValueError(f"{path} is not a complete voice bank: it lacks {', '.join(missing)}")
        self._arrays = arrays
        self._voices: dict[str, Voice] = {}

    def voice(self, name: str) -> Voice:
        """The voice of a singer; `name` is a key of `SINGERS`."""
        if name not in self._voices:
            self._voices[name] = self._load(name, SINGERS[name])
        return self._voices[name]

    def _load(self, name: str, singer: Singer) -> Voice:
        bands, aperiodicity, voiced, table = (self._arrays[f"{singer.speaker}/{array}"] for array in _ARRAYS)
        bands, aperiodicity, voiced, syllables = repair_syllables(
            bands.astype(np.float32) / 12.0 - 20.0,
            aperiodicity.astype(np.float32) / 255.0,
            voiced > 0,
            {
                (ONSETS[onset], VOWELS[vowel]): (int(begin), int(middle), int(end))
                for begin, middle, end, onset, vowel in table
            },
        )
        return Voice(
            name=name,
            range_pitches=singer.range_pitches,
            warp_range=singer.warp_range,
            bands=bands,
            aperiodicity=aperiodicity,
            voiced=voiced,
            segments={
                syllable: Segment(begin=begin, vowel=middle, end=end)
                for syllable, (begin, middle, end) in syllables.items()
            },
        )
