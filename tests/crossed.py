"""All values of a parameter, or combinations of some, of which a third runs by default.

    @crossed(stage=STAGES, conditioning=CONDITIONINGS, pattern=STEPWISE)
    def test_...(stage, conditioning, pattern): ...

Combinations whose places add up to a multiple of three run by default: every value occurs, and every pair of
values of parameters that have three. The others are slow.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest

__all__ = ["crossed"]


def crossed(**values: Sequence[Any]) -> pytest.MarkDecorator:
    cases = []
    for chosen in product(*(list(enumerate(each)) for each in values.values())):
        places, arguments = zip(*chosen, strict=True)
        name = "-".join(str(getattr(each, "name", each)) for each in arguments)
        marks = [] if sum(places) % 3 == 0 else [pytest.mark.slow]
        cases.append(pytest.param(*arguments, id=name, marks=marks))
    return pytest.mark.parametrize(tuple(values), cases)
