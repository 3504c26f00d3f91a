"""The lead sheets of a shard's tracks, and the guides that training takes from them.

In: a file beside the shard, one line per track in its order: the sheet as compact JSON, or `null`. Out:
frames of the guide.

    train-00000.safetensors     tokens
    train-00000.sheets.jsonl    only where a track of the shard has a sheet

A guide follows from its sheet, so only the sheet is stored: 40 bytes per second of a song, where float32
frames are 12,600. Frames are made when they are first asked for and kept compactly, in bounded memory: the
channels of the beats for each frame, the others once per run of frames in which they stay the same.
"""

import mmap
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hafm.data.result import TrackTokens
from hafm.errors import LeadSheetError, ShardsDamaged
from hafm.files import atomic_file
from hafm.guide.frames import GROUPS, GUIDE_CHANNELS, guide_frames
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.sheet_json import lead_sheet_from_json

__all__ = ["GuideCache", "ShardSheets", "sheets_name", "write_sheets"]

_NUM_BEAT_CHANNELS = GROUPS["beats"].stop
_NO_SHEET = b"null"


def sheets_name(shard_name: str) -> str:
    """The file of a shard's lead sheets.

    >>> sheets_name("train-00007.safetensors")
    'train-00007.sheets.jsonl'
    """
    return shard_name.removesuffix(".safetensors") + ".sheets.jsonl"


def write_sheets(shard_path: Path, tokens: Sequence[TrackTokens]) -> None:
    """Writes the lead sheets of a shard's tracks beside it, whole or not at all.

    Where no track has one there is no file afterwards.
    """
    path = shard_path.with_name(sheets_name(shard_path.name))
    if all(each.lead_sheet is None for each in tokens):
        path.unlink(missing_ok=True)
        return
    with atomic_file(path) as file:
        for each in tokens:
            file.write((_NO_SHEET if each.lead_sheet is None else each.lead_sheet.encode()) + b"\n")


class ShardSheets:
    """The lead sheets of a shard, mapped into memory: a line is read when its sheet is asked for.

    Raises:
        ShardsDamaged: it cannot be read, or has another number of lines.
    """

    def __init__(self, path: Path, *, num_tracks: int) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ShardsDamaged(
                f"'{path}' cannot be read ({error}); prepare again, or copy it again"
            ) from error
        ends = np.flatnonzero(np.frombuffer(self._text, np.uint8) == ord("\n"))
        if len(ends) != num_tracks:
            raise ShardsDamaged(
                f"'{path}' has {len(ends)} lead sheets for {num_tracks} tracks; prepare again, or "
                "copy it again"
            )
        self._edges = [0, *(ends + 1).tolist()]

    @property
    def num_known(self) -> int:
        """Tracks that have one."""
        return sum(self._line(row) != _NO_SHEET for row in range(len(self._edges) - 1))

    def _line(self, row: int) -> bytes:
        return self._text[self._edges[row] : self._edges[row + 1] - 1]

    def __getitem__(self, row: int) -> LeadSheet | None:
        """The sheet of a track by its place in the shard; None where it has none."""
        line = self._line(row)
        if line == _NO_SHEET:
            return None
        try:
            return lead_sheet_from_json(line, where=f"'{self._path}', line {row + 1},")
        except LeadSheetError as error:
            raise ShardsDamaged(str(error)) from error


@dataclass(frozen=True, kw_only=True, eq=False)
class _CompactGuide:
    """A guide whose channels behind the beats are kept once per run of equal frames.

    Args:
        beats: Shape [F, 6].
        runs: the other channels. Shape [R, 57].
        run_of_frame: Shape [F].
    """

    beats: NDArray[np.float32]
    runs: NDArray[np.float32]
    run_of_frame: NDArray[np.int32]

    @classmethod
    def of(cls, guide: NDArray[np.float32]) -> Self:
        rest = guide[:, _NUM_BEAT_CHANNELS:]
        changes = np.ones(len(guide), bool)
        changes[1:] = (rest[1:] != rest[:-1]).any(axis=1)
        return cls(
            beats=guide[:, :_NUM_BEAT_CHANNELS].copy(),
            runs=rest[changes],
            run_of_frame=np.cumsum(changes, dtype=np.int32) - 1,
        )

    @property
    def num_bytes(self) -> int:
        return self.beats.nbytes + self.runs.nbytes + self.run_of_frame.nbytes

    def frames(self, inside: slice) -> NDArray[np.float32]:
        beats = self.beats[inside]
        guide = np.empty((len(beats), GUIDE_CHANNELS), np.float32)
        guide[:, :_NUM_BEAT_CHANNELS] = beats
        guide[:, _NUM_BEAT_CHANNELS:] = self.runs[self.run_of_frame[inside]]
        return guide


class GuideCache:
    """Guides of the pairs that were asked for last.

    Args:
        capacity_bytes: of all of them; 256 MiB hold about 50 hours.
    """

    def __init__(self, *, capacity_bytes: int = 1 << 28) -> None:
        self._capacity_bytes = capacity_bytes
        self._num_bytes = 0
        self._guides: OrderedDict[int, _CompactGuide] = OrderedDict()

    def find(self, pair: int, inside: slice) -> NDArray[np.float32] | None:
        """Frames of a pair's guide, a new array; None if it is not here."""
        guide = self._guides.get(pair)
        if guide is None:
            return None
        self._guides.move_to_end(pair)
        return guide.frames(inside)

    def add(self, pair: int, sheet: LeadSheet | None, *, first: int, num_frames: int) -> None:
        """Makes a pair's guide; those that were not asked for the longest make room.

        Args:
            sheet: of its track; None makes zeros.
            first: frame of the track with which the pair begins.
            num_frames: of the pair.
        """
        sheet = LeadSheet(duration_seconds=1.0) if sheet is None else sheet
        guide = _CompactGuide.of(guide_frames(sheet, num_frames=first + num_frames)[first:])
        self._guides[pair] = guide
        self._num_bytes += guide.num_bytes
        while self._num_bytes > self._capacity_bytes and len(self._guides) > 1:
            _, oldest = self._guides.popitem(last=False)
            self._num_bytes -= oldest.num_bytes
