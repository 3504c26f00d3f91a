"""A bundle as a system, with or without lead sheets.

In: clips. Out: `takes` accompaniments of each, clips and takes in one batch.

With a lead sheet per clip (`sheet_of`) it plays from those. Whose they are is in the system's name and
identity: the clip's own, as a person would give it, or that of another song, which it can obey and cannot
fit.

A take's tokens depend on the clip, the seed and the take's number alone, so batches change nothing, and a run
that was stopped goes on with the same sounds.
"""

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from hafm.evaluate.systems.base import ClipSound, Kind, OnShare
from hafm.generate.accompany import Accompanist
from hafm.guide.lead_sheet import LeadSheet
from hafm.progress import Progress

__all__ = ["Model"]

_STEPS = {"semantic": 1, "coarse": 6, "fine": 6}  # a second's worth of steps: 50, 300, 300


class Model:
    """Generates.

    Args:
        accompanist: the bundle, on its device.
        takes: of each clip, 1 or more.
        seed: of all takes.
        batch_rows: clips times takes that go through a stage together, at most, but one clip at least.
        temperature, top_k, guidance: None for the bundle's.
        skip_fine: stop after the coarse stage.
        sheets: the lead sheet of a clip, as long as that; None to play without.
        guide: whose lead sheets these are, for the identity.
        name, title: in tables.
    """

    kind: Kind = "model"
    hears_vocal = True

    def __init__(
        self,
        *,
        accompanist: Accompanist,
        takes: int = 1,
        seed: int = 0,
        batch_rows: int = 16,
        temperature: float | None = None,
        top_k: int | None = None,
        guidance: float | None = None,
        skip_fine: bool = False,
        sheets: Callable[[ClipSound], LeadSheet] | None = None,
        guide: str = "none",
        name: str = "model",
        title: str = "model",
    ) -> None:
        self.name, self.title, self.takes = name, title, takes
        self.batch_clips = max(1, batch_rows // takes)
        self._accompanist = accompanist
        self._sheets, self._guide = sheets, guide
        defaults = accompanist.bundle.config.generation
        self._settings: dict[str, Any] = {
            "seed": seed,
            "temperature": defaults.temperature if temperature is None else temperature,
            "top_k": defaults.top_k if top_k is None else top_k,
            "guidance": defaults.guidance if guidance is None else guidance,
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

    def play(
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
