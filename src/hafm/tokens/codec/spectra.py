"""What the encoder sees and what the decoder says: levels and phase advances of one window or of two.

In:  magnitudes, or the numbers that the decoder's last layer gives. Out: `Views`, `Prediction`.

Conventions: a level is log10 of a magnitude, so 0.05 is 1 dB; a full-scale sine has level 0. An advance is
what a bin's phase turns from the frame before, beyond its centre frequency (`phase`).
"""

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

__all__ = ["Prediction", "Views", "level_of", "magnitude_of"]

FLOOR = 1e-6
"""Magnitude (-120 dB under a full-scale sine) below which levels no longer follow."""

HIGHEST_LEVEL = 1.0
"""A full-scale sine has level 0; more than +20 dB is never right, whatever codes came in."""


class Views(NamedTuple):
    """What the encoder looks at."""

    spectrum: Complex[Tensor, "B F bins"]
    low_spectrum: Complex[Tensor, "B F lows"] | None = None
    """Of the long window."""
    low_advance: Float[Tensor, "B F lows"] | None = None
    """Its phase advances from the frame before."""


class Prediction(NamedTuple):
    """What the decoder says about every frame and bin of one window."""

    level: Float[Tensor, "B F bins"]
    """log10 of the magnitude (see `level_of`)."""
    direction: Float[Tensor, "B F bins 2"]
    """(cos, sin) of the phase advance, up to a positive factor, which says how sure it is."""
    lows: "Prediction | None" = None
    """The same of the long window."""

    @classmethod
    def of_values(
        cls, values: Float[Tensor, "B F values"], level_mean: Float[Tensor, " bins"]
    ) -> "Prediction":
        """What the decoder's last layer says of one window: levels (above their mean), cosines, sines."""
        level, cosine, sine = values.chunk(3, dim=-1)
        return cls((level + level_mean).clamp_max(HIGHEST_LEVEL), torch.stack((cosine, sine), dim=-1))

    @classmethod
    def of_truth(
        cls, spectrum: Complex[Tensor, "B F bins"], advance: Float[Tensor, "B F bins"]
    ) -> "Prediction":
        """The prediction that is right, and sure of it."""
        return cls(level_of(spectrum.abs()), torch.stack((advance.cos(), advance.sin()), dim=-1))

    def tonality(self) -> Float[Tensor, "B F bins"]:
        """Length of the direction: near 1 in a partial, near 0 in noise."""
        length: Tensor = self.direction.norm(dim=-1)
        return length

    def frames(self, kept: slice) -> "Prediction":
        """Some of the frames."""
        lows = None if self.lows is None else self.lows.frames(kept)
        return Prediction(self.level[:, kept], self.direction[:, kept], lows)

    def advance(self) -> Float[Tensor, "B F bins"]:
        """Radians that the phase turns from the frame before, beyond the bin's centre frequency."""
        return torch.atan2(self.direction[..., 1], self.direction[..., 0])


def level_of(magnitude: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """log10 of magnitude, flat below -120 dB.

    >>> level_of(torch.tensor([0.1, 0.001, 0.0]))
    tensor([-1.0000, -2.9996, -6.0000])
    """
    return torch.log10(magnitude + FLOOR)


def magnitude_of(level: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The inverse of `level_of`, 0 for anything below its floor.

    >>> magnitude_of(level_of(torch.tensor([0.5, 0.0])))
    tensor([0.5000, 0.0000])
    """
    return (torch.pow(10.0, level) - FLOOR).clamp_min(0.0)
