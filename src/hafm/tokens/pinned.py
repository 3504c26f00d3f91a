"""Weights from the hub, pinned by commit.

In:  a repository and a commit. Out: what `from_pretrained` of its class returns, or an error that helps.

A branch or a tag may move under a model that was trained on what it pointed to; a commit cannot. The weights
themselves are covered by the fingerprints of the parts that use them.
"""

import re
from collections.abc import Callable
from typing import TypeVar

from hafm.errors import BundleNotFound, UsageError

__all__ = ["load_pinned"]

Model = TypeVar("Model")


def load_pinned(load: Callable[[], Model], *, repo: str, revision: str) -> Model:
    """Calls `load`, for a revision that is a commit.

    Args:
        load: fetches `repo` at `revision` from the local cache or from the hub.

    Raises:
        UsageError: the revision is no commit hash.
        BundleNotFound: neither the cache nor the hub has it.

    >>> load_pinned(lambda: 1, repo="somebody/something", revision="main")
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: revision 'main' of somebody/something is no commit: give its 40 hex digits
    """
    if not re.fullmatch("[0-9a-f]{40}", revision):
        raise UsageError(f"revision {revision!r} of {repo} is no commit: give its 40 hex digits")
    try:
        return load()
    except OSError as error:
        raise BundleNotFound(
            f"cannot get {repo} at {revision}: {error}; connect to the network once, "
            "or use the built-in bundle"
        ) from error
