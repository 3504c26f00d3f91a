"""What runs the work: how batches of tracks reach workbenches, and results come back.

In: batches of tracks. Out: their results, in whatever order they are ready.

    batches --pull--> engine --> workbench --> results --yield--> caller commits --next()--> ...

| engine | workbenches |
|---|---|
| `SameProcess` | one, here |
| `pool.Pool` | one in each worker process of this machine |
| `ray_engine.RayEngine` | one in each actor of a Ray cluster |

Convention: `run` is a generator, and who asks it for more has committed what it gave. `Pool` relies on that:
a worker gets its next batch only after its last results are committed, so a crash loses one batch a worker.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeAlias, runtime_checkable

from hafm.data.collection.track import Track
from hafm.data.preparing.workbench import Opener
from hafm.data.result import TrackResult

__all__ = ["Engine", "Results", "SameProcess", "in_batches"]

Results: TypeAlias = Generator[Sequence[TrackResult], None, None]


@runtime_checkable
class Engine(Protocol):
    """Runs batches."""

    def run(self, batches: Iterable[Sequence[Track]], opener: Opener) -> Results:
        """A generator of results; closing it ends what it started.

        Args:
            batches: taken one by one, as they are needed.
            opener: called once in each worker.

        Yields:
            Results of one batch or a part of one. Each track has one result in the end.

        Raises:
            HafmError: a worker cannot start, or says that the run must stop.
            WorkerError: a mistake of ours in a worker.
        """
        ...


class SameProcess:
    """Works in this process, on one batch after the other.

    >>> from hafm.data.result import Quarantined
    >>> from hafm.data.collection.track import SoundPart
    >>> class Refusing:
    ...     def prepare(self, tracks):
    ...         return [Quarantined(track_id=track.id, reason="no") for track in tracks]
    >>> track = Track(id="a", song_id="a", mix=SoundPart(path="a.mp3"))
    >>> next(SameProcess().run([[track]], Refusing))
    [Quarantined(track_id='a', reason='no')]
    """

    def run(self, batches: Iterable[Sequence[Track]], opener: Opener) -> Results:
        """See `Engine.run`."""
        bench = opener()
        for batch in batches:
            yield bench.prepare(batch)


def in_batches(tracks: Iterable[Track], size: int) -> Iterator[list[Track]]:
    """Tracks in groups of `size`; the last may be smaller.

    >>> [len(batch) for batch in in_batches([], 2)]
    []
    """
    tracks = iter(tracks)
    while batch := list(islice(tracks, size)):
        yield batch
