"""What `hafm evaluate` has to say when it is done, for people and for programs.

In: a run and its results. Out: a few lines of text, or one JSON object:

    {"run", "results", "report", "table", "comparison"?, "seconds", "systems": {NAME: {"ARM": {FIGURE: [value,
     low, high]}}}, "uninformative": [...], "notes": [...]}

Paths are as the user gave the output folder.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hafm.evaluate.run.against import Comparison
    from hafm.evaluate.run.results import Figure, Results

__all__ = ["EvaluateOutcome"]

_MEASURES = ("key_truth", "chord_tones", "beat_truth", "chroma_vocal", "beat_vocal")


@dataclass(frozen=True, kw_only=True)
class EvaluateOutcome:
    """What was done.

    Args:
        run: the folder.
        results: all tables.
        report: the page.
        comparison: with the older run, if one was named.
        seconds: that it took.
    """

    run: Path
    results: "Results"
    report: Path
    comparison: "Comparison | None"
    seconds: float

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know."""
        return self.results.notes

    def summary(self) -> str:
        """For people: one line a system, and where the rest is."""
        lines = [line for arm in self.results.arms for line in [*self._table(arm), ""]]
        silent = [row.name for row in self.results.measures if row.informative is False]
        if silent:
            names = ", ".join(silent)
            lines.append(f"say nothing here (the truth does no better than a random pairing): {names}")
        if self.comparison is not None:
            changes = self.comparison.changes
            changed = [each for each in changes if each.verdict != "no difference seen"]
            lines.append(f"against the older run: {len(changed)} of {len(changes)} figures changed")
            lines += [
                f"  {each.arm} {each.system} {each.figure}: {each.then} -> {each.now}, {each.verdict}"
                for each in changed
            ]
        lines.append(f"report  {self.report}")
        return "\n".join(lines)

    def _table(self, arm: str) -> list[str]:
        """An arm's figures, in columns."""
        figures = self._figures()
        columns = list(dict.fromkeys(name for arms in figures.values() for name in arms.get(arm, {})))
        rows = [[f"{arm} vocals", *columns]]
        for system, arms in figures.items():
            of = arms.get(arm, {})
            rows.append([system, *(str(of[name]) if name in of else "" for name in columns)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        from hafm.evaluate.run.folder import RESULTS_FILE, TABLE_FILE

        return {
            "run": str(self.run),
            "results": str(self.run / RESULTS_FILE),
            "report": str(self.report),
            "table": str(self.run / TABLE_FILE),
            **({} if self.comparison is None else {"comparison": str(self.run / "comparison.json")}),
            "seconds": self.seconds,
            "systems": {
                system: {
                    arm: {name: [figure.value, figure.low, figure.high] for name, figure in of.items()}
                    for arm, of in arms.items()
                }
                for system, arms in self._figures().items()
            },
            "uninformative": [row.name for row in self.results.measures if row.informative is False],
            "notes": list(self.notes),
        }

    def _figures(self) -> "dict[str, dict[str, dict[str, Figure]]]":
        """By system, arm and name: distances, and the measures that people read first."""
        found: dict[str, dict[str, dict[str, Figure]]] = {row.name: {} for row in self.results.systems}
        many = len({row.embedding for row in self.results.fad}) > 1
        for fad in self.results.fad:
            name = f"FAD {fad.on}" + (f" {fad.embedding}" if many else "")
            found[fad.system].setdefault(fad.arm, {})[name] = fad.fad
        for fit in self.results.fit:
            if fit.measure in _MEASURES and any(
                row.figure.value is not None for row in self.results.fit if row.measure == fit.measure
            ):
                found[fit.system].setdefault(fit.arm, {})[fit.measure] = fit.figure
        return found
