"""What a track's files hold, as one hash, so that the same sound under two names is found before splitting.

In: a `Track`. Out: SHA-256 as hex digits, or a `ScanFailure` with one line that says why not.

The hash covers the bytes of the files that decide the tokens, and nothing that says where they lie. One file:
its SHA-256, as `sha256sum` prints it. Several parts: SHA-256 over a line a part, `<sha256> <stream>`.

Bytes and not samples: two encodings of one song differ here. FMA's duplicates are equal byte for byte
(mdeff/fma, issue 23).
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hafm.audio.source import open_source as open_file
from hafm.data.collection.track import Track
from hafm.errors import AudioError

__all__ = ["ScanFailure", "hash_all", "hash_track"]

_MAX_THREADS = 8


@dataclass(frozen=True, kw_only=True)
class ScanFailure:
    """A track that is lost before it is decoded; the reason names a file and what is wrong with it."""

    reason: str


def hash_track(track: Track) -> str | ScanFailure:
    """What the files of a track hold.

    Reads every byte once and keeps none. Releases the interpreter while it computes, so threads help.

    Returns:
        64 hex digits; or the failure, if a file is missing, empty, no regular file, too big, or not readable.

    >>> from hafm.data.collection.track import SoundPart
    >>> hash_track(Track(id="a", song_id="a", mix=SoundPart(path="none.wav"))).reason
    "'none.wav' does not exist; check the name and the folder"
    """
    try:
        hashes = {path: _hash_file(path) for path in dict.fromkeys(part.path for part in track.parts)}
    except AudioError as error:
        return ScanFailure(reason=str(error))
    if len(track.parts) == 1 and track.parts[0].stream is None:
        return hashes[track.parts[0].path]
    lines = (f"{hashes[part.path]} {'-' if part.stream is None else part.stream}\n" for part in track.parts)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def hash_all(
    tracks: Sequence[Track],
    hash_one: Callable[[Track], str | ScanFailure],
    on_progress: Callable[[int, int], None] | None = None,
) -> list[str | ScanFailure]:
    """The hashes of many tracks, in their order, on several threads.

    Args:
        hash_one: `hash_track`, or what else a hash is to cover.
        on_progress: called with how many are done, and of how many.
    """
    hashes: list[str | ScanFailure] = []
    executor = ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1))
    try:
        for found in executor.map(hash_one, tracks):
            hashes.append(found)
            if on_progress is not None:
                on_progress(len(hashes), len(tracks))
    finally:
        executor.shutdown(cancel_futures=True)  # after Ctrl-C nobody waits for the rest
    return hashes


def _hash_file(path: str) -> str:
    with open_file(path) as (file, _, name):
        if not file.read(1):
            raise AudioError(f"{name} is empty (0 bytes); copy or download it again")
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
