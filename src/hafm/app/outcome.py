"""What `hafm generate` has to say when it is done, for people and for programs.

In: where things are and how long they took. Out: a few lines of text, or one JSON object:

    {"takes": [{"take", "accompaniment", "mix", "vocal"?, "record", "plot"?, "levels"}],
     "best"?: {"take", "why", "accompaniment", "mix", "vocal"?, "record", "plot"?},   with --pick best
     "ranking"?: {...},                                                               as in ranking.json
     "vocal": {"path", "sha256", "start_seconds", "seconds", "sample_rate_hz", "num_samples", "num_channels"},
     "settings": {...}, "bundle": {...}, "environment": {...}, "separation"?: {...},   as in generation.json
     "timings": {"prepare_seconds", "generate_seconds", "rank_seconds"?, "write_seconds", "total_seconds",
                 "generate_seconds_per_second"},
     "notes": [...]}

Paths are as the user gave the output folder: relative if that was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hafm.app.pick import Picked
    from hafm.audio.sound import Audio
    from hafm.generate.record import GenerationRecord

__all__ = ["Outcome", "Take"]


@dataclass(frozen=True, kw_only=True)
class Take:
    """One candidate.

    Args:
        number: from 1.
        paths: by what they hold: accompaniment, mix, record, vocal if it was separated, and plot if one was
            drawn.
        levels: of the mix, as `hafm.audio.mixdown` reports them.
    """

    number: int
    paths: Mapping[str, Path]
    levels: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was done.

    Args:
        takes: one or more.
        vocal: what was accompanied.
        record: of the first take.
        notes: what a user should know.
        timings: seconds by name.
        picked: the best take, if it was asked for.
    """

    takes: Sequence[Take]
    vocal: "Audio"
    record: "GenerationRecord"
    notes: tuple[str, ...]
    timings: Mapping[str, float]
    picked: "Picked | None" = None

    def summary(self) -> str:
        """For people: where the files are, and how long it took."""
        lines = [f"{name:<14} {path}" for take in self.takes for name, path in take.paths.items()]
        if self.picked is not None:
            lines += [f"{name:<14} {path}" for name, path in self.picked.paths.items()]
            names = ["best", *["then"] * (len(self.takes) - 1)]
            ranked = self.picked.ranking.takes
            lines += [f"{name:<14} {take.why}" for name, take in zip(names, ranked, strict=True)]
        total, audio = self.timings["total_seconds"], self.vocal.seconds
        each = f"{len(self.takes)} takes of " if len(self.takes) > 1 else ""
        lines.append(f"{'':<14} {each}{audio:.1f} s, seed {self.record.settings.seed}, made in {total:.1f} s")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        vocal = self.vocal
        return {
            "takes": [
                {
                    "take": take.number,
                    **{name: str(path) for name, path in take.paths.items()},
                    "levels": dict(take.levels),
                }
                for take in self.takes
            ],
            **({} if self.picked is None else self.picked.to_json()),
            "vocal": {
                "path": vocal.path,
                "sha256": vocal.sha256,
                "start_seconds": vocal.start_seconds,
                "seconds": vocal.seconds,
                "sample_rate_hz": vocal.sample_rate,
                "num_samples": vocal.num_samples,
                "num_channels": vocal.num_channels,
            },
            "settings": asdict(self.record.settings),
            "bundle": asdict(self.record.bundle),
            "environment": asdict(self.record.environment),
            **({} if self.record.separation is None else {"separation": asdict(self.record.separation)}),
            "timings": {
                **self.timings,
                "generate_seconds_per_second": self.timings["generate_seconds"]
                / vocal.seconds
                / len(self.takes),
            },
            "notes": list(self.notes),
        }
