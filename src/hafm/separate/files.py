"""Songs to two files each, one after the other or several at a time (`hafm.workers`).

In: a song that was surveyed, and a separator. Out: `vocal.wav` and `instrumental.wav` in a folder, exactly as
long as the song, at its rate and with its channels; they sum to the song.

Whether a stem stays within full scale shows only at its end. So both wait on the disk, as floats without a
name, and are then written as 24-bit PCM (or FLAC), or, if one of them exceeds full scale, both as WAVs of
32-bit floats: clipping would put a distortion into one stem that the other does not take away. Memory is
bounded by the net's chunks, whatever the song's length.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from hafm.audio.read_blocks import Survey, read_blocks
from hafm.audio.spool import Spool
from hafm.audio.write_blocks import Encoding, write_blocks
from hafm.errors import OutputError
from hafm.separate.separator import Separator

__all__ = [
    "DISK_BYTES_PER_SAMPLE",
    "STEMS",
    "SongJob",
    "SongPreparer",
    "WrittenStems",
    "open_song_preparer",
    "separate_song",
]

STEMS = ("vocal", "instrumental")

DISK_BYTES_PER_SAMPLE = 16
"""Of a channel, at most: two stems of floats, and the two files."""


@dataclass(frozen=True, kw_only=True)
class WrittenStems:
    """What was written.

    Args:
        files: names of the files by stem.
        encoding: of both.
        peaks: largest sample by stem; full scale is 1.
        notes: what a user should know.
    """

    files: dict[str, str]
    encoding: Encoding
    peaks: dict[str, float]
    notes: tuple[str, ...]


def separate_song(
    song: Survey, separator: Separator, folder: Path, *, format: Literal["wav", "flac"]
) -> Iterator[int | WrittenStems]:
    """Separate a song.

    Args:
        song: what `survey` said of it.
        separator: what takes it apart.
        folder: where the files go; made if it is not there.
        format: of the files, where both stems stay within full scale.

    Yields:
        How many more samples of the song are done; in the end, what was written.

    Raises:
        AudioError: the song was changed since the survey.
        UsageError: the separator's net failed.
        OutputError: the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make '{folder}': {error.strerror or error}; write elsewhere") from error
    channels = song.num_channels
    peaks = dict.fromkeys(STEMS, 0.0)
    with Spool(channels, folder=folder) as vocal, Spool(channels, folder=folder) as instrumental:
        spools = dict(zip(STEMS, (vocal, instrumental), strict=True))
        mix = read_blocks(song, spool_folder=folder)
        for blocks in separator.separate_blocks(mix, sample_rate=song.sample_rate):
            for stem, block in zip(STEMS, blocks, strict=True):
                peaks[stem] = max(peaks[stem], float(block.abs().max()))
                spools[stem].write(block)
            yield blocks[0].shape[1]
        loudest = max(peaks.values())
        encoding: Encoding = format if loudest <= 1.0 else "wav-float"
        ending = "flac" if encoding == "flac" else "wav"
        for stem, spool in spools.items():
            write_blocks(
                folder / f"{stem}.{ending}",
                spool.blocks(),
                song.sample_rate,
                num_channels=channels,
                num_samples=song.num_samples,
                encoding=encoding,
            )
    notes = song.notes
    if encoding == "wav-float":
        notes += (
            f"a stem reaches {20 * math.log10(loudest):+.1f} dBFS, which 24 bits cannot hold; both are WAVs "
            "of 32-bit floats, and still sum to the song",
        )
    yield WrittenStems(
        files={stem: f"{stem}.{ending}" for stem in STEMS}, encoding=encoding, peaks=peaks, notes=notes
    )


@dataclass(frozen=True, kw_only=True)
class SongJob:
    """A song, and where its stems go.

    Args:
        song, folder, format: as `separate_song` takes them.
    """

    number: int
    song: Survey
    folder: Path
    format: Literal["wav", "flac"]


class SongPreparer:
    """Separates songs; what a worker process does.

    Args:
        separator: what takes them apart.
    """

    def __init__(self, separator: Separator) -> None:
        self._separator = separator

    def prepare(self, jobs: Sequence[SongJob]) -> Iterator[tuple[int, int | WrittenStems]]:
        """What `separate_song` yields, with the number of the song. A result depends on its song alone."""
        for job in jobs:
            for result in separate_song(job.song, self._separator, job.folder, format=job.format):
                yield job.number, result


def open_song_preparer(model: Path, threads: int) -> SongPreparer:
    """A preparer with the separator of an `.onnx`, in the process that calls this."""
    torch.set_num_threads(1)
    return SongPreparer(Separator.open(model, threads=threads))
