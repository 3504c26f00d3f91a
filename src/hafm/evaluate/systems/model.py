"""A bundle as a system, with or without lead sheets.

In: clips. Out: `takes` accompaniments of each, clips and takes in one batch.

With a lead sheet per clip (`sheet_of`) it follows those. Whose they are is in the system's name and identity,
and decided by `sheets_of`: an empty one; the clip's own, as a person would give it; the one that the bundle's
analyser estimates; that of another song, which it can obey and cannot fit.

A take's tokens depend on the clip, the seed and the take's number alone, so batches change nothing, and a run
that was stopped goes on with the same sounds.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, Unpack, get_type_hints

from jaxtyping import Float
from torch import Tensor

from hafm.errors import UsageError
from hafm.evaluate.exchange import pairings
from hafm.evaluate.run.folder import RunFolder, true_sound
from hafm.evaluate.systems.base import ClipSound, Kind, OnShare
from hafm.evaluate.testset import Clip
from hafm.generate.accompany import Accompanist
from hafm.generate.sampling import Chosen
from hafm.generate.steps import with_line_up
from hafm.guide.lead_sheet import LeadSheet
from hafm.progress import Progress

__all__ = ["Model", "sheets_of"]

Sheets: TypeAlias = Callable[[ClipSound], LeadSheet]

_STEPS = {"semantic": 1, "coarse": 6, "fine": 6}  # a second's worth of steps: 50, 300, 300


class Model:
    """Generates.

    Args:
        batch_rows: clips times takes that go through a stage together, at most, but one clip at least.
        sheets: the lead sheet of a clip, as long as that; None for what the bundle does by itself.
        guide: whose lead sheets these are, for the identity.
        chosen: how tokens are drawn, see `hafm.generate.sampling`.
    """

    kind: Kind = "model"
    uses_vocal = True

    def __init__(
        self,
        *,
        accompanist: Accompanist,
        takes: int = 1,
        seed: int = 0,
        batch_rows: int = 16,
        skip_fine: bool = False,
        sheets: Sheets | None = None,
        guide: str = "none",
        name: str = "model",
        title: str = "model",
        **chosen: Unpack[Chosen],
    ) -> None:
        self.name, self.title, self.takes = name, title, takes
        self.batch_clips = max(1, batch_rows // takes)
        self._accompanist = accompanist
        self._sheets, self._guide = sheets, guide
        defaults = accompanist.bundle.config.generation
        self._settings: dict[str, Any] = {
            "seed": seed,
            **{name: getattr(defaults, name) for name in get_type_hints(Chosen)},
            **{name: value for name, value in chosen.items() if value is not None},
            "skip_fine": skip_fine,
        }

    def identity(self) -> dict[str, Any]:
        """Bundle, settings and device; the number of takes only adds sounds."""
        bundle = self._accompanist.bundle
        return {
            "bundle": bundle.config.name,
            "version": bundle.config.version,
            "fingerprint": bundle.fingerprint,
            "device": self._accompanist.device.type,
            **({} if self._sheets is None else {"guide": self._guide}),
            **self._settings,
        }

    def sheet_of(self, clip: ClipSound) -> LeadSheet | None:
        """See `Guided`."""
        return None if self._sheets is None else self._sheets(clip)

    def accompany(
        self, clips: Sequence[ClipSound], *, sample_rate: int, on_share: OnShare
    ) -> list[list[Float[Tensor, " T"]]]:
        """See `System`."""
        names = list(_STEPS)[: 2 if self._settings["skip_fine"] else 3]
        total = sum(_STEPS[name] for name in names)
        before = {name: sum(_STEPS[each] for each in names[:place]) for place, name in enumerate(names)}

        def on_progress(progress: Progress) -> None:
            within = progress.done / progress.total * _STEPS[progress.step]
            on_share((before[progress.step] + within) / total)

        made = self._accompanist.generate_batch(
            [each.vocal for each in clips],
            takes=self.takes,
            sample_rate=sample_rate,
            guides=None if self._sheets is None else [self._sheets(each) for each in clips],
            on_progress=on_progress,
            **self._settings,
        )
        return [[take.waveform[0] for take in takes] for takes in made]


# ---- whose lead sheets


def sheets_of(guide: str, run: RunFolder, bundle: Callable[[], Accompanist], seed: int) -> Sheets:
    """What gives each clip of a run a lead sheet: none, the given, the estimated, or another song's one."""
    rate = run.manifest.protocol.sample_rate
    if guide == "none":
        return lambda each: LeadSheet(duration_seconds=each.clip.num_samples / rate)
    if guide == "given":
        return lambda each: _true_sheet(run, each.clip)
    if guide == "estimated":
        analyser = bundle().bundle.load_analyser("vocal")
        return lambda each: with_line_up(analyser.analyse(each.vocal, rate), each.vocal, rate)
    [partner] = pairings(run.manifest.clips, seed=seed, takes=1)

    def of_another_song(each: ClipSound) -> LeadSheet:
        """The beginning of its sheet, or the whole of it with nothing known of the rest."""
        sheet, seconds = _true_sheet(run, partner[each.clip.id]), each.clip.num_samples / rate
        if sheet.duration_seconds > seconds:
            return sheet.cropped(0.0, seconds)
        return replace(sheet, duration_seconds=seconds)

    return of_another_song


def _true_sheet(run: RunFolder, clip: Clip) -> LeadSheet:
    if (sheet := run.sheet(true_sound(clip.id))) is None:
        raise UsageError(
            f"there is no lead sheet of clip {clip.id!r}; give rendered pairs, or leave out "
            "model-given, model-other and arrangement-given"
        )
    return sheet
