"""Collections of music: where tracks come from.

In: the name of a kind, and a folder. Out: a `Source`, which yields `Track`s and opens no audio.

| kind | file | what the folder holds |
|---|---|---|
| `mixes` | `folder.py` | any audio files, each a mix |
| `pairs` | `folder.py` | vocals beside their instrumentals |
| `fma` | `fma.py` | the Free Music Archive data set: mixes and their metadata |
| `musdb18` | `musdb.py` | `.stem.mp4` files of five streams |
| `musdb18hq` | `musdb.py` | folders of five WAV files |
| `rendered` | `rendered.py` | pairs of `recipes/builtin/render.py` |

Conventions: tracks come in an order that depends on nothing but the names, numbers in a name counting as
letters. A file that a collection should hold and does not is a track too: whoever reads it says that it is
missing. What begins with a dot is no part of a collection.
"""

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from itertools import islice

from hafm.data.collection.sources.fma import Fma
from hafm.data.collection.sources.folder import Mixes, Pairs, audio_files, require_folder, stem_of
from hafm.data.collection.sources.musdb import Musdb18, Musdb18Hq
from hafm.data.collection.sources.rendered import Rendered
from hafm.data.collection.track import SPLITS, Source
from hafm.errors import UsageError

__all__ = ["KINDS", "guess_kind", "open_source"]

KINDS: Mapping[str, Callable[..., Source]] = {
    "mixes": Mixes,
    "pairs": Pairs,
    "fma": Fma,
    "musdb18": Musdb18,
    "musdb18hq": Musdb18Hq,
    "rendered": Rendered,
}

_SIGNS = {"*/mixture.wav": "musdb18hq", "*.stem.mp4": "musdb18", "[0-9]*.json": "rendered"}
"""What lies in `train`, `valid` or `test` of some kinds."""

_LOOKED_AT = 1001


def open_source(kind: str, root: str | os.PathLike[str], **options: str | None) -> Source:
    """A collection.

    Args:
        kind: one of `KINDS`.
        options: those of its class. One that is None stays at its default.

    Raises:
        UsageError: the kind, an option or its value is unknown.

    >>> open_source("mixes", "music").describe()
    {'kind': 'mixes', 'root': 'music', 'song_from': 'file'}
    >>> open_source("pairs", "music", subset="small")
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: a source of kind pairs has no option subset; it has song_from
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose {', '.join(KINDS)}"
        raise UsageError(f"there is no source of kind {kind!r}; {hint}")
    known = [field.name for field in fields(KINDS[kind]) if field.name != "root"]  # type: ignore[arg-type]
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise UsageError(f"a source of kind {kind} has no option {name}; {has}")
    return KINDS[kind](root=root, **given)


def guess_kind(root: str | os.PathLike[str]) -> str:
    """What kind of collection lies in a folder.

    Returns:
        The first that fits of fma, musdb18hq, musdb18, rendered and pairs; mixes if it holds any other audio.

    Raises:
        UsageError: it is no folder, or holds no audio file.
    """
    top = require_folder(root, "a music collection")
    if any((folder / "fma_metadata" / "tracks.csv").is_file() for folder in (top, top.resolve().parent)):
        return "fma"
    for pattern, kind in _SIGNS.items():
        if any(any(top.glob(f"{split}/{pattern}")) for split in SPLITS):
            return kind
    found = False
    for path in islice(audio_files(top), _LOOKED_AT):
        found = True
        if stem_of(path.stem) is not None:
            return "pairs"
    if not found:
        raise UsageError(f"there is no audio file in '{top}'; give the folder of a music collection")
    return "mixes"
