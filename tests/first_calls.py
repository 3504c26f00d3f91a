"""Types and shapes are checked at the first calls of a function in each test, and not at the thousands after.

A model that generates calls small functions thousands of times per second of sound, and a check takes more
time than most of them do. What is wrong with a type or a shape shows at the first calls. The check of a
function is built when it is first called: one process of the tests calls few of all functions.

mypy has checked the types of every call, and cannot check shapes. So functions whose signatures have no shape
are checked with the slow tests alone.

    install()       before anything of `hafm` is imported
    shapes_alone    whether other functions are left alone, set before that, too
    begin_test()    at the start of each test
"""

import dataclasses
import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

import jaxtyping

__all__ = ["CHECKED_CALLS", "begin_test", "has_shapes", "install"]

CHECKED_CALLS = 1
"""Of a function, in each test."""

shapes_alone = False
"""Whether functions without a shape in their signatures are left alone."""

_jaxtyped: Any = jaxtyping.jaxtyped
_tests_begun = 0


def begin_test() -> None:
    """Every function is checked anew."""
    global _tests_begun
    _tests_begun += 1


def has_shapes(function: FunctionType) -> bool:
    """Whether a signature has a shape, which jaxtyping alone can check."""
    hints = (hint if isinstance(hint, str) else repr(hint) for hint in function.__annotations__.values())
    return any("jaxtyping" in hint or "Tensor" in hint for hint in hints)


def install() -> None:
    """Puts the limit into jaxtyping's decorator, which its import hook names in every module."""
    jaxtyping.jaxtyped = _checked_at_first


def _checked_at_first(*args: Any, **options: Any) -> Any:
    if args:
        return _jaxtyped(*args, **options)

    def decorate(decorated: Any) -> Any:
        if isinstance(decorated, FunctionType):
            return _limited(decorated, **options)
        if dataclasses.is_dataclass(decorated) and isinstance(decorated.__init__, FunctionType):
            decorated.__init__ = _limited(decorated.__init__, **options)
            return decorated
        return _jaxtyped(**options)(decorated)

    return decorate


def _limited(function: FunctionType, **options: Any) -> Any:
    if hasattr(function, "limited_to_first_calls") or (shapes_alone and not has_shapes(function)):
        return function
    checked: Callable[..., Any] | None = None
    test = calls = 0

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        nonlocal checked, test, calls
        if test != _tests_begun:
            test, calls = _tests_begun, 0
        calls += 1
        if calls > CHECKED_CALLS or jaxtyping.config.jaxtyping_disable:
            return function(*args, **kwargs)
        if checked is None:
            checked = _jaxtyped(**options)(function)
        return checked(*args, **kwargs)

    call.limited_to_first_calls = True  # type: ignore[attr-defined]
    return call
