"""The mix bus: dry stems to the finished instrumental.

    dry          = sum of stems, at `DRY_RMS_DB` so that 16 bits hold every peak
    instrumental = tanh(gain * (dry + wet * reverb(dry)))

The settings are drawn apart from the signal (`draw_settings`) and are kept in a pair's ground truth, so that
the instrumental can be rebuilt from the stems: `apply(mix(stems), settings)` is the law that the tests hold.
The room is that of `hafm.data.tokenising.augment`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from hafm.data.tokenising.augment import SAMPLE_RATE, reverberate, room_response

__all__ = ["DRY_RMS_DB", "SAMPLE_RATE", "BusSettings", "apply", "draw_settings", "level_stems", "mix"]

Waveform = npt.NDArray[np.float32]

DRY_RMS_DB = -32.0


@dataclass(frozen=True, kw_only=True)
class BusSettings:
    """What the bus does.

    Attributes:
        reverb_seconds: time in which the room decays by 60 dB.
        wet: level of the room relative to the dry sound, linear.
        room_seed: which room; the noise comes from it.
        gain: linear, before the soft clip.
    """

    reverb_seconds: float
    wet: float
    room_seed: int
    gain: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def level_stems(stems: Mapping[str, Waveform]) -> dict[str, Waveform]:
    """Scale stems together so that their sum has an RMS of `DRY_RMS_DB`.

    Args:
        stems: name to waveform. Shape [T] each.

    Raises:
        ValueError: their sum is silent, so that no gain exists.
    """
    rms = np.sqrt(np.mean(mix(stems).astype(np.float64) ** 2))
    if not rms > 1e-6:
        raise ValueError("the instrumental is silent; choose another window")
    gain = np.float32(10 ** (DRY_RMS_DB / 20) / rms)
    return {name: stem * gain for name, stem in stems.items()}


def mix(stems: Mapping[str, Waveform]) -> Waveform:
    """The dry sum. Shape [T]."""
    return np.sum(list(stems.values()), axis=0, dtype=np.float32)


def draw_settings(rng: np.random.Generator) -> BusSettings:
    """Draw a room, and a gain that brings dry stems to a level of -22..-16 dBFS (RMS)."""
    return BusSettings(
        reverb_seconds=float(rng.uniform(0.3, 1.4)),
        wet=float(rng.uniform(0.03, 0.18)),
        room_seed=int(rng.integers(2**31)),
        gain=float(10 ** ((rng.uniform(-22.0, -16.0) - DRY_RMS_DB) / 20)),
    )


def apply(dry: Waveform, settings: BusSettings) -> Waveform:
    """Put the dry sum through the bus.

    Args:
        dry: Shape [T].

    Returns:
        The instrumental, within (-1, 1). Shape [T].
    """
    wet = dry + settings.wet * reverberate(dry, room_response(settings.reverb_seconds, settings.room_seed))
    return np.tanh(settings.gain * wet).astype(np.float32)
