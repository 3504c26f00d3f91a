"""What turns sound into ids: semantic features and a k-means for each side, and a codec.

In: a name. Out: the parts, on the CPU, verified; and a folder that holds them.

    "builtin"                   spectral features, codec and k-means of the bundle in the package
    "paper"                     HuBERT-Large, layer 9, and EnCodec at 24 kHz, pinned; k-means from a folder
    a folder with parts.json    what `save` wrote: shards carry one, `hafm fit-kmeans` makes one
    a folder of a codec         the built-in one, trained anew; with the built-in features, without k-means
    a bundle                    its folder or hub id

`FeatureParts` are what a k-means is fitted on; `TokenParts` have the k-means too.

Conventions: fingerprints have the names of `BundleConfig.fingerprints`. The built-in codec was trained on
sound of about -20 dBFS, so instrumentals are brought to that level before it encodes them; EnCodec gets them
as they are.

Source: paper 3.2; what the built-in parts put in place of HuBERT and EnCodec is ours.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import torch

from hafm.errors import BundleNotFound, OutputError, UsageError
from hafm.files import replaced_folder
from hafm.stages.bundle import CODEC_FOLDER, Bundle, kmeans_file
from hafm.stages.bundle_config import SIDES
from hafm.stages.parts import (
    PARTS_FILE,
    PartsFile,
    Pinned,
    describe_features,
    load_codec,
    load_features,
    read_pinned,
    save_codec,
)
from hafm.stages.spec import StageSpec, TokenStream
from hafm.tokens.base import Codec, SemanticFeatures
from hafm.tokens.codec.storage import holds_codec, read_config
from hafm.tokens.fingerprint import require_same
from hafm.tokens.kmeans import KMeans

__all__ = ["PAPER", "FeatureParts", "TokenParts", "fit_to_parts", "open_features", "open_parts"]

PAPER = "paper"
"""The name of the paper's own parts."""

SPECTRAL_INSTRUMENTAL_RMS = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureParts:
    """Semantic features of both sides, and a codec.

    Args:
        vocal_features: of vocals.
        instrumental_features: of instrumentals; may be the same object.
        codec: of instrumentals.
        instrumental_rms: active RMS that instrumentals are brought to, full scale = 1; None leaves them.
        pinned: where HuBERT (`"features"`) and EnCodec (`"codec"`) came from.
    """

    vocal_features: SemanticFeatures
    instrumental_features: SemanticFeatures
    codec: Codec
    instrumental_rms: float | None = None
    pinned: Mapping[str, Pinned] = field(default_factory=dict)

    @property
    def features(self) -> dict[str, SemanticFeatures]:
        """By side."""
        return {"vocal": self.vocal_features, "instrumental": self.instrumental_features}

    def to(self, device: torch.device | str) -> Self:
        """These parts, on `device`."""
        self.codec.to(device)
        for features in self.features.values():
            features.to(device)
        return self

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of each part, by the names of `PART_NAMES`."""
        prints = {f"features_{side}": each.fingerprint() for side, each in self.features.items()}
        return {**prints, "codec": self.codec.fingerprint()}

    def with_kmeans(self, *, vocal: KMeans, instrumental: KMeans) -> "TokenParts":
        """Whole parts of these and two k-means.

        Raises:
            BundleMismatch: a k-means was fitted on other features.
        """
        own = {each.name: getattr(self, each.name) for each in fields(FeatureParts)}
        return TokenParts(**own, vocal_kmeans=vocal, instrumental_kmeans=instrumental)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes a folder, whole or not at all. One that holds these parts already is left as it is.

        Args:
            folder: missing or empty otherwise; its parent exists.

        Raises:
            OutputError: it holds something else, or cannot be written.
        """
        folder = Path(folder)
        if folder.is_dir() and any(folder.iterdir()):
            if (folder / PARTS_FILE).is_file() and PartsFile.read(folder).fingerprints == self.fingerprints():
                return
            raise OutputError(f"'{folder}' already holds something else; give another folder for the parts")
        with replaced_folder(folder) as staging:
            self._write(staging)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "FeatureParts":
        """The parts that `save` wrote, on the CPU.

        Raises:
            BundleNotFound: there are none, or they come from the hub and it cannot be reached.
            BundleDamaged: a file is unreadable.
            BundleMismatch: a part is not the one that `parts.json` names; both fingerprints are given.
        """
        described = PartsFile.read(folder)
        parts = _load_features(
            described.features, described.codec, Path(folder) / CODEC_FOLDER, rms=described.instrumental_rms
        )
        return parts._checked(described.fingerprints, Path(folder))

    def _write(self, staging: Path) -> None:
        codec = save_codec(self.codec, staging / CODEC_FOLDER, self.pinned.get("codec"))
        features = {
            side: describe_features(each, self.pinned.get("features")) for side, each in self.features.items()
        }
        PartsFile(
            features=features,
            codec=codec,
            instrumental_rms=self.instrumental_rms,
            fingerprints=self.fingerprints(),  # after saving, which rounds the codec
        ).write(staging)

    def _checked(self, expected: Mapping[str, str], folder: Path) -> Self:
        for name, found in self.fingerprints().items():
            require_same(expected=str(expected.get(name)), found=found, what=f"the {name} of '{folder}'")
        return self


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenParts(FeatureParts):
    """Features, k-means and codec: all that turns sound into ids.

    Args:
        vocal_kmeans: fitted on `vocal_features`.
        instrumental_kmeans: fitted on `instrumental_features`.

    Raises:
        BundleMismatch: a k-means was fitted on other features.

    >>> parts = open_parts("builtin")                                               # doctest: +SKIP
    >>> parts.vocal_kmeans.cardinality, parts.codec.num_codebooks                   # doctest: +SKIP
    (500, 8)
    """

    vocal_kmeans: KMeans
    instrumental_kmeans: KMeans

    def __post_init__(self) -> None:
        for side, kmeans in self.kmeans.items():
            require_same(
                expected=kmeans.feature_fingerprint,
                found=self.features[side].fingerprint(),
                what=f"the {side} k-means and the {side} features",
            )

    @property
    def kmeans(self) -> dict[str, KMeans]:
        """By side."""
        return {"vocal": self.vocal_kmeans, "instrumental": self.instrumental_kmeans}

    def to(self, device: torch.device | str) -> Self:
        """These parts, on `device`; k-means reckon in float64, so on a GPU that has none they stay behind."""
        for kmeans in self.kmeans.values():
            kmeans.to("cpu" if torch.device(device).type == "mps" else device)
        return super().to(device)

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of each part, by the names of `PART_NAMES`."""
        return {
            **super().fingerprints(),
            **{f"kmeans_{side}": kmeans.fingerprint() for side, kmeans in self.kmeans.items()},
        }

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "TokenParts":
        """The parts that `save` wrote, on the CPU.

        Raises:
            BundleNotFound, BundleDamaged, BundleMismatch: as for `FeatureParts.load`; also where there are no
                k-means.
        """
        parts = FeatureParts.load(folder).with_kmeans(**_load_kmeans(Path(folder)))
        return parts._checked(PartsFile.read(folder).fingerprints, Path(folder))

    def _write(self, staging: Path) -> None:
        for side, kmeans in self.kmeans.items():
            kmeans.save(staging / kmeans_file(side))
        super()._write(staging)


def open_features(name: str | os.PathLike[str]) -> FeatureParts:
    """Features and codec of a name: see the top of this file.

    Raises:
        BundleError: there is nothing of that name, or it is damaged.
    """
    if os.fspath(name) == PAPER:
        return _paper()
    if (Path(name) / PARTS_FILE).is_file():
        return FeatureParts.load(name)
    if holds_codec(Path(name)):
        return _around_codec(Path(name))
    return _of_bundle(Bundle.open(name))


def open_parts(name: str | os.PathLike[str], *, kmeans: Path | None = None) -> TokenParts:
    """All parts of a name: see the top of this file.

    Args:
        kmeans: folder with the two k-means, in place of those that belong to the name; `"paper"` has none.

    Raises:
        UsageError: `"paper"` or a codec without k-means.
        BundleNotFound, BundleDamaged: there is nothing of that name or a file is unusable.
        BundleMismatch: the k-means were fitted on other features.

    >>> open_parts("paper")
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: the paper's parts come without k-means: fit them (hafm fit-kmeans ...
    """
    if kmeans is None:
        if os.fspath(name) == PAPER:
            raise UsageError(
                "the paper's parts come without k-means: fit them (hafm fit-kmeans ... --parts paper -o DIR) "
                "and name the folder"
            )
        if (Path(name) / PARTS_FILE).is_file():
            return TokenParts.load(name)
        if holds_codec(Path(name)):
            raise UsageError(
                f"'{name}' is a codec alone: fit k-means (hafm fit-kmeans ... --parts '{name}' -o DIR) and "
                "name the folder"
            )
        bundle = Bundle.open(name)
        return _of_bundle(bundle).with_kmeans(**{side: bundle.load_kmeans(side) for side in SIDES})
    return open_features(name).with_kmeans(**_load_kmeans(kmeans))


def fit_to_parts(spec: StageSpec, folder: Path) -> StageSpec:
    """A stage with as many classes as the parts behind the shards have ids.

    The paper has 500 clusters and 1024 codes, and so have its recipes; k-means of other sizes may be fitted.
    Only the files that say the sizes are read, so that no codec is fetched.

    Args:
        spec: of a stage.
        folder: of the parts.

    Raises:
        BundleNotFound, BundleDamaged: a file of the parts is missing or unreadable.
    """
    sizes = {f"{side}_semantic": kmeans.cardinality for side, kmeans in _load_kmeans(folder).items()}
    codes = read_config(folder / CODEC_FOLDER).get("cardinality")
    if codes is not None:  # EnCodec's file names the model alone, and it is the paper's
        sizes |= {"coarse_codes": codes, "fine_codes": codes}

    def fit(stream: TokenStream) -> TokenStream:
        return replace(stream, cardinality=sizes.get(stream.name, stream.cardinality))

    return replace(spec, sources=tuple(fit(source) for source in spec.sources), target=fit(spec.target))


def _paper() -> FeatureParts:
    from hafm.tokens.encodec import ENCODEC_REPO, ENCODEC_REVISION, EncodecCodec
    from hafm.tokens.hubert import HUBERT_REPO, HUBERT_REVISION, HubertFeatures

    with torch.random.fork_rng(devices=[]):  # models begin with random weights: not from the caller's
        hubert, encodec = HubertFeatures.from_hub(), EncodecCodec.from_hub()
    return FeatureParts(
        vocal_features=hubert,
        instrumental_features=hubert,
        codec=encodec,
        pinned={
            "features": Pinned(repo=HUBERT_REPO, revision=HUBERT_REVISION),
            "codec": Pinned(repo=ENCODEC_REPO, revision=ENCODEC_REVISION),
        },
    )


def _around_codec(folder: Path) -> FeatureParts:
    from hafm.tokens.codec.model import SpectralCodec
    from hafm.tokens.spectral import INSTRUMENTAL, VOCAL, SpectralFeatures

    return FeatureParts(
        vocal_features=SpectralFeatures(VOCAL),
        instrumental_features=SpectralFeatures(INSTRUMENTAL),
        codec=SpectralCodec.load(folder),
        instrumental_rms=SPECTRAL_INSTRUMENTAL_RMS,
    )


def _of_bundle(bundle: Bundle) -> FeatureParts:
    config = bundle.config
    rms = SPECTRAL_INSTRUMENTAL_RMS if config.codec.get("kind") == "spectral" else None
    parts = _load_features(config.features, config.codec, bundle.folder / CODEC_FOLDER, rms=rms)
    return parts._checked(config.fingerprints, bundle.folder)


def _load_features(
    features: Mapping[str, Mapping[str, Any]], codec: Mapping[str, Any], folder: Path, *, rms: float | None
) -> FeatureParts:
    """Features and codec of their descriptions. Sides of one description share one object: HuBERT is big."""
    vocal, instrumental = features["vocal"], features["instrumental"]
    features_of_vocal = load_features(vocal)
    return FeatureParts(
        vocal_features=features_of_vocal,
        instrumental_features=features_of_vocal if instrumental == vocal else load_features(instrumental),
        codec=load_codec(codec, folder),
        instrumental_rms=rms,
        pinned=read_pinned(vocal, codec, folder),
    )


def _load_kmeans(folder: Path) -> dict[str, KMeans]:
    """By side."""
    if not any((folder / kmeans_file(side)).is_file() for side in SIDES):
        raise BundleNotFound(f"there are no k-means in '{folder}'; hafm fit-kmeans makes them")
    return {side: KMeans.load(folder / kmeans_file(side)) for side in SIDES}
