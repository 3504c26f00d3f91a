"""Recipes in files, and single fields given by name.

In: a YAML file, or texts such as `batch=84`. Out: a `Recipe`, or an error that lists the right names.

    base: paper              # paper, builtin or tiny; needed
    stage: coarse            # optional: refuse the file for another stage
    batch: 84                # any field of the recipe ...
    peak_rate: 3e-4
    spec:                    # ... and of its stage
      conditioning: aligned
      encoder_layers: 2
      clip_seconds: 12/5
      guide: {beats: 0.2}    # null is a stage without

Conventions: a value must have the field's type; a whole number is also a float, and `3e-4`, which YAML takes
for text, is one too. A name that is given twice is an error. The streams of a stage cannot be changed by
file.
"""

import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from hafm.errors import UsageError
from hafm.jsonfile import Mismatch, as_type, unknown_name
from hafm.stages.spec import StageSpec
from hafm.train.recipe import RECIPES, Recipe, recipe_of

__all__ = ["open_recipe", "read_recipe"]

_FIXED = {"name", "sources", "target"}  # of a stage: these make it the stage that it is


def open_recipe(recipe: str, stage: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by name or file, with some fields changed.

    Args:
        recipe: `paper`, `builtin`, `tiny`, or the path of a YAML file.
        stage: `semantic`, `coarse` or `fine`.
        overrides: texts `field=value` and `spec.field=value`.

    Raises:
        UsageError: there is no such recipe or field, or a value is not of its type.

    >>> open_recipe("paper", "coarse", ["batch=84", "spec.clip_seconds=12/5"]).spec.sequence_length
    960
    """
    if recipe not in RECIPES and (Path(recipe).suffix in (".yaml", ".yml") or Path(recipe).exists()):
        found = read_recipe(Path(recipe), stage)
    else:
        found = recipe_of(recipe, stage)  # which says what there is
    return override(found, parse_overrides(overrides), where="--set")


def read_recipe(path: Path, stage: str) -> Recipe:
    """The recipe of a YAML file; what cannot be read or used is refused, and the right names are listed."""
    where = f"'{path}'"
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the recipe {where} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        what = " ".join(str(error).split())
        raise UsageError(f"the recipe {where} is not valid YAML: {what}") from error
    if not isinstance(values, dict) or "base" not in values:
        raise UsageError(f"the recipe {where} must say what it changes: 'base: ' {' or '.join(RECIPES)}")
    base = recipe_of(str(values.pop("base")), stage)
    wanted = values.pop("stage", stage)
    if wanted != stage:
        raise UsageError(f"the recipe {where} is for the {wanted} stage, not for the {stage} stage")
    return override(base, values, where=where)


def override(recipe: Recipe, values: Mapping[str, Any], *, where: str) -> Recipe:
    """The recipe with some fields changed; those of the stage are in a mapping under `spec`."""
    values = dict(values)
    of_spec = values.pop("spec", {})
    if not isinstance(of_spec, Mapping):
        raise UsageError(f"{where}: spec must hold fields of the stage, not {of_spec!r}")
    spec = replace(recipe.spec, **_checked(StageSpec, of_spec, hidden=_FIXED, where=where, prefix="spec."))
    return replace(recipe, spec=spec, **_checked(Recipe, values, hidden={"spec"}, where=where, prefix=""))


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """Texts `field=value` as a mapping; values are read as YAML.

    >>> parse_overrides(["batch=4", "spec.width=64", "ema_decay=0.99"])
    {'batch': 4, 'spec': {'width': 64}, 'ema_decay': 0.99}
    """
    out: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {text}: write it as field=value, as in: --set batch=4")
        into = out.setdefault("spec", {}) if name.startswith("spec.") else out
        field = name.removeprefix("spec.")
        if field in into:
            raise UsageError(f"--set {name} is given twice; give it once")
        try:
            into[field] = yaml.load(value, Loader=_StrictLoader)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {text}: {value!r} cannot be read as a value") from error
    return out


def _checked(
    kind: type, values: Mapping[str, Any], *, hidden: set[str], where: str, prefix: str
) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    known = [field.name for field in fields(kind) if field.name not in hidden]
    out = {}
    for name, value in values.items():
        if name not in known:
            guess = unknown_name(f"{prefix}{name}", [prefix + each for each in known])
            more = "" if prefix else ", and spec.FIELD for the stage's own"
            raise UsageError(
                f"{where}: there is no field {prefix}{name}{guess}; there are {', '.join(known)}{more}"
            )
        try:
            out[name] = as_type(value, hints[name], name=f"{prefix}{name}", from_text=True)
        except Mismatch as error:
            raise UsageError(f"{where}: {error}") from error
    return out


class _StrictLoader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML without surprises: a name that is given twice is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        for name in names:
            if names.count(name) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{name!r} is given twice", node.start_mark
                )
        return dict(super().construct_mapping(node, deep=deep))
