"""What `hafm prepare` tells when it is done: for people, and as JSON.

In: the summary of a run, or a rehearsal. Out: lines, and JSON values.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hafm.data.preparing.prepare_report import PrepareSummary
    from hafm.data.preparing.rehearsal import Rehearsal

__all__ = ["PrepareOutcome", "RehearsalOutcome"]

_SHOWN_REASONS = 12


@dataclass(frozen=True, kw_only=True)
class PrepareOutcome:
    """A run that went through.

    Args:
        result: what the output folder holds.
        kind: of the collection.
        output: the folder.
        seconds: that this run took.
    """

    result: "PrepareSummary"
    kind: str
    output: Path
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "kind": self.kind,
            "output": str(self.output),
            "wall_seconds": self.seconds,
            **self.result.to_json(),
        }

    def summary(self) -> str:
        """A table of a few lines."""
        result, counts = self.result, self.result.counts
        lines = [
            f"{self.output}: {_size(result.num_bytes)} in {_many(result.num_shards, 'shard')}, "
            f"from {_many(counts.items, 'track')}",
            "",
            _line("done", counts.done, _shares(result.splits)),
            _line("dropped", counts.dropped),
            *_reasons(result.dropped),
            _line("quarantined", counts.quarantined),
            *_reasons(result.quarantined),
            "",
            f"{_clock(result.seconds)} of audio, of which the filter keeps {_clock(result.kept_seconds)}",
        ]
        if result.speeds:
            lines += ["", "seconds of audio a second of one core:"]
            lines += [f"    {step:<22}{speed:10,.1f}" for step, speed in result.speeds.items()]
            whole = result.seconds / sum(result.spent.values())
            lines.append(f"    {'all together':<22}{whole:10,.1f}")
        if result.notes:
            lines += ["", "notes:", *_reasons(result.notes)]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class RehearsalOutcome:
    """A dry run.

    Args:
        rehearsal: what it found.
        kind: of the collection.
        workers: that a run would have.
    """

    rehearsal: "Rehearsal"
    kind: str
    workers: int

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "kind": self.kind,
            "workers": self.workers,
            "wall_seconds": self.rehearsal.wall_seconds(self.workers),
            **self.rehearsal.to_json(),
        }

    def summary(self) -> str:
        """A table of a few lines."""
        found = self.rehearsal
        lines = [
            f"a dry run: nothing was written; a collection of kind {self.kind}",
            "",
            _line("known already", found.known),
            _line("new", found.new),
            *_reasons(found.lost),
            _line("to be done", found.pending, _shares(found.splits)),
            "",
            *(f"tried {name}: {verdict}" for name, verdict in found.tried.items()),
            "",
            f"audio   {_clock(found.audio_seconds)}",
            f"disk    {_size(found.num_bytes)} needed, {_size(found.free)} free",
        ]
        wall = found.wall_seconds(self.workers)
        if wall is not None and found.core_seconds_a_second:
            lines.append(
                f"time    {_clock(wall)} with {_many(self.workers, 'worker')} "
                f"({1 / found.core_seconds_a_second:,.1f} s of audio a second of one core)"
            )
        return "\n".join(lines)


def _many(number: int, what: str) -> str:
    """A number of things.

    >>> _many(1, "shard"), _many(2000, "track")
    ('1 shard', '2,000 tracks')
    """
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _line(name: str, number: int, more: str = "") -> str:
    return f"{name:<14}{number:>9,}" + (f"   {more}" if more else "")


def _shares(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items())


def _reasons(reasons: Mapping[str, int]) -> list[str]:
    shown = list(reasons.items())[:_SHOWN_REASONS]
    lines = [f"    {number:>9,} × {reason}" for reason, number in shown]
    if len(reasons) > len(shown):
        lines.append(f"    and {len(reasons) - len(shown)} other reasons; see ledger.tsv")
    return lines


def _clock(seconds: float) -> str:
    """Hours and minutes, or minutes and seconds.

    >>> _clock(95), _clock(36_000)
    ('1:35 min', '10:00 h')
    """
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600:,}:{whole % 3600 // 60:02d} h"


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes < 1e9 else f"{num_bytes / 1e9:,.1f} GB"
