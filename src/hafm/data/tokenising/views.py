"""The waveforms of a track as the models get them.

In: a vocal and its instrumental, `[T]` each, at one rate. Out: both at the rates of the models; and views
of the vocal.

    stems at their rate --resample--> instrumental, at the rate of its features and of the codec
                    \\--resample--> vocal --level, noise--> view                           (paper 3.2)
                     \\--24 kHz--> augment --resample--> vocal --level, noise--> view      (augmented)

A *view* is one random draw of what sets a recording apart from the next: the noise of section 3.2, and
before it, where augmentation is asked for, everything in `augment.py`. Views of a vocal share its
instrumental, so the stages learn that the accompaniment does not depend on the microphone. A view is a pure
function of (seed, track id, number of the view).
"""

import hashlib
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.resample import resample
from hafm.data.tokenising.augment import SAMPLE_RATE as AUGMENT_RATE
from hafm.data.tokenising.augment import augment
from hafm.rates import frames_for
from hafm.tokens.level import prepare_vocal, set_active_rms

__all__ = ["SIDES", "RatedStems", "Side"]

Side: TypeAlias = Literal["vocal", "instrumental"]
SIDES: tuple[Side, Side] = ("vocal", "instrumental")


class RatedStems:
    """A track's stems at any rate; each rate is computed once.

    Args:
        vocal: mono, finite. Shape [T].
        instrumental: of the same length.
        sample_rate: of both, in hertz.

    >>> stems = RatedStems(vocal=torch.zeros(44_100), instrumental=torch.ones(44_100), sample_rate=44_100)
    >>> stems.at("vocal", 16_000).shape
    torch.Size([16000])
    """

    def __init__(
        self, *, vocal: Float[Tensor, " T"], instrumental: Float[Tensor, " T"], sample_rate: int
    ) -> None:
        self.sample_rate = sample_rate
        self.num_samples = len(vocal)
        self._waveforms: dict[tuple[Side, int], Tensor] = {
            ("vocal", sample_rate): vocal,
            ("instrumental", sample_rate): instrumental,
        }

    def at(self, side: Side, sample_rate: int) -> Float[Tensor, " T2"]:
        """A stem at a rate; a `ValueError` if it is not finite."""
        if (side, sample_rate) not in self._waveforms:
            original = self._waveforms[side, self.sample_rate]
            (resampled,) = resample(original[None], self.sample_rate, sample_rate)
            self._waveforms[side, sample_rate] = resampled
        return self._waveforms[side, sample_rate]

    def instrumental(self, sample_rate: int, *, rms: float | None) -> Float[Tensor, " T2"]:
        """The instrumental at a rate and, unless `rms` is None, at one level."""
        sound = self.at("instrumental", sample_rate)[None]
        return (sound if rms is None else set_active_rms(sound, rms, sample_rate=sample_rate))[0]

    def vocal_view(
        self, sample_rate: int, *, track_id: str, view: int, seed: int, sigma: float, augmented: bool
    ) -> Float[Tensor, " T2"]:
        """One view of the vocal, at a fixed level.

        Args:
            sigma: of the noise, once the vocal has an active RMS of -20 dBFS.
            augmented: False gives the vocal as it is, with the noise only.

        Shape: T2 = `ceil(T * sample_rate / rate of the stems)`
        """
        # hash() of a string differs from process to process; SHA-256 does not. File names may hold bytes that
        # are no text.
        digest = hashlib.sha256(f"{seed} {track_id} {view}".encode("utf-8", "surrogateescape")).digest()
        draws = np.random.default_rng(int.from_bytes(digest[:16], "little"))
        noise = torch.Generator().manual_seed(int.from_bytes(digest[16:23], "little"))
        if augmented:
            recorded = augment(
                self.at("vocal", AUGMENT_RATE).numpy(), self.at("instrumental", AUGMENT_RATE).numpy(), draws
            )
            wanted = frames_for(self.num_samples, sample_rate=self.sample_rate, frame_rate=sample_rate)
            sound = resample(torch.from_numpy(recorded)[None], AUGMENT_RATE, sample_rate, wanted)
        else:
            sound = self.at("vocal", sample_rate)[None]
        return prepare_vocal(sound, sample_rate=sample_rate, generator=noise, sigma=sigma)[0]
