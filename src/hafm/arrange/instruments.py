"""Which instruments suit a style: General MIDI programs for each role, counted from 0.

All of them are in the shipped SoundFont; in another one that lacks a program, its first instrument plays.
Drum kits are in `hafm.arrange.styles`.
"""

from collections.abc import Mapping

__all__ = ["BANDS"]

BANDS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "rock": {
        "bass": (33, 34),
        "keys": (0, 18, 4),
        "comp": (29, 27, 28),
        "pad": (16, 48),
        "bridge": (27, 65, 18),
    },
    "ballad": {
        "bass": (33, 35),
        "keys": (0, 0, 4),
        "comp": (24, 25),
        "pad": (48, 89),
        "bridge": (40, 73, 71, 42),
    },
    "disco": {"bass": (33, 38), "keys": (4, 0), "comp": (27, 28), "pad": (48, 50), "bridge": (56, 61, 81)},
    "funk": {"bass": (33, 34), "keys": (4, 16, 5), "comp": (27, 28), "pad": (50, 48), "bridge": (65, 66, 56)},
    "bossa": {"bass": (32, 35), "keys": (0, 4, 11), "comp": (24,), "pad": (48, 52), "bridge": (73, 66, 11)},
    "reggae": {"bass": (33,), "keys": (16, 18), "comp": (27, 28), "pad": (89, 48), "bridge": (56, 66, 18)},
    "trap": {"bass": (38, 39), "keys": (0, 4, 11), "comp": (88, 45), "pad": (89, 95), "bridge": (80, 75)},
    "folk": {"bass": (32, 33), "keys": (25, 24), "comp": (25, 24), "pad": (21, 48), "bridge": (40, 73, 75)},
    "synth": {"bass": (38, 39), "keys": (5, 90), "comp": (90, 62, 81), "pad": (89, 50), "bridge": (80, 81)},
    "shuffle": {
        "bass": (32, 33),
        "keys": (0, 18, 16),
        "comp": (26, 27),
        "pad": (18, 16),
        "bridge": (66, 65, 56),
    },
    "unplugged": {
        "bass": (32, 35),
        "keys": (0, 24),
        "comp": (24, 25),
        "pad": (48,),
        "bridge": (73, 40, 42, 71),
    },
    "waltz": {"bass": (32, 33), "keys": (0, 21), "comp": (24, 21), "pad": (48, 52), "bridge": (40, 71, 73)},
}
"""Role (a key of `styles.ROLES`) to programs; one listed twice is taken twice as often."""
