"""The parts of a bundle that are not stages: semantic features and codec, by kind.

In: a description (JSON) and the `codec/` folder. Out: objects that implement `hafm.tokens.base`; and back.

    kind       description                                                  in codec/
    spectral   features {"kind": "spectral", "config": {...}}               config.json, weights.safetensors
    hubert     features {"kind": "hubert", "repo", "revision", "layer"}
    encodec    codec    {"kind": "encodec"}                                 config.json: repo, revision, fingerprint

The built-in kinds lie in the bundle whole. HuBERT and EnCodec are named by repository and pinned commit, and come from the
hub (or its cache) when they are first needed; their fingerprints are compared then.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hafm.audio.output import atomic_file
from hafm.errors import BundleDamaged, UsageError
from hafm.tokens.base import Codec, SemanticFeatures

__all__ = ["codec_fingerprint", "describe_features", "load_codec", "load_features", "save_codec"]

_CODEC_CONFIG = "config.json"


def load_features(description: Mapping[str, Any]) -> SemanticFeatures:
    """The features of a description.

    Raises:
        BundleDamaged: the kind is unknown, or its fields are.

    >>> load_features({"kind": "mfcc"})
    Traceback (most recent call last):
    ...
    hafm.errors.BundleDamaged: this bundle wants semantic features of kind 'mfcc'; this version of hafm knows spectral, hubert
    """
    fields = {name: value for name, value in description.items() if name != "kind"}
    try:
        return _known(_FEATURES, description.get("kind"), "semantic features")(fields)
    except (TypeError, KeyError, UsageError) as error:
        raise BundleDamaged(f"the bundle's semantic features cannot be made: {error}; get it again") from error


def describe_features(features: SemanticFeatures) -> dict[str, Any]:
    """The description that `load_features` makes these features of.

    Raises:
        TypeError: they are of no kind that a bundle can hold.
    """
    from hafm.tokens.spectral import SpectralFeatures

    if isinstance(features, SpectralFeatures):
        return {"kind": "spectral", "config": features.config.to_dict()}
    raise TypeError(f"a bundle cannot hold features of type {type(features).__name__}")


def load_codec(description: Mapping[str, Any], folder: Path) -> Codec:
    """The codec in a bundle's `codec/` folder.

    Raises:
        BundleDamaged: the kind is unknown, or a file is unreadable.
    """
    return _known(_CODECS, description.get("kind"), "a codec")(folder)


def save_codec(codec: Codec, folder: Path) -> dict[str, Any]:
    """Writes a codec to a bundle's `codec/` folder, and returns its description.

    Raises:
        TypeError: it is of no kind that a bundle can hold.
    """
    from hafm.tokens.codec.model import SpectralCodec

    if isinstance(codec, SpectralCodec):
        codec.save(folder)
        return {"kind": "spectral"}
    raise TypeError(f"a bundle cannot hold a codec of type {type(codec).__name__}")


def codec_fingerprint(folder: Path) -> str:
    """The fingerprint that is recorded in a `codec/` folder; the weights are not read.

    Raises:
        BundleDamaged: missing or unreadable.
    """
    path = folder / _CODEC_CONFIG
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleDamaged(f"'{path}' is not a codec's configuration ({error!r}); get the bundle again") from error


def _spectral_features(fields: dict[str, Any]) -> SemanticFeatures:
    from hafm.tokens.spectral import SpectralConfig, SpectralFeatures

    return SpectralFeatures(SpectralConfig(**fields["config"]))


def _spectral_codec(folder: Path) -> Codec:
    from hafm.tokens.codec.model import SpectralCodec

    return SpectralCodec.load(folder)


_FEATURES: dict[str, Callable[[dict[str, Any]], SemanticFeatures]] = {"spectral": _spectral_features}
_CODECS: dict[str, Callable[[Path], Codec]] = {"spectral": _spectral_codec}


def _known(kinds: Mapping[str, Any], kind: object, what: str) -> Any:
    if kind not in kinds:
        raise BundleDamaged(
            f"this bundle wants {what} of kind {kind!r}; this version of hafm knows {', '.join(kinds)}"
        )
    return kinds[kind]
