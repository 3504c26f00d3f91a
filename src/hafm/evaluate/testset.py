"""A clip: a stretch of a song's vocal, with its true instrumental, on which every system is heard.

In: what a collection says, and where in the song. Out: `Clip`, and the set of them with the rules by which
they were chosen: `Manifest`, which is JSON and decides everything that comes after it.

    RUN/manifest.json    clips in order, the protocol, what was left out and why; written once, last

Conventions: a clip's `id` is fit for a file's name and unique in its manifest. Both arms (isolated vocals,
separated ones) have the same clips. Hashes are of the samples (float32, little-endian), so that two runs can
find out whether they used the same. Two manifests whose `fingerprint` is the same can be compared clip by
clip.

Source: paper 4.1; the clips of Donahue et al., "SingSong" (2023), 4.1, made explicit.
"""

import json
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal, Self, TypeAlias, TypeVar

from hafm.errors import UsageError
from hafm.jsonfile import JsonFile

__all__ = ["ARMS", "TRUTH", "Arm", "Clip", "LeftOut", "Manifest", "Protocol", "clip_id", "of_song"]

Arm: TypeAlias = Literal["isolated", "separated"]
ARMS: tuple[Arm, ...] = ("isolated", "separated")

TRUTH = "truth"
"""The name of the true instrumental among the systems."""

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The rules by which a collection becomes clips.

    Args:
        clip_seconds: length of a clip; clips do not overlap and start at the song's beginning.
        min_clip_seconds: what is left at a song's end is a clip too if it has this length.
        min_activity: share of a clip, from 0 to 1, in which the voice must be heard.
        songs: how many songs at most, the first in the collection's order; None for all.
        clips_per_song: how many clips of a song at most, spread evenly over those that pass; None for all.
    """

    split: str = "test"
    clip_seconds: float = 10.0
    min_clip_seconds: float = 10.0
    min_activity: float = 0.4
    songs: int | None = None
    clips_per_song: int | None = None
    sample_rate: int = 24_000

    def __post_init__(self) -> None:
        if self.split not in ("test", "valid", "train", "all"):
            raise UsageError(f"split is {self.split!r}; choose test, valid, train or all")
        if not 1.0 <= self.min_clip_seconds <= self.clip_seconds <= 600.0:
            raise UsageError(
                f"clips of {self.clip_seconds:g} s, {self.min_clip_seconds:g} s at least, cannot be cut; "
                "give clip lengths from 1 to 600 s, and a least length that is not above them"
            )
        if not 0 <= self.min_activity <= 1:
            raise UsageError(f"the least vocal activity is {self.min_activity:g}; give a share from 0 to 1")
        for name, value in (("songs", self.songs), ("clips per song", self.clips_per_song)):
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; give 1 or more, or leave it out for all")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip.

    Args:
        song: tracks of one song share it; a clip is never paired at random with its own song.
        activity: share in which the isolated voice is heard.
        sha256: of the isolated vocal and the instrumental, by name.
        truth: whether the collection knows key, chords and beats of it.
    """

    id: str
    track: str
    song: str
    start_seconds: float
    num_samples: int
    activity: float
    sha256: Mapping[str, str]
    truth: bool = False


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A track that gives no clip, or a clip that did not pass, and why."""

    track: str
    start_seconds: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The clips of a test set, and how they were chosen.

    Args:
        collection: kind and options of the source, as it describes itself; its root does not enter
            the fingerprint.
        separator: fingerprint of what made the separated arm; None without that arm.
    """

    collection: Mapping[str, Any]
    protocol: Protocol
    clips: tuple[Clip, ...]
    left_out: tuple[LeftOut, ...] = ()
    separator: str | None = None

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Isolated vocals; and separated ones where there is a separator."""
        return ARMS if self.separator is not None else ARMS[:1]

    @property
    def songs(self) -> tuple[str, ...]:
        """Every song once, in order."""
        return tuple(dict.fromkeys(clip.song for clip in self.clips))

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the clips' samples and of what decides how they are heard; not of paths."""
        heard = {
            "clips": [[clip.id, clip.song, clip.num_samples, dict(clip.sha256)] for clip in self.clips],
            "sample_rate": self.protocol.sample_rate,
            "separator": self.separator,
        }
        return sha256(json.dumps(heard, sort_keys=True).encode()).hexdigest()

    def clip(self, id: str) -> Clip:
        """The clip of that id; UsageError where there is none."""
        for clip in self.clips:
            if clip.id == id:
                return clip
        raise UsageError(f"there is no clip {id!r} in the manifest, which has {len(self.clips)} clips")

    def to_json(self) -> str:
        """What `from_json` reads."""
        return json.dumps({"format": FORMAT, **asdict(self), "fingerprint": self.fingerprint}, indent=1)

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Self:
        """What `to_json` gave, which messages call `where`; UsageError if it is not, or was changed."""
        values = _FILE.values(text, where=where)
        protocol = values.get("protocol")
        if isinstance(protocol, dict) and "clips_a_song" in protocol:  # the name in older manifests
            protocol["clips_per_song"] = protocol.pop("clips_a_song")
        fingerprint = values.pop("fingerprint", None)
        manifest = _FILE.build(cls, values, where=where)
        if fingerprint != manifest.fingerprint:
            raise UsageError(f"{where} was changed by hand; evaluate into a new folder")
        return manifest


_FILE = JsonFile(
    what="a manifest of a test set", fix="evaluate into a new folder", error=UsageError, format=FORMAT
)


def clip_id(track: str, index: int) -> str:
    """A name for the clip of a track, fit for a file: other characters become `_`, and a hash keeps it
    unique.

    >>> clip_id("test/000012", 1), clip_id("AM Contra - Heart", 0)
    ('test_000012.1.6f4a', 'AM_Contra_-_Heart.0.3cbe')
    """
    plain = re.sub(r"[^A-Za-z0-9.-]", "_", track)[:80].lstrip(".")
    return f"{plain}.{index}.{sha256(track.encode()).hexdigest()[:4]}"


@typing.runtime_checkable
class _OfSong(typing.Protocol):
    @property
    def song(self) -> str: ...


T = TypeVar("T", bound=_OfSong)


def of_song(items: Iterable[T]) -> dict[str, list[T]]:
    """Clips, or what is known of them, by song, in order."""
    found: dict[str, list[T]] = {}
    for item in items:
        found.setdefault(item.song, []).append(item)
    return found
