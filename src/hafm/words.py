"""Numbers and tables as people read them.

In: numbers, rows of text. Out: short texts for messages, tables and displays.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["clock", "columns", "duration", "flat", "listed", "plural", "readable", "size"]


def clock(seconds: float) -> str:
    """A place in a sound, in minutes and seconds.

    >>> clock(600.0), clock(61.26)
    ('10:00', '1:01.3')
    """
    tenths = math.floor(seconds * 10 + 0.5)
    minutes, tenths = divmod(tenths, 600)
    return f"{minutes}:{tenths // 10:02d}" + (f".{tenths % 10}" if tenths % 10 else "")


def duration(seconds: float) -> str:
    """A stretch of time to a second, with hours where there are some.

    >>> duration(59.6), duration(3 * 3600 + 61)
    ('1:00', '3:01:01')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def plural(count: int, noun: str) -> str:
    """A number of things.

    >>> plural(1, "song"), plural(1200, "clip")
    ('1 song', '1,200 clips')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def listed(names: Iterable[str]) -> str:
    """Names with commas, and an `and` before the last.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    *most, last = list(names) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def columns(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Rows of cells as lines, aligned: the first `left` columns to the left, the others to the right.

    >>> columns([("a", "bb"), ("ccc", "d")], left=1)
    ['a    bb', 'ccc   d']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if place < left else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def readable(name: str) -> str:
    """The name of a file as text that every program takes: bytes that are no UTF-8 are replaced.

    >>> readable("lat" + chr(0xDCE9) + "in.wav")
    'lat�in.wav'
    """
    return "".join("\N{REPLACEMENT CHARACTER}" if "\ud800" <= each <= "\udfff" else each for each in name)


def size(num_bytes: int) -> str:
    """A number of bytes.

    >>> size(20_480), size(1_400_000), size(5_000_000_000)
    ('20.5 kB', '1.4 MB', '5.0 GB')
    """
    if num_bytes < 1e5:
        return f"{num_bytes / 1e3:.1f} kB"
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes < 1e9 else f"{num_bytes / 1e9:.1f} GB"


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested values, under dotted names.

    >>> dict(flat({"seed": 0, "source": {"kind": "fma"}}))
    {'seed': 0, 'source.kind': 'fma'}
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
