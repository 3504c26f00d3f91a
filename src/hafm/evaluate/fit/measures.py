"""All measures of fit, in one table.

In: an `Example`, one clip of a vocal with an accompaniment and what is known about it. Out: a number for each
measure, None where it has no value: what it needs is not known, or nothing sounds.

Conventions: a measure looks at one clip; figures of a set (an interval, a p-value against shuffled pairs) are
made from these numbers by `hafm.evaluate.statistics`. Two estimates of one thing are two measures:
`key_truth` compares with the score, `key_vocal` with the key that is estimated from the vocal. What begins
with `sheet_` compares with the lead sheet that the band was given, which may be wrong: it tells how well the
band obeys.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from jaxtyping import Float
from torch import Tensor

from hafm.errors import UsageError
from hafm.evaluate.fit.beats import (
    beat_closeness,
    beat_f_measure,
    beat_strength,
    drift_ms_per_minute,
    pulse_clarity,
    shuffled_pulse_clarity,
    track_beats,
)
from hafm.evaluate.fit.chroma import chord_tone_share, chroma_correlation
from hafm.evaluate.fit.levels import dead_air_share, loudness_balance_lu
from hafm.evaluate.fit.obedience import (
    sheet_bass_share,
    sheet_beats,
    sheet_chord_share,
    sheet_downbeat_f,
    sheet_key_agreement,
)
from hafm.evaluate.fit.onsets import OnsetAlignment, align_onsets
from hafm.evaluate.fit.truth import Truth
from hafm.evaluate.key import estimate_key, key_agreement
from hafm.guide.lead_sheet import LeadSheet

__all__ = ["MEASURES", "Example", "Measure", "measure"]

_LOWEST_RATE = 8000


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """A vocal, an accompaniment, and what is known about them.

    Args:
        vocal: finite samples, mono, one or more.
        sample_rate: in hertz, 8000 or more.
        instrumental: the true backing, where there is one; as many samples.
        sheet: the lead sheet that the accompaniment was made from, of the same stretch; else the true one.

    Raises:
        UsageError: lengths differ, nothing in them, not finite, or a rate below 8000 Hz.
    """

    vocal: Float[Tensor, " T"]
    accompaniment: Float[Tensor, " T"]
    sample_rate: int
    truth: Truth | None = None
    instrumental: Float[Tensor, " T"] | None = None
    sheet: LeadSheet | None = None

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
        unit: of its values; `""` for a plain number.
        higher_is_better: None where neither is, and true pairs say what is usual.
        needs: fields of `Example` without which it is None: `"truth"`, `"instrumental"`, `"sheet"`.
        of: its value for an example, which is followed by those fields.
    """

    name: str
    unit: str = ""
    higher_is_better: bool | None = True
    what: str
    of: Callable[..., float | None]
    needs: tuple[str, ...] = ()

    def __call__(self, example: Example) -> float | None:
        """The value, None where something it needs is not known."""
        needed = [getattr(example, need) for need in self.needs]
        return None if any(value is None for value in needed) else self.of(example, *needed)


def _beats_of(truth: Truth, example: Example) -> tuple[float, ...]:
    """Those of the score that fall in the clip."""
    seconds = len(example.accompaniment) / example.sample_rate
    return truth.part(start_seconds=0.0, seconds=seconds).beats_seconds


def _beats_against(
    reference: Sequence[float], example: Example, score: Callable[..., float] = beat_f_measure
) -> float | None:
    return score(example.beats_seconds, reference) if reference else None


def _key_vocal(example: Example) -> float | None:
    key = estimate_key(example.vocal, example.sample_rate) if example.vocal.any() else None
    return None if key is None else key_agreement(example.accompaniment, example.sample_rate, key)


_ALL = (
    Measure(
        name="key_truth",
        what="key of the accompaniment against the score's, near keys in part",
        needs=("truth",),
        of=lambda e, truth: key_agreement(e.accompaniment, e.sample_rate, truth.key),
    ),
    Measure(
        name="key_vocal",
        what="key of the accompaniment against the key estimated from the vocal, near keys in part",
        of=_key_vocal,
    ),
    Measure(
        name="chord_tones",
        what="share of the accompaniment's chroma on the tones of the score's chords",
        needs=("truth",),
        of=lambda e, truth: chord_tone_share(e.accompaniment, e.sample_rate, truth.chords),
    ),
    Measure(
        name="chroma_vocal",
        what="correlation of chroma over time with the vocal",
        of=lambda e: chroma_correlation(e.vocal, e.accompaniment, e.sample_rate),
    ),
    Measure(
        name="chroma_instrumental",
        what="correlation of chroma over time with the true backing",
        needs=("instrumental",),
        of=lambda e, instrumental: chroma_correlation(instrumental, e.accompaniment, e.sample_rate),
    ),
    Measure(
        name="beat_truth",
        what="F-measure of the accompaniment's beats against the score's",
        needs=("truth",),
        of=lambda e, truth: _beats_against(_beats_of(truth, e), e),
    ),
    Measure(
        name="beat_closeness",
        what="the same with a bell of 40 ms instead of a border at 70 ms (Cemgil)",
        needs=("truth",),
        of=lambda e, truth: _beats_against(_beats_of(truth, e), e, beat_closeness),
    ),
    Measure(
        name="beat_instrumental",
        what="F-measure of the accompaniment's beats against those tracked in the true backing",
        needs=("instrumental",),
        of=lambda e, backing: _beats_against(track_beats(backing, e.sample_rate), e),
    ),
    Measure(
        name="beat_vocal",
        unit="deviations",
        what="how much stronger the vocal's onsets are on the accompaniment's beats than elsewhere",
        of=lambda e: beat_strength(e.beats_seconds, e.vocal, e.sample_rate),
    ),
    Measure(
        name="onset_correlation",
        what="correlation of onset strengths with the vocal at the best lag",
        of=lambda e: e.onsets and e.onsets.correlation,
    ),
    Measure(
        name="onset_lag",
        unit="s",
        higher_is_better=False,
        what="size of that lag",
        of=lambda e: e.onsets and abs(e.onsets.lag_seconds),
    ),
    Measure(
        name="loudness_balance",
        unit="LU",
        higher_is_better=None,
        what="loudness of the accompaniment above that of the vocal",
        of=lambda e: loudness_balance_lu(e.vocal, e.accompaniment, e.sample_rate),
    ),
    Measure(
        name="dead_air",
        higher_is_better=False,
        what="share of the singing without accompaniment beneath it",
        of=lambda e: dead_air_share(e.vocal, e.accompaniment, e.sample_rate),
    ),
    Measure(
        name="pulse_clarity",
        higher_is_better=None,
        what="height of the best peak of the autocorrelation of onset strength, lags of 0.25 to 1.5 s",
        of=lambda e: pulse_clarity(e.accompaniment, e.sample_rate),
    ),
    Measure(
        name="pulse_shuffled",
        higher_is_better=None,
        what="the same with the pieces between hits in random order",
        of=lambda e: shuffled_pulse_clarity(e.accompaniment, e.sample_rate),
    ),
    Measure(
        name="sheet_beat",
        what="F-measure of the accompaniment's beats against those of the lead sheet that it was given",
        needs=("sheet",),
        of=lambda e, sheet: _beats_against(sheet_beats(sheet), e),
    ),
    Measure(
        name="sheet_downbeat",
        what="the same of the beats on which its harmony changes most, against the sheet's downbeats",
        needs=("sheet",),
        of=lambda e, sheet: sheet_downbeat_f(e.accompaniment, e.sample_rate, e.beats_seconds, sheet),
    ),
    Measure(
        name="sheet_drift",
        unit="ms/min",
        higher_is_better=False,
        what="how fast its beats leave the sheet's, early or late",
        needs=("sheet",),
        of=lambda e, sheet: drift_ms_per_minute(e.beats_seconds, sheet_beats(sheet)),
    ),
    Measure(
        name="sheet_chords",
        what="share of its chroma on the tones of the sheet's chords",
        needs=("sheet",),
        of=lambda e, sheet: sheet_chord_share(e.accompaniment, e.sample_rate, sheet),
    ),
    Measure(
        name="sheet_bass",
        what="share of the chroma of its lowest octaves on the bass notes of the sheet's chords",
        needs=("sheet",),
        of=lambda e, sheet: sheet_bass_share(e.accompaniment, e.sample_rate, sheet),
    ),
    Measure(
        name="sheet_key",
        what="its key against the sheet's, near keys in part",
        needs=("sheet",),
        of=lambda e, sheet: sheet_key_agreement(e.accompaniment, e.sample_rate, sheet),
    ),
)

MEASURES = MappingProxyType({entry.name: entry for entry in _ALL})
"""Every measure by its name, in the order of reports."""


def measure(example: Example, names: Iterable[str] | None = None) -> dict[str, float | None]:
    """The example's value for each measure, or for those of some names, in their order.

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
