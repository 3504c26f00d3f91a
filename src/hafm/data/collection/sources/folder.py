"""Files below a folder, in the same order every time, and names that can be written anywhere.

In: a folder. Out: paths of its audio files; ids and song ids as text.

Links to folders are followed, once each, so that a loop ends. A folder that cannot be read is an error: to
pass over it would lose tracks in silence.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hafm.data.collection.track import Track
from hafm.errors import UsageError

__all__ = ["AUDIO_SUFFIXES", "audio_files", "distinct", "id_text", "is_audio", "require_folder"]

AUDIO_SUFFIXES = (
    ".wav",
    ".wave",
    ".flac",
    ".aiff",
    ".aif",
    ".aifc",
    ".caf",
    ".mp3",
    ".ogg",
    ".oga",
    ".opus",
    ".m4a",
    ".mp4",
    ".aac",
    ".webm",
    ".mkv",
)
"""Endings of what `hafm.audio.io` reads, lossless ones first. Only here do endings decide anything."""


def is_audio(name: str) -> bool:
    """Whether a file of this name is one of a collection.

    >>> is_audio("Song.MP3"), is_audio("cover.jpg"), is_audio("._Song.mp3")
    (True, False, False)
    """
    return not name.startswith(".") and os.path.splitext(name)[1].casefold() in AUDIO_SUFFIXES


def require_folder(root: str | os.PathLike[str], what: str) -> Path:
    """The folder, if it is one.

    Raises:
        UsageError: it does not exist, or is a file.
    """
    path = Path(root)
    if not path.is_dir():
        why = "is not a folder" if path.exists() else "does not exist"
        raise UsageError(f"'{path}' {why}; give the folder of {what}")
    return path


def audio_files(root: Path) -> Iterator[Path]:
    """Audio files of a folder and of all folders below it.

    Args:
        root: where to look.

    Yields:
        Paths, folder by folder, sorted within each.

    Raises:
        UsageError: a folder cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    for folder, below, names in os.walk(root, followlinks=True, onerror=_unreadable):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            if is_audio(name):
                yield Path(folder, name)


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


def distinct(tracks: Iterable[Track]) -> Iterator[Track]:
    """The tracks as they come.

    Raises:
        UsageError: two of them have the same id: one would hide the other.
    """
    seen: set[str] = set()
    for track in tracks:
        if track.id in seen:
            raise UsageError(
                f"two tracks are called {track.id!r} ({track.parts[0].path!r}); rename one of them"
            )
        seen.add(track.id)
        yield track


def _unreadable(error: OSError) -> Any:
    raise UsageError(
        f"folder '{error.filename}' cannot be read ({error.strerror}); make it readable, or take it out"
    ) from error
