"""Runs without the type checks of the conftest, for tests that do over and over what others have checked.

    @unchecked()
    def test_...: ...

So every path through the pipeline is walked once with checks, and the variations of it without.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import jaxtyping

__all__ = ["unchecked"]


@contextmanager
def unchecked() -> Iterator[None]:
    """A context, or a decorator; what fixtures of a test do stays checked."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)
