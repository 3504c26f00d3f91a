"""The frames that a semantic vocabulary is fitted to: features of a seeded sample of a collection.

In: tracks, and how one becomes frames. Out: frames in memory, a bounded number of them, evenly drawn;
others that are held out; and the list of what they come from.

    train tracks --shuffled by the seed--> N hours --features--> frames --silence thinned--> reservoirs
                                                                                                    |
                           of every tenth track: held out, to measure on; of the others: to fit on -+

Frames in which a stem is silent are all alike, and must not take centroids: of those `SILENT_SHARE` stays.
Vocals are encoded as in training: at one level, noisy, augmented if that is asked for
(`hafm.data.tokenising.views`).

Source: Vitter, "Random Sampling with a Reservoir" (1985), algorithm R: frame number n (from 0) enters with
probability capacity / (n + 1), in place of one drawn at random.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from hafm.data.collection.duplicates import ScanFailure, hash_track
from hafm.data.collection.intake import Stems
from hafm.data.collection.splits import ScannedTrack, assign
from hafm.data.collection.track import Track
from hafm.data.result import Quarantined
from hafm.data.tokenising.kmeans_fit import Frames
from hafm.data.tokenising.views import SIDES, RatedStems, Side
from hafm.errors import AudioContentError, AudioError, QuarantineLimit, UsageError
from hafm.stages.token_parts import FeatureParts
from hafm.tokens.level import active_rms

__all__ = ["FrameReader", "Reservoir", "Sample", "SampledTrack", "draw_sample", "train_tracks"]


class Reservoir:
    """A uniform sample, of bounded size, of all frames of a stream that came so far.

    Args:
        dim: D, length of a frame.
        max_bytes: of the frames that are kept, as float32; at least one is.

    >>> kept = Reservoir(dim=1, max_bytes=40, seed=0)
    >>> kept.add(np.arange(1000, dtype=np.float32)[:, None])
    >>> kept.frames.shape, kept.seen, kept.is_whole
    ((10, 1), 1000, False)
    """

    def __init__(self, *, dim: int, max_bytes: int, seed: int | tuple[int, ...]) -> None:
        self.capacity = max(1, max_bytes // (4 * dim))
        self.seen = 0
        self._rng = np.random.default_rng(seed)
        # Memory that is not written to yet is not taken yet either.
        self._kept = np.empty((self.capacity, dim), dtype=np.float32)

    @property
    def is_whole(self) -> bool:
        """Whether every frame that came is kept."""
        return self.seen <= self.capacity

    @property
    def frames(self) -> NDArray[np.float32]:
        """A view of what is kept. Shape [N, D]."""
        return self._kept[: min(self.seen, self.capacity)]

    def add(self, frames: Float32[np.ndarray, "N D"]) -> None:
        free = min(len(frames), max(0, self.capacity - self.seen))
        self._kept[self.seen : self.seen + free] = frames[:free]
        late = frames[free:]
        if len(late):
            numbers = np.arange(self.seen + free, self.seen + len(frames))
            places = self._rng.integers(0, numbers + 1)
            enter = places < self.capacity
            # Of two that draw one place the later stays: numpy assigns in order.
            self._kept[places[enter]] = late[enter]
        self.seen += len(frames)


SILENT_DB = -40.0
"""Below a stem's active RMS: then there is nothing but the noise that vocals are given."""

SILENT_SHARE = 0.02
HOLD_OUT_EVERY = 10
HELD_OUT_MEMORY_SHARE = 0.25
_JUDGED_FROM = 50

ReadStems: TypeAlias = Callable[[Track], Stems]


@dataclass(frozen=True, kw_only=True)
class FrameReader:
    """How a track becomes frames.

    Args:
        parts: features of both sides, on `device`.
        read: gives the stems of a track.
        seed: of noise, augmentation, and of which silent frames stay.
    """

    parts: FeatureParts
    read: ReadStems
    seed: int
    augment: bool
    noise_sigma: float
    device: torch.device | str = "cpu"

    def frames(self, track: Track) -> tuple[dict[Side, Frames], float]:
        """Frames `[N, D]` of each side, silence thinned, and the track's seconds."""
        stems = self.read(track)
        rated = RatedStems(vocal=stems.vocal, instrumental=stems.instrumental, sample_rate=stems.sample_rate)
        sounds: dict[Side, Tensor] = {
            "vocal": rated.vocal_view(
                self.parts.vocal_features.sample_rate,
                track_id=track.id,
                view=0,
                seed=self.seed,
                sigma=self.noise_sigma,
                augmented=self.augment,
            ),
            "instrumental": rated.instrumental(
                self.parts.instrumental_features.sample_rate, rms=self.parts.instrumental_rms
            ),
        }
        frames = {
            side: self._thinned(track, side, sound, rated.at(side, self.parts.features[side].sample_rate))
            for side, sound in sounds.items()
        }
        return frames, stems.seconds

    def _thinned(self, track: Track, side: Side, sound: Tensor, clean: Tensor) -> Frames:
        features = self.parts.features[side]
        found = features.extract(sound[None].to(self.device))[0].cpu()
        if not bool(found.isfinite().all()):
            raise AudioContentError(f"track {track.id!r}: its {side} features are not finite")
        digest = hashlib.sha256(f"{self.seed} {track.id} {side}".encode("utf-8", "surrogateescape")).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:16], "little"))
        audible = _audible(clean, hop=int(features.sample_rate / features.frame_rate)).numpy()
        return np.asarray(found.numpy(), np.float32)[audible | (rng.random(len(found)) < SILENT_SHARE)]


@dataclass(frozen=True, kw_only=True)
class SampledTrack:
    """A track of the sample, with the hash of its files; frames of one held out are for measuring only."""

    track: Track
    sha256: str
    seconds: float
    held_out: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """What `draw_sample` drew.

    Args:
        fit: by side, frames to fit on; both sides have one reservoir if they share a vocabulary.
        held_out: by side, frames to measure on.
        tracks: where they come from, in the order in which they were read.
        unusable: tracks that were left out, with reasons.
    """

    fit: dict[Side, Reservoir]
    held_out: dict[Side, Reservoir]
    tracks: list[SampledTrack] = field(default_factory=list)
    unusable: list[Quarantined] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(sampled.seconds for sampled in self.tracks)

    def fingerprint(self) -> str:
        """SHA-256 over a line for each track: its id, the hash of its files, what it is for."""
        lines = (f"{each.track.id}\t{each.sha256}\t{int(each.held_out)}\n" for each in self.tracks)
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def train_tracks(tracks: Iterable[Track], *, seed: int) -> list[Track]:
    """The train tracks among all, in an order that the seed decides.

    Songs whose split the source does not state are assigned as `hafm prepare` does it for the same seed.

    Raises:
        UsageError: there are fewer than two, one to fit on and one to measure on.

    >>> from hafm.data.collection.track import SoundPart
    >>> songs = [Track(id=f"{n}", song_id=f"{n}", split="train", mix=SoundPart(path="")) for n in range(5)]
    >>> [track.id for track in train_tracks(songs, seed=0)]
    ['2', '4', '3', '0', '1']
    """
    every = list(tracks)
    rows = [
        ScannedTrack(id=track.id, song_id=track.song_id, split=track.split, sha256=None) for track in every
    ]
    found = [track for track, row in zip(every, assign(rows, seed=seed), strict=True) if row.split == "train"]
    if len(found) < 2:
        raise UsageError(
            f"the source has {len(found)} train tracks of {len(every)}; a k-means needs two or more: one to "
            "fit on, one to measure on"
        )
    return [found[number] for number in np.random.default_rng(seed).permutation(len(found))]


def draw_sample(
    tracks: Sequence[Track],
    reader: FrameReader,
    *,
    hours: float,
    shared: bool,
    max_bytes: int,
    unusable_limit: float,
    on_progress: Callable[[float], None],
) -> Sample:
    """Reads tracks until there are enough.

    Args:
        tracks: in the order in which they are taken.
        hours: of sound to read, above 0.
        shared: whether both sides share one vocabulary.
        max_bytes: of frames to fit on, per vocabulary.
        unusable_limit: share of tracks that may be unusable, 0 to 1.
        on_progress: called with the share of the work that is done.

    Raises:
        QuarantineLimit: more tracks are unusable.
        UsageError: no track is left to fit on, or none to measure on.
    """
    sample = Sample(
        fit=_reservoirs(reader, shared, max_bytes, 0),
        held_out=_reservoirs(reader, shared, int(max_bytes * HELD_OUT_MEMORY_SHARE), 1),
    )
    seconds = 0.0
    for number, track in enumerate(tracks):
        if seconds >= 3600 * hours:
            break
        on_progress(max(seconds / (3600 * hours), number / len(tracks)))
        try:
            sha256 = hash_track(track)
            if isinstance(sha256, ScanFailure):
                raise AudioError(sha256.reason)
            frames, duration = reader.frames(track)
        except (AudioError, OSError) as error:
            sample.unusable.append(Quarantined(track_id=track.id, reason=str(error)))
            if number + 1 >= _JUDGED_FROM:
                _judge(sample, unusable_limit)
            continue
        # The second of every ten, so that two tracks are enough.
        held_out = len(sample.tracks) % HOLD_OUT_EVERY == 1
        sample.tracks.append(SampledTrack(track=track, sha256=sha256, seconds=duration, held_out=held_out))
        for side in SIDES:
            (sample.held_out if held_out else sample.fit)[side].add(frames[side])
        seconds += duration
    _judge(sample, unusable_limit)
    if len(sample.tracks) < 2:
        raise UsageError(
            f"only {len(sample.tracks)} tracks were read; a k-means needs two or more: raise --hours"
        )
    return sample


def _reservoirs(reader: FrameReader, shared: bool, max_bytes: int, number: int) -> dict[Side, Reservoir]:
    vocal, instrumental = (
        Reservoir(dim=reader.parts.features[side].dim, max_bytes=max_bytes, seed=(reader.seed, number, place))
        for place, side in enumerate(SIDES)
    )
    return {"vocal": vocal, "instrumental": vocal if shared else instrumental}


def _judge(sample: Sample, limit: float) -> None:
    failed, read = len(sample.unusable), len(sample.unusable) + len(sample.tracks)
    if failed > limit * read:
        named = "; ".join(f"{each.track_id!r}: {each.reason}" for each in sample.unusable[:3])
        raise QuarantineLimit(
            f"{failed} of {read} tracks ({failed / read:.1%}) cannot be used, more than {limit:.1%}: "
            f"{named}; mend them, or go on with a higher --quarantine-limit"
        )


def _audible(waveform: Float[Tensor, " T"], *, hop: int) -> Bool[Tensor, " F"]:
    """Frames whose mean square is above `SILENT_DB`, against the waveform's active RMS.

    >>> _audible(torch.cat([torch.ones(4), torch.zeros(3), torch.ones(1)]), hop=2)
    tensor([ True,  True, False,  True])
    """
    whole = pad(waveform, (0, -len(waveform) % hop))
    power = whole.view(-1, hop).square().mean(dim=1)
    level = active_rms(waveform[None], sample_rate=50 * hop)[0]
    return power > level.square() * 10 ** (SILENT_DB / 10)
