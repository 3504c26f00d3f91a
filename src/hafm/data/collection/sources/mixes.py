"""A folder of mixes: every audio file in it, at any depth, is a track that is to be separated.

In: a folder. Out: `Track`s without stems. The id is the path below the folder, with its ending.

What a song is, such a folder does not say. By default every file is one; where the excerpts of a song lie in
a folder of their own, `song_from="folder"` keeps them in one split.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hafm.data.collection.sources.folder import AUDIO_SUFFIXES, audio_files, distinct, id_text, require_folder
from hafm.data.collection.track import SoundPart, Track
from hafm.errors import UsageError

__all__ = ["Mixes"]


@dataclass(frozen=True, kw_only=True)
class Mixes:
    """A folder of mixes.

    Args:
        root: the folder.
        song_from: "file": every file is a song of its own. "folder": the files of a folder are one song.

    >>> Mixes(root="music", song_from="artist")
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: song_from is 'artist'; choose file or folder
    """

    root: str | os.PathLike[str]
    song_from: str = "file"

    def __post_init__(self) -> None:
        if self.song_from not in ("file", "folder"):
            raise UsageError(f"song_from is {self.song_from!r}; choose file or folder")

    def describe(self) -> dict[str, Any]:
        """See `Source`."""
        return {"kind": "mixes", "root": os.fspath(self.root), "song_from": self.song_from}

    def tracks(self) -> Iterator[Track]:
        """See `Source`."""
        return distinct(self._found())

    def _found(self) -> Iterator[Track]:
        root = require_folder(self.root, "mixes")
        found = False
        for path in audio_files(root):
            found = True
            below = path.relative_to(root)
            song = below if self.song_from == "file" else below.parent
            yield Track(id=id_text(below), song_id=id_text(song), mix=SoundPart(path=str(path)))
        if not found:
            raise UsageError(f"there is no audio file in '{root}'; known endings: {' '.join(AUDIO_SUFFIXES)}")
