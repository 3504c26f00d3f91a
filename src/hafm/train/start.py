"""Where a stage starts, if not from noise: from a bundle, or from what its tokens mean.

**From a bundle** (`start_from_bundle`), to go on training it on one's own shards. In: a new stage, a bundle,
and the fingerprints of the parts behind the shards. Out: the same stage with the bundle's weights. They mean
something only to the same ids and in the same shape. So the shards must have been made with the bundle's own
parts (`hafm prepare --parts BUNDLE`), and the stage must be the bundle's but for what only training knows:

    may differ      guidance_dropout, embedding_std, what the guide loses
    must agree      everything else; also clip_seconds, which the position buckets are stretched over

**From points** (`start_from_points`). In: a stage, and for every stream the points behind its ids: centroids
of the k-means, entries of the codebooks. Out: the same stage, its embeddings and heads random projections of
these points, so that ids that sound alike start alike. Every id is seen a few times per step at most; without
this, a stage of 4 x 1024 codes learns for hundreds of steps which are neighbours (docs/experiments.md).

    embedding row v of codebook k  =  std * unit(points[k, v] - mean) R_k          R_k random, [C, D]
    head column v of codebook k    =  0.02 * the same projection

The target's embedding and head share R_k: to repeat an id is then near the identity. Rows V (mask, BOS)
stay as they are. The numbers drawn depend on the seed alone.
"""

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.errors import UsageError
from hafm.stages.bundle import Bundle
from hafm.stages.embed import SourceEmbedding
from hafm.stages.guide import GuideSpec
from hafm.stages.parts import require_same_parts
from hafm.stages.spec import COARSE_CODES, StageSpec
from hafm.stages.stage_model import StageModel
from hafm.stages.token_parts import TokenParts
from hafm.tokens.codec.model import SpectralCodec

__all__ = ["HEAD_STD", "points_of_parts", "start_from_bundle", "start_from_points"]

_OF_TRAINING = {"guidance_dropout", "embedding_std"} | {
    f"guide.{field.name}" for field in fields(GuideSpec) if field.name != "channels"
}


def start_from_bundle(
    model: StageModel, source: str | os.PathLike[str], fingerprints: Mapping[str, str]
) -> None:
    """Overwrites the weights of `model` with those of the bundle's stage of that name.

    Args:
        source: `"builtin"`, a folder, or a hub id.
        fingerprints: of the parts that made the shards, by `hafm.stages.parts.PART_NAMES`.

    Raises:
        UsageError: the stage differs from the bundle's; the fields are named.
        BundleMismatch: the shards were made with other parts; both fingerprints are named.
        BundleError: there is no such bundle, or it is damaged.

    >>> from hafm.stages.spec import FINE
    >>> start_from_bundle(StageModel(FINE), "builtin", {})
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: the fine stage is not that of the bundle 'builtin': conditioning is ...
    """
    bundle = Bundle.open(source)
    name = model.spec.name
    differing = differences(model.spec, bundle.spec(name))
    if differing:
        raise UsageError(
            f"the {name} stage is not that of the bundle '{source}': {'; '.join(differing)}; take the recipe "
            f"that made the bundle, or set these fields (--set spec.FIELD=VALUE)"
        )
    require_same_parts(
        expected=bundle.config.fingerprints, found=fingerprints, what=f"the bundle '{source}' and the shards"
    )
    model.load_state_dict(bundle.load_stage(name).state_dict())


def differences(mine: StageSpec, others: StageSpec) -> list[str]:
    """What keeps weights of one stage from being used in another, a line each.

    >>> from dataclasses import replace
    >>> from hafm.stages.spec import FINE
    >>> differences(FINE, replace(FINE, width=256, guidance_dropout=0.2))
    ['width is 512 and there 256']
    """
    # With what `to_dict` leaves out because it is as in the paper.
    own, other = (
        _flat({"pattern": spec.pattern, "positions": spec.positions, **spec.to_dict()})
        for spec in (mine, others)
    )
    return [
        f"{field} is {own.get(field)!r} and there {other.get(field)!r}"
        for field in sorted({*own, *other} - _OF_TRAINING)
        if own.get(field) != other.get(field)
    ]


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested fields by their path: `target.cardinality`."""
    if not isinstance(value, Mapping | list):
        return {name: value}
    flat: dict[str, Any] = {}
    for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
        flat |= _flat(item, f"{name}.{key}" if name else str(key))
    return flat


HEAD_STD = 0.02


def points_of_parts(parts: TokenParts) -> dict[str, Float[Tensor, "_K _V _C"]]:
    """The points behind the ids of every stream; a `UsageError` where the codec is not the built-in one."""
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
    """Overwrites embeddings and heads of a stage on the processor; the points are by name of stream."""
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
