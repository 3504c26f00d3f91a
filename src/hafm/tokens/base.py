"""The two contracts of the token layer: what a codec and a semantic feature extractor must offer.

In:  waveforms, float, full scale = 1.0, at the part's own ``sample_rate`` (resample before).
Out: codes or features at exactly ``frame_rate`` frames per second.

Conventions that every implementation keeps:

* One rule for frame counts: ``F = ceil(T * frame_rate / sample_rate)``; an input is zero-padded at its end
  to whole frames, and ``F`` holds for every ``T >= 1``. Rates are exact, so ``frame_rate`` is a ``Fraction``.
* Codes are int64 ids below ``cardinality``, codebook 0 first and coarsest (residual quantisation), so any
  prefix of the codebooks decodes by itself.
* ``fingerprint()`` names configuration *and* weights. Ids of another codec look valid and mean nothing:
  bundles compare fingerprints and refuse a mismatch.

Source: sections 3.2 (tokenisation) and 3.3 (coarse = codebooks 1 to 4, fine = 5 to 8) of the HAFM paper. The
shape of the codec's contract follows what audio language models ask of one in general: rate, number of
codebooks, cardinality, encode, decode.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Protocol, Self, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor


@runtime_checkable
class Codec(Protocol):
    """Waveform to residual codes and back.

    Attributes:
        sample_rate: samples per second of what is encoded and decoded (24 000).
        frame_rate: frames per second (75); ``sample_rate / frame_rate`` is a whole number, the hop.
        num_codebooks: K, codebooks per frame (8).
        cardinality: entries per codebook (1024); ids are ``0 .. cardinality - 1``.
    """

    sample_rate: int
    frame_rate: Fraction
    num_codebooks: int
    cardinality: int

    def encode(self, waveform: Float[Tensor, "B 1 T"]) -> Int[Tensor, "B K F"]:
        """Codes of ``F = ceil(T * frame_rate / sample_rate)`` frames; the end is padded with zeros."""
        ...

    def decode(self, codes: Int[Tensor, "B k F"]) -> Float[Tensor, "B 1 T"]:
        """The waveform of the first ``k <= K`` codebooks (``k = 4`` is the coarse preview)."""
        ...

    def fingerprint(self) -> str:
        """SHA-256 (hex) of configuration and weights."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """The codec on ``device``."""
        ...


@runtime_checkable
class DecodesInPieces(Protocol):
    """A codec whose sound can be had while codes are still being made."""

    @property
    def lookahead_frames(self) -> int:
        """Frames of codes behind the end of a piece that its sound depends on."""
        ...

    def decode_pieces(
        self, codes: Int[Tensor, "B k F"], ends: Iterable[int]
    ) -> Iterator[Float[Tensor, "B 1 T"]]:
        """The waveform, piece by piece; codes are looked at up to ``lookahead_frames`` behind each end."""
        ...


@runtime_checkable
class SemanticFeatures(Protocol):
    """Waveform to the frame features that k-means turns into semantic tokens.

    Attributes:
        sample_rate: samples per second of the input (16 000 for HuBERT, 24 000 for the built-in features).
        frame_rate: frames per second (50).
        dim: D, length of one feature vector.
    """

    sample_rate: int
    frame_rate: Fraction
    dim: int

    def extract(self, waveform: Float[Tensor, "B T"]) -> Float[Tensor, "B F D"]:
        """Features of ``F = ceil(T * frame_rate / sample_rate)`` frames."""
        ...

    def fingerprint(self) -> str:
        """SHA-256 (hex) of whatever decides the features: configuration, and weights where there are any."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """The extractor on ``device``."""
        ...
