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

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.errors import UsageError
from hafm.stages.embed import SourceEmbedding
from hafm.stages.spec import COARSE_CODES
from hafm.stages.stage_model import StageModel
from hafm.stages.token_parts import TokenParts
from hafm.tokens.codec.model import SpectralCodec

__all__ = ["HEAD_STD", "points_of_parts", "start_from_points"]

HEAD_STD = 0.02


def points_of_parts(parts: TokenParts) -> dict[str, Float[Tensor, "_K _V _C"]]:
    """The points behind the ids of every stream.

    Raises:
        UsageError: the codec is not the built-in one.
    """
    if not isinstance(parts.codec, SpectralCodec):
        raise UsageError("warm_start knows the entries of the built-in codec alone; set warm_start=false")
    entries, coarse = parts.codec.quantizer.codebooks, COARSE_CODES.num_codebooks
    return {
        "vocal_semantic": parts.vocal_kmeans.centroids[None],
        "instrumental_semantic": parts.instrumental_kmeans.centroids[None],
        "coarse_codes": entries[:coarse],
        "fine_codes": entries[coarse:],
    }


@torch.no_grad()
def start_from_points(
    model: StageModel, points: Mapping[str, Float[Tensor, "_K _V _C"]], *, seed: int
) -> None:
    """Overwrites the embeddings and heads of a stage in place.

    Args:
        model: on the processor.
        points: of its streams, by name.
        seed: of the projections.
    """
    spec = model.spec
    generator = torch.Generator().manual_seed(seed)
    for stream, embedding in zip(spec.sources, model.condition_embedding.sources, strict=True):
        assert isinstance(embedding, SourceEmbedding)
        projected = _project(points[stream.name], spec.width, generator)
        embedding.weight[:, : stream.cardinality] = spec.embedding_std * projected
    projected = _project(points[spec.target.name], spec.width, generator)
    model.target_embedding.weight[:, : spec.target.cardinality] = spec.embedding_std * projected
    model.heads.copy_(HEAD_STD * projected.transpose(1, 2))


def _project(
    points: Float[Tensor, "K V C"], width: int, generator: torch.Generator
) -> Float[Tensor, "K V D"]:
    """Every element of about unit size."""
    centred = points.float() - points.float().mean(1, keepdim=True)
    scaled = centred / centred.square().sum(-1, keepdim=True).mean(1, keepdim=True).sqrt()
    matrices = torch.randn(points.shape[0], points.shape[2], width, generator=generator)
    return scaled @ matrices
