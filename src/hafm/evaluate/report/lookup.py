"""Results by what they are about, and what their names are called.

In: `Results`. Out: `Lookup`, which finds single figures and puts systems in the order of the tables; titles
of kinds, arms and measures.

Conventions: the control of random pairing is the system named `random`. A measure without a title here keeps
its name.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from hafm.evaluate.run.results import ApaRow, FadRow, Figure, MeasureRow, On, Results, SystemRow

__all__ = ["ARM_TITLES", "KIND_TITLES", "ON_TITLES", "RANDOM", "Lookup", "measure_title"]

RANDOM = "random"

KIND_TITLES: Mapping[str, str] = {
    "ceiling": "Ceilings",
    "model": "Model",
    "baseline": "Baselines",
    "control": "Controls",
}
"""Headings of groups of rows, in their order."""

ARM_TITLES: Mapping[str, str] = {"isolated": "isolated vocals", "separated": "separated vocals"}
ON_TITLES: Mapping[On, str] = {"stem": "accompaniment alone", "mix": "with the vocal"}

_MEASURE_TITLES = {
    "key_truth": "Key against the score",
    "key_vocal": "Key against the vocal",
    "chord_tones": "Chord tones",
    "chroma_vocal": "Chroma against the vocal",
    "chroma_instrumental": "Chroma against the true backing",
    "beat_truth": "Beats against the score",
    "beat_closeness": "Beat closeness",
    "beat_instrumental": "Beats against the true backing",
    "beat_vocal": "Beats against the vocal",
    "onset_correlation": "Onset correlation",
    "onset_lag": "Onset lag",
    "loudness_balance": "Loudness balance",
    "dead_air": "Dead air",
    "pulse_clarity": "Pulse clarity",
    "pulse_shuffled": "Pulse clarity, hits in random order",
    "sheet_beat": "Beats against its lead sheet",
    "sheet_downbeat": "Downbeats against its lead sheet",
    "sheet_drift": "Drift from its lead sheet",
    "sheet_chords": "Chord tones of its lead sheet",
    "sheet_bass": "Bass of its lead sheet",
    "sheet_key": "Key against its lead sheet",
}


def measure_title(name: str) -> str:
    """A measure's name for people.

    >>> measure_title("dead_air"), measure_title("brand_new")
    ('Dead air', 'brand_new')
    """
    return _MEASURE_TITLES.get(name, name)


class Lookup:
    """Results of a run, indexed."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self._fit = {(row.arm, row.system, row.measure): row.figure for row in results.fit}
        self._fad = {(row.arm, row.system, row.embedding, row.on): row for row in results.fad}
        self._apa = {(row.arm, row.system, row.embedding): row for row in results.apa}

    @cached_property
    def systems(self) -> tuple[SystemRow, ...]:
        """Ceilings, models, baselines, controls, and whatever else there is; within a kind in their order.

        Their titles begin with a capital, since they head rows.
        """
        order = [*KIND_TITLES]
        rows = [replace(row, title=row.title[:1].upper() + row.title[1:]) for row in self.results.systems]
        return tuple(sorted(rows, key=lambda row: order.index(row.kind) if row.kind in order else len(order)))

    @cached_property
    def embeddings(self) -> tuple[str, ...]:
        """Every embedding once, in order."""
        rows: list[FadRow | ApaRow] = [*self.results.fad, *self.results.apa]
        return tuple(dict.fromkeys(row.embedding for row in rows))

    @cached_property
    def fad_embeddings(self) -> tuple[str, ...]:
        """Those of them that distances were measured by, in order."""
        return tuple(dict.fromkeys(row.embedding for row in self.results.fad))

    @property
    def main_embedding(self) -> str | None:
        """The one for tables of a single embedding: a VGGish, as in the paper, or else the first."""
        names = self.fad_embeddings
        return next((name for name in names if name.startswith("vggish")), names[0] if names else None)

    @property
    def model(self) -> SystemRow | None:
        """The first system that is a model: what a run is about."""
        return next((row for row in self.systems if row.kind == "model"), None)

    @property
    def informative(self) -> tuple[MeasureRow, ...]:
        """Measures that tell true pairs from random ones on this test set."""
        return tuple(row for row in self.results.measures if row.informative)

    def fit(self, arm: str, system: str, measure: str) -> Figure | None:
        """The mean of a measure."""
        return self._fit.get((arm, system, measure))

    def fad(self, arm: str, system: str, embedding: str, on: On) -> FadRow | None:
        """A distance."""
        return self._fad.get((arm, system, embedding, on))

    def apa(self, arm: str, system: str, embedding: str) -> ApaRow | None:
        """An adherence."""
        return self._apa.get((arm, system, embedding))
