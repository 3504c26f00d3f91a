"""What `hafm listen` has to say when it is done, for people and for programs.

In: a kit, or scores. Out: a few lines of text, or one JSON object:

    make     {"page", "key", "kit", "arm", "systems", "trials": {"main", "catch", "repeat"}, "clips",
              "page_bytes", "timings": {"total_seconds"}, "notes": [...]}
    score    the fields of `hafm.evaluate.listening.scores.Scores`
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from hafm.evaluate.listening.design import Kind
from hafm.evaluate.listening.scores import table

if TYPE_CHECKING:
    from hafm.evaluate.listening.design import Design
    from hafm.evaluate.listening.scores import Scores

__all__ = ["KitOutcome", "ScoreOutcome"]


@dataclass(frozen=True, kw_only=True)
class KitOutcome:
    """A kit that was made.

    Args:
        page: for raters.
        key: for whoever asks.
        design: what the key holds.
        page_bytes: size of the page.
        seconds: that it took.
        notes: what a user should know.
    """

    page: Path
    key: Path
    design: "Design"
    page_bytes: int
    seconds: float
    notes: Sequence[str]

    def summary(self) -> str:
        """For people: where the files are, and who gets which."""
        design, counts = self.design, self._counts()
        return "\n".join(
            [
                f"{'page':<14} {self.page}",
                f"{'key':<14} {self.key}",
                f"{'':<14} {counts['main']} trials of {', '.join(design.systems)}, {counts['catch']} catch "
                f"trials, {counts['repeat']} repeats; {self.page_bytes / 1e6:.1f} MB, made in "
                f"{self.seconds:.1f} s",
                f"{'':<14} give raters {self.page.name} alone: {self.key.name} says which sound is whose",
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "page": str(self.page),
            "key": str(self.key),
            "kit": self.design.kit,
            "arm": self.design.arm,
            "systems": list(self.design.systems),
            "trials": self._counts(),
            "clips": len({trial.clip for trial in self.design.trials}),
            "page_bytes": self.page_bytes,
            "timings": {"total_seconds": self.seconds},
            "notes": list(self.notes),
        }

    def _counts(self) -> dict[str, int]:
        return {kind: len(self.design.of_kind(kind)) for kind in get_args(Kind)}


@dataclass(frozen=True, kw_only=True)
class ScoreOutcome:
    """A test that was scored.

    Args:
        scores: what it found.
    """

    scores: "Scores"

    def summary(self) -> str:
        """For people: tables."""
        return table(self.scores)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return dict(self.scores.to_json())
