"""Dots with their intervals, drawn by hand as SVG: one small picture a row, all on one scale.

In: figures and the values at the ends of the scale. Out: markup. What lies beyond the scale's right end is an
arrow there, so that one control that is far out does not press all others into a corner.

    0        5        10        the head of the column: the axis
    |---o---|                   a row
                  |--o---->
"""

import math
from collections.abc import Iterable

from hafm.evaluate.report.markup import Html, element
from hafm.evaluate.run.results import Figure

__all__ = ["axis", "mark", "scale_for"]

_WIDTH, _HEIGHT = 150, 20
_PAD = 7
_FAR = 3.0  # controls farther out than this many times the rest are left to arrows
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MOST_TICKS = 5


def scale_for(inside: Iterable[Figure], others: Iterable[Figure] = ()) -> tuple[float, float]:
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


def axis(scale: tuple[float, float]) -> Html:
    """Numbers at the ticks."""
    low, high = scale
    step = _step(high - low)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return _svg(*(_tick(index * step, scale) for index in range(first, last + 1)))


def mark(figure: Figure, scale: tuple[float, float]) -> Html:
    """A dot at the value and a line over the interval."""
    if figure.value is None:
        return _svg()
    middle = str(_HEIGHT // 2)
    low, high = _ends(figure)
    right = _WIDTH - _PAD
    lines = [element("line", x1=str(_PAD), x2=str(right), y1=middle, y2=middle, class_="rail")]
    start, stop = _x(low, scale), _x(high, scale)
    if start < right:
        lines.append(
            element("line", x1=f"{start:g}", x2=f"{min(stop, right):g}", y1=middle, y2=middle, class_="ci")
        )
    if figure.value <= scale[1]:
        lines.append(element("circle", cx=f"{_x(figure.value, scale):g}", cy=middle, r="3.5"))
    if high > scale[1]:
        tip, half = right + 5, _HEIGHT // 2
        lines.append(element("path", d=f"M{right - 1},{half - 4}L{tip},{half}L{right - 1},{half + 4}z"))
    return _svg(*lines)


def _ends(figure: Figure) -> tuple[float, float]:
    assert figure.value is not None
    known = [each for each in (figure.low, figure.value, figure.high) if each is not None]
    return min(known), max(known)


def _step(span: float) -> float:
    rough = span / _MOST_TICKS
    tens = 10.0 ** math.floor(math.log10(rough))
    return next(step * tens for step in _STEPS if step * tens >= rough * (1 - 1e-9))


def _x(value: float, scale: tuple[float, float]) -> float:
    return round(_PAD + (value - scale[0]) / (scale[1] - scale[0]) * (_WIDTH - 2 * _PAD), 1)


def _tick(value: float, scale: tuple[float, float]) -> Html:
    text = f"{round(value, 9):g}".replace("-", "\N{MINUS SIGN}")
    return element("text", text, x=f"{_x(value, scale):g}", y=str(_HEIGHT - 6), text_anchor="middle")


def _svg(*parts: Html) -> Html:
    # The same numbers stand beside it as text, so screen readers pass over the picture.
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        width=str(_WIDTH),
        height=str(_HEIGHT),
        aria_hidden="true",
    )
