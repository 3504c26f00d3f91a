"""Semantic vocabularies of a collection: what `hafm fit-kmeans` does.

In: tracks, features, settings. Out: a k-means for each side, with notes that say where it comes from, and
how good it is on tracks that it was not fitted on.

    tracks --draw_sample--> frames --CentroidFit--> centroids --measure--> KMeans, notes
                              |                        ^
                              `- not all of them? -----'  the same tracks are read once more

Memory: `max_bytes` of frames to fit on and a quarter of that to measure on, a vocabulary; 32 768 frames on
their way; one track. It does not grow with the hours.

The same tracks, features and settings give the same files, byte for byte, on the same machine.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import torch

from hafm.data.collection.track import Track
from hafm.data.tokenising.augment import AUGMENT_VERSION
from hafm.data.tokenising.kmeans_fit import CentroidFit, Frames, KMeansSettings, Quality, measure
from hafm.data.tokenising.kmeans_sample import FrameReader, ReadStems, Sample, draw_sample
from hafm.data.tokenising.views import SIDES, Side
from hafm.errors import HafmError, UsageError
from hafm.stages.token_parts import FeatureParts
from hafm.tokens.fingerprint import fingerprint
from hafm.tokens.kmeans import KMeans
from hafm.tokens.level import NOISE_SIGMA

__all__ = ["OnProgress", "Vocabularies", "VocabularySettings", "fit_vocabularies"]

OnProgress: TypeAlias = Callable[[str, float], None]
"""Called with the step (`listening`, `fitting`, `listening again`) and the share of it that is done."""


@dataclass(frozen=True, kw_only=True)
class VocabularySettings:
    """What decides the centroids, besides features and tracks.

    Args:
        kmeans: how centroids are fitted; its seed also decides sample, noise and augmentation.
        hours: of sound that is read, above 0; those held out included.
        shared: one vocabulary for both sides, instead of one each (paper 3.2).
        augment: whether vocals are augmented, as for `hafm prepare --augment`.
        noise_sigma: of the vocal's noise, 0 or more.
        separator: fingerprint of the separator that stems came from; None without one.
        max_bytes: of frames that are kept in memory to fit on, a vocabulary.
        unusable_limit: share of tracks that may be unusable, 0 to 1.

    Raises:
        UsageError: a value is out of range.

    >>> VocabularySettings(hours=0)
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: hours 0: give more than 0
    """

    kmeans: KMeansSettings = field(default_factory=KMeansSettings)
    hours: float = 1.5
    shared: bool = False
    augment: bool = False
    noise_sigma: float = NOISE_SIGMA
    separator: str | None = None
    max_bytes: int = 256 << 20
    unusable_limit: float = 0.02

    def __post_init__(self) -> None:
        if not self.hours > 0:
            raise UsageError(f"hours {self.hours:g}: give more than 0")
        if not 0 <= self.noise_sigma < float("inf"):
            raise UsageError(f"noise sigma {self.noise_sigma}: give 0 or more")
        if not 0 <= self.unusable_limit <= 1:
            raise UsageError(f"quarantine limit {self.unusable_limit}: give a share from 0 to 1")

    def deciding(self) -> dict[str, Any]:
        """What decides the centroids; JSON values."""
        values = asdict(self)
        del values["unusable_limit"]
        return {**values, "augment": AUGMENT_VERSION if self.augment else None}


@dataclass(frozen=True, kw_only=True, eq=False)
class Vocabularies:
    """What was fitted.

    Args:
        kmeans: by side; the same twice if shared.
        quality: by side, on the frames that they were fitted on (`fit`) and on tracks that were `held_out`.
    """

    kmeans: dict[Side, KMeans]
    quality: dict[Side, dict[str, Quality]]
    sample: Sample


def fit_vocabularies(
    tracks: Sequence[Track],
    *,
    parts: FeatureParts,
    read: ReadStems,
    settings: VocabularySettings,
    device: torch.device | str = "cpu",
    on_progress: OnProgress = lambda step, share: None,
) -> Vocabularies:
    """Fits the vocabularies of both sides.

    Args:
        tracks: to draw from, in the order in which they are taken: see `train_tracks`.
        parts: features of both sides; they are moved to `device`.

    Raises:
        UsageError: too few tracks or frames; or a shared vocabulary of sides with different features.
        QuarantineLimit: too many tracks cannot be used.
        HafmError: a track that was read cannot be read again.
    """
    prints = parts.fingerprints()
    if settings.shared and prints["features_vocal"] != prints["features_instrumental"]:
        raise UsageError(
            "these parts have different features for vocals and instrumentals, which cannot share a k-means; "
            "leave out --shared"
        )
    reader = FrameReader(
        parts=parts.to(device),
        read=read,
        seed=settings.kmeans.seed,
        augment=settings.augment,
        noise_sigma=settings.noise_sigma,
        device=device,
    )
    sample = draw_sample(
        tracks,
        reader,
        hours=settings.hours,
        shared=settings.shared,
        max_bytes=settings.max_bytes,
        unusable_limit=settings.unusable_limit,
        on_progress=lambda share: on_progress("listening", share),
    )
    centroids = _fit(sample, reader, settings, on_progress)
    kmeans: dict[Side, KMeans] = {}
    quality: dict[Side, dict[str, Quality]] = {}
    for side in SIDES:
        features = prints[f"features_{side}"]
        quality[side] = {
            "fit": measure(centroids[side], sample.fit[side].frames),
            "held_out": measure(centroids[side], sample.held_out[side].frames),
        }
        kmeans[side] = KMeans(
            centroids=torch.from_numpy(centroids[side]),
            feature_fingerprint=features,
            notes=_notes(sample, side, quality[side], settings, features),
        )
    return Vocabularies(kmeans=kmeans, quality=quality, sample=sample)


def _fit(
    sample: Sample, reader: FrameReader, settings: VocabularySettings, on_progress: OnProgress
) -> dict[Side, Frames]:
    sides: list[Side] = ["vocal"] if settings.shared else list(SIDES)
    fits: dict[Side, CentroidFit] = {}
    for number, side in enumerate(sides):
        on_progress("fitting", number / len(sides))
        fits[side] = CentroidFit(sample=sample.fit[side].frames, settings=settings.kmeans)
    if not all(sample.fit[side].is_whole for side in sides):
        again = [sampled.track for sampled in sample.tracks if not sampled.held_out]
        for number, track in enumerate(again):
            on_progress("listening again", number / len(again))
            try:
                frames, _ = reader.frames(track)
            except OSError as error:
                raise HafmError(
                    f"track {track.id!r} was read and cannot be read again: {error}; start again"
                ) from error
            for side in SIDES:
                if not sample.fit[side].is_whole:
                    fits["vocal" if settings.shared else side].feed(frames[side])
    found = {side: fit.finish() for side, fit in fits.items()}
    return {side: found["vocal" if settings.shared else side] for side in SIDES}


def _notes(
    sample: Sample, side: Side, quality: Mapping[str, Quality], settings: VocabularySettings, features: str
) -> dict[str, Any]:
    """Where a vocabulary comes from, and how good it is; JSON values."""
    what: str = "both sides" if settings.shared else side
    if settings.augment and (settings.shared or side == "vocal"):
        what += ", vocals augmented" if settings.shared else ", augmented"
    decided_by = {
        "side": what,
        "tracks": len(sample.tracks),
        "tracks_sha256": sample.fingerprint(),
        "settings": settings.deciding(),
    }
    return {
        "data": f"{len(sample.tracks)} train tracks, {sample.seconds / 3600:.2f} h, {what}",
        **decided_by,
        "fit_fingerprint": fingerprint({"features": features, **decided_by}),
        "frames": sample.fit[side].seen,
        **{name: asdict(each) for name, each in quality.items()},
    }
