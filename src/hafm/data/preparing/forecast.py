"""How much sound is to come, before it is decoded: for the room that tokens need, and the time.

In: tracks. Out: seconds of audio, as the source or the headers of some files promise, and bytes of tokens.

Headers lie, so this is a forecast and decides about nothing but whether a disk is clearly too small.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import fmean

from hafm.audio.opening import open_sound
from hafm.data.collection.track import Track
from hafm.errors import AudioError

__all__ = ["Forecast", "evenly", "forecast"]

_LOOKED_AT = 16
_MOST_SECONDS = 24 * 3600.0
_BYTES_A_SECOND_OF_FILE = 16_000  # 128 kbit/s, for a container that only decoding would tell


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What is to come.

    Args:
        tracks: how many.
        seconds: of audio.
        num_bytes: of room on the disk: tokens, and once more those of shards that are being filled.
    """

    tracks: int
    seconds: float
    num_bytes: int

    def for_rest(self, tracks: int) -> int:
        """Bytes that so many of the tracks need.

        >>> Forecast(tracks=10, seconds=300.0, num_bytes=1000).for_rest(3)
        300
        """
        return self.num_bytes * tracks // max(1, self.tracks)


def forecast(tracks: Sequence[Track], *, bytes_a_second: int, tracks_per_shard: int) -> Forecast:
    """Looks at some tracks and concludes for all.

    Args:
        tracks: to come.
        bytes_a_second: size of their tokens.
        tracks_per_shard: tokens of so many wait in the ledger.
    """
    known = [_seconds(track) for track in evenly(tracks, _LOOKED_AT)]
    mean = fmean(each for each in known if each is not None) if any(known) else 0.0
    waiting = len(tracks) + min(len(tracks), tracks_per_shard)
    return Forecast(
        tracks=len(tracks), seconds=mean * len(tracks), num_bytes=int(mean * waiting * bytes_a_second)
    )


def evenly(tracks: Sequence[Track], number: int) -> list[Track]:
    """So many of the tracks, spread over all of them; all if there are fewer.

    >>> evenly([], 3)
    []
    """
    step = Fraction(max(1, len(tracks)), max(1, min(number, len(tracks))))
    return [tracks[int(step * place)] for place in range(min(number, len(tracks)))]


def _seconds(track: Track) -> float | None:
    """Duration as the source or the file's header has it; None for a file that cannot be used."""
    if track.seconds is not None:
        return track.seconds
    try:
        with open_sound(track.parts[0].path, seconds=_MOST_SECONDS) as sound:
            claimed = sound.stream.claimed_frames
            if claimed is None:  # a container, or joined files
                return os.fstat(sound.file.fileno()).st_size / _BYTES_A_SECOND_OF_FILE
            return min(_MOST_SECONDS, claimed / sound.stream.sample_rate)
    except AudioError:
        return None
