"""An instrumental as material without end: played from any place, and joined to its own beginning at a bar.

In: an instrumental `[T]`, its pulse, and a place to begin. Out: as many samples as are wanted.

    instrumental   0 . a---|---|---|---|---|---|---|---b . D       a: the first stroke; b: whole bars later
    played         .....a--|---|---|---|---|---|---|---a---|---|---|---|...
                                                       seam: at b it goes on at a, over 30 ms

The seam lies on a stroke, so the beat goes on through it, and the part between a and b has a whole number of
bars of four strokes where it has room for one. Where the rest up to D is long enough there is no seam.
Without a pulse all of it repeats.

Convention: *unrolled* time runs from 0 and does not stop; up to b it is time in the instrumental.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from hafm.evaluate.retrieval.pulse import Pulse

__all__ = ["Loop"]

_BAR_BEATS = 4
_FADE_SECONDS = 0.03


@dataclass(frozen=True, kw_only=True)
class Loop:
    """The part of an instrumental that repeats.

    Args:
        start_seconds: its first stroke.
        end_seconds: where it goes back to `start_seconds`; after that.
        beat_seconds: from stroke to stroke; None without a pulse.
    """

    start_seconds: float
    end_seconds: float
    whole_seconds: float
    beat_seconds: float | None

    @classmethod
    def of(cls, pulse: Pulse | None, seconds: float) -> "Loop":
        """The longest loop of whole bars in an instrumental, the phase of whose pulse is that of the beat.

        >>> loop = Loop.of(Pulse(period_seconds=0.5, phase_seconds=0.2, strength=9.0), 11.0)
        >>> loop.start_seconds, loop.end_seconds
        (0.2, 10.2)
        """
        if pulse is not None:
            beat = pulse.beat_seconds
            start = pulse.phase_seconds % beat
            beats = math.floor((seconds - start) / beat)
            if beats > _BAR_BEATS:
                beats -= beats % _BAR_BEATS
            if beats >= 1:
                return cls(
                    start_seconds=start,
                    end_seconds=start + beats * beat,
                    whole_seconds=seconds,
                    beat_seconds=beat,
                )
        return cls(start_seconds=0.0, end_seconds=seconds, whole_seconds=seconds, beat_seconds=None)

    @property
    def seconds(self) -> float:
        """How long it takes until it repeats."""
        return self.end_seconds - self.start_seconds

    def begin(self, unrolled_seconds: float) -> float:
        """The place in the instrumental, at 0 or later, from which it plays on as from `unrolled_seconds`.

        >>> Loop(start_seconds=0.25, end_seconds=10.25, whole_seconds=11.0, beat_seconds=0.5).begin(-0.25)
        9.75
        """
        if 0 <= unrolled_seconds < self.end_seconds:
            return unrolled_seconds
        return self.start_seconds + (unrolled_seconds - self.start_seconds) % self.seconds

    def seams(self, begin_seconds: float, seconds: float) -> int:
        """How often it goes back, played for that long from `begin`."""
        end = begin_seconds + seconds
        return 0 if end <= self.whole_seconds else math.ceil((end - self.end_seconds) / self.seconds)

    def places(
        self, unrolled_seconds: NDArray[np.float64], *, last_seconds: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Where unrolled times, 0 or more, lie in the instrumental, if the playing ends at `last_seconds`."""
        looped = self.start_seconds + (unrolled_seconds - self.start_seconds) % self.seconds
        inside = (unrolled_seconds < self.end_seconds) | (last_seconds <= self.whole_seconds)
        return np.where(inside, unrolled_seconds, looped)

    def play(
        self, waveform: Float[Tensor, " T"], sample_rate: int, *, begin_seconds: float, num_samples: int
    ) -> Float[Tensor, " N"]:
        """The sound from a place on, for as long as wanted.

        `begin_seconds` is what `begin` gave; a little less than 0 gives silence up to 0.

        >>> ramp = torch.arange(100.0)
        >>> loop = Loop(start_seconds=0.0, end_seconds=10.0, whole_seconds=10.0, beat_seconds=None)
        >>> loop.play(ramp, 10, begin_seconds=9.5, num_samples=10).tolist()
        [95.0, 96.0, 97.0, 98.0, 99.0, 0.0, 1.0, 2.0, 3.0, 4.0]
        """
        half = round(_FADE_SECONDS / 2 * sample_rate)
        first = round(begin_seconds * sample_rate)
        last = first + num_samples
        seams = self.seams(begin_seconds, num_samples / sample_rate)
        # The n-th seam in samples of unrolled time; rounded one by one, so that no error adds up.
        ends = [round((self.end_seconds + n * self.seconds) * sample_rate) for n in range(seams)]
        # sin² + cos² = 1: two unlike sounds keep their power through the seam.
        angle = torch.pi / 2 * (torch.arange(2 * half) + 0.5) / max(1, 2 * half)
        output = torch.zeros(num_samples + 2 * half)  # with room for the fades of seams near the ends
        for start, end in zip([first, *ends], [*ends, last], strict=True):
            source = first if start == first else round(self.start_seconds * sample_rate)
            before, after = half * (start != first), half * (end != last)
            low, high = source - before, source + (end - start) + after
            part = pad(waveform[max(0, low) : max(0, high)], (max(0, -low), 0))
            part = pad(part, (0, high - low - len(part))).clone()
            length = min(2 * half, len(part))
            if before:
                part[:length] *= angle[:length].sin()
            if after:
                part[len(part) - length :] *= angle[2 * half - length :].cos()
            place = start - before - first + half
            output[place : place + len(part)] += part
        return output[half : half + num_samples]
