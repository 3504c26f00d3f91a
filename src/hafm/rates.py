"""Exact arithmetic between seconds, samples and frames.

In: counts (int) and rates in hertz (int or `Fraction`). Out: counts. Nothing here touches floating point.

Convention: there is one rounding rule, and it is *ceil*. A sound of `n` samples at `sample_rate` has

    frames = ceil(frame_rate * n / sample_rate)

frames at `frame_rate`, and whoever makes the frames pads the sound with zeros up to them. So no sound is
ever lost, every sound has at least one frame, and two people who count get the same:

    24000 Hz  |.......................................|        n = 71 919 samples (2.99663 s)
       75 Hz  |--|--|--|--|--|--|  ...  |--|--|--|--|--|        225 frames of 320 samples
       50 Hz  |----|----|----|----|  ...  |----|----|----|      150 frames of 480 samples

Source: section 3.2 gives the rates; the rounding is ours. (HuBERT by itself yields 499 frames for 10 s, and
`int(499 * 1.5)` frames of codes are 9.9733 s of sound.)
"""

from fractions import Fraction
from typing import TypeAlias

__all__ = ["CODEC_RATE", "SEMANTIC_RATE", "Rate", "convert_frames", "frames_for", "samples_for"]

Rate: TypeAlias = int | Fraction
"""A rate in hertz, exact."""

SEMANTIC_RATE = Fraction(50)
"""Semantic tokens per second."""

CODEC_RATE = Fraction(75)
"""Frames of acoustic codes per second."""


def frames_for(num_samples: int, *, sample_rate: Rate, frame_rate: Rate) -> int:
    """Frames that cover `num_samples` samples, the last one padded: `ceil(frame_rate * seconds)`.

    Args:
        num_samples: length of the sound, 0 or more.
        sample_rate: its sample rate in hertz, above 0.
        frame_rate: frames per second, above 0.

    Returns:
        The number of frames; 0 for no samples, at least 1 otherwise.

    Raises:
        TypeError: a count or a rate is a float.
        ValueError: a count is negative or a rate is not positive.

    >>> frames_for(240_000, sample_rate=24_000, frame_rate=CODEC_RATE)
    750
    >>> frames_for(240_001, sample_rate=24_000, frame_rate=CODEC_RATE)
    751
    >>> frames_for(441_000, sample_rate=44_100, frame_rate=SEMANTIC_RATE)
    500
    """
    return _ceil_of(num_samples, "num_samples", frame_rate, sample_rate)


def samples_for(frames: int, *, frame_rate: Rate, sample_rate: Rate) -> int:
    """Samples that `frames` whole frames span, exactly.

    Args:
        frames: number of frames, 0 or more.
        frame_rate: frames per second, above 0.
        sample_rate: sample rate in hertz, above 0.

    Returns:
        `frames * sample_rate / frame_rate`, a whole number.

    Raises:
        TypeError: a count or a rate is a float.
        ValueError: the frames do not end on a sample; a count is negative or a rate is not positive.

    >>> samples_for(75, frame_rate=CODEC_RATE, sample_rate=24_000)
    24000
    >>> samples_for(1, frame_rate=CODEC_RATE, sample_rate=16_000)
    Traceback (most recent call last):
    ...
    ValueError: 1 frames at 75 Hz span 640/3 samples at 16000 Hz, which is not a whole number
    """
    _check(frames, "frames", frame_rate, sample_rate)
    samples = Fraction(frames * sample_rate) / frame_rate
    if samples.denominator != 1:
        raise ValueError(
            f"{frames} frames at {frame_rate} Hz span {samples} samples at {sample_rate} Hz, "
            f"which is not a whole number"
        )
    return samples.numerator


def convert_frames(frames: int, from_rate: Rate, to_rate: Rate) -> int:
    """Frames at `to_rate` that cover `frames` frames at `from_rate`, rounded up.

    Args:
        frames: number of frames at `from_rate`, 0 or more.
        from_rate: frames per second, above 0.
        to_rate: frames per second, above 0.

    Returns:
        `ceil(frames * to_rate / from_rate)`.

    Raises:
        TypeError: a count or a rate is a float.
        ValueError: a count is negative or a rate is not positive.

    >>> convert_frames(499, SEMANTIC_RATE, CODEC_RATE)
    749
    >>> convert_frames(750, CODEC_RATE, SEMANTIC_RATE)
    500
    """
    return _ceil_of(frames, "frames", to_rate, from_rate)


def _ceil_of(count: int, name: str, to_rate: Rate, from_rate: Rate) -> int:
    """`ceil(count * to_rate / from_rate)`, in whole numbers: -(-x // y) rounds up."""
    _check(count, name, to_rate, from_rate)
    numerator = count * to_rate.numerator * from_rate.denominator
    return -(-numerator // (to_rate.denominator * from_rate.numerator))


def _check(count: int, name: str, *rates: Rate) -> None:
    if not isinstance(count, int):
        raise TypeError(f"{name} must be an int, got {count!r}")
    if count < 0:
        raise ValueError(f"{name} must be 0 or more, got {count}")
    for rate in rates:
        if not isinstance(rate, int | Fraction):
            raise TypeError(f"a rate must be an int or a Fraction, so that it is exact; got {rate!r}")
        if rate <= 0:
            raise ValueError(f"a rate must be above 0 Hz, got {rate}")
