"""K-means as a quantiser: features to ids, and nothing else.

In:  features `[B, F, D]`, made by the extractor that the centroids were fitted on. Out: ids `[B, F]`, int64.

Conventions: an id is the index of the nearest centroid in Euclidean distance; of equally near ones, the
lowest. Distances are taken in float64, so that an id does not depend on how frames were batched (float32
matrix products of other shapes round otherwise, and near ties would flip).

On disk: one safetensors file with the centroids; its metadata, JSON under the key `hafm`, names the features
by fingerprint and says where the centroids come from. Loading for other features is refused.

Source: section 3.2 of the paper (k = 500). Fitting is done in `hafm.data.tokenising.kmeans_fit`, so
that using one needs no scikit-learn.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hafm.errors import BundleDamaged, BundleNotFound
from hafm.files import write_whole
from hafm.tokens.fingerprint import fingerprint, require_same

__all__ = ["KMeans"]

CHUNK_FRAMES = 4096


class KMeans:
    """Centroids that turn features into ids.

    Args:
        centroids: `[V, D]`, finite; kept as float32.
        feature_fingerprint: of the features that they were fitted on.
        notes: what a reader should know of the fit (data, inertia, dead clusters, perplexity); JSON values.

    Raises:
        ValueError: centroids that are not `[V, D]` or not finite.

    >>> kmeans = KMeans(centroids=torch.tensor([[0.0, 0.0], [1.0, 1.0]]), feature_fingerprint="ab")
    >>> kmeans.predict(torch.tensor([[[0.1, 0.2], [0.9, 0.8], [0.5, 0.5]]]))
    tensor([[0, 1, 0]])
    """

    def __init__(
        self,
        *,
        centroids: Float[Tensor, "V D"],
        feature_fingerprint: str,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        if centroids.ndim != 2 or 0 in centroids.shape:
            raise ValueError(f"centroids must be [V, D], got shape {tuple(centroids.shape)}")
        if not torch.isfinite(centroids).all():
            raise ValueError("centroids must be finite; the fit went wrong")
        self.centroids = centroids.detach().float().contiguous()
        self.feature_fingerprint = feature_fingerprint
        self.notes = dict(notes or {})

    @property
    def cardinality(self) -> int:
        """V, number of ids."""
        return self.centroids.shape[0]

    @torch.no_grad()
    def predict(self, features: Float[Tensor, "B F D"]) -> Int[Tensor, "B F"]:
        """The id of every frame, in memory bounded by 4096 frames at a time.

        Args:
            features: finite, D as in the centroids, on the same device.

        Shape: `[B, F, D] -> [B, F]`

        Raises:
            ValueError: another D, or features that are not finite.
        """
        num_rows, num_frames, dim = features.shape
        if dim != self.centroids.shape[1]:
            raise ValueError(f"features have {dim} dimensions, these centroids {self.centroids.shape[1]}")
        if not torch.isfinite(features).all():
            raise ValueError("features must be finite")
        centroids = self.centroids.double()
        # |x - c|^2 = |x|^2 - 2 x.c + |c|^2, and |x|^2 is the same for all c.
        squares = centroids.square().sum(dim=1)
        ids = [
            torch.addmm(squares, frames.double(), centroids.T, alpha=-2).argmin(dim=1)
            for frames in features.reshape(-1, dim).split(CHUNK_FRAMES)
        ]
        return torch.cat(ids).view(num_rows, num_frames)

    def to(self, device: torch.device | str) -> Self:
        """This quantiser on `device`."""
        self.centroids = self.centroids.to(device)
        return self

    def fingerprint(self) -> str:
        """SHA-256 of centroids and feature fingerprint; the notes do not count."""
        return fingerprint(
            {"kind": "kmeans", "features": self.feature_fingerprint}, {"centroids": self.centroids}
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes one safetensors file, whole or not at all.

        Args:
            path: the file; an older one is replaced.

        Raises:
            OutputError: it cannot be written.
        """
        header = {
            "feature_fingerprint": self.feature_fingerprint,
            "fingerprint": self.fingerprint(),
            "notes": self.notes,
        }
        data = save(
            {"centroids": self.centroids.cpu()}, metadata={"hafm": json.dumps(header, sort_keys=True)}
        )
        write_whole(path, data)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, feature_fingerprint: str | None = None) -> Self:
        """Reads what `save` wrote, and checks that it belongs to the features in use.

        Args:
            path: the file.
            feature_fingerprint: of the features in use; None skips that check (to look at a file).

        Raises:
            BundleNotFound: there is no such file.
            BundleDamaged: not a k-means file of ours, or its centroids changed.
            BundleMismatch: fitted on other features; the message names both fingerprints.
        """
        path = Path(path)
        if not path.is_file():
            raise BundleNotFound(
                f"there is no k-means file {path}; check the folder, or fit one: hafm fit-kmeans"
            )
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})["hafm"])
                kmeans = cls(
                    centroids=file.get_tensor("centroids"),
                    feature_fingerprint=header["feature_fingerprint"],
                    notes=header["notes"],
                )
                recorded = header["fingerprint"]
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise BundleDamaged(
                f"{path} is not a whole k-means file ({error}); fetch or fit it again"
            ) from error
        if kmeans.fingerprint() != recorded:
            raise BundleDamaged(
                f"{path}: centroids have fingerprint {kmeans.fingerprint()}, recorded is {recorded}; "
                "fetch or fit it again"
            )
        if feature_fingerprint is not None:
            require_same(
                expected=kmeans.feature_fingerprint,
                found=feature_fingerprint,
                what=f"features of {path.name}",
            )
        return kmeans
