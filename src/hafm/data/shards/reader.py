"""Token shards, as training reads them.

In: a folder that `hafm prepare` made, as a path or a URL. Out: pairs of token streams, mapped into memory.

A *pair* here is one kept run of a track: a stretch without a dropped clip. It begins on a common frame of
both rates, so that its streams begin at the same instant:

    track  |----- kept -----|  dropped  |---------- kept ----------|
           |     pair 0     |           |          pair 1          |

Opening reads the index and no shard. A shard is opened when the first of its pairs is asked for; a remote one
is fetched then (see `hafm.data.shards.folder`).
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hafm.data.collection.track import Split
from hafm.data.crops import common_rate
from hafm.data.order import Numbers
from hafm.data.result import Ids
from hafm.data.shards.file import ShardArrays, shard_name
from hafm.data.shards.folder import ShardFolder
from hafm.data.shards.guides import GuideCache, ShardSheets, sheets_name
from hafm.data.shards.index import PARTS_FOLDER, Index, check_files, read_index, read_tracks
from hafm.data.shards.track_entry import TrackEntry
from hafm.errors import BundleMismatch, ShardsDamaged, ShardsNotFound, UsageError
from hafm.rates import CODEC_RATE, SEMANTIC_RATE, frames_for
from hafm.stages.parts import require_same_parts
from hafm.stages.spec import COARSE_CODES, FINE_CODES, INSTRUMENTAL_SEMANTIC, VOCAL_SEMANTIC, TokenStream

__all__ = ["STREAMS", "Shards"]

STREAMS: dict[str, TokenStream] = {
    stream.name: stream for stream in (VOCAL_SEMANTIC, INSTRUMENTAL_SEMANTIC, COARSE_CODES, FINE_CODES)
}
"""What a pair consists of, by name."""

_RATES = (SEMANTIC_RATE, CODEC_RATE)
_COLUMNS = {name: _RATES.index(stream.frame_rate) for name, stream in STREAMS.items()}
_GRID = common_rate(*_RATES)
_FRAMES_PER_TICK = [int(rate / _GRID) for rate in _RATES]
_MICROSECONDS = 1_000_000


class Shards:
    """The pairs of one split. `open` makes them.

    Args:
        tracks: of the folder; those of other splits are passed over.

    Raises:
        UsageError: the split is not there.
    """

    def __init__(
        self, *, folder: ShardFolder, index: Index, split: Split, tracks: Iterable[TrackEntry]
    ) -> None:
        if split not in index.counts:
            raise UsageError(
                f"'{folder.place}' has no tracks in split {split!r}; it has "
                f"{', '.join(index.counts) or 'none at all'}"
            )
        self.folder = folder
        self.index = index
        self.split = split
        self.ids: list[str] = []
        """Track of every pair."""
        rows: list[tuple[int, ...]] = []
        self._num_tracks: Counter[int] = Counter()
        for track in tracks:
            if track.split == split:
                number = self._num_tracks[track.shard]
                self._num_tracks[track.shard] += 1
                for run in track.kept:
                    self.ids.append(track.id)
                    rows.append((track.shard, number, track.start_50, *_place(track, run)))
        table = np.array(rows, dtype=np.int64).reshape(len(rows), 7)
        # Of each pair: its shard; place and first frame at 50 Hz of its track in there.
        self._shard, self._track, self._track_start = table.T[:3]
        # First frame in the shard, and number of frames, at 50 and at 75 Hz.
        self._starts, self._frames = table[:, 3:5], table[:, 5:7]
        self._open: dict[int, ShardArrays] = {}
        self._open_sheets: dict[int, ShardSheets] = {}
        self._guides = GuideCache()

    @classmethod
    def open(
        cls,
        place: str | os.PathLike[str],
        split: Split = "train",
        *,
        cache_folder: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Reads the index of a folder.

        Args:
            place: path or URL.
            cache_folder: for remote shards; None is `default_cache_folder()`.

        Raises:
            ShardsNotFound: there are no shards there.
            ShardsDamaged: the index is not what was written.
            UsageError: the split is not there, or a URL of an unknown kind.
        """
        folder = ShardFolder(place, cache_folder=cache_folder)
        index = read_index(folder)
        return cls(folder=folder, index=index, split=split, tracks=read_tracks(folder, index))

    def __len__(self) -> int:
        """Pairs: kept runs of tracks."""
        return len(self.ids)

    def __getstate__(self) -> dict[str, Any]:
        # Pickled, a mapping would become a copy of the whole shard.
        return {**self.__dict__, "_open": {}, "_open_sheets": {}, "_guides": GuideCache()}

    def num_sheets(self) -> int:
        """Tracks with a lead sheet; reads those of all shards."""
        found = map(self._sheets, self._num_tracks)
        return sum(sheets.num_known for sheets in found if sheets is not None)

    def num_views(self) -> int:
        return self.index.views

    def frames(self, name: str) -> Numbers:
        """Frames of a stream in every pair. Shape [pairs]. Opens no shard."""
        lengths: Numbers = self._frames[:, _column(name)]
        return lengths

    def stream(self, index: int, name: str, view: int) -> Ids:
        """Tokens `[K, F]` of a pair, not copied.

        Args:
            index: of the pair, 0 to `len(self) - 1`.
            name: one of `STREAMS`.
            view: of the vocal, 0 to `num_views() - 1`; other streams have one.

        Raises:
            ShardsDamaged: the pair's shard is missing or damaged.
        """
        column = _column(name)
        first = int(self._starts[index, column])
        inside = slice(first, first + int(self._frames[index, column]))
        arrays = self._arrays(int(self._shard[index]))
        if name == VOCAL_SEMANTIC.name:
            return arrays.vocal[view, None, inside]
        if name == INSTRUMENTAL_SEMANTIC.name:
            return arrays.instrumental[None, inside]
        coarse = COARSE_CODES.num_codebooks
        return (arrays.codes[:coarse] if name == COARSE_CODES.name else arrays.codes[coarse:])[:, inside]

    def guide(self, index: int, inside: slice = slice(None)) -> NDArray[np.float32]:
        """Guide `[F, G]` of a pair at 50 Hz (`hafm.guide.frames`), a new array; zeros without a sheet."""
        guide = self._guides.find(index, inside)
        if guide is None:
            column = _column(VOCAL_SEMANTIC.name)
            sheets = self._sheets(int(self._shard[index]))
            self._guides.add(
                index,
                None if sheets is None else sheets[int(self._track[index])],
                first=int(self._starts[index, column] - self._track_start[index]),
                num_frames=int(self._frames[index, column]),
            )
            guide = self._guides.find(index, inside)
            assert guide is not None, "it was just added"
        return guide

    def verify(self) -> None:
        """Reads every file, of other splits and of the parts too; refuses one that differs or is missing."""
        for _, fault in check_files(self.folder, self.index):
            if fault is not None:
                raise ShardsDamaged(fault)

    def fingerprint(self) -> str:
        """SHA-256 of the data as a whole: tokens, filter, and what made them."""
        return self.index.digest()

    def require_same(self, expected: str) -> None:
        """Refuses other data than a training run was started on, whose `fingerprint()` is given."""
        if expected != self.fingerprint():
            raise BundleMismatch(
                f"'{self.folder.place}' is not the data that this run was started on: that was {expected}, "
                f"this is {self.fingerprint()}; give the shards of then, or start another run"
            )

    def require_parts(self, expected: Mapping[str, str], *, what: str) -> None:
        """Refuses ids that other parts made than those of a bundle or of `TokenParts`; `what` is whose."""
        both = f"{what} and the shards in '{self.folder.place}'"
        require_same_parts(expected=expected, found=self.index.fingerprints, what=both)

    def parts_folder(self) -> Path:
        """The folder with the parts that made the ids, for `TokenParts.load`; fetched where it is remote.

        Raises:
            ShardsNotFound: the shards came without.
            ShardsDamaged: a file of it differs from its hash.
        """
        inside = f"{PARTS_FOLDER}/"
        files = {name: entry for name, entry in self.index.files.items() if name.startswith(inside)}
        if not files:
            raise ShardsNotFound(
                f"the shards in '{self.folder.place}' came without {PARTS_FOLDER}/; prepare again"
            )
        if self.folder.is_local:
            return Path(self.folder.where(PARTS_FOLDER))
        return self.folder.fetch_together(files)

    def _sheets(self, number: int) -> ShardSheets | None:
        """The lead sheets of a shard; None where it has none."""
        name = sheets_name(shard_name(self.split, number))
        entry = self.index.files.get(name)
        if entry is not None and number not in self._open_sheets:
            path = self.folder.local_path(name, entry)
            self._open_sheets[number] = ShardSheets(path, num_tracks=self._num_tracks[number])
        return self._open_sheets.get(number)

    def _arrays(self, number: int) -> ShardArrays:
        if number not in self._open:
            name = shard_name(self.split, number)
            entry = self.index.files[name]
            arrays = ShardArrays.open(self.folder.local_path(name, entry))
            ends = (self._starts + self._frames)[self._shard == number].max(axis=0)
            if (ends > (arrays.vocal.shape[1], arrays.codes.shape[1])).any():
                raise ShardsDamaged(f"'{self.folder.where(name)}' is shorter than its tracks; prepare again")
            self._open[number] = arrays
        return self._open[number]


def _place(track: TrackEntry, run: tuple[float, float]) -> tuple[int, int, int, int]:
    """First frames of a run in its shard at both rates, then numbers of frames.

    The first is the first common frame of both rates that begins in the run.
    """
    # Seconds are floats; to the microsecond they are exact again: 0.3 is 3/10.
    start, end = (round(_MICROSECONDS * seconds) for seconds in run)
    tick = frames_for(start, sample_rate=_MICROSECONDS, frame_rate=_GRID)
    firsts = [tick * frames for frames in _FRAMES_PER_TICK]
    ends = [frames_for(end, sample_rate=_MICROSECONDS, frame_rate=rate) for rate in _RATES]
    return (
        track.start_50 + firsts[0],
        track.start_75 + firsts[1],
        min(ends[0], track.frames_50) - firsts[0],
        min(ends[1], track.frames_75) - firsts[1],
    )


def _column(name: str) -> int:
    """Of `starts` and `frames`."""
    if name not in _COLUMNS:
        raise UsageError(f"shards have no stream {name!r}; they have {', '.join(STREAMS)}")
    return _COLUMNS[name]
