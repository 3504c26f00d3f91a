"""Making bundles: from trained parts, or from a bundle that exists.

In: parts in memory. Out: a folder that `hafm.stages.bundle` reads.

The folder is written beside its target under another name, verified by reading it as any user would, and only
then renamed: whoever looks at the target sees the old bundle, the new one, or none. An existing folder is
replaced only on demand, and only if it is a bundle (or empty): nothing else that lies in it is ours to
remove.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hafm.errors import BundleMismatch, OutputError
from hafm.files import replaced_folder, write_whole
from hafm.guide.analyser import Analyser
from hafm.stages.analysers import ANALYSERS, AnalyserName, read_analyser, write_analyser
from hafm.stages.bundle import (
    CARD_FILE,
    CODEC_FOLDER,
    Bundle,
    analyser_file,
    kmeans_file,
    parts_of,
    stage_file,
    stage_fingerprint,
)
from hafm.stages.bundle_config import SIDES, STAGES, BundleConfig, GenerationDefaults
from hafm.stages.hub import CONFIG_FILE
from hafm.stages.parts import Pinned, describe_features, save_codec
from hafm.stages.stage_model import StageModel
from hafm.stages.weights import Storage, stored, write_weights
from hafm.tokens.base import Codec, SemanticFeatures
from hafm.tokens.fingerprint import require_same
from hafm.tokens.kmeans import KMeans
from hafm.tokens.level import NOISE_SIGMA

__all__ = ["Ingredients", "check_bundle_folder", "copy_bundle", "write_bundle"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ingredients:
    """What a bundle is made of. For the others see `BundleConfig`.

    Args:
        features: by side, `"vocal"` and `"instrumental"`.
        kmeans: by side, fitted on these features.
        codec: the codec.
        pinned: where features and codec came from that a bundle names and does not hold: HuBERT under
            `"features"`, EnCodec under `"codec"`.
        stages: by name, trained on the ids of these k-means and this codec.
        storage: how the stages' weights are stored.
        vocal_noise_sigma: noise that vocals were given before tokenisation in training.
        analysers: what estimates lead sheets, by name; may be none. They are stored as int8.
        more: files that are made from the finished bundle, by their path in it; they become part of it.
        card: text of the model card, from the finished bundle; it may quote sizes and fingerprints.
    """

    name: str
    version: str
    licence: str
    data: str
    features: Mapping[str, SemanticFeatures]
    kmeans: Mapping[str, KMeans]
    codec: Codec
    stages: Mapping[str, StageModel]
    storage: Storage = "int8"
    generation: GenerationDefaults = field(default_factory=GenerationDefaults)
    measured: Mapping[str, Any] = field(default_factory=dict)
    vocal_noise_sigma: float = NOISE_SIGMA
    pinned: Mapping[str, Pinned] = field(default_factory=dict)
    analysers: Mapping[AnalyserName, Analyser] = field(default_factory=dict)
    more: Callable[[Bundle], Mapping[str, bytes]] | None = None
    card: Callable[[Bundle], str] | None = None

    def check(self) -> None:
        """Refuses parts that cannot work together.

        Raises:
            BundleMismatch: a k-means was fitted on other features, or a stage has other cardinalities than
                its parts.
        """
        for side in SIDES:
            require_same(
                expected=self.kmeans[side].feature_fingerprint,
                found=self.features[side].fingerprint(),
                what=f"the {side} k-means and the {side} features",
            )
        sizes = {"vocal_semantic": (self.kmeans["vocal"].cardinality, 1)}
        sizes["instrumental_semantic"] = (self.kmeans["instrumental"].cardinality, 1)
        coarse = self.stages["coarse"].spec.target.num_codebooks
        sizes["coarse_codes"] = (self.codec.cardinality, coarse)
        sizes["fine_codes"] = (self.codec.cardinality, self.codec.num_codebooks - coarse)
        for name in STAGES:
            spec = self.stages[name].spec
            for stream in (*spec.sources, spec.target):
                found = (stream.cardinality, stream.num_codebooks)
                if found != sizes[stream.name]:
                    raise BundleMismatch(
                        f"the {name} stage works on {stream.name} of (entries, codebooks) {found}, and its "
                        f"parts have {sizes[stream.name]}; use the parts that it was trained on"
                    )


def write_bundle(
    folder: str | os.PathLike[str], ingredients: Ingredients, *, overwrite: bool = False
) -> Bundle:
    """Writes a bundle, whole or not at all.

    Args:
        folder: where to; its parent exists.

    Returns:
        The bundle, read back.

    Raises:
        BundleMismatch: the ingredients do not belong together.
        OutputError: the folder is in use, or cannot be written.
        ValueError: a weight cannot be stored.
    """
    ingredients.check()
    return _commit(Path(folder), lambda staging: _write_parts(staging, ingredients), overwrite=overwrite)


def copy_bundle(
    bundle: Bundle,
    folder: str | os.PathLike[str],
    *,
    analysers: Mapping[AnalyserName, Analyser] = MappingProxyType({}),
    version: str | None = None,
    card: Callable[[Bundle], str] | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Writes a bundle again to another folder, or over itself, whole or not at all.

    Args:
        bundle: what to copy; stages, codec and k-means stay as they are, to the byte.
        folder: where to; its parent exists.
        analysers: that take the place of the bundle's own, or come to them.
        version, card: see `Ingredients`; without them, those of the bundle.
    """

    def fill(staging: Path) -> None:
        for name in (*bundle.config.files, CARD_FILE, CONFIG_FILE):
            if (bundle.folder / name).is_file():
                (staging / name).parent.mkdir(exist_ok=True)
                write_whole(staging / name, (bundle.folder / name).read_bytes())
        config = bundle.config
        if analysers or version is not None:
            fingerprints = {**config.fingerprints, **_write_analysers(staging, analysers)}
            (staging / CONFIG_FILE).unlink()
            (staging / CARD_FILE).unlink(missing_ok=True)
            config = replace(
                config,
                version=config.version if version is None else version,
                fingerprints=dict(sorted(fingerprints.items())),
                files=_hashes(staging),
                analysers=tuple(name for name in ANALYSERS if name in {*config.analysers, *analysers}),
            )
            write_whole(staging / CONFIG_FILE, config.to_json())
        if card is not None:
            write_whole(staging / CARD_FILE, card(Bundle.read(staging)))

    return _commit(Path(folder), fill, overwrite=overwrite)


def _write_parts(staging: Path, ingredients: Ingredients) -> None:
    codec = save_codec(ingredients.codec, staging / CODEC_FOLDER, ingredients.pinned.get("codec"))
    fingerprints = {"codec": ingredients.codec.fingerprint()}  # after saving, which rounds
    for side in SIDES:
        ingredients.kmeans[side].save(staging / kmeans_file(side))
        fingerprints[f"features_{side}"] = ingredients.features[side].fingerprint()
        fingerprints[f"kmeans_{side}"] = ingredients.kmeans[side].fingerprint()
    for name in STAGES:
        model = ingredients.stages[name]
        weights = model.state_dict()
        parts = {part: fingerprints[part] for part in parts_of(model.spec)}
        write_weights(
            staging / stage_file(name),
            weights,
            storage=ingredients.storage,
            metadata={"stage": name, "parts": parts},
        )
        fingerprints[name] = stage_fingerprint(model.spec, stored(weights, ingredients.storage))
    fingerprints.update(_write_analysers(staging, ingredients.analysers))
    config = BundleConfig(
        name=ingredients.name,
        version=ingredients.version,
        licence=ingredients.licence,
        data=ingredients.data,
        features={
            side: describe_features(ingredients.features[side], ingredients.pinned.get("features"))
            for side in SIDES
        },
        vocal_noise_sigma=ingredients.vocal_noise_sigma,
        codec=codec,
        stages={name: ingredients.stages[name].spec for name in STAGES},
        generation=ingredients.generation,
        measured=ingredients.measured,
        fingerprints=dict(sorted(fingerprints.items())),
        files=_hashes(staging),
        analysers=tuple(name for name in ANALYSERS if name in ingredients.analysers),
    )
    write_whole(staging / CONFIG_FILE, config.to_json())
    if ingredients.more is not None:
        for name, content in ingredients.more(Bundle.read(staging)).items():
            (staging / name).parent.mkdir(exist_ok=True)
            write_whole(staging / name, content)
        files = {name: digest for name, digest in _hashes(staging).items() if name != CONFIG_FILE}
        write_whole(staging / CONFIG_FILE, replace(config, files=files).to_json())
    if ingredients.card is not None:
        write_whole(staging / CARD_FILE, ingredients.card(Bundle.read(staging)))


def _write_analysers(staging: Path, analysers: Mapping[AnalyserName, Analyser]) -> dict[str, str]:
    """Writes analysers; returns their fingerprints by the names that a bundle's configuration gives them."""
    fingerprints = {}
    for name, analyser in analysers.items():
        path = staging / analyser_file(name)
        path.parent.mkdir(exist_ok=True)
        write_analyser(path, analyser, storage="int8")
        fingerprints[f"analyser_{name}"] = read_analyser(path).fingerprint()
    return fingerprints


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check_bundle_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuses a place that a bundle must not take, before anything is read.

    Args:
        folder: of the bundle.
        overwrite: whether another bundle may be replaced.

    Raises:
        OutputError: it is a file, holds a bundle without `overwrite`, or holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"'{folder}' is a file; give another name for the bundle's folder")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise OutputError(
                f"'{folder}' already holds files; give another folder, or allow replacing (overwrite=True)"
            )
        if not (folder / CONFIG_FILE).is_file():
            raise OutputError(
                f"'{folder}' holds files but no bundle, and is not replaced; give another folder"
            )


def _commit(folder: Path, fill: Callable[[Path], None], *, overwrite: bool) -> Bundle:
    """Fills a new folder beside `folder`, verifies it, and puts it in place."""
    check_bundle_folder(folder, overwrite=overwrite)
    with replaced_folder(folder, what="the bundle") as staging:
        check_bundle_folder(folder, overwrite=overwrite)  # another process may just have put one there
        fill(staging)
        Bundle.read(staging)
    return Bundle.read(folder)
