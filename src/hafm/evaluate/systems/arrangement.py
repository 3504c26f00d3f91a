"""A band of samples as a system: what a lead sheet sounds like without a model (Songsmith's place).

In: clips. Out: for each the arrangement of its lead sheet (`hafm.arrange`), which follows the vocal's level
and rests. Whose the sheets are is in the system's name: what a bundle's analyser estimates from the vocal, or
the true ones. Clips are excerpts: the band plays from the first instant to the last.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor

from hafm.arrange.arranger import arrange_sheet
from hafm.arrange.soundfont import SHIPPED, open_soundfont
from hafm.audio.io import audio_from_array
from hafm.audio.resample import resample
from hafm.evaluate.systems.base import ClipByClip, ClipSound, Kind
from hafm.guide.lead_sheet import LeadSheet

__all__ = ["Arranged"]

_RENDER_RATE = 48_000


class Arranged(ClipByClip):
    """Arranges lead sheets.

    Args:
        name, title: in tables.
        sheets: the lead sheet of a clip, as long as that.
        guide: whose lead sheets these are, for the identity.
        seed: of all arrangements.
    """

    kind: Kind = "baseline"
    uses_vocal = True
    batch_clips = 4

    def __init__(
        self, *, name: str, title: str, sheets: Callable[[ClipSound], LeadSheet], guide: str, seed: int
    ) -> None:
        self.name, self.title = name, title
        self._sheets, self._guide, self._seed = sheets, guide, seed
        self._soundfont = open_soundfont(SHIPPED)

    def identity(self) -> dict[str, Any]:
        """Whose sheets, the seed, and the name of the soundfont, which is shipped."""
        return {"guide": self._guide, "seed": self._seed, "soundfont": SHIPPED.name}

    def sheet_of(self, clip: ClipSound) -> LeadSheet | None:
        """See `Guided`."""
        return self._sheets(clip)

    def _takes_of(self, clip: ClipSound, sample_rate: int) -> list[Float[Tensor, " T"]]:
        voice = audio_from_array(clip.vocal[None], sample_rate)
        arrangement = arrange_sheet(self._sheets(clip), seed=self._seed, voice=voice, excerpt=True)
        sound = arrangement.render(sample_rate=_RENDER_RATE, soundfont=self._soundfont).accompaniment
        mono = sound.mean(dim=0, keepdim=True)
        return [resample(mono, _RENDER_RATE, sample_rate, len(clip.vocal))[0]]
