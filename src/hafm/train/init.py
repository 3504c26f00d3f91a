"""Starting a stage from a bundle, to go on training it on one's own shards.

In: a new stage, a bundle, and the fingerprints of the parts behind the shards. Out: the same stage with the
bundle's weights.

The weights mean something only to the same ids and in the same shape. So the shards must have been made with
the bundle's own parts (`hafm prepare --parts BUNDLE`), and the stage must be the bundle's but for what only
training knows:

    may differ      guidance_dropout, embedding_std, what the guide loses
    must agree      everything else; also clip_seconds, which the position buckets are stretched over
"""

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from hafm.errors import UsageError
from hafm.stages.bundle import Bundle
from hafm.stages.guide import GuideSpec
from hafm.stages.parts_file import require_same_parts
from hafm.stages.spec import StageSpec
from hafm.stages.stage_model import StageModel

__all__ = ["start_from_bundle"]

_OF_TRAINING = {"guidance_dropout", "embedding_std"} | {
    f"guide.{field.name}" for field in fields(GuideSpec) if field.name != "channels"
}


def start_from_bundle(
    model: StageModel, source: str | os.PathLike[str], fingerprints: Mapping[str, str]
) -> None:
    """Overwrites the weights of `model` with those of the bundle's stage of that name.

    Args:
        model: the stage, on any device.
        source: `"builtin"`, a folder, or a hub id.
        fingerprints: of the parts that made the shards, by `hafm.stages.parts_file.PART_NAMES`.

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
    own, other = (_flat(_all_fields(spec)) for spec in (mine, others))
    return [
        f"{field} is {own.get(field)!r} and there {other.get(field)!r}"
        for field in sorted({*own, *other} - _OF_TRAINING)
        if own.get(field) != other.get(field)
    ]


def _all_fields(spec: StageSpec) -> dict[str, Any]:
    """As `to_dict`, with what it leaves out because it is as in the paper."""
    return {"pattern": spec.pattern, "positions": spec.positions, **spec.to_dict()}


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested fields by their path: `target.cardinality`."""
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        items = [(str(number), item) for number, item in enumerate(value)]
    else:
        return {name: value}
    flat: dict[str, Any] = {}
    for key, item in items:
        flat.update(_flat(item, f"{name}.{key}" if name else key))
    return flat
