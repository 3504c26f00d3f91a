"""Refusing to mix work of different settings in one folder.

In: JSON values as an earlier run stored them, and those of this run. Out: nothing, or an error that names the
first difference with both values.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hafm.errors import UsageError

__all__ = ["require_same_settings"]


def require_same_settings(
    found: Mapping[str, Any] | None, expected: Mapping[str, Any], *, folder: Path
) -> None:
    """Compares settings field by field.

    Args:
        found: of the folder; None for a new one.
        expected: of this run.
        folder: for the message.

    Raises:
        UsageError: a field differs, or one side lacks it.

    >>> require_same_settings({"a": {"b": 1}}, {"a": {"b": 2}}, folder=Path("out"))
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: 'out' was prepared with a.b = 1, and this run has a.b = 2; take that, ...
    """
    if found is None:
        return
    before, now = dict(_flat(found)), dict(_flat(expected))
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise UsageError(
                f"'{folder}' was prepared with {name} = {before.get(name)!r}, and this run has "
                f"{name} = {now.get(name)!r}; take that, or another -o"
            )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
