"""`hafm retrieve` and `hafm retrieve-index`: from checked requests to files.

In: a request. Out: an outcome: where everything is, and what a user should know.

    folder? index? python-stretch? vocal? room?   ->   rank, render   ->   write   ->   put in place
    `-------- refused before any work --------'                            `-- delivery.py: all or nothing

The work itself is that of `hafm.evaluate.retrieval`; start to read there.
"""

import time
from typing import TYPE_CHECKING

from hafm.app.delivery import delivery
from hafm.app.interrupt import Interrupts
from hafm.app.progress import Display
from hafm.app.retrieve_outcome import IndexOutcome, RetrievedTake, RetrieveOutcome
from hafm.app.retrieve_request import IndexRequest, RetrieveRequest
from hafm.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hafm.audio.sound import Audio

__all__ = ["run_index", "run_retrieval"]

_BYTES_A_SAMPLE = 3
_BYTES_BESIDE = 1 << 20
_STEPS = {"scan": "reading", "describe": "listening"}


def run_retrieval(request: RetrieveRequest, *, shown: Display, interrupts: Interrupts) -> RetrieveOutcome:
    """Finds accompaniments for a vocal.

    Args:
        request: what to do.
        shown: told what is going on.
        interrupts: cleans up when the process must end.

    Raises:
        HafmError: it cannot be done; nothing was written.
    """
    began = time.monotonic()
    shown.step("getting ready")
    from hafm.app.retrieve_save import save_retrieved
    from hafm.audio.io import read_audio
    from hafm.device import one_thread
    from hafm.evaluate.retrieval.retrieve import Retriever
    from hafm.evaluate.retrieval.transform import check_stretcher
    from hafm.files import check_output_folder

    _check_folders(request)
    check_stretcher()
    retriever = Retriever.open(request.index, root=request.collection)
    vocal = read_audio(request.vocal, start_seconds=request.start_seconds, seconds=request.seconds)
    check_output_folder(request.output, overwrite=True, needed_bytes=_needed_bytes(request, vocal))
    ready = time.monotonic()

    shown.step("listening")
    with one_thread():
        ranking = retriever.rank(vocal.mono(), vocal.sample_rate, exclude_songs=request.exclude_songs)
        found = [retriever.render(ranking, request.rank - 1 + take) for take in range(request.num_takes)]
        made = time.monotonic()

        shown.step("writing")
        takes = []
        with delivery(request.output, interrupts) as parcel:
            for number, each in enumerate(found, start=1):
                folder = parcel.staging / f"take-{number}" if len(found) > 1 else parcel.staging
                paths, levels = save_retrieved(
                    each, vocal, folder, request=request, identity=retriever.identity()
                )
                final = {name: parcel.final(path) for name, path in paths.items()}
                takes.append(RetrievedTake(number=number, paths=final, found=each, levels=levels))
    written = time.monotonic()
    return RetrieveOutcome(
        takes=takes,
        vocal=vocal,
        folder=request.index,
        index=retriever.index,
        timings={
            "prepare_seconds": ready - began,
            "retrieve_seconds": made - ready,
            "write_seconds": written - made,
            "total_seconds": written - began,
        },
    )


def run_index(request: IndexRequest, *, shown: Display, interrupts: Interrupts) -> IndexOutcome:
    """Makes an index, or goes on with one.

    Args:
        request: what to do.
        shown: told how far it is.
        interrupts: told what a signal leaves behind.

    Raises:
        HafmError: it cannot be done; what is done is kept.
    """
    began = time.monotonic()
    shown.step("looking at the collection")
    from hafm.data.collection.sources import guess_kind, open_source
    from hafm.device import one_thread
    from hafm.evaluate.retrieval.building import build_index
    from hafm.files import check_output_folder

    check_output_folder(request.output, overwrite=True)
    root = request.collection.resolve()  # so that it is the same collection from another folder too
    kind = guess_kind(root) if request.kind is None else request.kind
    source = open_source(kind, root, song_from=request.song_from)
    reports: dict[str, Callable[[int, int], None]] = {}

    def on_progress(step: str, done: int, total: int) -> None:
        if step not in reports:
            reports[step] = shown.items(_STEPS[step])
        if step == "describe":
            interrupts.left = f"{done:,} of {total:,} instrumentals are done; run the same command to go on"
        reports[step](done, total)

    with one_thread():
        index = build_index(
            source,
            request.output,
            split=request.split,
            limit=request.limit,
            workers=request.num_workers,
            on_progress=on_progress,
        )
    return IndexOutcome(index=index, output=request.output, kind=kind, seconds=time.monotonic() - began)


def _check_folders(request: RetrieveRequest) -> None:
    """Refuses an output folder that cannot take results, or in which one could replace vocal or index."""
    from hafm.files import check_output_folder

    check_output_folder(request.output, overwrite=request.overwrite)
    folders = [request.output]
    if request.num_takes > 1:
        folders += [request.output / f"take-{number}" for number in range(1, request.num_takes + 1)]
    for folder in folders:
        if request.vocal.resolve().parent == folder.resolve():
            raise OutputError(
                f"'{request.output}' holds the vocal itself ('{request.vocal}'), which must not be replaced; "
                "give another folder with -o"
            )
        if request.index.resolve() == folder.resolve():
            raise OutputError(f"'{folder}' is the index; give another folder with -o")


def _needed_bytes(request: RetrieveRequest, vocal: "Audio") -> int:
    channels = 1 + vocal.num_channels  # the accompaniment is mono, the mix has the vocal's channels
    return request.num_takes * (channels * vocal.num_samples * _BYTES_A_SAMPLE + _BYTES_BESIDE)
