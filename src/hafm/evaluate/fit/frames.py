"""How many samples a window has at a sample rate.

In: seconds and a rate. Out: the power of two nearest (in octaves) to those seconds, so that a measure covers
the same stretch of time whatever the rate.
"""

import math

__all__ = ["window_samples"]


def window_samples(seconds: float, sample_rate: int) -> int:
    """Samples of a window of about `seconds`.

    >>> window_samples(8192 / 24_000, 24_000), window_samples(8192 / 24_000, 44_100)
    (8192, 16384)
    """
    return int(2 ** round(math.log2(seconds * sample_rate)))
