"""What `hafm arrange` has to say when it is done, for people and for programs.

In: where things are and what was played. Out: a few lines of text, or one JSON object:

    {"sheet", "midi", "accompaniment", "mix"?, "stems/drums"?, ..., "record": paths,
     "style", "seed", "tempo_bpm", "meter", "key", "bars", "seconds", "sample_rate_hz", "levels", "tracks",
     "timings": {...}, "notes": [...]}

A module of its own, as that of `hafm generate` is: what is said, and not what is done.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hafm.arrange.arranger import Arrangement
    from hafm.audio.sound import Audio
    from hafm.guide.lead_sheet import LeadSheet, PartName

__all__ = ["ArrangeOutcome", "notes_on"]


@dataclass(frozen=True, kw_only=True)
class ArrangeOutcome:
    """What was made.

    Args:
        sample_rate: of the sounds, in hertz.
        levels: of the mix; empty without a vocal.
    """

    paths: Mapping[str, Path]
    arrangement: "Arrangement"
    sample_rate: int
    levels: Mapping[str, float | None]
    timings: Mapping[str, float]
    notes: tuple[str, ...]

    def summary(self) -> str:
        """For people: where the files are, and in one line what is played."""
        from hafm.guide.summary import key_words, tempo_words

        lines = [f"{name:<14} {path}" for name, path in self.paths.items()]
        sheet = self.arrangement.sheet
        said = [self.arrangement.style]
        if sheet.tempo_bpm is not None:
            said += [tempo_words(sheet), sheet.meters[0].label, f"{_num_bars(sheet)} bars"]
        else:
            said.append("free time")
        said += [key_words(key) for key in sheet.keys[:1]]
        said.append(f"{sheet.duration_seconds:.1f} s, seed {self.arrangement.seed}")
        lines.append(f"{'':<14} {', '.join(said)}, made in {self.timings['total_seconds']:.1f} s")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        from hafm.arrange.midi import NAMES

        sheet = self.arrangement.sheet
        return {
            **{name: str(path) for name, path in self.paths.items()},
            "style": self.arrangement.style,
            "seed": self.arrangement.seed,
            "tempo_bpm": sheet.tempo_bpm,
            "meter": sheet.meters[0].label if sheet.meters else None,
            "key": sheet.keys[0].label if sheet.keys else None,
            "bars": _num_bars(sheet),
            "seconds": sheet.duration_seconds,
            "sample_rate_hz": self.sample_rate,
            "levels": dict(self.levels),
            "tracks": [
                {
                    "name": NAMES[part.role],
                    "stem": part.stem,
                    "program": part.program,
                    "notes": len(part.events),
                }
                for part in self.arrangement.parts
            ],
            "timings": dict(self.timings),
            "notes": list(self.notes),
        }


def notes_on(sheet: "LeadSheet", vocal: "Audio | None") -> tuple[str, ...]:
    """What a user should know: of the recording, and of what is a guess."""
    notes = [] if vocal is None else list(vocal.notes)
    known: dict[PartName, bool] = {
        "beats": bool(sheet.beats),
        "bars": bool(sheet.beats),
        "key": bool(sheet.keys),
        "chords": bool(sheet.chords),
    }
    guessed = [
        f"{part} ({sheet.origin(part).confidence:.0%})"
        for part, is_known in known.items()
        if is_known and sheet.origin(part).source == "estimated"
    ]
    if guessed:
        notes.append(
            f"estimated from the voice, with this confidence: {', '.join(guessed)}; correct lead-sheet.json "
            "and give it with --guide"
        )
    if len(sheet.beats) < 2:
        notes.append("no beat was found: the chords are played freely, without drums")
    return tuple(notes)


def _num_bars(sheet: "LeadSheet") -> int:
    from hafm.guide.bars import bars_of

    return len(bars_of(sheet)) if len(sheet.beats) > 1 else 0
