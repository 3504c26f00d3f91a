"""The contract of an embedding: what a Fréchet audio distance needs to know of a sound.

In:  a mono waveform `[T]`, full scale 1.0. Out: N points of D numbers each, float32, in time order.

Conventions that every implementation keeps:

* N grows with the sound; what is left over at its end, too short for one more point, does not count.
* `embed` takes sound at the embedding's own `sample_rate`; `embed_sound` resamples first.
* A point depends on its own stretch of sound alone, and not on the batch that it went through.
* `name` is given with every distance: distances of different embeddings are different quantities.
* `fingerprint()` covers configuration and weights. Two sets whose fingerprints differ are not compared.
"""

import abc
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from hafm.audio.resample import resample
from hafm.errors import AudioContentError

__all__ = ["Embedding", "WindowedEmbedding", "embed_sound", "require_sound"]


@runtime_checkable
class Embedding(Protocol):
    """Waveform to points.

    Attributes:
        name: short, for tables; it says which weights, or that it needs none.
        sample_rate: samples per second of the input.
        dim: D, numbers per point.
    """

    name: str
    sample_rate: int
    dim: int

    def embed(self, waveform: Float[Tensor, " T"]) -> Float32[np.ndarray, "N D"]:
        """The points of one sound; AudioContentError where it is too short for one, or not finite."""
        ...

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the configuration, and of the weights where there are any."""
        ...


class WindowedEmbedding(abc.ABC):
    """An embedding that makes one point of each whole window of a sound, without overlap."""

    name: str
    sample_rate: int
    dim: int
    window_samples: int
    batch_windows = 8
    _fingerprint: str

    @torch.inference_mode()
    def embed(self, waveform: Float[Tensor, " T"]) -> Float32[np.ndarray, "N D"]:
        """See `Embedding`; N = `floor(T / window_samples)`."""
        span = self.window_samples
        require_sound(waveform, num_samples=span, sample_rate=self.sample_rate, name=self.name)
        count = len(waveform) // span
        windows = waveform[: count * span].detach().cpu().float().view(count, span)
        rows = torch.cat([self._rows(batch) for batch in windows.split(self.batch_windows)])
        points: Float32[np.ndarray, "N D"] = rows.cpu().numpy()
        return points

    @abc.abstractmethod
    def _rows(self, windows: Float[Tensor, "B window"]) -> Float[Tensor, "B D"]:
        """The points of some windows."""

    def fingerprint(self) -> str:
        """See `Embedding`."""
        return self._fingerprint


def embed_sound(
    embedding: Embedding, waveform: Float[Tensor, " T"], *, sample_rate: int
) -> Float32[np.ndarray, "N D"]:
    """The points of one sound, at whatever rate it comes; errors as of `Embedding.embed`.

    >>> from hafm.evaluate.embeddings.builtin import MelModulation
    >>> embed_sound(MelModulation(), torch.zeros(4 * 8000), sample_rate=8000).shape
    (2, 128)
    """
    _require_finite(waveform)
    return embedding.embed(resample(waveform[None], sample_rate, embedding.sample_rate)[0])


def require_sound(waveform: Float[Tensor, " T"], *, num_samples: int, sample_rate: int, name: str) -> None:
    """Refuses a sound that is not finite, or shorter than the `num_samples` of one point."""
    if len(waveform) < num_samples:
        raise AudioContentError(
            f"{len(waveform) / sample_rate:.3f} s of sound are too short for {name}, which needs "
            f"{num_samples / sample_rate:.3f} s for one embedding; give longer clips"
        )
    _require_finite(waveform)


def _require_finite(waveform: Float[Tensor, " T"]) -> None:
    if not bool(waveform.isfinite().all()):
        raise AudioContentError(
            "the sound holds NaN or infinity, so it cannot be embedded; make or render it again"
        )
