"""Where a voice sings, and how loud: what a band listens to.

In: a vocal. Out: its level in time, and the rests in which others may play.

Conventions: frames of 50 ms. The voice sings where it is within 30 dB of its loud passages (the 95th
percentile); gaps shorter than 0.3 s are breath and consonants, and count as singing.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Voice"]

_FRAMES_PER_SECOND = 20
_LOUD_PERCENTILE, _RANGE_DB, _FLOOR_DB = 95, 30.0, -70.0
_BREATH_SECONDS = 0.3


class Voice:
    """A voice, mono, of one sample or more, listened to."""

    def __init__(self, waveform: Float[Tensor, " T"], sample_rate: int) -> None:
        samples = waveform.detach().cpu().double().numpy()
        size = max(1, sample_rate // _FRAMES_PER_SECOND)
        padded = np.pad(samples, (0, -len(samples) % size)).reshape(-1, size)
        self._rate = sample_rate / size
        self._level_db = 10 * np.log10(np.mean(padded**2, axis=1) + 1e-12)
        loud = float(np.percentile(self._level_db, _LOUD_PERCENTILE))
        sings = self._level_db > max(loud - _RANGE_DB, _FLOOR_DB)
        self._loud_db = loud
        self._sings = _closed(sings, round(_BREATH_SECONDS * self._rate))

    @property
    def entry_seconds(self) -> float:
        """When it begins to sing; 0 if it never does."""
        return float(np.argmax(self._sings) / self._rate)

    def sung_share(self, start_seconds: float, end_seconds: float) -> float:
        """How much of a stretch it sings, 0 to 1."""
        frames = self._sings[self._between(start_seconds, end_seconds)]
        return float(frames.mean()) if len(frames) else 0.0

    def level_db(self, start_seconds: float, end_seconds: float) -> float | None:
        """Its level while it sings, in dB full scale; None where it hardly does."""
        place = self._between(start_seconds, end_seconds)
        sung = self._level_db[place][self._sings[place]]
        if len(sung) < self._rate / 4:
            return None
        return float(10 * np.log10(np.mean(10 ** (sung / 10))))

    def fullness(self, start_seconds: float, end_seconds: float) -> float:
        """How steadily and how loud it sings in a stretch: 0 (silent) to 1 (always at its loudest).

        The mean over the frames of their level, from 30 dB below the loud passages up to these.
        """
        level_db = self._level_db[self._between(start_seconds, end_seconds)]
        if not len(level_db):
            return 0.0
        return float(np.clip((level_db - self._loud_db) / _RANGE_DB + 1, 0, 1).mean())

    def rests(self, start_seconds: float, end_seconds: float) -> Sequence[tuple[float, float]]:
        """The stretches between in which it does not sing, in seconds."""
        silent = ~self._sings[self._between(start_seconds, end_seconds)]
        edges = np.flatnonzero(np.diff(np.concatenate([[False], silent, [False]]).astype(int)))
        first = self._between(start_seconds, end_seconds).start
        times = np.clip((first + edges) / self._rate, start_seconds, end_seconds).reshape(-1, 2)
        return [(float(begin), float(end)) for begin, end in times]

    def _between(self, start_seconds: float, end_seconds: float) -> slice:
        first = max(0, int(start_seconds * self._rate))
        return slice(first, max(first, int(np.ceil(end_seconds * self._rate))))


def _closed(sings: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """Short gaps between singing filled in.

    >>> _closed(np.array([0, 1, 0, 1, 0, 0, 0, 1]) > 0, 2).astype(int).tolist()
    [0, 1, 1, 1, 0, 0, 0, 1]
    """
    closed = sings.copy()
    sung = np.flatnonzero(sings)
    for before, after in pairwise(sung):
        if after - before - 1 <= most:
            closed[before:after] = True
    return closed
