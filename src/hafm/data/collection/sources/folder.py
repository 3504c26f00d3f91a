"""Collections that are any folder of sounds: mixes, or vocals beside their instrumentals, at any depth.

In: a folder. Out: `Track`s, in the same order every time, with ids and song ids that can be written anywhere.

Mixes have no stems. The id is the path below the folder, with its ending. What a song is, such a folder does
not say. By default every file is one; where the excerpts of a song lie in a folder of their own,
`song_from="folder"` keeps them in one split.

Pairs have two stems:

    song a/vocals.wav                  song a/instrumental.wav            -> id "song a"
    b.vocal.flac                       b.instrumental.flac                -> id "b"
    set/c_(Vocals).wav                 set/c_(Instrumental).wav           -> id "set/c"

A file is a stem if its name without the ending is one of `VOCAL_NAMES` or `INSTRUMENTAL_NAMES`, alone or
after a title and one of `. _ -` or a space; in brackets or not, in any case. Files of other names are no part
of the collection. A stem whose other half is not there is a track whose other half is missing.

Links to folders are followed, once each, so that a loop ends. A folder that cannot be read is an error: to
pass over it would lose tracks in silence.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, TypeAlias

from hafm.data.collection.track import SoundPart, Track
from hafm.errors import UsageError

__all__ = [
    "Mixes",
    "Pairs",
    "audio_files",
    "found_tracks",
    "id_text",
    "names_in",
    "require_choice",
    "require_folder",
    "stem_of",
]

_LOSSLESS = (".wav", ".wave", ".flac", ".aiff", ".aif", ".aifc", ".caf")
_LOSSY = (".mp3", ".ogg", ".oga", ".opus", ".m4a", ".mp4", ".aac", ".webm", ".mkv")
AUDIO_SUFFIXES = _LOSSLESS + _LOSSY
"""Endings of what `hafm.audio.io` reads, lossless ones first. Only here do endings decide anything."""


def _is_audio(name: str) -> bool:
    """Whether a file of this name is one of a collection.

    >>> _is_audio("Song.MP3"), _is_audio("cover.jpg"), _is_audio("._Song.mp3")
    (True, False, False)
    """
    return not name.startswith(".") and os.path.splitext(name)[1].casefold() in AUDIO_SUFFIXES


def require_folder(root: str | os.PathLike[str], what: str) -> Path:
    """The folder; a `UsageError` if it does not exist, or is a file."""
    path = Path(root)
    if not path.is_dir():
        why = "is not a folder" if path.exists() else "does not exist"
        raise UsageError(f"'{path}' {why}; give the folder of {what}")
    return path


def require_choice(name: str, value: str, *choices: str) -> None:
    """Refuses an option that is none of its choices, by a `UsageError`."""
    if value not in choices:
        raise UsageError(f"{name} is {value!r}; choose {', '.join(choices[:-1])} or {choices[-1]}")


def names_in(folder: Path) -> list[str]:
    """What lies in a folder, sorted, without hidden names; a missing folder is a `FileNotFoundError`."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UsageError(f"folder '{folder}' cannot be read ({error.strerror}); make it readable") from error


def audio_files(root: Path) -> Iterator[Path]:
    """Audio files of a folder and of all folders below it: folder by folder, sorted within each."""
    seen: set[tuple[int, int]] = set()
    for folder, below, names in os.walk(root, followlinks=True, onerror=_unreadable):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if _is_audio(name))


def id_text(path: str | os.PathLike[str]) -> str:
    """A relative path as text that a table, a database and JSON can hold.

    File names are bytes. Those that are no text, and characters that would break a line, are shown escaped.

    >>> id_text(Path("a", "b.mp3")), id_text("a\\tb\\udcff")
    ('a/b.mp3', 'a\\\\tb\\\\xff')
    """
    name = path if isinstance(path, str) else Path(path).as_posix()
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def found_tracks(tracks: Iterable[Track], *, otherwise: str) -> Iterator[Track]:
    """The tracks as they come.

    Raises:
        UsageError: there are none, which `otherwise` says; or two of them have the same id: one would hide
            the other.
    """
    seen: set[str] = set()
    for track in tracks:
        if track.id in seen:
            raise UsageError(
                f"two tracks are called {track.id!r} ({track.parts[0].path!r}); rename one of them"
            )
        seen.add(track.id)
        yield track
    if not seen:
        raise UsageError(otherwise)


def _unreadable(error: OSError) -> Any:
    raise UsageError(
        f"folder '{error.filename}' cannot be read ({error.strerror}); make it readable, or take it out"
    ) from error


@dataclass(frozen=True, kw_only=True)
class Mixes:
    """A folder of mixes.

    Args:
        song_from: "file": every file is a song of its own. "folder": the files of a folder are one song.

    >>> Mixes(root="music", song_from="artist")
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: song_from is 'artist'; choose file or folder
    """

    root: str | os.PathLike[str]
    song_from: str = "file"

    def __post_init__(self) -> None:
        require_choice("song_from", self.song_from, "file", "folder")

    def describe(self) -> dict[str, Any]:
        return {"kind": "mixes", "root": os.fspath(self.root), "song_from": self.song_from}

    def tracks(self) -> Iterator[Track]:
        root = require_folder(self.root, "mixes")
        nothing = f"there is no audio file in '{root}'; known endings: {' '.join(AUDIO_SUFFIXES)}"
        yield from found_tracks((self._track(root, path) for path in audio_files(root)), otherwise=nothing)

    def _track(self, root: Path, path: Path) -> Track:
        below = path.relative_to(root)
        song = below if self.song_from == "file" else below.parent
        return Track(id=id_text(below), song_id=id_text(song), mix=SoundPart(path=str(path)))


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
        song_from: "pair": every pair is a song of its own. "folder": the pairs below a folder are one song.
    """

    root: str | os.PathLike[str]
    song_from: str = "pair"

    def __post_init__(self) -> None:
        require_choice("song_from", self.song_from, "pair", "folder")

    def describe(self) -> dict[str, Any]:
        return {"kind": "pairs", "root": os.fspath(self.root), "song_from": self.song_from}

    def tracks(self) -> Iterator[Track]:
        root = require_folder(self.root, "pairs")
        nothing = (
            f"there is no pair in '{root}'; name the files vocals.wav and instrumental.wav in a folder a "
            "song, or song.vocals.wav and song.instrumental.wav beside each other"
        )
        yield from found_tracks(self._found(root), otherwise=nothing)

    def _found(self, root: Path) -> Iterator[Track]:
        for folder, paths in groupby(audio_files(root), key=lambda path: path.parent):
            stems: dict[str, dict[_Stem, list[Path]]] = {}
            for path in paths:
                if (named := stem_of(path.stem)) is not None:
                    title, stem = named
                    stems.setdefault(title, {}).setdefault(stem, []).append(path)
            for title in sorted(stems):
                yield self._track(root, folder, title, stems[title])

    def _track(self, root: Path, folder: Path, title: str, stems: dict[_Stem, list[Path]]) -> Track:
        below = folder.relative_to(root)
        name = below / title if title else below if below.name else Path(root.resolve().name)
        chosen = {stem: min(paths, key=_preference) for stem, paths in stems.items()}
        vocal = chosen.get("vocal") or _beside(chosen["instrumental"], title, "vocals")
        instrumental = chosen.get("instrumental") or _beside(chosen["vocal"], title, "instrumental")
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


def _beside(path: Path, title: str, name: str) -> Path:
    """Where the missing half of a pair would be."""
    separator = path.stem[len(title)] if title else ""
    return path.with_name(f"{title}{separator}{name}{path.suffix}")
