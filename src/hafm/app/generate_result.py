"""What `hafm generate` has to say when it is done, for people and for programs.

In: where things are and how long they took. Out: a few lines of text, or one JSON object:

    {"takes": [{"take", "accompaniment", "mix", "vocal"?, "stems/drums"?, ..., "record", "plot"?, "levels"}],
     "best"?: {"take", "why", "accompaniment", "mix", ..., "record", "plot"?},        with --pick best
     "ranking"?: {...},                                                               as in ranking.json
     "lead_sheet"?: {"lead_sheet", "midi"?, "headline", "unsure", "tempo_bpm", "sheet"},   if one is followed
     "vocal": {"path", "sha256", "start_seconds", "seconds", "sample_rate_hz", "num_samples", "num_channels"},
     "settings": {...}, "bundle": {...}, "environment": {...}, "separation"?: {...},   as in generation.json
     "timings": {"prepare_seconds", "generate_seconds", "rank_seconds"?, "write_seconds", "total_seconds",
                 "generate_seconds_per_second"},
     "notes": [...]}

Paths are as the user gave the output folder: relative if that was. With `--pick best` copies of the best
take's files lie in the folder itself, beside `take-1/`, `take-2/`, ..., and `ranking.json`:

    {"format": 1, "order": [3, 1, 2],
     "takes": [{"take", "score", "terms", "values", "silent", "why", "accompaniment_sha256"}],   best first
     "measures": {name: {"what", "unit", "words", "worst", "best", "mean", "deviation", "weight"}},
     "num_windows", "environment": {...}}                                        as in generation.json

Takes count from 1, as their folders do. The copied `generation.json` names files beside it and can be
replayed as it is. `accompaniment_sha256` tells whether `take-N/` still holds what was ranked.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hafm.audio.sound import Audio
    from hafm.evaluate.ranking import Ranking
    from hafm.generate.record import GenerationRecord
    from hafm.guide.lead_sheet import LeadSheet

__all__ = ["GenerateOutcome", "Picked", "Take", "sheet_to_json", "vocal_to_json"]

_MOST_ROWS = 8  # of a chart: what is above the list of files should stay on the screen


@dataclass(frozen=True, kw_only=True)
class Take:
    """One candidate.

    Args:
        paths: by what they hold: accompaniment, mix, record, vocal if it was separated, stems if they were
            asked for, and plot if one was drawn.
        levels: of the mix, as `hafm.audio.mixdown` reports them.
    """

    number: int
    paths: Mapping[str, Path]
    levels: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        paths = {name: str(path) for name, path in self.paths.items()}
        return {"take": self.number, **paths, "levels": dict(self.levels)}


@dataclass(frozen=True, kw_only=True)
class Picked:
    """The best take, as it was delivered.

    Args:
        paths: of the copies, by what they hold, as those of a `Take`; and `ranking`.
        content: of `ranking.json`.
    """

    ranking: "Ranking"
    paths: Mapping[str, Path]
    content: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """What `hafm generate --json` adds."""
        paths = {name: str(path) for name, path in self.paths.items()}
        best, ranking = self.ranking.best, paths.pop("ranking")
        return {
            "best": {"take": best.number, "why": best.why, **paths},
            "ranking": {"path": ranking, **self.content},
        }


@dataclass(frozen=True, kw_only=True)
class GenerateOutcome:
    """What was done.

    Args:
        record: of the first take.
        timings: seconds by name.
        sheet_paths: of the lead sheet that all takes follow, by what they hold; empty if they follow none.
    """

    takes: Sequence[Take]
    vocal: "Audio"
    record: "GenerationRecord"
    notes: tuple[str, ...]
    timings: Mapping[str, float]
    picked: Picked | None = None
    sheet_paths: Mapping[str, Path] = field(default_factory=dict)

    def summary(self) -> str:
        """For people: the lead sheet that is played, where the files are, and how long it took."""
        from hafm.guide.summary import headline, printed_chart

        sheet, lines = self._sheet, []
        if sheet is not None:
            lines = [headline(sheet), "", printed_chart(sheet, most_rows=_MOST_ROWS), ""]
        lines += [f"{name:<14} {path}" for name, path in self.sheet_paths.items()]
        lines += [f"{name:<14} {path}" for take in self.takes for name, path in take.paths.items()]
        if self.picked is not None:
            lines += [f"{name:<14} {path}" for name, path in self.picked.paths.items()]
            names = ["best", *["then"] * (len(self.takes) - 1)]
            ranked = self.picked.ranking.takes
            lines += [f"{name:<14} {take.why}" for name, take in zip(names, ranked, strict=True)]
        total, settings = self.timings["total_seconds"], self.record.settings
        beside = settings.intro_samples + settings.ending_samples
        audio = self.vocal.seconds + beside / self.vocal.sample_rate
        each = f"{len(self.takes)} takes of " if len(self.takes) > 1 else ""
        lines.append(f"{'':<14} {each}{audio:.1f} s, seed {settings.seed}, made in {total:.1f} s")
        return "\n".join(lines)

    @property
    def _sheet(self) -> "LeadSheet | None":
        """What was heard, if it is written."""
        return self.record.lead_sheet if self.sheet_paths else None

    def to_json(self) -> dict[str, Any]:
        vocal, sheet = self.vocal, self._sheet
        sheet_paths = {name: str(path) for name, path in self.sheet_paths.items()}
        return {
            "takes": [take.to_json() for take in self.takes],
            **({} if self.picked is None else self.picked.to_json()),
            **({} if sheet is None else {"lead_sheet": {**sheet_paths, **sheet_to_json(sheet)}}),
            "vocal": vocal_to_json(vocal),
            "settings": asdict(self.record.settings),
            "bundle": asdict(self.record.bundle),
            "environment": self.record.environment.to_json(),
            **({} if self.record.separation is None else {"separation": asdict(self.record.separation)}),
            "timings": {
                **self.timings,
                "generate_seconds_per_second": self.timings["generate_seconds"]
                / vocal.seconds
                / len(self.takes),
            },
            "notes": list(self.notes),
        }


def sheet_to_json(sheet: "LeadSheet") -> dict[str, Any]:
    """A lead sheet, for programs: itself, and what is said of it."""
    from hafm.guide.sheet_json import lead_sheet_to_json
    from hafm.guide.summary import headline, unsure

    return {
        "headline": headline(sheet),
        "unsure": list(unsure(sheet)),
        "tempo_bpm": sheet.tempo_bpm,
        "sheet": json.loads(lead_sheet_to_json(sheet)),
    }


def vocal_to_json(vocal: "Audio") -> dict[str, Any]:
    """The recording that was accompanied, for programs."""
    return {
        "path": vocal.path,
        "sha256": vocal.sha256,
        "start_seconds": vocal.start_seconds,
        "seconds": vocal.seconds,
        "sample_rate_hz": vocal.sample_rate,
        "num_samples": vocal.num_samples,
        "num_channels": vocal.num_channels,
    }
