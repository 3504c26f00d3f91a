"""Embeddings that start from what the tokens mean, instead of from noise.

In: a stage, and for every stream the points that its ids stand for: centroids of the k-means, entries of
the codebooks. Out: the same stage, its embeddings and heads random projections of these points, so that ids
that sound alike start alike. Every id is seen a few times a step at most; without this, a stage of 4 x 1024
codes learns for hundreds of steps which of them are neighbours (docs/experiments.md).

    embedding row v of codebook k  =  std * unit(points[k, v] - mean) R_k          R_k random, [C, D]
    head column v of codebook k    =  0.02 * the same projection

The target's embedding and head share R_k: to repeat an id is then near the identity. Rows V (mask, BOS)
stay as they are. The numbers drawn depend on the seed alone.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from hafm.stages.stage_model import StageModel
from hafm.tokens.codec.model import SpectralCodec
from hafm.tokens.kmeans import KMeans

HEAD_STD = 0.02


def points_of_tokens(kmeans: Path, codec: Path) -> dict[str, Tensor]:
    """The points ``[K, V, C]`` behind the ids of every stream.

    Args:
        kmeans: folder of ``kmeans_vocal.safetensors`` and ``kmeans_instrumental.safetensors``.
        codec: folder of the codec.
    """
    entries = SpectralCodec.load(codec).quantizer.codebooks
    return {
        "vocal_semantic": KMeans.load(kmeans / "kmeans_vocal.safetensors").centroids[None],
        "instrumental_semantic": KMeans.load(kmeans / "kmeans_instrumental.safetensors").centroids[None],
        "coarse_codes": entries[:4],
        "fine_codes": entries[4:],
    }


@torch.no_grad()
def start_from_points(model: StageModel, points: Mapping[str, Tensor], *, seed: int) -> None:
    """Overwrites the embeddings and heads of ``model`` in place."""
    spec = model.spec
    generator = torch.Generator().manual_seed(seed)
    for stream, embedding in zip(spec.sources, model.condition_embedding.sources, strict=True):
        projected = _project(points[stream.name], spec.width, generator)
        embedding.weight[:, : stream.cardinality] = spec.embedding_std * projected
    projected = _project(points[spec.target.name], spec.width, generator)
    model.target_embedding.weight[:, : spec.target.cardinality] = spec.embedding_std * projected
    model.heads.copy_(HEAD_STD * projected.transpose(1, 2))


def _project(points: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """``[K, V, C] -> [K, V, D]``, every element of about unit size."""
    centred = points.float() - points.float().mean(1, keepdim=True)
    scaled = centred / centred.square().sum(-1, keepdim=True).mean(1, keepdim=True).sqrt()
    matrices = torch.randn(points.shape[0], points.shape[2], width, generator=generator)
    return scaled @ matrices
