"""What the studio takes and keeps at most: all of it is bounded, and every bound can be set.

In: numbers. Out: `Limits`, checked.
"""

import math
from dataclasses import dataclass, fields

from hafm.errors import UsageError

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The bounds of a studio.

    Args:
        upload_bytes: of one recording.
        sound_seconds: of one recording.
        uploads: that come in at once; others are asked to come back.
        upload_seconds: that one upload may take.
        stall_seconds: that one may pause.
        body_bytes: of any other request.
        waiting: jobs that wait, per worker; others are asked to come back.
        listen_seconds: that hearing a recording may take.
        generate_seconds: that a generation may take.
        takes: per generation.
        takes_kept: per project.
        lifetime_seconds: that a project lives after its last use, if it is not kept.
        folder_bytes: of all projects.
        closed_page_seconds: that a job goes on when the page that watches it has gone.

    Raises:
        UsageError: one is not above 0.

    >>> Limits(uploads=0)
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: the studio's limit uploads is 0; give a number above 0
    """

    upload_bytes: int = 25_000_000
    sound_seconds: float = 600.0
    uploads: int = 4
    upload_seconds: float = 300.0
    stall_seconds: float = 15.0
    body_bytes: int = 2_000_000
    waiting: int = 16
    listen_seconds: float = 180.0
    generate_seconds: float = 3600.0
    takes: int = 8
    takes_kept: int = 64
    lifetime_seconds: float = 7 * 24 * 3600.0
    folder_bytes: int = 20_000_000_000
    closed_page_seconds: float = 0.5

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"the studio's limit {each.name} is {value}; give a number above 0")
