"""The true instrumental, through the codec: what the best imaginable model of a bundle would sound like.

In: clips. Out: their instrumentals, encoded and decoded with all codebooks.

The true instrumental itself needs no system: its sounds are written with the clips
(`hafm.evaluate.run.clips`).
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.resample import resample
from hafm.evaluate.systems.base import ClipSound, Kind, OnShare
from hafm.tokens.base import Codec

__all__ = ["CodecCeiling"]


class CodecCeiling:
    """Encodes and decodes the true instrumental.

    Args:
        codec: of the bundle.
        device: where it runs.
    """

    name = "codec"
    title = "true instrumental through the codec"
    kind: Kind = "ceiling"
    hears_vocal = False
    takes = 1
    batch_clips = 8

    def __init__(self, *, codec: Codec, device: torch.device | str = "cpu") -> None:
        self._codec = codec.to(device)
        self._device = device

    def identity(self) -> dict[str, Any]:
        """The codec's fingerprint."""
        return {"codec": self._codec.fingerprint()}

    @torch.inference_mode()
    def play(
        self, clips: Sequence[ClipSound], *, sample_rate: int, on_share: OnShare
    ) -> list[list[Float[Tensor, " T"]]]:
        """See `System`."""
        made = []
        for number, each in enumerate(clips):
            sound = resample(each.instrumental[None], sample_rate, self._codec.sample_rate)
            decoded = self._codec.decode(self._codec.encode(sound[None].to(self._device)))[0].cpu()
            made.append([resample(decoded, self._codec.sample_rate, sample_rate, len(each.vocal))[0]])
            on_share((number + 1) / len(clips))
        return made
