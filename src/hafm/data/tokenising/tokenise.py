"""Tracks to tokens: the paper's semantic tokens of both sides, and codes of the instrumental (3.2).

In: tracks with their stems. Out: a `Prepared` each: ids as uint16, levels of the clips, seconds spent.

    vocal ---> views ---------> features --k-means--> [views, F50]
    instrumental -----+-------> features --k-means--> [F50]
      (at one level)  +-------> codec ---------------> [K, F75]
    both  -------> levels of clips of 10 s

Conventions: a whole track goes through at once, so that there are no seams. `F50 = ceil(50 * seconds)`,
`F75 = ceil(75 * seconds)`. On a CPU rows go through the models one by one, which costs nothing there and
makes the ids independent of the batch, bit for bit; on a GPU rows of one length are batched, and an id may
differ in a near tie.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from hafm.data.collection.intake import Stems
from hafm.data.collection.track import Track
from hafm.data.result import ClipLevel, Ids, Prepared, TrackTokens
from hafm.data.tokenising.augment import AUGMENT_VERSION
from hafm.data.tokenising.clip_filter import measure_levels
from hafm.data.tokenising.views import RatedStems, Side
from hafm.errors import AudioContentError, UsageError
from hafm.rates import CODEC_RATE, SEMANTIC_RATE, frames_for
from hafm.stages.token_parts import TokenParts
from hafm.tokens.level import NOISE_SIGMA, VOCAL_RMS

__all__ = ["TokeniseSettings", "Tokeniser", "is_augmented"]

MAX_CARDINALITY = 2**16


@dataclass(frozen=True, kw_only=True)
class TokeniseSettings:
    """What decides the ids besides the parts.

    Args:
        seed: of noise and augmentation.
        views: of each vocal, 1 or more.
        augment: whether views are augmented: all of a train track, and of held-out ones all but view 0, so
            that held-out figures do not depend on luck.
        clip_seconds: length of the clips whose levels are measured, above 0.
        noise_sigma: of the vocal's noise, 0 or more.

    Raises:
        UsageError: a value is out of range.

    >>> TokeniseSettings(views=0)
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: views 0: give 1 or more
    """

    seed: int = 0
    views: int = 1
    augment: bool = False
    clip_seconds: Fraction = Fraction(10)
    noise_sigma: float = NOISE_SIGMA

    def __post_init__(self) -> None:
        if self.views < 1:
            raise UsageError(f"views {self.views}: give 1 or more")
        if self.clip_seconds <= 0:
            raise UsageError(f"clips of {self.clip_seconds} s: give more than 0")
        if not 0 <= self.noise_sigma < math.inf:
            raise UsageError(f"noise sigma {self.noise_sigma}: give 0 or more")


class Tokeniser:
    """Parts, moved to a device and ready for tracks.

    Raises:
        UsageError: the parts have other rates than 50 and 75 Hz, or more ids than 16 bits hold.
    """

    def __init__(
        self, *, parts: TokenParts, settings: TokeniseSettings, device: torch.device | str = "cpu"
    ) -> None:
        rates = (parts.vocal_features.frame_rate, parts.instrumental_features.frame_rate)
        if rates != (SEMANTIC_RATE, SEMANTIC_RATE) or parts.codec.frame_rate != CODEC_RATE:
            raise UsageError(
                f"features at {rates[0]} and {rates[1]} Hz and a codec at {parts.codec.frame_rate} Hz: "
                f"shards hold {SEMANTIC_RATE} and {CODEC_RATE} Hz; take other parts"
            )
        largest = max(parts.codec.cardinality, *(kmeans.cardinality for kmeans in parts.kmeans.values()))
        if largest > MAX_CARDINALITY:
            raise UsageError(
                f"{largest} ids do not fit into 16 bits; take a k-means of {MAX_CARDINALITY} or fewer"
            )
        self.device = torch.device(device)
        self.parts = parts.to(self.device)
        self.settings = settings

    def made_by(self) -> dict[str, Any]:
        """What decides the ids and levels: fingerprints by `PART_NAMES`, and settings; JSON values."""
        return {
            **self.parts.fingerprints(),
            "instrumental_rms": self.parts.instrumental_rms,
            "vocal_rms": VOCAL_RMS,
            "noise_sigma": self.settings.noise_sigma,
            "seed": self.settings.seed,
            "views": self.settings.views,
            "augment": AUGMENT_VERSION if self.settings.augment else None,
            "clip_seconds": str(self.settings.clip_seconds),
        }

    @torch.no_grad()
    def tokenise(self, tracks: Sequence[tuple[Track, Stems]]) -> list[Prepared]:
        """Tokens of tracks, in their order.

        Raises:
            AudioContentError: a track gives values that are not finite; it is named, and none of the others
                has a result.
            UsageError: augmentation was asked for, and a track has no split.
        """
        jobs = [self._hear(track, stems) for track, stems in tracks]
        views = [(job, view) for job in jobs for view in job.views]
        vocal = self._semantic("vocal", views)
        instrumental = self._semantic("instrumental", [(job, job.for_features) for job in jobs])
        encode = self.parts.codec.encode
        codes = self._run(
            "codec", lambda batch: encode(batch[:, None]), [(job, job.for_codec) for job in jobs]
        )
        per_track = len(views) // max(1, len(jobs))
        return [
            job.prepared(
                vocal=vocal[number * per_track : (number + 1) * per_track],
                instrumental=instrumental[number],
                codes=codes[number],
            )
            for number, job in enumerate(jobs)
        ]

    def _hear(self, track: Track, stems: Stems) -> "_Job":
        settings, parts, spent = self.settings, self.parts, defaultdict[str, float](float)
        for side, stem in (("vocal", stems.vocal), ("instrumental", stems.instrumental)):
            _require_finite(stem, f"track {track.id!r}: its {side}")
        with _timed(spent, "levels"):
            levels = measure_levels(stems.vocal, stems.instrumental, stems.sample_rate, settings.clip_seconds)
        with _timed(spent, "resample"):
            rated = RatedStems(
                vocal=stems.vocal, instrumental=stems.instrumental, sample_rate=stems.sample_rate
            )
            rates = (parts.instrumental_features.sample_rate, parts.codec.sample_rate)
            for_features, for_codec = (rated.instrumental(rate, rms=parts.instrumental_rms) for rate in rates)
            rated.at("vocal", parts.vocal_features.sample_rate)
        with _timed(spent, "views"):
            views = [
                rated.vocal_view(
                    parts.vocal_features.sample_rate,
                    track_id=track.id,
                    view=view,
                    seed=settings.seed,
                    sigma=settings.noise_sigma,
                    augmented=settings.augment and is_augmented(track, view),
                )
                for view in range(settings.views)
            ]
        return _Job(track, stems, levels, views, for_features, for_codec, spent)

    def _semantic(self, side: Side, rows: Sequence["_Row"]) -> list[Tensor]:
        """Ids `[F50]` of each row."""
        features, kmeans = self.parts.features[side], self.parts.kmeans[side]
        ids = []
        for (job, _), values in zip(rows, self._run(f"{side} features", features.extract, rows), strict=True):
            _require_finite(values, f"track {job.track.id!r}: what the features make of its {side}")
            with _timed(job.spent, "k-means", self.device):
                ids.append(kmeans.predict(values[None].to(kmeans.centroids.device))[0])
        return ids

    def _run(self, step: str, model: Callable[[Tensor], Tensor], rows: Sequence["_Row"]) -> list[Tensor]:
        """What a model makes of each row."""
        results: dict[int, Tensor] = {}
        lengths = [len(waveform) for _, waveform in rows]
        for numbers in _batches(lengths, alone=self.device.type == "cpu"):
            spent = defaultdict[str, float](float)
            with _timed(spent, step, self.device):
                batch = torch.stack([rows[number][1] for number in numbers]).to(self.device)
                results.update(zip(numbers, model(batch), strict=True))
            for number in numbers:
                rows[number][0].spent[step] += spent[step] / len(numbers)
        return [results[number] for number in range(len(rows))]


def is_augmented(track: Track, view: int) -> bool:
    """Whether a view is augmented, where augmentation is asked for.

    Raises:
        UsageError: the track has no split.

    >>> from hafm.data.collection.track import SoundPart
    >>> song = Track(id="a", song_id="a", split="valid", mix=SoundPart(path="a.wav"))
    >>> is_augmented(song, 0), is_augmented(song, 1)
    (False, True)
    """
    if track.split is None:
        raise UsageError(
            f"track {track.id!r} has no split, which decides what is augmented; assign splits first"
        )
    return track.split == "train" or view > 0


@dataclass(frozen=True, eq=False)
class _Job:
    """A track on its way: the waveforms that models get, and a stopwatch."""

    track: Track
    stems: Stems
    levels: tuple[ClipLevel, ...]
    views: list[Tensor]
    for_features: Tensor
    for_codec: Tensor
    spent: dict[str, float]

    def prepared(self, *, vocal: Sequence[Tensor], instrumental: Tensor, codes: Tensor) -> Prepared:
        num_samples, rate = len(self.stems.vocal), self.stems.sample_rate
        rates = (SEMANTIC_RATE, CODEC_RATE)
        expected = [frames_for(num_samples, sample_rate=rate, frame_rate=each) for each in rates]
        assert [len(instrumental), codes.shape[1]] == expected, (instrumental.shape, codes.shape, expected)
        return Prepared(
            track_id=self.track.id,
            tokens=TrackTokens(
                vocal=np.stack([_ids(view) for view in vocal]),
                instrumental=_ids(instrumental),
                codes=_ids(codes),
            ),
            levels=self.levels,
            seconds=num_samples / rate,
            notes=self.stems.notes,
            spent=dict(self.spent),
        )


_Row: TypeAlias = tuple[_Job, Tensor]


def _batches(lengths: Sequence[int], *, alone: bool) -> list[list[int]]:
    """Numbers of the rows that go through a model at once: those of one length, or each by itself.

    >>> _batches([5, 7, 5], alone=False)
    [[0, 2], [1]]
    >>> _batches([5, 7, 5], alone=True)
    [[0], [1], [2]]
    """
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for number, length in enumerate(lengths):
        groups[number if alone else length].append(number)
    return list(groups.values())


def _require_finite(values: Tensor, what: str) -> None:
    # Both extremes hand NaN on, and allocate nothing.
    if not bool(values.amax().isfinite() & values.amin().isfinite()):
        raise AudioContentError(f"{what} is not finite; check the file, or the separator")


def _ids(ids: Tensor) -> Ids:
    return ids.cpu().numpy().astype(np.uint16)


@contextmanager
def _timed(spent: dict[str, float], step: str, device: torch.device | None = None) -> Iterator[None]:
    """Adds the seconds that the block takes; a GPU is waited for."""
    began = time.perf_counter()
    yield
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
    spent[step] += time.perf_counter() - began
