"""What the score says about a clip: its key, its chords and its beats.

In: the JSON beside a rendered pair (`recipes/builtin/README.md` lists its fields). Out: a
`Truth`; of a part of it, if wanted; and JSON of the same fields. Times are seconds from the start of the
clip, after transposition and stretching.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from hafm.errors import UsageError
from hafm.evaluate.fit.chroma import Chord
from hafm.evaluate.key import Key
from hafm.files import write_whole

__all__ = ["Truth", "read_truth", "write_truth"]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Key, chords and beats of a clip, exact; UsageError where beats do not rise.

    Chords are in order, and stretches without a chord may be left out.
    """

    key: Key
    chords: tuple[Chord, ...]
    beats_seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        beats = self.beats_seconds
        if any(later <= earlier for earlier, later in pairwise(beats)):
            raise UsageError("beats of a truth must rise, each later than the one before")

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Truth":
        """From the fields of a rendered pair's JSON; those that are not needed here are left alone.

        >>> truth = Truth.from_dict({"key": {"tonic": 9, "mode": "min"}, "beats_seconds": [0.5, 1.0],
        ...     "chords": [{"start_seconds": 0.0, "end_seconds": 2.0, "pitch_classes": [9, 0, 4]}]})
        >>> str(truth.key), truth.chords[0].pitch_classes, Truth.from_dict(asdict(truth)) == truth
        ('A minor', (9, 0, 4), True)
        """
        chords = tuple(
            Chord(
                start_seconds=float(chord["start_seconds"]),
                end_seconds=float(chord["end_seconds"]),
                pitch_classes=tuple(chord["pitch_classes"]),
            )
            for chord in fields["chords"]
        )
        return cls(
            key=Key(fields["key"]["tonic"], fields["key"]["mode"]),
            chords=chords,
            beats_seconds=tuple(float(beat) for beat in fields["beats_seconds"]),
        )

    def part(self, *, start_seconds: float, seconds: float) -> "Truth":
        """The truth of a stretch, its times counted from there.

        >>> truth = Truth(key=Key(0, "maj"), beats_seconds=(0.5, 1.0, 1.5),
        ...     chords=(Chord(start_seconds=0.0, end_seconds=2.0, pitch_classes=(0, 4, 7)),))
        >>> part = truth.part(start_seconds=0.75, seconds=0.5)
        >>> part.beats_seconds, part.chords[0].start_seconds, part.chords[0].end_seconds
        ((0.25,), 0.0, 0.5)
        """
        end = start_seconds + seconds
        chords = tuple(
            Chord(
                start_seconds=max(chord.start_seconds - start_seconds, 0.0),
                end_seconds=min(chord.end_seconds, end) - start_seconds,
                pitch_classes=chord.pitch_classes,
            )
            for chord in self.chords
            if chord.start_seconds < end and chord.end_seconds > start_seconds
        )
        beats = tuple(beat - start_seconds for beat in self.beats_seconds if start_seconds <= beat < end)
        return Truth(key=self.key, chords=chords, beats_seconds=beats)


def write_truth(path: Path, truth: Truth) -> None:
    """Writes a truth, which `read_truth` reads; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(asdict(truth)))


def read_truth(path: str | os.PathLike[str]) -> Truth:
    """The truth of a rendered pair, from its JSON; UsageError where it cannot be read, or is not a truth."""
    try:
        return Truth.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path}: not the truth of a rendered pair ({type(error).__name__}: {error}); "
            "it needs key, chords and beats_seconds"
        ) from error
