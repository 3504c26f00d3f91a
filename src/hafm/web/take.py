"""What a take says of itself, beside its sounds."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hafm.files import atomic_file
from hafm.web.tasks import Play, Sketch

__all__ = ["write_take"]


def write_take(
    folder: Path,
    task: Play | Sketch,
    number: int,
    *,
    levels: Mapping[str, float | None],
    about: Mapping[str, Any],
) -> None:
    """Writes what a take says of itself, and the lead sheet that it was made from.

    Args:
        folder: of the take; nobody reads it yet.
        task: that it was made by.
        number: of the take.
        levels: of its mix, as `hafm.audio.mixdown.Levels` has them.
        about: its place among the takes that were made with it, and why; or that samples play.
    """
    again = task.again if isinstance(task, Play) else None
    values = {
        "number": number,
        "made": time.time(),
        "seed": task.seed,
        "players": "model",
        "skip_fine": isinstance(task, Play) and task.skip_fine,
        "balance_db": task.balance_db,
        "levels": dict(levels),
        "of_take": None if again is None else again[0],
        "bars": None if again is None else list(again[1]),
        **about,
    }
    with atomic_file(folder / "take.json") as file:
        file.write(json.dumps(values, allow_nan=False).encode())
    with atomic_file(folder / "lead-sheet.json") as file:
        file.write(task.sheet.encode())
