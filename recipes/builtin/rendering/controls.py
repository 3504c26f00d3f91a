"""What drives the vocoder: pitch, envelope, noise and loudness, 200 times per second.

Controls begin `LEAD_SECONDS` before the window, so that notes under way at its start are sounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FRAME_RATE = 200
LEAD_SECONDS = 1.0


def frame_at(seconds: float) -> int:
    """The frame of a time in the window; negative before the lead.

    >>> frame_at(0.0), frame_at(-1.0)
    (200, 0)
    """
    return round((seconds + LEAD_SECONDS) * FRAME_RATE)


@dataclass(frozen=True, kw_only=True)
class Controls:
    """What the vocoder needs, a frame every 5 ms.

    Attributes:
        pitch: MIDI pitch, fractional; defined in every frame. Shape [T].
        bands: natural log of the power spectrum at `voices.BAND_HZ`. Shape [T, 64].
        aperiodicity: share of noise at `voices.APERIODICITY_HZ`. Shape [T, 5].
        voiced: Shape [T].
        level_db: Shape [T]; -60 is silence.
    """

    pitch: npt.NDArray[np.float64]
    bands: npt.NDArray[np.float32]
    aperiodicity: npt.NDArray[np.float32]
    voiced: npt.NDArray[np.bool_]
    level_db: npt.NDArray[np.float32]


def smooth_noise(
    num_frames: int, width: int, rng: np.random.Generator, *, integrated: bool = False
) -> npt.NDArray[np.float64]:
    """Slow noise of unit deviation; `integrated` makes it a random walk held near 0."""
    noise = rng.normal(0.0, 1.0, num_frames)
    if integrated:
        walk = np.cumsum(noise)
        noise = walk - np.convolve(walk, np.ones(201) / 201, "same")
    smooth = np.convolve(noise, np.hanning(width), "same")[:num_frames]
    return np.asarray(smooth / (smooth.std() + 1e-9))
