"""Makes an index, and goes on where it was stopped.

In: a source, a split, a folder. Out: a `RetrievalIndex` in the folder.

    list_tracks --not described yet--> pool --descriptors--> INDEX/pieces/HASH.safetensors, one per track
                                                                  | all there
                                                                  v
                                                             index.json; then the pieces go

A piece is written whole or not at all, under the hash of its instrumental. So whatever stops the run
(SIGKILL included), the next one describes only what has no piece, and the index comes out the same, byte for
byte. An index that is there already gives its descriptors too, by hash: a collection that grew costs what is
new in it.

Conventions: a track that cannot be read is left out, with its reason, and tried again by the next run. One
process at a time writes to a folder (a lock); descriptors depend on the track alone, and not on the workers.
"""

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from safetensors import SafetensorError
from safetensors.numpy import load, save

from hafm.data.collection.track import Source, Split, Track
from hafm.data.preparing.track_preparer import quarantine
from hafm.data.result import Quarantined
from hafm.errors import AudioError, IndexDamaged, IndexNotFound, OutputError, UsageError
from hafm.evaluate.retrieval.descriptors import Descriptors, describe, pack, unpack
from hafm.evaluate.retrieval.index import INDEX_FILE, IndexEntry, RetrievalIndex
from hafm.evaluate.retrieval.tracks import LeftOut, WantedTrack, first_reasons, list_tracks, read_instrumental
from hafm.files import write_whole
from hafm.locks import locked_folder
from hafm.progress import OnProgress, Progress
from hafm.workers import Engine, Pool, SameProcess

__all__ = ["TrackDescriber", "build_index"]

_PIECES = "pieces"
_LOCK = ".lock"


@dataclass(frozen=True, kw_only=True)
class TrackDescriber:
    """Describes tracks, on one thread, into pieces; what a worker process does. Hashes are by track id."""

    pieces: Path
    hashes: dict[str, str]

    def __call__(self) -> Self:
        """Itself, in the process that calls it."""
        import torch

        torch.set_num_threads(1)
        return self

    def prepare(self, tracks: Sequence[Track]) -> list[str | Quarantined]:
        """The id of each track whose piece is on the disk now, or why it is not; in their order."""
        return [self._described(track) for track in tracks]

    def _described(self, track: Track) -> str | Quarantined:
        try:
            stems = read_instrumental(track)
        except (AudioError, OSError, MemoryError) as error:
            return Quarantined(track_id=track.id, reason=" ".join(str(error).split()) or "no memory")
        data = save(pack([describe(stems.instrumental, stems.sample_rate)]))
        write_whole(_piece(self.pieces, self.hashes[track.id]), data)
        return track.id


def build_index(
    source: Source,
    folder: str | os.PathLike[str],
    *,
    split: Split = "train",
    limit: int | None = None,
    workers: int = 0,
    on_progress: OnProgress | None = None,
) -> RetrievalIndex:
    """Describes the instrumentals of a split.

    Args:
        folder: of the index; made if missing. One that holds an index of another collection or split is
            refused.
        split: whose tracks are taken. Songs of others are never in the index.
        limit: look at this many tracks of the collection, 1 or more; None for all.
        workers: processes; 0 works in this one.
        on_progress: called after every track, first of the step "reading", then of the step "listening".

    Raises:
        UsageError: the collection is not what it should be, holds mixes, or has nothing for the index.
        OutputError: the folder is in use, or cannot be written to. What is done is kept.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: give 1 or more")

    def report(step: str, done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(Progress(step=step, done=done, total=total))

    target = Path(folder)
    known = _known(target, source, split)
    listing = list_tracks(source, split=split, limit=limit, on_progress=partial(report, "reading"))
    if not listing.wanted:
        why = first_reasons(listing.left_out) or f"{listing.elsewhere} tracks are of other splits"
        raise UsageError(
            f"there is no instrumental of {split} for the index ({why}); give another collection"
        )
    with locked_folder(target, name=_LOCK):
        failed = _describe(listing.wanted, known, target, workers, partial(report, "listening"))
        described = [each for each in listing.wanted if each.track.id not in failed]
        left_out = {each.track_id: each for each in listing.left_out} | failed
        if not described:
            why = first_reasons(list(failed.values()))
            raise UsageError(f"no instrumental of {split} can be read ({why}); mend the files")
        root = source.describe()["root"]
        index = RetrievalIndex(
            source=source.describe(),
            split=split,
            entries=tuple(IndexEntry.of(each.track, each.sha256, root=root) for each in described),
            descriptors=tuple(
                known.get(each.sha256) or _read_piece(target / _PIECES, each.sha256) for each in described
            ),
            left_out=tuple(left_out[name] for name in sorted(left_out)),
            elsewhere=listing.elsewhere,
        )
        index.save(target)
        shutil.rmtree(target / _PIECES, ignore_errors=True)
        for leftover in target.glob(".*.part"):  # of a run that was killed
            leftover.unlink(missing_ok=True)
    return RetrievalIndex.open(target)


def _known(folder: Path, source: Source, split: Split) -> dict[str, Descriptors]:
    """Descriptors by hash, of an index that is there already."""
    try:
        old = RetrievalIndex.open(folder)
    except IndexNotFound:
        # What a run that was stopped left is ours.
        if folder.is_dir() and any(
            path.name != _PIECES and not path.name.startswith((".", "descriptors-"))
            for path in folder.iterdir()
        ):
            raise OutputError(f"folder '{folder}' holds files, and no index; give another with -o") from None
        return {}
    except IndexDamaged:
        return {}  # made again, from the sounds
    if (dict(old.source), old.split) != (source.describe(), split):
        raise OutputError(
            f"'{folder / INDEX_FILE}' is of another collection or split ({old.split} of "
            f"{old.source.get('root')!r}); give another folder with -o"
        )
    return {
        entry.sha256: descriptors for entry, descriptors in zip(old.entries, old.descriptors, strict=True)
    }


def _describe(
    wanted: Sequence[WantedTrack],
    known: dict[str, Descriptors],
    folder: Path,
    workers: int,
    report: Callable[[int, int], None],
) -> dict[str, LeftOut]:
    """Makes the pieces that are missing. Returns what failed, by track id."""
    pieces = folder / _PIECES
    pieces.mkdir(parents=True, exist_ok=True)
    missing = [
        each for each in wanted if each.sha256 not in known and not _is_whole(_piece(pieces, each.sha256))
    ]
    done = len(wanted) - len(missing)
    report(done, len(wanted))
    failed: dict[str, LeftOut] = {}
    if missing:
        describer = TrackDescriber(pieces=pieces, hashes={each.track.id: each.sha256 for each in missing})
        engine: Engine[Track, str | Quarantined] = SameProcess()
        if workers:
            engine = Pool(workers=workers, give_up=quarantine, name="hafm-retrieve-index")
        with contextlib.closing(engine.run(([each.track] for each in missing), describer)) as results:
            for result in itertools.chain.from_iterable(results):
                if isinstance(result, Quarantined):
                    failed[result.track_id] = LeftOut(track_id=result.track_id, reason=result.reason)
                done += 1
                report(done, len(wanted))
    return failed


def _piece(pieces: Path, sha256: str) -> Path:
    return pieces / f"{sha256}.safetensors"


def _is_whole(path: Path) -> bool:
    try:
        return len(unpack(load(path.read_bytes()))) == 1
    except (OSError, KeyError, ValueError, SafetensorError):
        return False


def _read_piece(pieces: Path, sha256: str) -> Descriptors:
    (descriptors,) = unpack(load(_piece(pieces, sha256).read_bytes()))
    return descriptors
