"""Numbers as people read them: times, sizes.

In: numbers. Out: short texts for messages, tables and displays.
"""

import math

__all__ = ["clock", "size"]


def clock(seconds: float) -> str:
    """A place in a sound, in minutes and seconds.

    >>> clock(600.0), clock(61.26)
    ('10:00', '1:01.3')
    """
    tenths = math.floor(seconds * 10 + 0.5)
    minutes, tenths = divmod(tenths, 600)
    return f"{minutes}:{tenths // 10:02d}" + (f".{tenths % 10}" if tenths % 10 else "")


def size(num_bytes: int) -> str:
    """A number of bytes.

    >>> size(1_400_000), size(5_000_000_000)
    ('1.4 MB', '5.0 GB')
    """
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes < 1e9 else f"{num_bytes / 1e9:.1f} GB"
