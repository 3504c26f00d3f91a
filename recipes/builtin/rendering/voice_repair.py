"""Make analysed speech fit to be held as a song: steady vowels, wherever the analysis lost the voice.

In: the frames of a speaker's bank and its syllables. Out: the same syllables on new frames.

The bank was cut from short spoken syllables. In up to 40 % of their vowel frames the pitch tracker lost the
voice (creak); there the envelope flutters with the pitch periods and the aperiodicity says noise. Spoken
vowels also fade by some 10 dB. Held for two seconds, both are heard at once. So, syllable by syllable:

1. a vowel keeps its longest run of tracked frames; if that is too little, it borrows the longest run that any
   syllable of the same vowel has;
2. the vowel's loudness is levelled from its onset on, and its envelope smoothed over 30 ms;
3. the vowel takes one aperiodicity throughout, the median of its frames, within limits.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Syllable = tuple[str, str]
"""(onset, vowel)."""
Bounds = tuple[int, int, int]
"""Frames: the onset is [begin, middle), the vowel [middle, end)."""

LEAST_TRACKED_SHARE = 0.75
LEAST_TRACKED_FRAMES = 3

_VOWEL_APERIODICITY_LIMIT = np.array([0.25, 0.4, 0.6, 0.8, 0.95], np.float32)
_LARGEST_CORRECTION = 3.0  # nepers of power, 13 dB


def repair_syllables(
    bands: npt.NDArray[np.float32],
    aperiodicity: npt.NDArray[np.float32],
    voiced: npt.NDArray[np.bool_],
    syllables: Mapping[Syllable, Bounds],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_], dict[Syllable, Bounds]]:
    """Rebuild all syllables.

    Args:
        bands: natural log of power. Shape [T, 64].
        aperiodicity: 0..1. Shape [T, 5].
        voiced: whether the tracker found a pitch. Shape [T].
        syllables: where each lies.

    Returns:
        New bands, aperiodicity, voiced and syllables. A syllable whose vowel was nowhere tracked is left out.
    """
    runs = {
        syllable: _longest_run(voiced[middle:end] & (aperiodicity[middle:end, 0] < 0.5), middle)
        for syllable, (_, middle, end) in syllables.items()
    }
    donors: dict[str, tuple[int, int]] = {}
    for (_, vowel), (first, after) in runs.items():
        best = donors.get(vowel, (0, 0))
        if after - first > best[1] - best[0]:
            donors[vowel] = first, after

    pieces: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    repaired: dict[Syllable, Bounds] = {}
    position = 0
    for syllable, (begin, middle, end) in syllables.items():
        first, after = runs[syllable]
        if after - first < max(LEAST_TRACKED_FRAMES, LEAST_TRACKED_SHARE * (end - middle)):
            first, after = donors.get(syllable[1], (0, 0))
        length = after - first
        if length < LEAST_TRACKED_FRAMES:
            continue
        noise = np.minimum(np.median(aperiodicity[first:after], axis=0), _VOWEL_APERIODICITY_LIMIT)
        pieces.append((bands[begin:middle], aperiodicity[begin:middle], voiced[begin:middle]))
        pieces.append((_steady(bands[first:after]), np.tile(noise, (length, 1)), np.ones(length, bool)))
        repaired[syllable] = position, position + middle - begin, position + middle - begin + length
        position = repaired[syllable][2]
    new_bands, new_aperiodicity, new_voiced = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return new_bands, new_aperiodicity.astype(np.float32), new_voiced, repaired


def _longest_run(flags: npt.NDArray[np.bool_], offset: int) -> tuple[int, int]:
    """First and last-plus-one index of the longest run of True, counted from `offset`.

    >>> _longest_run(np.array([True, False, True, True, False]), 10)
    (12, 14)
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    starts, stops = edges[0::2], edges[1::2]
    if not len(starts):
        return offset, offset
    longest = int(np.argmax(stops - starts))
    return offset + int(starts[longest]), offset + int(stops[longest])


def _steady(bands: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Level the loudness of a vowel after its first fifth, then smooth it over 3 frames. Keeps the shape."""
    loudness = np.log(np.exp(bands.astype(np.float64)).sum(axis=1))
    correction = np.clip(np.quantile(loudness, 0.7) - loudness, -_LARGEST_CORRECTION, _LARGEST_CORRECTION)
    settled = np.clip(np.arange(len(bands)) / max(1.0, 0.2 * len(bands)), 0.0, 1.0)
    levelled = bands + (settled * correction)[:, None]
    padded = np.pad(levelled, ((1, 1), (0, 0)), mode="edge")
    return ((padded[:-2] + padded[1:-1] + padded[2:]) / 3).astype(np.float32)
