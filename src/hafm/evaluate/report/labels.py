"""What things are called on the page: measures, kinds of systems, arms.

In: names as they stand in `results.json`. Out: names for people. A measure that is not known here keeps its
name, so that a new one needs no change here.
"""

from types import MappingProxyType

from hafm.evaluate.run.results import MeasureRow, On

__all__ = ["ARM_TITLES", "KIND_TITLES", "ON_TITLES", "arrow", "measure_title"]

KIND_TITLES = MappingProxyType(
    {"ceiling": "Ceilings", "model": "Model", "baseline": "Baselines", "control": "Controls"}
)
"""Headings of groups of rows, in their order."""

ARM_TITLES = MappingProxyType({"isolated": "isolated vocals", "separated": "separated vocals"})

ON_TITLES: MappingProxyType[On, str] = MappingProxyType(
    {"stem": "accompaniment alone", "mix": "with the vocal"}
)

_MEASURE_TITLES = MappingProxyType(
    {
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
    }
)


def measure_title(name: str) -> str:
    """A measure's name for people.

    >>> measure_title("dead_air"), measure_title("brand_new")
    ('Dead air', 'brand_new')
    """
    return _MEASURE_TITLES.get(name, name)


def arrow(measure: MeasureRow) -> str:
    """Which way is better."""
    return {True: "\N{UPWARDS ARROW}", False: "\N{DOWNWARDS ARROW}", None: ""}[measure.higher_is_better]
