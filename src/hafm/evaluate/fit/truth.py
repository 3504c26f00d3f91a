"""What the score says about a clip: its key, its chords and its beats.

In: the JSON that stands beside a rendered pair (`recipes/builtin/README.md` lists its fields). Out: a
`Truth`. Times are seconds from the start of the clip, after transposition and stretching.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from hafm.errors import UsageError
from hafm.evaluate.fit.chroma import Chord
from hafm.evaluate.key import Key

__all__ = ["Truth", "read_truth"]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Key, chords and beats of a clip, exact.

    Args:
        key: of the song.
        chords: in order; stretches without a chord may be left out.
        beats_seconds: rising.

    Raises:
        UsageError: beats that do not rise.
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

        Raises:
            KeyError, TypeError: a field is missing or of another type.

        >>> truth = Truth.from_dict({"key": {"tonic": 9, "mode": "min"}, "beats_seconds": [0.5, 1.0],
        ...     "chords": [{"start_seconds": 0.0, "end_seconds": 2.0, "pitch_classes": [9, 0, 4]}]})
        >>> str(truth.key), truth.chords[0].pitch_classes
        ('A minor', (9, 0, 4))
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


def read_truth(path: str | os.PathLike[str]) -> Truth:
    """The truth of a rendered pair.

    Args:
        path: of its JSON.

    Raises:
        UsageError: it cannot be read, or is no truth.
    """
    try:
        return Truth.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path}: not the truth of a rendered pair ({type(error).__name__}: {error}); "
            "it needs key, chords and beats_seconds"
        ) from error
