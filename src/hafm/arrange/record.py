"""`arrangement.json`: everything needed to make an arrangement again.

In: what an arrangement was made from. Out: JSON; and back, the same values, checked.

    environment   versions and platform                        differ: the samples may, the notes do not
    input         the vocal or the sheet's file: path, hash    another vocal is refused
    settings      style, seed, rate, what is written           taken over
    soundfont     name and hash                                another one is refused
    lead_sheet    `hafm.guide.sheet_json`                      taken over: nothing is estimated again
    output        levels, and the hash of every file           tells whether bytes are the same

The record is written last, when the files that it names lie complete beside it.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from hafm.errors import UsageError
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.sheet_json import lead_sheet_from_json, lead_sheet_to_json
from hafm.jsonfile import JsonFile, record_text
from hafm.version import __version__

__all__ = ["RECORD_FILE", "ArrangementRecord", "Inputs", "Settings", "here"]

RECORD_FILE = "arrangement.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What was given: its absolute path, and the part of a vocal that was asked for, if one was."""

    kind: Literal["vocal", "sheet"]
    path: str
    sha256: str
    start_seconds: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the files, given input and lead sheet.

    Args:
        excerpt: whether the song goes on where the sound ends.
        balance_db, loudness_lufs: of the mix, as asked for; None without a vocal.
    """

    style: str
    seed: int
    excerpt: bool
    sample_rate: int
    stems: bool
    format: Literal["wav", "flac"]
    balance_db: float | None = None
    loudness_lufs: float | None = None


@dataclass(frozen=True, kw_only=True)
class _WithoutSheet:
    environment: Mapping[str, str]
    input: Inputs
    settings: Settings
    soundfont: Mapping[str, str]
    levels: Mapping[str, float | None] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ArrangementRecord(_WithoutSheet):
    """One arrangement.

    Args:
        soundfont: its name and its hash; its path if it is not the shipped one.
        levels: of the mix, as `hafm.audio.mixdown` reports them; empty without a vocal.
        files: SHA-256 by name.
    """

    lead_sheet: LeadSheet

    def to_json(self) -> str:
        """The text of the file."""
        values: dict[str, Any] = {
            name: asdict(value) if name in ("input", "settings") else dict(value)
            for name, value in vars(self).items()
            if name != "lead_sheet"
        }
        values["lead_sheet"] = json.loads(lead_sheet_to_json(self.lead_sheet))
        return json.dumps({"format": FORMAT, **values}, indent=2, allow_nan=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> "ArrangementRecord":
        """Reads a file.

        Raises:
            UsageError: it cannot be read, or is no record.
            LeadSheetError: its lead sheet is not one.
        """
        where = f"'{path}'"
        values = _FILE.values(record_text(path, fix=f"give an {RECORD_FILE}"), where=where)
        sheet = values.pop("lead_sheet", None)
        if sheet is None:
            raise _FILE.refused(where, "it lacks 'lead_sheet'")
        # The sheet reads itself; a stand-in keeps its place meanwhile.
        read = _FILE.build(_WithoutSheet, values, where=where)
        kept = lead_sheet_from_json(json.dumps(sheet), where=f"the lead sheet in {where}")
        return cls(lead_sheet=kept, **vars(read))


def here() -> dict[str, str]:
    """What the samples may depend on besides the arguments."""
    names = ("torch", "numpy", "scipy", "soxr", "soundfile", "symusic")
    return {
        "hafm": __version__,
        **{name: version(name) for name in names},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


_FILE = JsonFile(
    what="a record of an arrangement",
    fix=f"give an {RECORD_FILE} that this version wrote",
    error=UsageError,
    format=FORMAT,
)
