"""Which clips of a run are played on its page.

In: the clips. Out: some of them, in their order, the same every time: spread evenly over songs first, and
over a song's clips where more are wanted than there are songs.
"""

from collections.abc import Sequence

from hafm.errors import UsageError
from hafm.evaluate.testset.clip import Clip, of_song

__all__ = ["choose_clips"]


def choose_clips(clips: Sequence[Clip], count: int) -> list[Clip]:
    """The clips to play.

    Args:
        clips: of the run, in order.
        count: how many at most, 0 for none.

    Raises:
        UsageError: a count below 0.
    """
    if count < 0:
        raise UsageError(f"{count} clips cannot be played in a report; give 0 or more")
    songs = list(of_song(clips).values())
    wanted = min(count, len(clips))
    shares = [0] * len(songs)
    if wanted < len(songs):
        for index in range(wanted):
            shares[index * len(songs) // wanted] = 1
    while sum(shares) < wanted:
        for index, song in enumerate(songs):
            if shares[index] < len(song) and sum(shares) < wanted:
                shares[index] += 1
    # The middle of each of `share` equal stretches: one clip is the middle one, all of them are all.
    return [
        song[(2 * place + 1) * len(song) // (2 * share)]
        for song, share in zip(songs, shares, strict=True)
        for place in range(share)
    ]
