"""All that turns the sound of a pair into ids, with a stopwatch.

In:  views of vocals, and instrumentals, of one length. Out: semantic tokens at 50 Hz and codes at 75 Hz.

    vocal views   --------------> features --k-means--> [views, T50]
    instrumental  --to one level-+-> features --k-means--> [T50]
                                 +-> codec --------------> [K, T75]

Instrumentals are brought to an active RMS of `INSTRUMENTAL_RMS`, so that the codes do not spend themselves on
recording levels; the built-in model therefore generates at that level.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hafm.tokens.base import Codec, SemanticFeatures
from hafm.tokens.kmeans import KMeans
from hafm.tokens.level import set_active_rms
from hafm.tokens.spectral import INSTRUMENTAL, VOCAL, SpectralFeatures
from hafm.tokens.vocal_noise import NOISE_SIGMA, VOCAL_RMS

__all__ = ["INSTRUMENTAL_RMS", "SemanticIds", "Tokeniser"]

INSTRUMENTAL_RMS = 0.1


@dataclass(frozen=True, kw_only=True)
class SemanticIds:
    """Semantic tokens of one pair.

    Attributes:
        vocal: Shape [views, T50].
        instrumental: Shape [T50].
    """

    vocal: NDArray[np.uint16]
    instrumental: NDArray[np.uint16]


@dataclass(kw_only=True)
class Tokeniser:
    """Features, k-means and codec.

    Attributes:
        vocal_features: of vocals.
        vocal_kmeans: fitted on them.
        instrumental_features: of instrumentals.
        instrumental_kmeans: fitted on them.
        codec: of instrumentals.
        device: where all of them run.
        spent: seconds by stage, summed over calls.
    """

    vocal_features: SemanticFeatures
    vocal_kmeans: KMeans
    instrumental_features: SemanticFeatures
    instrumental_kmeans: KMeans
    codec: Codec
    device: str = "cpu"
    spent: Counter[str] = field(default_factory=Counter)

    @classmethod
    def load(cls, *, codec: Path, kmeans: Path, device: str) -> Tokeniser:
        """The built-in tokeniser from files.

        Args:
            codec: folder of the codec.
            kmeans: folder of the two k-means files.
            device: "cpu" or "cuda".

        Raises:
            HafmError: a part is missing, damaged, or made for other features.
        """
        from hafm.tokens.codec.model import SpectralCodec

        vocal, instrumental = SpectralFeatures(VOCAL), SpectralFeatures(INSTRUMENTAL)

        def vocabulary(name: str, features: SpectralFeatures) -> KMeans:
            path = kmeans / f"kmeans_{name}.safetensors"
            return KMeans.load(path, feature_fingerprint=features.fingerprint()).to(device)

        return cls(
            vocal_kmeans=vocabulary("vocal", vocal),
            instrumental_kmeans=vocabulary("instrumental", instrumental),
            vocal_features=vocal.to(device),
            instrumental_features=instrumental.to(device),
            codec=SpectralCodec.load(codec).to(device),
            device=device,
        )

    def made_by(self) -> dict[str, Any]:
        """Fingerprints and levels that decide the ids."""
        return {
            "vocal_features": self.vocal_features.fingerprint(),
            "vocal_kmeans": self.vocal_kmeans.fingerprint(),
            "instrumental_features": self.instrumental_features.fingerprint(),
            "instrumental_kmeans": self.instrumental_kmeans.fingerprint(),
            "codec": self.codec.fingerprint(),
            "instrumental_rms": INSTRUMENTAL_RMS,
            "vocal_rms": VOCAL_RMS,
            "noise_sigma": NOISE_SIGMA,
        }

    @torch.no_grad()
    def semantic(
        self, vocals: Sequence[NDArray[np.float32]], instrumentals: Sequence[NDArray[np.float32]]
    ) -> list[SemanticIds]:
        """Semantic tokens of pairs of one length.

        Args:
            vocals: views of each pair. Shape [views, T] each.
            instrumentals: at any level. Shape [T] each.
        """
        num_views = vocals[0].shape[0]
        with self._timed("vocal features"):
            heard = self.vocal_features.extract(torch.from_numpy(np.concatenate(vocals)).to(self.device))
        with self._timed("k-means"):
            vocal_ids = self.vocal_kmeans.predict(heard).unflatten(0, (-1, num_views))
        band = self._levelled(instrumentals)
        with self._timed("instrumental features"):
            heard = self.instrumental_features.extract(band)
        with self._timed("k-means"):
            instrumental_ids = self.instrumental_kmeans.predict(heard)
        return [
            SemanticIds(vocal=_ids(vocal_ids[row]), instrumental=_ids(instrumental_ids[row]))
            for row in range(len(vocals))
        ]

    @torch.no_grad()
    def codes(self, instrumentals: Sequence[NDArray[np.float32]]) -> list[NDArray[np.uint16]]:
        """Codes of instrumentals of one length, `[K, T75]` each.

        Args:
            instrumentals: at any level. Shape [T] each.
        """
        band = self._levelled(instrumentals)
        with self._timed("codec"):
            codes = self.codec.encode(band[:, None])
        return [_ids(codes[row]) for row in range(len(instrumentals))]

    def _levelled(self, instrumentals: Sequence[NDArray[np.float32]]) -> Tensor:
        band = torch.from_numpy(np.stack(instrumentals)).to(self.device)
        return set_active_rms(band, INSTRUMENTAL_RMS, sample_rate=self.codec.sample_rate)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        if self.device != "cpu":
            torch.cuda.synchronize()
        self.spent[stage] += time.perf_counter() - began


def _ids(ids: Tensor) -> NDArray[np.uint16]:
    return ids.cpu().numpy().astype(np.uint16)
