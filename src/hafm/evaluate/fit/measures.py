"""All measures of fit, in one table.

In: an `Example`, one clip of a vocal with an accompaniment and what is known about it. Out: a number for each
measure, None where it has no value: what it needs is not known, or nothing sounds.

Conventions: a measure looks at one clip; figures of a set (an interval, a p-value against shuffled
pairs) are made from these numbers by `hafm.evaluate.statistics`. Two estimates of one thing are two measures:
`key_truth` compares with the score, `key_vocal` with the key that is estimated from the vocal.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from jaxtyping import Float
from torch import Tensor

from hafm.errors import UsageError
from hafm.evaluate.fit.beats import beat_closeness, beat_f_measure, beat_strength, track_beats
from hafm.evaluate.fit.chroma import chord_tone_share, chroma_correlation
from hafm.evaluate.fit.keys import key_agreement
from hafm.evaluate.fit.levels import dead_air_share, loudness_balance_lu
from hafm.evaluate.fit.onsets import OnsetAlignment, align_onsets
from hafm.evaluate.fit.truth import Truth
from hafm.evaluate.key import estimate_key

__all__ = ["MEASURES", "Example", "Measure", "Truth", "measure"]

_LOWEST_RATE = 8000


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """A vocal, an accompaniment, and what is known about them.

    Args:
        vocal: finite samples, mono, one or more.
        accompaniment: as many.
        sample_rate: in hertz, 8000 or more.
        truth: what the score says, where there is one.
        instrumental: the true backing, where there is one; as many samples.

    Raises:
        UsageError: lengths differ, nothing in them, not finite, or a rate below 8000 Hz.
    """

    vocal: Float[Tensor, " T"]
    accompaniment: Float[Tensor, " T"]
    sample_rate: int
    truth: Truth | None = None
    instrumental: Float[Tensor, " T"] | None = None

    def __post_init__(self) -> None:
        if self.sample_rate < _LOWEST_RATE:
            raise UsageError(
                f"measures need {_LOWEST_RATE} samples per second or more, not {self.sample_rate}"
            )
        sounds = {"vocal": self.vocal, "accompaniment": self.accompaniment}
        if self.instrumental is not None:
            sounds["instrumental"] = self.instrumental
        for name, sound in sounds.items():
            if sound.shape != self.vocal.shape or sound.ndim != 1 or len(sound) == 0:
                raise UsageError(
                    f"the {name} must be mono and as long as the vocal: it has shape {tuple(sound.shape)}, "
                    f"the vocal {tuple(self.vocal.shape)}"
                )
            if not sound.isfinite().all():
                raise UsageError(f"the {name} holds NaN or infinity: it cannot be measured")

    @cached_property
    def beats_seconds(self) -> tuple[float, ...]:
        """Beats of the accompaniment, tracked once."""
        return track_beats(self.accompaniment, self.sample_rate)

    @cached_property
    def onsets(self) -> OnsetAlignment | None:
        """How the accompaniment's onsets lie against the vocal's."""
        return align_onsets(self.vocal, self.accompaniment, self.sample_rate)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of fit.

    Args:
        name: its key in `MEASURES` and in reports.
        unit: of its values; `""` for a plain number.
        higher_is_better: None where neither is, and true pairs say what is usual.
        what: one line for tables.
        needs: fields of `Example` without which it is None: `"truth"`, `"instrumental"`.
        of: its value for an example that has what it needs.
    """

    name: str
    unit: str
    higher_is_better: bool | None
    what: str
    of: Callable[[Example], float | None]
    needs: tuple[str, ...] = ()

    def __call__(self, example: Example) -> float | None:
        """The value, None where something it needs is not known."""
        if any(getattr(example, need) is None for need in self.needs):
            return None
        return self.of(example)


def _key_truth(example: Example) -> float | None:
    assert example.truth is not None
    return key_agreement(example.accompaniment, example.sample_rate, example.truth.key)


def _key_vocal(example: Example) -> float | None:
    if not example.vocal.any():
        return None
    key = estimate_key(example.vocal, example.sample_rate)
    return key_agreement(example.accompaniment, example.sample_rate, key)


def _chord_tones(example: Example) -> float | None:
    assert example.truth is not None
    return chord_tone_share(example.accompaniment, example.sample_rate, example.truth.chords)


def _chroma_vocal(example: Example) -> float | None:
    return chroma_correlation(example.vocal, example.accompaniment, example.sample_rate)


def _chroma_instrumental(example: Example) -> float | None:
    assert example.instrumental is not None
    return chroma_correlation(example.instrumental, example.accompaniment, example.sample_rate)


def _true_beats(example: Example) -> list[float]:
    assert example.truth is not None
    end_seconds = len(example.accompaniment) / example.sample_rate
    return [beat for beat in example.truth.beats_seconds if 0 <= beat < end_seconds]


def _beat_truth(example: Example) -> float | None:
    reference = _true_beats(example)
    return beat_f_measure(example.beats_seconds, reference) if reference else None


def _beat_closeness(example: Example) -> float | None:
    reference = _true_beats(example)
    return beat_closeness(example.beats_seconds, reference) if reference else None


def _beat_instrumental(example: Example) -> float | None:
    assert example.instrumental is not None
    reference = track_beats(example.instrumental, example.sample_rate)
    return beat_f_measure(example.beats_seconds, reference) if reference else None


def _beat_vocal(example: Example) -> float | None:
    return beat_strength(example.beats_seconds, example.vocal, example.sample_rate)


def _onset_lag(example: Example) -> float | None:
    return None if example.onsets is None else abs(example.onsets.lag_seconds)


def _onset_correlation(example: Example) -> float | None:
    return None if example.onsets is None else example.onsets.correlation


def _loudness(example: Example) -> float | None:
    return loudness_balance_lu(example.vocal, example.accompaniment, example.sample_rate)


def _dead_air(example: Example) -> float | None:
    return dead_air_share(example.vocal, example.accompaniment, example.sample_rate)


_ALL = (
    Measure(
        name="key_truth",
        unit="",
        higher_is_better=True,
        what="key of the accompaniment against the score's, near keys in part",
        needs=("truth",),
        of=_key_truth,
    ),
    Measure(
        name="key_vocal",
        unit="",
        higher_is_better=True,
        what="key of the accompaniment against the key estimated from the vocal, near keys in part",
        of=_key_vocal,
    ),
    Measure(
        name="chord_tones",
        unit="",
        higher_is_better=True,
        what="share of the accompaniment's chroma on the tones of the score's chords",
        needs=("truth",),
        of=_chord_tones,
    ),
    Measure(
        name="chroma_vocal",
        unit="",
        higher_is_better=True,
        what="correlation of chroma over time with the vocal",
        of=_chroma_vocal,
    ),
    Measure(
        name="chroma_instrumental",
        unit="",
        higher_is_better=True,
        what="correlation of chroma over time with the true backing",
        needs=("instrumental",),
        of=_chroma_instrumental,
    ),
    Measure(
        name="beat_truth",
        unit="",
        higher_is_better=True,
        what="F-measure of the accompaniment's beats against the score's",
        needs=("truth",),
        of=_beat_truth,
    ),
    Measure(
        name="beat_closeness",
        unit="",
        higher_is_better=True,
        what="the same with a bell of 40 ms instead of a border at 70 ms (Cemgil)",
        needs=("truth",),
        of=_beat_closeness,
    ),
    Measure(
        name="beat_instrumental",
        unit="",
        higher_is_better=True,
        what="F-measure of the accompaniment's beats against those tracked in the true backing",
        needs=("instrumental",),
        of=_beat_instrumental,
    ),
    Measure(
        name="beat_vocal",
        unit="deviations",
        higher_is_better=True,
        what="how much stronger the vocal's onsets are on the accompaniment's beats than elsewhere",
        of=_beat_vocal,
    ),
    Measure(
        name="onset_correlation",
        unit="",
        higher_is_better=True,
        what="correlation of onset strengths with the vocal at the best lag",
        of=_onset_correlation,
    ),
    Measure(
        name="onset_lag",
        unit="s",
        higher_is_better=False,
        what="size of that lag",
        of=_onset_lag,
    ),
    Measure(
        name="loudness_balance",
        unit="LU",
        higher_is_better=None,
        what="loudness of the accompaniment above that of the vocal",
        of=_loudness,
    ),
    Measure(
        name="dead_air",
        unit="",
        higher_is_better=False,
        what="share of the singing without accompaniment beneath it",
        of=_dead_air,
    ),
)

MEASURES = MappingProxyType({entry.name: entry for entry in _ALL})
"""Every measure by its name, in the order of reports."""


def measure(example: Example, names: Iterable[str] | None = None) -> dict[str, float | None]:
    """The example's value for each measure.

    Args:
        example: one clip.
        names: of the measures wanted, in the order wanted; None for all.

    Raises:
        UsageError: a name that is not in `MEASURES`; or a score of beats without mir_eval.

    >>> import torch
    >>> tone = torch.sin(torch.arange(24_000.0))
    >>> silent = Example(vocal=tone, accompaniment=torch.zeros(24_000), sample_rate=24_000)
    >>> measure(silent, ["dead_air", "key_vocal", "key_truth"])
    {'dead_air': 1.0, 'key_vocal': None, 'key_truth': None}
    """
    wanted = list(MEASURES) if names is None else list(names)
    unknown = [name for name in wanted if name not in MEASURES]
    if unknown:
        raise UsageError(f"no measure called {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    return {name: MEASURES[name](example) for name in wanted}
