"""Which vocal is mixed with which other song's accompaniment, for measures of what belongs together.

In:  a number of songs (or clips) and a seed. Out: for each its donor, whose accompaniment its vocal gets.

Donors are a permutation that keeps no song: all accompaniments are used, each once. True and shuffled mixes
then hold the same sounds, and differ only in what sounds together.

They are made of pairs: songs a and b exchange their accompaniments.

    vocal          0  1  2  3  4  5  6
    accompaniment  4  2  1  6  0  3  5        pairs 0-4, 1-2; the last three pass theirs round: 3-6-5

A pair shares no sound with any other. So pairs are what a test may swap, and an interval resample, without a
sound turning up twice on one side. A single ring of all songs, as `numpy.roll` of a random order gives,
mismatches as well, and leaves nothing that could be swapped.

Source: ours.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hafm.errors import UsageError
from hafm.evaluate.testset import Clip, of_song

__all__ = ["exchange_groups", "exchange_partners", "pairings"]


def exchange_partners(count: int, *, seed: int) -> tuple[int, ...]:
    """Donors of songs that exchange their accompaniments, two and two: for each song the number of another.

    Of an odd number, three songs pass theirs round.

    Raises:
        UsageError: fewer than two songs.

    >>> exchange_partners(4, seed=0)
    (2, 3, 0, 1)
    """
    if count < 2:
        raise UsageError(f"{count} songs cannot exchange accompaniments; give two or more")
    order = np.random.default_rng(seed).permutation(count)
    donors = np.empty(count, dtype=int)
    for group in np.split(order, range(2, count - 1, 2)):
        donors[group] = np.roll(group, 1)
    return tuple(int(donor) for donor in donors)


def exchange_groups(donors: Sequence[int]) -> list[NDArray[np.integer]]:
    """Rings of songs that pass on their accompaniments, pairs for the most part.

    Raises:
        UsageError: a song is its own donor, or one is left out.

    >>> [group.tolist() for group in exchange_groups((2, 3, 0, 4, 1))]
    [[0, 2], [1, 3, 4]]
    """
    if sorted(donors) != list(range(len(donors))) or any(donor == song for song, donor in enumerate(donors)):
        raise UsageError(
            "donors name for each song another one, each once, so that the shuffled mixes hold all "
            "accompaniments; make them with exchange_partners"
        )
    groups = []
    seen: set[int] = set()
    for first in range(len(donors)):
        ring, song = [], first
        while song not in seen:
            seen.add(song)
            ring.append(song)
            song = donors[song]
        if ring:
            groups.append(np.array(ring))
    return groups


def pairings(clips: Sequence[Clip], *, seed: int, takes: int) -> list[dict[str, Clip]]:
    """For each take, the partner of every clip, by the clip's id: never of the same song.

    Clip j of a song meets clip j of its partner, cyclically where that has fewer. UsageError for one song.

    >>> known = {"start_seconds": 0.0, "num_samples": 1, "activity": 1.0, "sha256": {}}
    >>> a, b, c = (Clip(id=name, track=name, song=name, **known) for name in "abc")
    >>> [take] = pairings([a, b, c], seed=0, takes=1)
    >>> {id: clip.id for id, clip in sorted(take.items())}
    {'a': 'c', 'b': 'a', 'c': 'b'}
    """
    songs = list(of_song(clips).values())
    if len(songs) < 2:
        raise UsageError("a random pairing needs two songs or more; give a larger test set")
    found = []
    for take in range(takes):
        partner: dict[str, Clip] = {}
        for song, donor in zip(songs, exchange_partners(len(songs), seed=seed + take), strict=True):
            others = songs[donor]
            partner |= {clip.id: others[index % len(others)] for index, clip in enumerate(song)}
        found.append(partner)
    return found
