"""What a caller in Python may have mistaken: a number that is not whole, an argument of another type.

In: an argument's name and value. Out: the value, or a `UsageError`. A command line checks its own options.
"""

from types import UnionType
from typing import Any

import numpy as np

from hafm.errors import UsageError

__all__ = ["READ_SHEET", "require_type", "seconds_of", "whole_number"]

READ_SHEET = "give a LeadSheet; hafm.guide.sheet_files.read_lead_sheet reads one from a file"


def whole_number(name: str, value: Any, *, least: int = 0, most: int | None = None) -> int:
    """A number that must be whole, also one of NumPy.

    Raises:
        UsageError: it is not, or it is out of range.

    >>> whole_number("seed", 1.5)
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: seed is 1.5; give a whole number of 0 or more
    """
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not (is_whole and least <= value and (most is None or value <= most)):
        span = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise UsageError(f"{name} is {value!r}; give a whole number {span}")
    return int(value)


def seconds_of(name: str, value: Any) -> float | None:
    """A time as a number of Python, also from one of NumPy; None stays.

    Raises:
        UsageError: it is no number.
    """
    found = value.item() if isinstance(value, np.generic) else value
    if found is not None and (isinstance(found, bool) or not isinstance(found, int | float)):
        raise UsageError(f"{name} is {value!r}; give a number of seconds")
    return found


def require_type(name: str, value: object, kind: type | UnionType, fix: str) -> None:
    """Refuses an argument of another type.

    Raises:
        UsageError: it has another; what to do about it is `fix`.
    """
    if not isinstance(value, kind):
        raise UsageError(f"{name} is of type {type(value).__name__}; {fix}")
