"""Retrieval: a vocal goes in, and the best of an index comes out, made to fit.

In: an index folder and a vocal `[T]`. Out: `Retrieved`: T samples, and what they were made of.

    vocal --describe--> rank_candidates --best match of each song--> Ranking
                                                                       | rank 0, 1, ...
    instrumental --hash the same?--> read --Loop.play--> transform --resample--> [T], peaks under -1 dBTP

Conventions: ranks count songs and not tracks, so that the second best is another song. The same index, vocal
and settings give the same sound, on the same machine with the same versions; nothing is drawn.
"""

import math
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from jaxtyping import Float
from torch import Tensor

from hafm.audio.limiter import limit_peaks
from hafm.audio.resample import resample
from hafm.data.collection.duplicates import ScanFailure
from hafm.data.collection.intake import Stems
from hafm.errors import InstrumentalChanged, InstrumentalMissing, UsageError
from hafm.evaluate.retrieval.descriptors import VocalProfile, describe_vocal
from hafm.evaluate.retrieval.index import IndexEntry, RetrievalIndex
from hafm.evaluate.retrieval.loop import Loop
from hafm.evaluate.retrieval.match import WEIGHTS, Match, MatchSettings, explain, rank_candidates
from hafm.evaluate.retrieval.tracks import hash_instrumental, read_instrumental
from hafm.evaluate.retrieval.transform import MARGIN_SECONDS, transform

__all__ = ["Ranking", "Retrieved", "Retriever"]

_LOWEST_RATE = 8000


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """The songs of an index for a vocal, the best first; matches have the numbers of the index's entries."""

    vocal: VocalProfile
    num_samples: int
    sample_rate: int
    matches: tuple[Match, ...]

    def match(self, rank: int) -> Match:
        """The match of a rank, 0 for the best song; UsageError where there are fewer songs."""
        if not 0 <= rank < len(self.matches):
            raise UsageError(
                f"match {rank + 1} was asked for, and {len(self.matches)} songs were examined closely; "
                "ask for one of them, or make the index of a larger collection"
            )
        return self.matches[rank]


@dataclass(frozen=True, kw_only=True, eq=False)
class Retrieved:
    """An accompaniment that was found, exactly as long as the vocal, at its rate, within full scale."""

    waveform: Float[Tensor, " T"]
    sample_rate: int
    rank: int
    entry: IndexEntry
    match: Match
    why: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values: all but the sound."""
        return {
            "rank": self.rank,
            "track_id": self.entry.track_id,
            "song_id": self.entry.song_id,
            "sha256": self.entry.sha256,
            "semitones": self.match.semitones,
            "speed": self.match.speed,
            "offset_seconds": self.match.offset_seconds,
            "score": self.match.score,
            "terms": dict(self.match.terms),
            "why": self.why,
        }


class Retriever:
    """Finds accompaniments in an index, whose collection may have moved to another root."""

    def __init__(self, index: RetrievalIndex, *, root: str | os.PathLike[str] | None = None) -> None:
        self.index = index
        self.root = Path(index.source["root"] if root is None else root)

    @classmethod
    def open(cls, folder: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None) -> Self:
        """Opens the index in a folder; RetrievalIndexError where it is missing or damaged."""
        return cls(RetrievalIndex.open(folder), root=root)

    def identity(self) -> dict[str, Any]:
        """What decides the sounds, besides the vocal; JSON values, and no paths."""
        return {
            "index": self.index.fingerprint,
            "split": self.index.split,
            "settings": asdict(MatchSettings()),
            "weights": dict(WEIGHTS),
        }

    def rank(
        self, vocal: Float[Tensor, " T"], sample_rate: int, *, exclude_songs: Collection[str] = ()
    ) -> Ranking:
        """Ranks the songs of the index, without those whose ids are excluded.

        Raises:
            UsageError: the vocal cannot be listened to, or no song is left.
        """
        if sample_rate < _LOWEST_RATE:
            raise UsageError(f"retrieval needs {_LOWEST_RATE} samples per second or more, not {sample_rate}")
        if not len(vocal) or not vocal.isfinite().all():
            raise UsageError("the vocal is empty, or holds NaN or infinity; give finite samples")
        excluded = frozenset(exclude_songs)
        numbers = [number for number, entry in enumerate(self.index.entries) if entry.song_id not in excluded]
        if not numbers:
            raise UsageError(
                f"the index holds no song but those that are excluded ({len(excluded)}); make it of a larger "
                "collection"
            )
        profile = describe_vocal(vocal, sample_rate)
        candidates = [self.index.descriptors[number] for number in numbers]
        best: dict[str, Match] = {}
        for match in rank_candidates(profile, candidates):
            number = numbers[match.number]
            best.setdefault(self.index.entries[number].song_id, replace(match, number=number))
        return Ranking(
            vocal=profile, num_samples=len(vocal), sample_rate=sample_rate, matches=tuple(best.values())
        )

    def render(self, ranking: Ranking, rank: int = 0) -> Retrieved:
        """The accompaniment of a rank, 0 for the best song.

        Raises:
            UsageError: there are fewer songs, or python-stretch is missing.
            InstrumentalMissing, InstrumentalChanged: its files are not what they were.
        """
        match = ranking.match(rank)
        entry = self.index.entries[match.number]
        known = self.index.descriptors[match.number]
        stems = self._read(entry)
        played = _played(
            stems.instrumental,
            stems.sample_rate,
            match,
            Loop.of(known.pulse, known.seconds),
            num_samples=math.ceil(ranking.num_samples * stems.sample_rate / ranking.sample_rate),
        )
        fitted = resample(played[None], stems.sample_rate, ranking.sample_rate, ranking.num_samples)
        return Retrieved(
            waveform=limit_peaks(fitted, ranking.sample_rate)[0],
            sample_rate=ranking.sample_rate,
            rank=rank,
            entry=entry,
            match=match,
            why=explain(ranking.vocal, known, match),
        )

    def retrieve(
        self,
        vocal: Float[Tensor, " T"],
        sample_rate: int,
        *,
        exclude_songs: Collection[str] = (),
        rank: int = 0,
    ) -> Retrieved:
        """Ranks the songs and renders one of them; see `rank` and `render`."""
        return self.render(self.rank(vocal, sample_rate, exclude_songs=exclude_songs), rank)

    def _read(self, entry: IndexEntry) -> Stems:
        track = entry.track(self.root)
        found = hash_instrumental(track)
        if isinstance(found, ScanFailure):
            raise InstrumentalMissing(
                f"the instrumental of track {entry.track_id!r} cannot be read ({found.reason}); if the "
                "collection was moved, say where it is with --collection, else make the index again"
            )
        if found != entry.sha256:
            raise InstrumentalChanged(
                f"the instrumental of track {entry.track_id!r} was changed since the index was made; make it "
                "again with hafm retrieve-index"
            )
        return read_instrumental(track)


def _played(instrumental: Tensor, sample_rate: int, match: Match, loop: Loop, *, num_samples: int) -> Tensor:
    """The instrumental from its place on, transposed and stretched, at its own rate `[num_samples]`."""
    margin = round(MARGIN_SECONDS * sample_rate)
    wanted = num_samples + 2 * margin
    material = loop.play(
        instrumental,
        sample_rate,
        begin_seconds=match.offset_seconds - margin * match.speed / sample_rate,
        num_samples=math.ceil(wanted * match.speed),
    )
    changed = transform(
        material, sample_rate, semitones=match.semitones, speed=match.speed, num_samples=wanted
    )
    return changed[margin : margin + num_samples]
