"""Which style a lead sheet is played in.

In: a lead sheet, or a name that a user typed. Out: one of the twelve styles, or a refusal.
"""

from hafm.errors import UsageError
from hafm.guide.lead_sheet import STYLES, LeadSheet
from hafm.jsonfile import unknown_name

__all__ = ["POP", "check_style", "style_for"]

POP = "pop"
"""No style of its own: the one that suits the song's meter and tempo."""

_SLOW_BPM, _LIVELY_BPM = 84.0, 132.0


def check_style(style: str) -> None:
    """Refuses a style that nobody knows.

    Raises:
        UsageError: the nearest known one is named.

    >>> check_style("bosa")
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: there is no style 'bosa' (did you mean bossa?); choose pop, rock, ballad, ...
    """
    known = (POP, *STYLES)
    if style not in known:
        raise UsageError(
            f"there is no style {style!r}{unknown_name(style, known)}; choose {', '.join(known)}"
        )


def style_for(sheet: LeadSheet) -> str:
    """The style of a sheet: its own, or the one that suits its meter and tempo.

    >>> style_for(LeadSheet(duration_seconds=1.0, style="folk")), style_for(LeadSheet(duration_seconds=1.0))
    ('folk', 'unplugged')
    """
    if sheet.style is not None:
        return sheet.style
    tempo = sheet.tempo_bpm
    if tempo is None:
        return "unplugged"
    meter = sheet.meters[0]
    if meter.is_compound or meter.beats_per_bar % 3 == 0:
        return "waltz"
    return "ballad" if tempo < _SLOW_BPM else "rock" if tempo < _LIVELY_BPM else "synth"
