"""Names that people gave, as parts of the names of files."""

import re

__all__ = ["file_name"]


def file_name(name: str) -> str:
    """A project's name as part of the names of files, on any system.

    >>> file_name("../My song: take/2?"), file_name("...")
    ('My song take 2', 'song')
    """
    kept = re.sub(r"[^\w \-+&'()]", " ", name)
    return " ".join(kept.split())[:60].strip() or "song"
