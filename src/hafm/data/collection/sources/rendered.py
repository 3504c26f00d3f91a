"""Pairs that `recipes/builtin/render.py` rendered.

In: its output folder. Out: `Track`s with two stems; their truth is their lead sheet.

    ROOT/train/000123.json  000123.vocal.wav  000123.instrumental.wav

A pair is complete if and only if its JSON exists, which is written last; what has none is rendered again by
the next run, and is no track here. Renders of one song (other keys, tempos, singers) share its id.

The layout is that of one program, and changes with it: so it has a file of its own.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hafm.data.collection.sources.folder import found_tracks, names_in, require_folder
from hafm.data.collection.track import SPLITS, SheetPart, SoundPart, Split, Track
from hafm.errors import UsageError

__all__ = ["Rendered"]


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """Rendered pairs, in a folder with `train`, `valid`, `test`, or some of them."""

    root: str | os.PathLike[str]

    def describe(self) -> dict[str, Any]:
        return {"kind": "rendered", "root": os.fspath(self.root)}

    def tracks(self) -> Iterator[Track]:
        root = require_folder(self.root, "rendered pairs")
        nothing = f"there is no train/000000.json in '{root}'; give the --out of recipes.builtin.render"
        pairs = (_track(split, path) for split in SPLITS for path in _truths(root / split))
        yield from found_tracks(pairs, otherwise=nothing)


def _truths(folder: Path) -> list[Path]:
    try:
        names = names_in(folder)
    except FileNotFoundError:
        return []
    return [folder / name for name in names if name.endswith(".json") and name[: -len(".json")].isdigit()]


def _track(split: Split, path: Path) -> Track:
    try:
        truth = json.loads(path.read_bytes())
        song, seconds = truth["song_id"], float(truth["seconds"])
        known = {
            "key": truth["key"]["label"],
            "tempo_bpm": round(truth["tempo_bpm"], 3),
            "style": truth["band"]["style"],
            "voice": truth["voice"],
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"'{path}' is no truth of a rendered pair ({type(error).__name__}: {error}); render it again"
        ) from error
    return Track(
        id=f"{split}/{path.stem}",
        song_id=str(song),
        split=split,
        vocal=(SoundPart(path=str(path.with_suffix(".vocal.wav"))),),
        instrumental=(SoundPart(path=str(path.with_suffix(".instrumental.wav"))),),
        lead_sheet=SheetPart(path=str(path), kind="truth"),
        seconds=seconds,
        known={"song": song, **known},
    )
