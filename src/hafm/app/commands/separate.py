"""`hafm separate`: songs taken apart."""

from hafm.app.commands import options, separate_options
from hafm.app.commands.job import Job, tell
from hafm.app.interrupt import Interrupts
from hafm.app.separate_request import SeparationRequest
from hafm.errors import UsageError

__all__ = ["EPILOG", "separate"]

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "hafm separate song.mp3 --model vocals.onnx -o out/\n\n"
    "hafm separate album/*.flac --model vocals.onnx -o out/ --workers 2"
)


def separate(
    songs: separate_options.Songs,
    model: separate_options.Model = None,
    output: separate_options.Output = None,
    overwrite: options.Overwrite = False,
    format: options.FormatOption = None,
    workers: separate_options.Workers = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> Job:
    """Take songs apart: the vocal, and the instrumental.

    Writes vocal.wav and instrumental.wav, as long as the song and at its sample rate. Their sum is the song.

    The separator is an MDX-Net that you bring: MODEL.onnx, and MODEL.json beside it.
    """
    if output is None:
        raise UsageError("no output folder was given; name one with -o, as in: -o out/")
    request = SeparationRequest(
        songs=tuple(songs),
        output=output,
        model=model,
        format="wav" if format is None else format,
        workers=1 if workers is None else workers,
        overwrite=overwrite,
    )

    def job(interrupts: Interrupts) -> None:
        from rich.console import Console

        from hafm.app.progress import display
        from hafm.app.separate import run_separation

        with display(Console(stderr=True, markup=False, highlight=False), quiet=quiet) as shown:
            outcome = run_separation(request, shown=shown, interrupts=interrupts)
        tell(outcome, notes=outcome.notes, as_json=as_json, quiet=quiet)

    return job
