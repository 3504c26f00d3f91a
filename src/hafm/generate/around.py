"""Room for the band before the voice and after it: an intro, and an ending that rings out.

In: a vocal and its lead sheet. Out: the vocal with silence at its ends, and the sheet of all of it; later the
band, which dies away in its last bar.

    vocal         silence | voice                | silence
    lead sheet    intro   | as it was            | ending          `hafm.guide.around`
    band          plays from the first sample to the last; from the last downbeat on it falls by 60 dB

Both are whole samples long, so that the voice in the mix is the recording, moved by a number of samples that
the record holds.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from hafm.arguments import whole_number
from hafm.audio.sound import Audio
from hafm.errors import LeadSheetError
from hafm.guide.around import ending_seconds, intro_seconds, last_downbeat, with_ending, with_intro
from hafm.guide.lead_sheet import LeadSheet

__all__ = ["Around", "died_away", "with_room"]

_LAST_BIT = 1e-3  # samples
_FALL = 3.0  # powers of ten, from the last downbeat to the end


@dataclass(frozen=True, kw_only=True)
class Around:
    """What is asked for around the voice.

    Args:
        intro_bars: before it, 0 or more.
        ending: whether the band rings out after it.
    """

    intro_bars: int = 0
    ending: bool = False

    def __post_init__(self) -> None:
        whole_number("intro_bars", self.intro_bars)

    def __bool__(self) -> bool:
        return bool(self.intro_bars > 0 or self.ending)

    def samples(self, sheet: LeadSheet | None, sample_rate: int) -> tuple[int, int]:
        """Samples of the intro and of the ending.

        Raises:
            LeadSheetError: they are asked for, and there are no bars.
        """
        if not self:
            return 0, 0
        if sheet is None:
            raise LeadSheetError(
                "an intro or an ending needs a lead sheet, and none is followed; leave it out"
            )
        intro = round(intro_seconds(sheet, self.intro_bars) * sample_rate) if self.intro_bars else 0
        if not self.ending:
            return intro, 0
        longer = self.sheet(sheet, intro_samples=intro, ending_samples=0, rate=sample_rate)
        # Not rounded up: a beat that begins in the last sample would be a bar of its own.
        return intro, int(ending_seconds(longer) * sample_rate + _LAST_BIT)

    def sheet(self, sheet: LeadSheet, *, intro_samples: int, ending_samples: int, rate: int) -> LeadSheet:
        """The sheet of the longer sound."""
        if intro_samples:
            sheet = with_intro(sheet, intro_samples / rate)
        return with_ending(sheet, ending_samples / rate) if ending_samples else sheet


def with_room(vocal: Audio, *, intro_samples: int, ending_samples: int) -> Audio:
    """The vocal with silence before and after it; as it is, without any."""
    if not intro_samples and not ending_samples:
        return vocal
    return replace(vocal, waveform=pad(vocal.waveform, (intro_samples, ending_samples)))


def died_away(band: Float[Tensor, "1 T"], sample_rate: int, sheet: LeadSheet) -> Float[Tensor, "1 T"]:
    """The band, as long as a sheet with an ending, falling from the last downbeat on to nothing."""
    start = min(round(last_downbeat(sheet) * sample_rate), band.shape[1])
    share = torch.linspace(0, 1, band.shape[1] - start)
    faded = band.clone()
    faded[:, start:] *= 10 ** (-_FALL * share) * (1 - share)
    return faded
