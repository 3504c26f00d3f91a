"""What happened to a collection since a run took its clips from it.

In: a run's folder, and the collection as it is now. Out: notes; or, where the run came to nothing, a folder
without its clips, so that the next run takes them anew.

    RUN/tracks.json    {track: [[size, time of change] of each file]}, as they were when clips were cut

A run measures the clips that it began with: their sounds lie in its folder, and figures of some systems on
other clips than those of others would compare nothing. So songs that were added, removed or edited since are
named, and left as they are.
"""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from hafm.data.collection.track import Source, Track
from hafm.evaluate.run.folder import MANIFEST_FILE, RESULTS_FILE, RunFolder
from hafm.words import plural

__all__ = ["TRACKS_FILE", "changes", "forget_if_nothing_came", "remember"]

TRACKS_FILE = "tracks.json"

_FEWEST_SONGS = 2
_SHOWN = 3


def remember(run: RunFolder, source: Source) -> None:
    """Writes down how the files of a collection are."""
    run.write(TRACKS_FILE, json.dumps(_state(source)))


def forget_if_nothing_came(run: RunFolder, source: Source) -> bool:
    """Removes the clips of a run that has no results and too few songs for any, if its collection changed;
    returns whether it did.
    """
    if not (run.path / MANIFEST_FILE).is_file() or (run.path / RESULTS_FILE).is_file():
        return False
    if len(run.manifest.songs) >= _FEWEST_SONGS or not changes(run, source):
        return False
    for name in (MANIFEST_FILE, TRACKS_FILE):
        (run.path / name).unlink(missing_ok=True)
    for name in ("sounds", "measures", "points", "choices"):
        shutil.rmtree(run.path / name, ignore_errors=True)
    (run.path / "sounds").mkdir()  # by which a folder is known as that of a run
    del run.manifest  # it was read above, and would be believed
    return True


def changes(run: RunFolder, source: Source) -> tuple[str, ...]:
    """What a reader must know of a collection that is not what it was."""
    path = run.path / TRACKS_FILE
    if not path.is_file():  # of a version that did not write it
        return ()
    then, now = json.loads(path.read_text(encoding="utf-8")), _state(source)
    found = {
        "added": sorted(now.keys() - then.keys()),
        "removed": sorted(then.keys() - now.keys()),
        "edited": sorted(track for track in then.keys() & now.keys() if then[track] != now[track]),
    }
    words = [
        f"{plural(len(names), 'track')} {what} ({_shown(names)})" for what, names in found.items() if names
    ]
    if not words:
        return ()
    return (
        f"the collection changed since this run took its clips: {', '.join(words)}; the figures are those of "
        "the clips that it began with. Give another folder with -o to measure the collection as it is now",
    )


def _shown(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _state(source: Source) -> dict[str, list[list[int]]]:
    return {track.id: [_file_state(path) for path in _paths(track)] for track in source.tracks()}


def _paths(track: Track) -> Iterable[str]:
    parts = [*([] if track.mix is None else [track.mix]), *track.vocal, *track.instrumental]
    return dict.fromkeys(part.path for part in parts)


def _file_state(path: str) -> list[int]:
    try:
        status = Path(path).stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]
