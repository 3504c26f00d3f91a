"""`hafm retrieve-index`: the instrumentals of a collection, described for `hafm retrieve`.

In: options. Out: an `IndexOutcome`, as JSON:

    {"output", "kind", "split", "tracks", "songs", "seconds", "left_out": [...], "elsewhere", "fingerprint",
     "timings": {"total_seconds"}, "notes"}
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hafm.app import options
from hafm.app.command import Command, Range, argument, option
from hafm.app.interrupt import Interrupts
from hafm.data.collection.track import Split
from hafm.errors import UsageError
from hafm.progress import Progress

if TYPE_CHECKING:
    from hafm.app.display import Display
    from hafm.evaluate.retrieval.index import RetrievalIndex

__all__ = ["IndexOutcome", "RetrieveIndex"]

_SHOWN_REASONS = 5


@dataclass(frozen=True, kw_only=True)
class IndexOutcome:
    """An index that was made."""

    index: "RetrievalIndex"
    output: Path
    kind: str
    seconds: float

    @property
    def notes(self) -> tuple[str, ...]:
        """Tracks that are not in it, the first of them by name."""
        left_out = self.index.left_out
        named = tuple(f"left out {each.track_id}: {each.reason}" for each in left_out[:_SHOWN_REASONS])
        more = len(left_out) - len(named)
        return (*named, f"left out {more:,} more: see {self.output / 'index.json'}") if more else named

    def summary(self) -> str:
        index = self.index
        songs = len({entry.song_id for entry in index.entries})
        return (
            f"{self.output}: {len(index.entries):,} instrumentals of {songs:,} songs, "
            f"{index.seconds / 60:,.0f} minutes of {index.split}, {len(index.left_out):,} left out, made in "
            f"{self.seconds:.1f} s"
        )

    def to_json(self) -> dict[str, Any]:
        index = self.index
        return {
            "output": str(self.output),
            "kind": self.kind,
            "split": index.split,
            "tracks": len(index.entries),
            "songs": len({entry.song_id for entry in index.entries}),
            "seconds": index.seconds,
            "left_out": [asdict(each) for each in index.left_out],
            "elsewhere": index.elsewhere,
            "fingerprint": index.fingerprint,
            "timings": {"total_seconds": self.seconds},
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class RetrieveIndex(Command):
    """Describe the instrumentals of a collection, for `hafm retrieve`.

    The sounds stay where they are. Songs of other splits are never in the index. Stopped anywhere, the same
    command goes on where it was.
    """

    collection: Path = argument(
        "A collection with instrumentals: pairs, rendered pairs, MUSDB18.", "COLLECTION"
    )
    output: Path = options.output("Where the index goes, or lies already.", example="index/")
    kind: options.Kind | None = options.kind()
    song_from: str | None = options.song_from()
    split: Split = option(
        "Whose instrumentals are taken.", "train|valid|test", options.TAKEN, default="train"
    )
    limit: int | None = options.limit()
    workers: int | None = option(
        "Processes; 0 works in this one.",
        "N",
        options.RUN,
        shown="one per core",
        within=Range(0, options.MAX_WORKERS),
    )

    examples: ClassVar = (
        "hafm retrieve-index musdb18hq/ -o index/",
        "hafm retrieve-index work/pairs -o index/ --limit 300 --workers 2",
    )

    def check(self) -> None:
        if self.output.resolve() == self.collection.resolve():
            raise UsageError(f"'{self.output}' is the collection itself; give another folder with -o")

    def run(self, shown: "Display", interrupts: Interrupts) -> IndexOutcome:
        began = time.monotonic()
        shown.step("looking at the collection")
        from hafm.data.collection.sources import guess_kind, open_source
        from hafm.device import one_thread
        from hafm.evaluate.retrieval.building import build_index
        from hafm.evaluate.retrieval.index import INDEX_FILE
        from hafm.files import check_output_folder

        check_output_folder(self.output, overwrite=True, files=[INDEX_FILE])
        root = self.collection.resolve()  # so that it is the same collection from another folder too
        kind = guess_kind(root) if self.kind is None else self.kind
        source = open_source(kind, root, song_from=self.song_from)
        follow = shown.follow()

        def on_progress(progress: Progress) -> None:
            if progress.step == "listening":
                done = f"{progress.done:,} of {progress.total:,} instrumentals are done"
                interrupts.left = f"{done}; run the same command to go on"
            follow(progress)

        with one_thread():
            index = build_index(
                source,
                self.output,
                split=self.split,
                limit=self.limit,
                workers=options.cores() if self.workers is None else self.workers,
                on_progress=on_progress,
            )
        return IndexOutcome(index=index, output=self.output, kind=kind, seconds=time.monotonic() - began)
