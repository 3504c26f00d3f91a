"""Lead sheets that lie beside the audio of a collection.

In: a `Source`. Out: the same tracks, those that have one with their lead sheet.

    song.mp3              song.lead.json                  a mix, and a sheet of its name
    b.vocal.flac          b.vocal.lab      b.lab          a pair: of a stem's name, or of its title
    song a/vocals.wav     song a/vocals.mid               a pair in a folder of its own

Where several lie there, the one that says most is taken: `.lead.json`, then `.mid`, `.midi`, then `.lab`. A
track that names a sheet already, such as the truth of a rendered pair, keeps it.

A module of its own, since it goes around a source of any kind, and no source knows of it.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hafm.data.collection.sources.folder import stem_of
from hafm.data.collection.track import SheetPart, Source, Track

__all__ = ["SHEET_ENDINGS", "WithSheets"]

SHEET_ENDINGS = (".lead.json", ".mid", ".midi", ".lab")


@dataclass(frozen=True, kw_only=True)
class WithSheets:
    """A collection and the lead sheets beside its audio."""

    source: Source

    def describe(self) -> dict[str, Any]:
        return {**self.source.describe(), "guide": True}

    def tracks(self) -> Iterator[Track]:
        folders: dict[Path, frozenset[str]] = {}
        for track in self.source.tracks():
            path = None if track.lead_sheet is not None else _beside(track, folders)
            yield track if path is None else replace(track, lead_sheet=SheetPart(path=str(path), kind="file"))


def _beside(track: Track, folders: dict[Path, frozenset[str]]) -> Path | None:
    for ending in SHEET_ENDINGS:
        for part in track.parts:
            sound = Path(part.path)
            if sound.parent not in folders:
                folders[sound.parent] = frozenset()
                with contextlib.suppress(OSError):  # the track itself is refused when it is read
                    folders[sound.parent] = frozenset(os.listdir(sound.parent))
            for name in _titles(sound.stem):
                if name + ending in folders[sound.parent]:
                    return sound.parent / (name + ending)
    return None


def _titles(stem: str) -> list[str]:
    """Names that a sheet may have: that of the file, and the title that it begins with.

    >>> _titles("b.vocal"), _titles("song"), _titles("vocals")
    (['b.vocal', 'b'], ['song'], ['vocals'])
    """
    named = stem_of(stem)
    return [stem] if named is None or not named[0] else [stem, named[0]]
