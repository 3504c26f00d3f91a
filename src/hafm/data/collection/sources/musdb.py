"""MUSDB18 and MUSDB18-HQ (Rafii et al. 2017, 2019; sigsep.github.io/datasets/musdb.html).

In: the folder that the archive was unpacked into. Out: `Track`s, with the mix and both stems.

    MUSDB18      ROOT/train/Artist - Title.stem.mp4     streams 0 mix, 1 drums, 2 bass, 3 other, 4 vocals
    MUSDB18-HQ   ROOT/train/Artist - Title/             mixture.wav drums.wav bass.wav other.wav vocals.wav

    vocal = vocals, instrumental = drums + bass + other

100 songs are in `train` and 50 in `test`. The fourteen of `VALIDATION_SONGS` are taken out of `train`, as the
`musdb` package does (its `validation_tracks`), so that numbers can be compared.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hafm.audio.ffmpeg import INSTALL_HINT
from hafm.data.collection.sources.folder import id_text, names_in, require_folder
from hafm.data.collection.track import SoundPart, Split, Track
from hafm.errors import UsageError

__all__ = ["VALIDATION_SONGS", "Musdb18", "Musdb18Hq"]

VALIDATION_SONGS = frozenset(
    {
        "ANiMAL - Rockshow",
        "Actions - One Minute Smile",
        "Alexander Ross - Goodbye Bolero",
        "Clara Berry And Wooldog - Waltz For My Victims",
        "Fergessen - Nos Palpitants",
        "James May - On The Line",
        "Johnny Lokke - Promises & Lies",
        "Leaf - Summerghost",
        "Meaxic - Take A Step",
        "Patrick Talbot - A Reason To Leave",
        "Skelpolu - Human Mistakes",
        "Traffic Experiment - Sirens",
        "Triviul - Angelsaint",
        "Young Griffo - Pennies",
    }
)

_ENDING = ".stem.mp4"
# In the order of the streams.
_STEMS = ("mixture", "drums", "bass", "other", "vocals")
_FOLDERS = ("train", "test")


@dataclass(frozen=True, kw_only=True)
class Musdb18:
    """MUSDB18: compressed stems, through ffmpeg, in a folder with `train` and `test`."""

    root: str | os.PathLike[str]

    def describe(self) -> dict[str, Any]:
        return {"kind": "musdb18", "root": os.fspath(self.root)}

    def tracks(self) -> Iterator[Track]:
        """See `Source`; without ffmpeg, every track would fail, so nothing is begun."""
        if shutil.which("ffmpeg") is None:
            raise UsageError(f"MUSDB18's {_ENDING} files need the ffmpeg program; {INSTALL_HINT}")
        for part, path in _entries(self.root, f"a *{_ENDING} file"):
            if path.name.endswith(_ENDING):
                streams = (SoundPart(path=str(path), stream=number) for number in range(len(_STEMS)))
                yield _track(part, path.name.removesuffix(_ENDING), *streams)


@dataclass(frozen=True, kw_only=True)
class Musdb18Hq:
    """MUSDB18-HQ: uncompressed stems, in a folder with `train` and `test`."""

    root: str | os.PathLike[str]

    def describe(self) -> dict[str, Any]:
        return {"kind": "musdb18hq", "root": os.fspath(self.root)}

    def tracks(self) -> Iterator[Track]:
        for part, path in _entries(self.root, "a folder per song"):
            if path.is_dir():
                files = (SoundPart(path=str(path / f"{name}.wav")) for name in _STEMS)
                yield _track(part, path.name, *files)


def _entries(root: str | os.PathLike[str], what: str) -> Iterator[tuple[str, Path]]:
    top = require_folder(root, "MUSDB18")
    parts = [part for part in _FOLDERS if (top / part).is_dir()]
    if not parts:
        raise UsageError(
            f"there is no train or test in '{top}'; give the folder that holds them, with {what} in them"
        )
    for part in parts:
        yield from ((part, top / part / name) for name in names_in(top / part))


def _track(part: str, song: str, mix: SoundPart, *stems: SoundPart) -> Track:
    *instrumental, vocal = stems
    artist, dash, title = song.partition(" - ")
    split: Split = "test" if part == "test" else "valid" if song in VALIDATION_SONGS else "train"
    return Track(
        id=id_text(Path(part, song)),
        song_id=id_text(song),
        split=split,
        mix=mix,
        vocal=(vocal,),
        instrumental=tuple(instrumental),
        known={"artist": id_text(artist), "title": id_text(title)} if dash else {"title": id_text(song)},
    )
