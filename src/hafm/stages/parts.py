"""The parts of a bundle that are not stages: semantic features and codec, by kind, and `parts.json`.

In: a description (JSON) and the `codec/` folder. Out: objects that implement `hafm.tokens.base`; and back.

    kind                     description                           in codec/
    features   spectral      kind, config
               hubert        kind, repo, revision, layer
    codec      spectral      kind                                  config.json, weights.safetensors
               encodec       kind                                  config.json: repo, revision, bandwidth_kbps

The built-in kinds lie in the bundle whole. HuBERT and EnCodec are named by repository and pinned commit, and
come from the hub (or its cache) when they are first needed. Each `config.json` in `codec/` records the
codec's fingerprint.

A folder of parts that is no bundle has its descriptions in `parts.json`:

    {"format": 1,
     "features": {"vocal": {...}, "instrumental": {...}}, "codec": {"kind": ...},
     "instrumental_rms": 0.1,                                                        level, or null
     "fingerprints": {"codec": "<sha256>", "features_vocal": "<sha256>", ...}}       by `PART_NAMES`
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import torch

from hafm.errors import BundleDamaged, BundleNotFound, UsageError
from hafm.files import write_json
from hafm.jsonfile import JsonFile
from hafm.stages.bundle_config import SIDES
from hafm.tokens.base import Codec, SemanticFeatures
from hafm.tokens.codec.storage import CONFIG_FILE, read_config
from hafm.tokens.fingerprint import require_same

__all__ = [
    "PARTS_FILE",
    "PART_NAMES",
    "PartsFile",
    "Pinned",
    "codec_fingerprint",
    "describe_features",
    "load_codec",
    "load_features",
    "loaded_fingerprint",
    "read_pinned",
    "require_same_parts",
    "save_codec",
]

PARTS_FILE = "parts.json"
PART_NAMES = ("features_vocal", "kmeans_vocal", "features_instrumental", "kmeans_instrumental", "codec")
"""Parts that decide ids, by the names that fingerprints have everywhere."""

_PARTS = JsonFile(
    what="a description of parts", fix="get or make the folder again", error=BundleDamaged, format=1
)

Part = TypeVar("Part")


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """Where HuBERT or EnCodec came from.

    Args:
        repo: on the hub.
        revision: commit, 40 hex digits.
    """

    repo: str
    revision: str


def load_features(description: Mapping[str, Any]) -> SemanticFeatures:
    """The features of a description.

    Raises:
        BundleDamaged: the kind is unknown, or its fields are.
        BundleNotFound: they come from the hub, and neither it nor the cache has them.

    >>> load_features({"kind": "mfcc"})
    Traceback (most recent call last):
    ...
    hafm.errors.BundleDamaged: this bundle wants features of kind 'mfcc'; this hafm knows spectral, hubert
    """
    fields = {name: value for name, value in description.items() if name != "kind"}
    load = _known(_FEATURES, description.get("kind"), "features")
    try:
        with torch.random.fork_rng(devices=[]):  # models begin with random weights: not from the caller's
            return load(**fields)
    except (TypeError, UsageError) as error:
        raise BundleDamaged(f"the bundle's features cannot be made: {error}; get it again") from error


def describe_features(features: SemanticFeatures, pinned: Pinned | None = None) -> dict[str, Any]:
    """The description that `load_features` makes these features of.

    Args:
        features: spectral, or HuBERT.
        pinned: where HuBERT came from.

    Raises:
        TypeError: they are of no kind that a bundle can hold, or HuBERT from nowhere.
    """
    from hafm.tokens.hubert import HubertFeatures
    from hafm.tokens.spectral import SpectralFeatures

    if isinstance(features, SpectralFeatures):
        return {"kind": "spectral", "config": features.config.to_dict()}
    if isinstance(features, HubertFeatures) and pinned is not None:
        return {"kind": "hubert", **asdict(pinned), "layer": features.layer}
    raise TypeError(f"a bundle cannot hold {type(features).__name__} (pinned to {pinned})")


def load_codec(description: Mapping[str, Any], folder: Path) -> Codec:
    """The codec in a bundle's `codec/` folder.

    Raises:
        BundleDamaged: the kind is unknown, or a file is unreadable.
        BundleNotFound: it comes from the hub, and neither it nor the cache has it.
    """
    load = _known(_CODECS, description.get("kind"), "a codec")
    with torch.random.fork_rng(devices=[]):
        return load(folder)


def loaded_fingerprint(description: Mapping[str, Any], codec: Codec, folder: Path) -> str:
    """The fingerprint of what `load_codec` gave.

    Args:
        description, folder: as for `load_codec`.
        codec: its result, as it came: a built-in one was compared with its folder's record just then, and is
            not hashed again.
    """
    return codec_fingerprint(folder) if description["kind"] == "spectral" else codec.fingerprint()


def save_codec(codec: Codec, folder: Path, pinned: Pinned | None = None) -> dict[str, Any]:
    """Writes a codec to a bundle's `codec/` folder, and returns its description.

    Args:
        pinned: where EnCodec came from.

    Raises:
        TypeError: it is of no kind that a bundle can hold, or EnCodec from nowhere.
    """
    from hafm.tokens.codec.model import SpectralCodec
    from hafm.tokens.encodec import EncodecCodec

    if isinstance(codec, SpectralCodec):
        codec.save(folder)
        return {"kind": "spectral"}
    if isinstance(codec, EncodecCodec) and pinned is not None:
        fields = {"bandwidth_kbps": codec.bandwidth_kbps, "fingerprint": codec.fingerprint()}
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CONFIG_FILE, {**asdict(pinned), **fields})
        return {"kind": "encodec"}
    raise TypeError(f"a bundle cannot hold {type(codec).__name__} (pinned to {pinned})")


def codec_fingerprint(folder: Path) -> str:
    """The fingerprint that is recorded in a `codec/` folder; the weights are not read.

    Raises:
        BundleDamaged: missing or unreadable.
    """
    return str(read_config(folder)["fingerprint"])


def read_pinned(features: Mapping[str, Any], codec: Mapping[str, Any], folder: Path) -> dict[str, Pinned]:
    """Where HuBERT and EnCodec came from, as `describe_features` and `save_codec` want to know it.

    Args:
        features: description of one side's features.
        codec: description of the codec.
        folder: the `codec/` folder.

    Returns:
        `"features"` for HuBERT, `"codec"` for EnCodec, nothing for parts that are stored whole.

    Raises:
        BundleDamaged: the codec's configuration is missing or unreadable.

    >>> read_pinned({"kind": "spectral"}, {"kind": "spectral"}, Path("codec"))
    {}
    """
    found = {"features": features} if features.get("kind") == "hubert" else {}
    if codec.get("kind") == "encodec":
        found["codec"] = read_config(folder)
    try:
        return {
            part: Pinned(repo=fields["repo"], revision=fields["revision"]) for part, fields in found.items()
        }
    except KeyError as error:
        raise BundleDamaged(
            f"'{folder}' does not say where its parts come from: it has no {error}; get it again"
        ) from error


def _spectral_features(*, config: Mapping[str, Any]) -> SemanticFeatures:
    from hafm.tokens.spectral import SpectralConfig, SpectralFeatures

    return SpectralFeatures(SpectralConfig(**config))


def _hubert_features(*, repo: str, revision: str, layer: int) -> SemanticFeatures:
    from hafm.tokens.hubert import HubertFeatures

    return HubertFeatures.from_hub(repo, revision=revision, layer=layer)


def _spectral_codec(folder: Path) -> Codec:
    from hafm.tokens.codec.model import SpectralCodec

    return SpectralCodec.load(folder)


def _encodec_codec(folder: Path) -> Codec:
    from hafm.tokens.encodec import EncodecCodec

    values = read_config(folder)
    try:
        return EncodecCodec.from_hub(
            values["repo"], revision=values["revision"], bandwidth_kbps=values["bandwidth_kbps"]
        )
    except (KeyError, UsageError) as error:
        raise BundleDamaged(
            f"'{folder}' does not say which EnCodec it means: {error}; get it again"
        ) from error


_FEATURES: dict[str, Callable[..., SemanticFeatures]] = {
    "spectral": _spectral_features,
    "hubert": _hubert_features,
}
_CODECS: dict[str, Callable[[Path], Codec]] = {"spectral": _spectral_codec, "encodec": _encodec_codec}


def _known(kinds: Mapping[str, Part], kind: object, what: str) -> Part:
    if not isinstance(kind, str) or kind not in kinds:
        raise BundleDamaged(f"this bundle wants {what} of kind {kind!r}; this hafm knows {', '.join(kinds)}")
    return kinds[kind]


# ---- a folder of parts


@dataclass(frozen=True, kw_only=True)
class PartsFile:
    """The contents of `parts.json`.

    Args:
        features: description of each side's features.
        codec: description of the codec.
        instrumental_rms: active RMS that instrumentals are brought to; None leaves them.
        fingerprints: of all parts in the folder, by `PART_NAMES`.

    Raises:
        ValueError: a side is missing.
    """

    features: Mapping[str, Mapping[str, Any]]
    codec: Mapping[str, Any]
    instrumental_rms: float | None
    fingerprints: Mapping[str, str]

    def __post_init__(self) -> None:
        if set(self.features) != set(SIDES):
            raise ValueError(f"its features are not of {' and '.join(SIDES)}")

    def write(self, folder: Path) -> None:
        """Writes the file, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        write_json(folder / PARTS_FILE, {"format": _PARTS.format, **asdict(self)})

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Self:
        """What `write` wrote. No part is loaded.

        Raises:
            BundleNotFound: there is no such part.
            BundleDamaged: it is unreadable, of another format, or has other keys.
        """
        path = Path(folder) / PARTS_FILE
        try:
            return _PARTS.read(cls, path.read_bytes(), where=f"'{path}'")
        except FileNotFoundError as error:
            raise BundleNotFound(f"there are no parts in '{folder}' (it has no {PARTS_FILE})") from error
        except OSError as error:
            raise _PARTS.refused(f"'{path}'", error.strerror or str(error)) from error


def require_same_parts(*, expected: Mapping[str, str], found: Mapping[str, str], what: str) -> None:
    """Refuses ids of other parts than those expected.

    Args:
        expected: fingerprints by name, such as those of a bundle's configuration.
        what: what is compared, for the message.

    Raises:
        BundleMismatch: a part of `PART_NAMES` differs, or is missing on one side; both are named.

    >>> prints = {name: "ab" for name in PART_NAMES}
    >>> require_same_parts(expected={**prints, "semantic": "cd"}, found=prints, what="the shards")
    """
    for name in PART_NAMES:
        require_same(expected=str(expected.get(name)), found=str(found.get(name)), what=f"{what}: the {name}")
