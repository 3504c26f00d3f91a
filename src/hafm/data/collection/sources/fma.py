"""FMA, the Free Music Archive data set (Defferrard et al. 2017, github.com/mdeff/fma).

In: the folder that its archives were unpacked into. Out: `Track`s, each a mix.

    ROOT/fma_large/000/000002.mp3       clips of 30 s; fma_full holds the whole recordings
    ROOT/fma_metadata/tracks.csv        one row per track; three header rows: group, column, "track_id"

* Subsets are nested: small (8,000 tracks) in medium (25,000) in large (106,574). `full` has large's tracks.
* The list is the table, not the folder: a row whose file is not there is a track whose file is missing. Which
  files are damaged is found by decoding them; lists of bad ones depend on the decoder that made them.
* Splits are the official ones, which keep the tracks of an artist together.
* A clip is the middle 30 s of a recording, cut from its MP3 stream without encoding it again. Of a recording
  that is shorter the clip is all there is, so `min(30, duration)` is what its file should last.
* FMA has no song ids. A track counts as a song; `song_from` says "artist" or "album" instead.
"""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hafm.data.collection.sources.folder import id_text, require_choice, require_folder
from hafm.data.collection.track import SoundPart, Split, Track
from hafm.errors import UsageError

__all__ = ["Fma"]

SUBSETS = ("small", "medium", "large", "full")

CLIP_SECONDS = 30.0

_SPLITS: dict[str, Split] = {"training": "train", "validation": "valid", "test": "test"}
_KNOWN = {
    "title": ("track", "title"),
    "artist": ("artist", "name"),
    "album": ("album", "title"),
    "genre": ("track", "genre_top"),
    "licence": ("track", "license"),
}
_COLUMNS = {
    "split": ("set", "split"),
    "subset": ("set", "subset"),
    "duration": ("track", "duration"),
    "artist_id": ("artist", "id"),
    "album_id": ("album", "id"),
    **_KNOWN,
}
_LONGEST_FIELD = 1 << 24  # biographies in HTML pass the csv module's limit of 131,072


@dataclass(frozen=True, kw_only=True)
class Fma:
    """FMA.

    Args:
        root: the folder that holds `fma_metadata` and `fma_SUBSET`, or `fma_SUBSET` itself with the metadata
            beside it.
        subset: which tracks; None for the largest whose folder is there. The files may lie in the folder of a
            larger one.
        song_from: what counts as a song: "track", "artist" or "album".

    >>> Fma(root="fma", subset="huge")
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: subset is 'huge'; choose small, medium, large or full
    """

    root: str | os.PathLike[str]
    subset: str | None = None
    song_from: str = "track"

    def __post_init__(self) -> None:
        if self.subset is not None:
            require_choice("subset", self.subset, *SUBSETS)
        require_choice("song_from", self.song_from, "track", "artist", "album")

    def describe(self) -> dict[str, Any]:
        """See `Source`; a subset that was not given is the one that was found."""
        _, subset = _audio_folder(require_folder(self.root, "FMA"), self.subset)
        return {"kind": "fma", "root": os.fspath(self.root), "subset": subset, "song_from": self.song_from}

    def tracks(self) -> Iterator[Track]:
        root = require_folder(self.root, "FMA")
        folder, subset = _audio_folder(root, self.subset)
        inside = SUBSETS[: SUBSETS.index(subset) + 1]  # a row has the smallest of its track
        for number, row in _read_table(_table(root)):
            if subset == "full" or row["subset"] in inside:
                yield self._track(folder, subset, number, row)

    def _track(self, folder: Path, subset: str, number: int, row: dict[str, str]) -> Track:
        song = str(number)
        if self.song_from != "track" and (group := row[f"{self.song_from}_id"]):
            song = f"{self.song_from}-{group}"
        seconds = float(row["duration"]) if row["duration"] else None
        if subset != "full":
            seconds = CLIP_SECONDS if seconds is None else min(CLIP_SECONDS, seconds)
        return Track(
            id=f"{number:06d}",
            song_id=song,
            split=_SPLITS.get(row["split"]),
            mix=SoundPart(path=str(folder / f"{number // 1000:03d}" / f"{number:06d}.mp3")),
            seconds=seconds,
            known={name: id_text(row[name]) for name in _KNOWN if row[name]},
        )


def _read_table(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Track number and the columns that matter, of each row of `tracks.csv`, in its order."""
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        with path.open(newline="", encoding="utf-8", errors="backslashreplace") as file:
            rows = csv.reader(file)
            columns = list(zip(next(rows, []), next(rows, []), strict=False))
            for column in _COLUMNS.values():
                if column not in columns:
                    name = ".".join(column)
                    raise UsageError(f"'{path}' has no column {name}; take tracks.csv of fma_metadata.zip")
            places = {name: columns.index(column) for name, column in _COLUMNS.items()}
            for row in rows:
                if row[:1] == ["track_id"] or not row:
                    continue
                if len(row) != len(columns) or not row[0].isascii() or not row[0].isdigit():
                    raise UsageError(
                        f"'{path}' is damaged near line {rows.line_num}; unpack fma_metadata.zip again"
                    )
                yield int(row[0]), {name: row[place].strip() for name, place in places.items()}
    except (OSError, csv.Error) as error:
        raise UsageError(f"'{path}' cannot be read ({error}); unpack fma_metadata.zip again") from error


def _table(root: Path) -> Path:
    for folder in (root, root.resolve().parent):
        if (path := folder / "fma_metadata" / "tracks.csv").is_file():
            return path
    raise UsageError(f"there is no fma_metadata/tracks.csv in '{root}'; unpack fma_metadata.zip there")


def _audio_folder(root: Path, subset: str | None) -> tuple[Path, str]:
    """Where the files lie, and which subset is meant.

    Clips and whole recordings have the same names, so a folder of clips is never taken for `full`.
    """
    there = {name: root for name in SUBSETS if root.resolve().name == f"fma_{name}"}
    if not there:
        there = {name: root / f"fma_{name}" for name in SUBSETS if (root / f"fma_{name}").is_dir()}
    if subset is None and there:
        subset = max(there, key=SUBSETS.index)
    if subset is not None:
        wanted = ("full",) if subset == "full" else SUBSETS[SUBSETS.index(subset) : -1]
        for name in wanted:
            if name in there:
                return there[name], subset
    raise UsageError(
        f"there is no folder fma_{subset or 'large'} in '{root}'; unpack fma_{subset or 'large'}.zip there"
    )
