"""Types and shapes are checked at the first calls of a function in each test, and not at the thousands after.

A model that generates calls small functions thousands of times per second of sound, and a check takes more
time than most of them do. What is wrong with a type or a shape shows at the first calls.

    install()       before anything of `hafm` is imported
    begin_test()    at the start of each test
"""

import functools
from types import FunctionType
from typing import Any

import jaxtyping

__all__ = ["CHECKED_CALLS", "begin_test", "install"]

CHECKED_CALLS = 3
"""Of a function, in each test."""

_jaxtyped: Any = jaxtyping.jaxtyped
_tests_begun = 0


def begin_test() -> None:
    """Every function is checked anew."""
    global _tests_begun
    _tests_begun += 1


def install() -> None:
    """Puts the limit into jaxtyping's decorator, which its import hook names in every module."""
    jaxtyping.jaxtyped = _checked_at_first


def _checked_at_first(*args: Any, **options: Any) -> Any:
    if args:
        return _jaxtyped(*args, **options)

    def decorate(decorated: Any) -> Any:
        checked = _jaxtyped(**options)(decorated)
        if not isinstance(decorated, FunctionType):
            return checked
        test = calls = 0

        @functools.wraps(decorated)
        def call(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            nonlocal test, calls
            if test != _tests_begun:
                test, calls = _tests_begun, 0
            calls += 1
            return (checked if calls <= CHECKED_CALLS else decorated)(*args, **kwargs)

        return call

    return decorate
