"""What `hafm separate` has to say when it is done, for people and for programs.

In: where things are and how long they took. Out: a few lines of text, or one JSON object:

    {"songs": [{"song", "sha256", "seconds", "sample_rate_hz", "num_samples", "num_channels",
                "vocal", "instrumental", "encoding", "peaks": {"vocal", "instrumental"}, "notes"}],
     "separator": {"model", "fingerprint"}, "timings": {"total_seconds"}, "notes": [...]}
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hafm.app.separate_song import WrittenStems
    from hafm.audio.read_blocks import Survey

__all__ = ["SeparatedSong", "SeparationOutcome"]


@dataclass(frozen=True, kw_only=True)
class SeparatedSong:
    """A song that is done.

    Args:
        song: what it was.
        stems: what was written.
        paths: where, by stem.
    """

    song: "Survey"
    stems: "WrittenStems"
    paths: dict[str, Path]

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "song": str(self.song.path),
            "sha256": self.song.sha256,
            "seconds": self.song.seconds,
            "sample_rate_hz": self.song.sample_rate,
            "num_samples": self.song.num_samples,
            "num_channels": self.song.num_channels,
            **{stem: str(path) for stem, path in self.paths.items()},
            "encoding": self.stems.encoding,
            "peaks": self.stems.peaks,
            "notes": list(self.stems.notes),
        }


@dataclass(frozen=True, kw_only=True)
class SeparationOutcome:
    """What was done.

    Args:
        songs: in the order in which they were given.
        model: the separator's `.onnx`.
        fingerprint: the separator's.
        seconds: that it took.
    """

    songs: Sequence[SeparatedSong]
    model: Path
    fingerprint: str
    seconds: float

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know."""
        several = len(self.songs) > 1
        return tuple(
            f"{each.song.path}: {note}" if several else note
            for each in self.songs
            for note in each.stems.notes
        )

    def summary(self) -> str:
        """For people: where the files are, and how long it took."""
        lines = [f"{stem:<14} {path}" for each in self.songs for stem, path in each.paths.items()]
        audio = sum(each.song.seconds for each in self.songs)
        what = f"{len(self.songs)} songs, " if len(self.songs) > 1 else ""
        lines.append(f"{'':<14} {what}{audio:.1f} s, separated in {self.seconds:.1f} s")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "songs": [each.to_json() for each in self.songs],
            "separator": {"model": str(self.model), "fingerprint": self.fingerprint},
            "timings": {"total_seconds": self.seconds},
            "notes": list(self.notes),
        }
