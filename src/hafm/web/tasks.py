"""What a lane's worker is asked to do, and how it says how far it is.

In: values that go through a pipe. Out: the same on the other side; `hafm.web.work` does what they say.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

__all__ = ["Export", "Listen", "Play", "Report", "Sketch", "Task"]

Report: TypeAlias = Callable[[str, float, float | None], None]
"""Called with the name of a step, the share of the task that is done, and the seconds left where known."""


@dataclass(frozen=True, kw_only=True)
class _Task:
    """Something to do in the folder of a project."""

    folder: Path


@dataclass(frozen=True, kw_only=True)
class Listen(_Task):
    """Hear a recording, or hear it again.

    Args:
        name: that messages call the recording.
        sound_seconds: that it may last.
        given: what is known already, as JSON; it is kept.
        tempo_bpm: about how fast it goes, if that is known and no beats are.
    """

    name: str
    sound_seconds: float
    given: str | None = None
    tempo_bpm: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Band(_Task):
    """Takes to make.

    Args:
        sheet: the lead sheet, as JSON.
        first_number: of the takes.
        seed: another number, other takes.
        balance_db: of the mix.
    """

    sheet: str
    first_number: int
    seed: int
    balance_db: float = -3.0


@dataclass(frozen=True, kw_only=True)
class Play(_Band):
    """Make takes.

    Args:
        temperature, guidance, guide_guidance: None for the bundle's.
        skip_fine: quicker and coarser.
        again: what is made again: a take, its first and last bar, and when they begin and end; None for
            whole takes.
    """

    takes: int
    temperature: float | None = None
    guidance: float | None = None
    guide_guidance: float | None = None
    skip_fine: bool = False
    again: tuple[int, tuple[int, int], tuple[float, float]] | None = None


@dataclass(frozen=True, kw_only=True)
class Sketch(_Band):
    """Make a take by a band of samples; another seed, other patterns and instruments."""


@dataclass(frozen=True, kw_only=True)
class Export(_Task):
    """Pack a zip.

    Args:
        name: that its files begin with.
        take: its number; None for the vocal and the lead sheet alone.
        format: of the sounds, `wav` or `flac`.
    """

    name: str
    take: int | None
    format: str


Task: TypeAlias = Listen | Play | Sketch | Export
