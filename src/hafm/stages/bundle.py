"""A bundle: three stages, two k-means, semantic features and a codec that belong together.

In: a source (`hafm.stages.hub`). Out: its parts, each verified, loaded when it is asked for.

    config.json                             what it is, and every hash (`hafm.stages.bundle_config`)
    semantic|coarse|fine.safetensors        the stages' weights (`hafm.stages.weights`)
    kmeans_vocal|instrumental.safetensors   centroids
    analyser/vocal|band.safetensors         what estimates lead sheets, if any (`hafm.stages.analysers`)
    codec/                                  the codec, or its name and pinned revision (`hafm.stages.parts`)
    onnx/                                   the stages' graphs, if it came with them (`hafm.generate.engine`)
    README.md                               model card

Ids of another k-means or codec look valid and mean nothing. So every stage's file carries the fingerprints of
the parts that its ids come from, and a bundle in which they differ is refused:

    stage      its ids come from
    semantic   kmeans_vocal, kmeans_instrumental
    coarse     kmeans_vocal, kmeans_instrumental, codec
    fine       codec

Conventions: parts come on the CPU in float32, in evaluation mode; nothing is kept here, so a stage's memory
is free as soon as its caller lets go of it. `hafm.stages.bundle_writer` makes bundles.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import torch

from hafm.errors import BundleDamaged, BundleNotFound, UsageError
from hafm.guide.analyser import Analyser
from hafm.stages.analysers import AnalyserName, read_analyser
from hafm.stages.bundle_config import SIDES, STAGES, BundleConfig
from hafm.stages.hub import CONFIG_FILE, bundle_folder
from hafm.stages.parts import codec_fingerprint, load_codec, load_features, loaded_fingerprint
from hafm.stages.spec import StageSpec
from hafm.stages.stage_model import StageModel
from hafm.stages.weights import read_metadata, read_weights
from hafm.tokens.base import Codec, SemanticFeatures
from hafm.tokens.fingerprint import fingerprint, require_same
from hafm.tokens.kmeans import KMeans

__all__ = [
    "CARD_FILE",
    "CODEC_FOLDER",
    "Bundle",
    "analyser_file",
    "kmeans_file",
    "parts_of",
    "stage_file",
    "stage_fingerprint",
]

CODEC_FOLDER = "codec"
CARD_FILE = "README.md"

_PART_OF_STREAM = {
    "vocal_semantic": "kmeans_vocal",
    "instrumental_semantic": "kmeans_instrumental",
    "coarse_codes": "codec",
    "fine_codes": "codec",
}


class Bundle:
    """A verified bundle in a folder. Made by `open` and `read`.

    Args:
        folder: where its files are.
        config: what its `config.json` says.
    """

    def __init__(self, *, folder: Path, config: BundleConfig) -> None:
        self.folder = folder
        self.config = config

    @classmethod
    def open(cls, source: str | os.PathLike[str] = "builtin", *, revision: str | None = None) -> Self:
        """The bundle of a source: `"builtin"`, a folder, or a hub id `owner/name[@revision]`.

        Raises:
            BundleNotFound: there is no bundle.
            BundleDamaged: a file is missing, or differs from its recorded hash; it is named.
            BundleMismatch: a stage was trained on another k-means or codec; both fingerprints are named.
        """
        return cls.read(bundle_folder(source, revision=revision))

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Self:
        """The bundle in a folder, verified.

        Raises:
            BundleNotFound: the folder has no `config.json`.
            BundleDamaged, BundleMismatch: as for `open`.
        """
        path = Path(folder) / CONFIG_FILE
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise BundleNotFound(f"there is no bundle in '{folder}' (it has no {CONFIG_FILE})") from error
        except (OSError, UnicodeDecodeError) as error:
            raise BundleDamaged(f"'{path}' cannot be read ({error}); get the bundle again") from error
        bundle = cls(folder=Path(folder), config=BundleConfig.from_json(text, where=f"'{path}'"))
        bundle._verify()
        return bundle

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything in it but the model card."""
        return self.config.fingerprint()

    @property
    def num_bytes(self) -> int:
        """Size of its files on disk."""
        names = (*self.config.files, CONFIG_FILE, CARD_FILE)
        return sum(path.stat().st_size for name in names if (path := self.folder / name).is_file())

    def spec(self, name: str) -> StageSpec:
        """The spec of a stage: `"semantic"`, `"coarse"` or `"fine"`."""
        return self.config.stages[name]

    def load_stage(self, name: str, *, device: torch.device | str = "cpu") -> StageModel:
        """A stage with its weights, in evaluation mode.

        Raises:
            BundleDamaged: the weights do not fit the spec, or are not those of the fingerprint.
        """
        path, spec = self.folder / stage_file(name), self.spec(name)
        weights = read_weights(path)
        if stage_fingerprint(spec, weights) != self.config.fingerprints[name]:
            raise BundleDamaged(
                f"'{path}' does not hold the weights that {CONFIG_FILE} describes; get the bundle again"
            )
        with torch.device("meta"):  # no memory, and no random numbers, for weights that are replaced at once
            model = StageModel(spec)
        try:
            model.load_state_dict(weights, strict=True, assign=True)
        except RuntimeError as error:
            raise BundleDamaged(
                f"'{path}' does not fit the {name} stage: {error}; get the bundle again"
            ) from error
        return model.eval().requires_grad_(False).to(device)

    def load_features(self, side: str) -> SemanticFeatures:
        """The semantic features of a side, `"vocal"` or `"instrumental"`.

        Raises:
            BundleMismatch: they are not those that the k-means was fitted on, with this version of hafm.
        """
        features = load_features(self.config.features[side])
        require_same(
            expected=self.config.fingerprints[f"features_{side}"],
            found=features.fingerprint(),
            what=f"the bundle's {side} features",
        )
        return features

    def load_kmeans(self, side: str) -> KMeans:
        """The k-means of a side, `"vocal"` or `"instrumental"`."""
        kmeans = KMeans.load(
            self.folder / kmeans_file(side), feature_fingerprint=self.config.fingerprints[f"features_{side}"]
        )
        self._require(f"kmeans_{side}", kmeans.fingerprint())
        return kmeans

    def load_codec(self) -> Codec:
        """The codec."""
        folder = self.folder / CODEC_FOLDER
        codec = load_codec(self.config.codec, folder)
        self._require("codec", loaded_fingerprint(self.config.codec, codec, folder))
        return codec

    def load_analyser(self, name: AnalyserName) -> Analyser:
        """What estimates the lead sheet of a `"vocal"` or a `"band"`.

        Raises:
            UsageError: the bundle has none.
            BundleDamaged: the file does not hold what it says.
        """
        if name not in self.config.analysers:
            raise UsageError(
                f"the bundle '{self.config.name}' has no {name} analyser; use a bundle that has one, or give "
                "a lead sheet"
            )
        analyser = read_analyser(self.folder / analyser_file(name))
        self._require(f"analyser_{name}", analyser.fingerprint())
        return analyser

    def _verify(self) -> None:
        """Refuses what is missing, changed, or does not belong together.

        A k-means of another bundle is a whole file of ours with another hash. It is called a mismatch and not
        a damage, so parts are compared before their hashes are; a damaged one is found out by loading it.
        """
        for name in self.config.files:
            if not (self.folder / name).is_file():
                raise BundleDamaged(f"'{self.folder / name}' is missing; get the bundle again")
        stages = [stage_file(name) for name in STAGES]
        self._verify_hashes(stages)
        for side in SIDES:
            self._require(f"kmeans_{side}", KMeans.load(self.folder / kmeans_file(side)).fingerprint())
        recorded = codec_fingerprint(self.folder / CODEC_FOLDER)
        if recorded != self.config.fingerprints["codec"]:
            self.load_codec()
        for name in STAGES:
            made_for = read_metadata(self.folder / stage_file(name)).get("parts", {})
            for part in parts_of(self.spec(name)):
                require_same(
                    expected=str(made_for.get(part)),
                    found=self.config.fingerprints[part],
                    what=f"the {name} stage and the {part} of '{self.folder}'",
                )
        self._verify_hashes(name for name in self.config.files if name not in stages)

    def _verify_hashes(self, names: Iterable[str]) -> None:
        for name in names:
            with open(self.folder / name, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != self.config.files[name]:
                raise BundleDamaged(
                    f"'{self.folder / name}' was changed: its SHA-256 is {found}, recorded is "
                    f"{self.config.files[name]}; get the bundle again"
                )

    def _require(self, part: str, found: str) -> None:
        require_same(
            expected=self.config.fingerprints[part],
            found=found,
            what=f"the stages and the {part} of '{self.folder}'",
        )


def stage_file(name: str) -> str:
    """The file of a stage's weights.

    >>> stage_file("coarse")
    'coarse.safetensors'
    """
    return f"{name}.safetensors"


def kmeans_file(side: str) -> str:
    """The file of a side's k-means.

    >>> kmeans_file("vocal")
    'kmeans_vocal.safetensors'
    """
    return f"kmeans_{side}.safetensors"


def analyser_file(name: AnalyserName) -> str:
    """The file of an analyser.

    >>> analyser_file("band")
    'analyser/band.safetensors'
    """
    return f"analyser/{name}.safetensors"


def parts_of(spec: StageSpec) -> tuple[str, ...]:
    """The parts that a stage's ids come from.

    >>> from hafm.stages.spec import COARSE
    >>> parts_of(COARSE)
    ('codec', 'kmeans_instrumental', 'kmeans_vocal')
    """
    return tuple(sorted({_PART_OF_STREAM[stream.name] for stream in (*spec.sources, spec.target)}))


def stage_fingerprint(spec: StageSpec, weights: dict[str, torch.Tensor]) -> str:
    """SHA-256 (hex) of a stage: its spec, and its weights as they are used."""
    return fingerprint({"kind": "stage", "spec": spec.to_dict()}, weights)
