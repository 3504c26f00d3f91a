"""What `hafm retrieve` and `hafm retrieve-index` have to say when they are done, for people and for programs.

In: where things are and how long they took. Out: a few lines of text, or one JSON object:

    retrieve        {"takes": [{"take", "accompaniment", "mix", "record", "match": {...}, "levels"}],
                     "vocal": {...}, "index": {"folder", "fingerprint", "songs"}, "timings": {...}, "notes"}
    retrieve-index  {"output", "kind", "split", "tracks", "songs", "seconds", "left_out": [...], "elsewhere",
                     "fingerprint", "timings": {"total_seconds"}, "notes"}
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hafm.audio.sound import Audio
    from hafm.evaluate.retrieval.index import RetrievalIndex
    from hafm.evaluate.retrieval.retrieve import Retrieved

__all__ = ["IndexOutcome", "RetrieveOutcome", "RetrievedTake"]

_SHOWN_REASONS = 5


@dataclass(frozen=True, kw_only=True)
class RetrievedTake:
    """One accompaniment that was found and written.

    Args:
        number: from 1.
        paths: by what they hold: accompaniment, mix, record.
        found: what it is.
        levels: of the mix, as `hafm.audio.mixdown` reports them.
    """

    number: int
    paths: Mapping[str, Path]
    found: "Retrieved"
    levels: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class RetrieveOutcome:
    """What was found.

    Args:
        takes: one or more.
        vocal: what is accompanied.
        folder: of the index.
        index: where it was found.
        timings: seconds by name.
    """

    takes: Sequence[RetrievedTake]
    vocal: "Audio"
    folder: Path
    index: "RetrievalIndex"
    timings: Mapping[str, float]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know."""
        return self.vocal.notes

    def summary(self) -> str:
        """For people: what it is and why, where the files are, and how long it took."""
        lines = []
        for take in self.takes:
            lines.append(f"{'found':<14} {take.found.entry.track_id}: {take.found.why}")
            lines += [f"{name:<14} {path}" for name, path in take.paths.items()]
        songs = len({entry.song_id for entry in self.index.entries})
        lines.append(
            f"{'':<14} {self.vocal.seconds:.1f} s, found among {songs:,} songs in "
            f"{self.timings['total_seconds']:.1f} s"
        )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        vocal = self.vocal
        return {
            "takes": [
                {
                    "take": take.number,
                    **{name: str(path) for name, path in take.paths.items()},
                    "match": take.found.to_dict(),
                    "levels": dict(take.levels),
                }
                for take in self.takes
            ],
            "vocal": {
                "path": vocal.path,
                "sha256": vocal.sha256,
                "start_seconds": vocal.start_seconds,
                "seconds": vocal.seconds,
                "sample_rate_hz": vocal.sample_rate,
                "num_samples": vocal.num_samples,
                "num_channels": vocal.num_channels,
            },
            "index": {
                "folder": str(self.folder),
                "fingerprint": self.index.fingerprint,
                "songs": len({entry.song_id for entry in self.index.entries}),
            },
            "timings": dict(self.timings),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class IndexOutcome:
    """An index that was made.

    Args:
        index: what it holds.
        output: where it lies.
        kind: of the collection.
        seconds: that this run took.
    """

    index: "RetrievalIndex"
    output: Path
    kind: str
    seconds: float

    @property
    def notes(self) -> tuple[str, ...]:
        """Tracks that are not in it, the first of them by name."""
        left_out = self.index.left_out
        told = [f"left out {each.track_id}: {each.reason}" for each in left_out[:_SHOWN_REASONS]]
        more = len(left_out) - len(told)
        return (*told, f"left out {more:,} more: see {self.output / 'index.json'}") if more else tuple(told)

    def summary(self) -> str:
        """For people."""
        index = self.index
        songs = len({entry.song_id for entry in index.entries})
        return (
            f"{self.output}: {len(index.entries):,} instrumentals of {songs:,} songs, "
            f"{index.seconds / 60:,.0f} minutes of {index.split}, {len(index.left_out):,} left out, made in "
            f"{self.seconds:.1f} s"
        )

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        index = self.index
        return {
            "output": str(self.output),
            "kind": self.kind,
            "split": index.split,
            "tracks": len(index.entries),
            "songs": len({entry.song_id for entry in index.entries}),
            "seconds": index.seconds,
            "left_out": [asdict(each) for each in index.left_out],
            "elsewhere": index.elsewhere,
            "fingerprint": index.fingerprint,
            "timings": {"total_seconds": self.seconds},
            "notes": list(self.notes),
        }
