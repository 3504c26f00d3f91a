"""`config.json` of a bundle: what it is, what it is made of, and the hash of every file.

In: a JSON object. Out: a frozen `BundleConfig`, or a `BundleDamaged` that names what is wrong with it.

    {"format": 1, "name": ..., "version": ..., "licence": ..., "data": ...,         what it is
     "features": {"vocal": {...}, "instrumental": {...}}, "codec": {"kind": ...},   parts, by kind
     "vocal_noise_sigma": 0.01,                                                     as in training
     "stages": {"semantic": {...}, "coarse": {...}, "fine": {...}},                 one `StageSpec` each
     "generation": {...}, "measured": {...},                                        defaults; figures
     "analysers": ["vocal"],                                                        left out without one
     "fingerprints": {...}, "files": {"semantic.safetensors": "<sha256>", ...},     what belongs together
     "digest": "<sha256>"}                                                          of all of the above

Conventions: unknown keys, missing keys and other formats are refused. `digest` is the SHA-256 of the object
without it, as JSON with sorted keys and no spaces; since it covers the hash of every file, it is the
fingerprint of the bundle. The model card (`README.md`) is not among the files: people edit it, on the hub for
instance, and it changes no sound.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from hafm.errors import BundleDamaged, UsageError
from hafm.jsonfile import JsonFile, digest
from hafm.stages.analysers import ANALYSERS, AnalyserName
from hafm.stages.spec import StageSpec

__all__ = ["FORMAT", "SIDES", "STAGES", "BundleConfig", "GenerationDefaults"]

FORMAT = 1
"""Format of the folder; a reader refuses any other."""

STAGES = ("semantic", "coarse", "fine")
"""In the order in which they run."""

SIDES = ("vocal", "instrumental")
"""Each has its own semantic features and k-means (section 3.2)."""


@dataclass(frozen=True, kw_only=True)
class GenerationDefaults:
    """What `generate` uses where its caller says nothing.

    Args:
        temperature: 0 (the likeliest token always) or more.
        top_k: tokens to choose from, 1 or more.
        guidance: lambda of eq. 5; 1 is without.
        guide_guidance: a scale of the guide's own; None for that of everything.
        coarse_guidance: scale of the coarse stage; None for that of the semantic stage.
        level_lufs: loudness that accompaniments are brought to.

    Raises:
        UsageError: a value is out of range.

    >>> GenerationDefaults(temperature=-1.0)
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: temperature=-1.0: must be 0 or more
    """

    temperature: float = 0.9
    top_k: int = 250
    guidance: float = 3.0
    level_lufs: float = -18.0
    guide_guidance: float | None = None
    coarse_guidance: float | None = None

    def __post_init__(self) -> None:
        for name in ("temperature", "top_k", "guidance", "guide_guidance", "coarse_guidance"):
            value, least = getattr(self, name), 1 if name == "top_k" else 0
            if value is not None and not least <= value < float("inf"):
                raise UsageError(f"{name}={value!r}: must be {least} or more")
        if not -60 <= self.level_lufs <= 0:
            raise UsageError(f"level_lufs={self.level_lufs!r}: must be from -60 to 0")


@dataclass(frozen=True, kw_only=True)
class BundleConfig:
    """The contents of `config.json`.

    Args:
        name: what people call the bundle.
        version: of this bundle, free text.
        licence: of the weights, an SPDX identifier.
        data: what it was trained on, one sentence.
        features: of each side, `{"kind": ..., ...}`: see `hafm.stages.parts`.
        vocal_noise_sigma: noise that vocals were given before tokenisation in training, and are given in use.
        codec: `{"kind": ...}`.
        stages: the three specs by name.
        generation: defaults.
        measured: figures that describe its quality; JSON values, shown and not interpreted.
        fingerprints: of `features_vocal`, `features_instrumental`, `kmeans_vocal`, `kmeans_instrumental`,
            `codec`, of each stage, and `analyser_vocal`, `analyser_band` of the analysers.
        files: SHA-256 by path inside the folder.
        analysers: which it has, of `hafm.stages.analysers.ANALYSERS` and in that order.
    """

    name: str
    version: str
    licence: str
    data: str
    features: Mapping[str, Mapping[str, Any]]
    vocal_noise_sigma: float
    codec: Mapping[str, Any]
    stages: Mapping[str, StageSpec]
    generation: GenerationDefaults
    measured: Mapping[str, Any]
    fingerprints: Mapping[str, str]
    files: Mapping[str, str]
    analysers: tuple[AnalyserName, ...] = ()

    def __post_init__(self) -> None:
        _require_keys("features", self.features, SIDES)
        _require_keys("stages", self.stages, STAGES)
        if self.analysers != tuple(name for name in ANALYSERS if name in self.analysers):
            raise BundleDamaged(
                f"a bundle's analysers are some of {', '.join(ANALYSERS)}; found {', '.join(self.analysers)}"
            )
        fingerprints = (*_FINGERPRINTS, *(f"analyser_{name}" for name in self.analysers))
        _require_keys("fingerprints", self.fingerprints, fingerprints)
        for name in self.files:
            if name.startswith("/") or "\\" in name or ".." in name.split("/"):
                raise BundleDamaged(f"a bundle lists the file {name!r}, which is outside of it; get it again")

    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything in the bundle but its model card."""
        return digest(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """JSON values, without the digest; `from_json` reads them with it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["stages"] = {name: self.stages[name].to_dict() for name in STAGES}
        values["generation"] = asdict(self.generation)
        for name in ("guide_guidance", "coarse_guidance"):
            if values["generation"][name] is None:  # as bundles were described that knew of none
                del values["generation"][name]
        values["analysers"] = list(self.analysers)
        if not self.analysers:  # as in bundles from before there were any
            del values["analysers"]
        return {"format": FORMAT, **values}

    def to_json(self) -> str:
        """The text of `config.json`."""
        values = self.to_dict()
        return json.dumps({**values, "digest": digest(values)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str = "config.json") -> Self:
        """Reads what `to_json` wrote.

        Args:
            text: of the file.
            where: what messages call it.

        Raises:
            BundleDamaged: no JSON object, another format, unknown or missing keys, values out of range, or
                another digest.

        >>> BundleConfig.from_json('{"format": 2}')
        Traceback (most recent call last):
        ...
        hafm.errors.BundleDamaged: config.json is of format 2, and this version of hafm reads format 1; ...
        """
        values = _FILE.values(text, where=where)
        recorded = values.pop("digest", None)
        config = _FILE.build(cls, values, where=where)
        if recorded != digest({"format": FORMAT, **values}):
            raise BundleDamaged(
                f"{where} was changed after it was written (its digest differs); get the bundle again"
            )
        return config


_FILE = JsonFile(
    what="the configuration of a bundle", fix="get the bundle again", error=BundleDamaged, format=FORMAT
)

_FINGERPRINTS = (
    *(f"features_{side}" for side in SIDES),
    *(f"kmeans_{side}" for side in SIDES),
    "codec",
    *STAGES,
)


def _require_keys(what: str, values: Mapping[str, Any], expected: tuple[str, ...]) -> None:
    if set(values) != set(expected):
        raise BundleDamaged(
            f"a bundle's {what} are {', '.join(expected)}; found {', '.join(values) or 'none'}"
        )
