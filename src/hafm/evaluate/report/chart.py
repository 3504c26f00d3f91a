"""Dots with their intervals, for small charts that share one scale.

In: figures, and the values at the ends of the scale. Out: where to draw what, in the units of a picture that
is `WIDTH` wide; the template draws it. What lies beyond the scale's right end is an arrow there, so that one
control that is far out does not press all others into a corner.

    0        5        10        the head of the column: ticks
    |---o---|                   a row: interval and dot
                  |--o---->     a row with an arrow
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from hafm.evaluate.run.results import Figure

__all__ = ["WIDTH", "Mark", "mark", "scale_for", "ticks"]

WIDTH = 150

_PAD = 7
_RIGHT = WIDTH - _PAD
_FAR = 3.0  # controls farther out than this many times the rest are left to arrows
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MOST_TICKS = 5

Scale = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A row of a chart; what is None is not drawn. Rail (the whole scale) and interval are from and to."""

    rail: tuple[int, int] = (_PAD, _RIGHT)
    interval: tuple[float, float] | None
    dot: float | None
    arrow: int | None


def scale_for(inside: Iterable[Figure], others: Iterable[Figure] = ()) -> Scale:
    """From 0 (or the lowest end below it) to a round number above every figure.

    Args:
        inside: figures that must be on the scale.
        others: figures that are, unless they would shrink those to less than a third.

    >>> scale_for([Figure(value=3.0, low=2.0, high=4.2)], [Figure(value=90.0)])
    (0.0, 5.0)
    """
    ends = [_ends(figure) for figure in inside if figure.value is not None]
    highest = max((high for _, high in ends), default=0.0)
    more = [_ends(figure) for figure in others if figure.value is not None]
    ends += [each for each in more if highest == 0 or each[1] <= _FAR * highest]
    low = min([0.0, *(low for low, _ in ends)])
    high = max([low, *(high for _, high in ends)])
    if high == low:
        return low, low + 1.0
    step = _step(high - low)
    return math.floor(low / step) * step, math.ceil(high / step) * step


def ticks(scale: Scale) -> list[tuple[float, str]]:
    """Where the head of the column has a number, and which.

    >>> ticks((0.0, 10.0))[-1]
    (143.0, '10')
    """
    low, high = scale
    step = _step(high - low)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [index * step for index in range(first, last + 1)]
    return [(_x(value, scale), f"{round(value, 9):g}".replace("-", "\N{MINUS SIGN}")) for value in values]


def mark(figure: Figure, scale: Scale) -> Mark | None:
    """A figure on the scale; None where it is not known."""
    if figure.value is None:
        return None
    low, high = _ends(figure)
    start, stop = _x(low, scale), _x(high, scale)
    return Mark(
        interval=(start, min(stop, _RIGHT)) if start < _RIGHT else None,
        dot=_x(figure.value, scale) if figure.value <= scale[1] else None,
        arrow=_RIGHT + 5 if high > scale[1] else None,
    )


def _ends(figure: Figure) -> tuple[float, float]:
    assert figure.value is not None
    known = [each for each in (figure.low, figure.value, figure.high) if each is not None]
    return min(known), max(known)


def _step(span: float) -> float:
    rough = span / _MOST_TICKS
    tens = 10.0 ** math.floor(math.log10(rough))
    return next(step * tens for step in _STEPS if step * tens >= rough * (1 - 1e-9))


def _x(value: float, scale: Scale) -> float:
    return round(_PAD + (value - scale[0]) / (scale[1] - scale[0]) * (WIDTH - 2 * _PAD), 1)
