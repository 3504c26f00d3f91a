"""`hafm retrieve`: an accompaniment from recordings that exist."""

from hafm.app.commands import generate_options, options, retrieve_options
from hafm.app.commands.job import Job, tell
from hafm.app.interrupt import Interrupts
from hafm.app.retrieve_request import RetrieveRequest
from hafm.errors import UsageError

__all__ = ["EPILOG", "retrieve"]

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "hafm retrieve vocal.wav --index index/ -o out/\n\n"
    "hafm retrieve vocal.wav --index index/ -o out/ --takes 4 --balance 0"
)


def retrieve(
    vocal: retrieve_options.Vocal,
    start: generate_options.Start = None,
    seconds: generate_options.Seconds = None,
    output: generate_options.Output = None,
    overwrite: options.Overwrite = False,
    format: options.FormatOption = None,
    balance: generate_options.Balance = None,
    loudness: generate_options.Loudness = None,
    index: retrieve_options.Index = None,
    collection: retrieve_options.Moved = None,
    rank: retrieve_options.Rank = None,
    takes: retrieve_options.Takes = None,
    exclude: retrieve_options.Exclude = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> Job:
    """Find the instrumental that fits a vocal best, and make it fit: the baseline without a model.

    It is chosen by key, tempo and chords, transposed, stretched, and looped where it is too short.

    Writes accompaniment.wav, mix.wav, and retrieval.json, which says what it is and why.
    """
    if output is None:
        raise UsageError("no output folder was given; name one with -o, as in: -o out/")
    if index is None:
        raise UsageError("no index was given; make one with hafm retrieve-index, and name it with --index")
    request = RetrieveRequest(
        vocal=vocal,
        index=index,
        output=output,
        collection=collection,
        rank=1 if rank is None else rank,
        takes=takes,
        exclude_songs=tuple(exclude or ()),
        start_seconds=start,
        seconds=seconds,
        balance_db=balance,
        loudness_lufs=loudness,
        format="wav" if format is None else format,
        overwrite=overwrite,
    )

    def job(interrupts: Interrupts) -> None:
        from rich.console import Console

        from hafm.app.progress import display
        from hafm.app.retrieve import run_retrieval

        with display(Console(stderr=True, markup=False, highlight=False), quiet=quiet) as shown:
            outcome = run_retrieval(request, shown=shown, interrupts=interrupts)
        tell(outcome, notes=outcome.notes, as_json=as_json, quiet=quiet)

    return job
