"""`hafm retrieve-index`: the instrumentals of a collection, described."""

from hafm.app.commands import options, prepare_options, retrieve_options
from hafm.app.commands.job import Job, tell
from hafm.app.interrupt import Interrupts
from hafm.app.retrieve_request import IndexRequest
from hafm.errors import UsageError

__all__ = ["EPILOG", "retrieve_index"]

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "hafm retrieve-index musdb18hq/ -o index/\n\n"
    "hafm retrieve-index work/pairs -o index/ --limit 300 --workers 2"
)


def retrieve_index(
    collection: retrieve_options.Collection,
    output: retrieve_options.IndexOutput = None,
    kind: prepare_options.Kind = None,
    song_from: prepare_options.SongFrom = None,
    split: retrieve_options.SplitOption = "train",
    limit: prepare_options.Limit = None,
    workers: retrieve_options.Workers = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> Job:
    """Describe the instrumentals of a collection, for `hafm retrieve`.

    The sounds stay where they are. Songs of other splits are never in the index. Stopped anywhere, the same
    command goes on where it was.
    """
    if output is None:
        raise UsageError("no output folder was given; name one with -o, as in: -o index/")
    request = IndexRequest(
        collection=collection,
        output=output,
        kind=kind,
        song_from=song_from,
        split=split,
        limit=limit,
        workers=workers,
    )

    def job(interrupts: Interrupts) -> None:
        from rich.console import Console

        from hafm.app.progress import display
        from hafm.app.retrieve import run_index

        with display(Console(stderr=True, markup=False, highlight=False), quiet=quiet) as shown:
            outcome = run_index(request, shown=shown, interrupts=interrupts)
        tell(outcome, notes=outcome.notes, as_json=as_json, quiet=quiet)

    return job
