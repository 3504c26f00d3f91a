"""The guide: a lead sheet on the 50 Hz grid, ``[F, G]``, and which channels say what.

| channels | group | content |
|---|---|---|
| 0-1, 2-3 | beats | sine, cosine of the phase within the beat, within the bar |
| 4, 5 | beats | 1 on the frame that holds a beat, a downbeat |
| 6-17, 18-29, 30 | chords | pitch classes; root; 1 where there is no chord |
| 31-42 | chords | bass note |
| 43-46 | arrangement | drums, bass, harmony, melody play |
| 47-58 | style | one of twelve |
| 59, 60, 61, 62 | flags | beats, chords, arrangement, style are known at this frame |

Frame f is centred on (f + 1/2) / 50 s. A group that is not known is zeros, and so is its flag: no lead sheet
at all is zeros everywhere.
"""

from types import MappingProxyType

__all__ = ["GROUPS", "GUIDE_CHANNELS", "KNOWN"]

GUIDE_CHANNELS = 63

GROUPS = MappingProxyType(
    {
        "beats": slice(0, 6),
        "chords": slice(6, 43),
        "arrangement": slice(43, 47),
        "style": slice(47, 59),
        "flags": slice(59, 63),
    }
)
"""Channels by group."""

KNOWN = MappingProxyType({"beats": 59, "chords": 60, "arrangement": 61, "style": 62})
"""The flag of each group."""
