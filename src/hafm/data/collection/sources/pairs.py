"""A folder of pairs: vocals beside their instrumentals, at any depth.

In: a folder. Out: `Track`s with two stems.

    song a/vocals.wav                  song a/instrumental.wav            -> id "song a"
    b.vocal.flac                       b.instrumental.flac                -> id "b"
    set/c_(Vocals).wav                 set/c_(Instrumental).wav           -> id "set/c"

A file is a stem if its name without the ending is one of `VOCAL_NAMES` or `INSTRUMENTAL_NAMES`, alone or
after a title and one of `. _ -` or a space; in brackets or not, in any case. Files of other names are no part
of the collection. A stem whose other half is not there is a track whose other half is missing.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, TypeAlias

from hafm.data.collection.sources.folder import AUDIO_SUFFIXES, audio_files, distinct, id_text, require_folder
from hafm.data.collection.track import SoundPart, Track
from hafm.errors import UsageError

__all__ = ["INSTRUMENTAL_NAMES", "VOCAL_NAMES", "Pairs"]

VOCAL_NAMES = ("vocals", "vocal", "acapella", "acappella")
INSTRUMENTAL_NAMES = ("instrumental", "instrumentals", "accompaniment", "no_vocals", "backing")

_Stem: TypeAlias = Literal["vocal", "instrumental"]


def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(
        rf"(?:(?P<title>.+?)[-._ ]+)?(?P<bracket>\()?(?:{'|'.join(names)})(?(bracket)\))", re.I | re.S
    )


_PATTERNS: tuple[tuple[_Stem, re.Pattern[str]], ...] = (
    ("instrumental", _pattern(INSTRUMENTAL_NAMES)),  # first: "no_vocals" ends in a name of the vocal
    ("vocal", _pattern(VOCAL_NAMES)),
)


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """A folder of pairs.

    Args:
        root: the folder.
        song_from: "pair": every pair is a song of its own. "folder": the pairs below a folder are one song.
    """

    root: str | os.PathLike[str]
    song_from: str = "pair"

    def __post_init__(self) -> None:
        if self.song_from not in ("pair", "folder"):
            raise UsageError(f"song_from is {self.song_from!r}; choose pair or folder")

    def describe(self) -> dict[str, Any]:
        """See `Source`."""
        return {"kind": "pairs", "root": os.fspath(self.root), "song_from": self.song_from}

    def tracks(self) -> Iterator[Track]:
        """See `Source`."""
        return distinct(self._found())

    def _found(self) -> Iterator[Track]:
        root = require_folder(self.root, "pairs")
        found = False
        for folder, paths in groupby(audio_files(root), key=lambda path: path.parent):
            stems: dict[str, dict[_Stem, list[Path]]] = {}
            for path in paths:
                if (named := stem_of(path.stem)) is not None:
                    title, stem = named
                    stems.setdefault(title, {}).setdefault(stem, []).append(path)
            for title in sorted(stems):
                found = True
                yield self._track(root, folder, title, stems[title])
        if not found:
            raise UsageError(
                f"there is no pair in '{root}'; name the files vocals.wav and instrumental.wav in a folder a "
                "song, or song.vocals.wav and song.instrumental.wav beside each other"
            )

    def _track(self, root: Path, folder: Path, title: str, stems: dict[_Stem, list[Path]]) -> Track:
        below = folder.relative_to(root)
        name = below / title if title else below if below.name else Path(root.resolve().name)
        chosen = {stem: min(paths, key=_preference) for stem, paths in stems.items()}
        vocal = chosen.get("vocal") or _beside(chosen["instrumental"], "vocals")
        instrumental = chosen.get("instrumental") or _beside(chosen["vocal"], "instrumental")
        spare = sorted(path.name for paths in stems.values() for path in paths if path not in chosen.values())
        return Track(
            id=id_text(name),
            song_id=id_text(name if self.song_from == "pair" else below),
            vocal=(SoundPart(path=str(vocal)),),
            instrumental=(SoundPart(path=str(instrumental)),),
            known={"not_used": [id_text(path) for path in spare]} if spare else {},
        )


def stem_of(name: str) -> tuple[str, _Stem] | None:
    """Title and stem that a file's name says, without its ending; None if it says none.

    >>> stem_of("b.vocal"), stem_of("1_b_(Instrumental)"), stem_of("no_vocals"), stem_of("drums")
    (('b', 'vocal'), ('1_b', 'instrumental'), ('', 'instrumental'), None)
    """
    for stem, pattern in _PATTERNS:
        if (match := pattern.fullmatch(name)) is not None:
            return match["title"] or "", stem
    return None


def _preference(path: Path) -> tuple[int, str]:
    """Lossless before lossy, where a stem is there twice."""
    return AUDIO_SUFFIXES.index(path.suffix.casefold()), path.name


def _beside(path: Path, name: str) -> Path:
    """Where the missing half of a pair would be."""
    named = stem_of(path.stem)
    assert named is not None, "only stems come here"
    title = named[0]
    separator = path.stem[len(title)] if title else ""
    return path.with_name(f"{title}{separator}{name}{path.suffix}")
