"""`hafm generate`: an accompaniment for a vocal."""

from hafm.app.commands import generate_options, options, separate_options
from hafm.app.commands.job import Job, tell
from hafm.app.interrupt import Interrupts
from hafm.app.request import Request
from hafm.errors import UsageError

__all__ = ["EPILOG", "generate"]

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "hafm generate vocal.wav -o out/\n\n"
    "hafm generate vocal.m4a -o out/ --takes 4 --seed 7 --plot\n\n"
    "hafm generate vocal.wav -o out/ --takes 8 --pick best\n\n"
    "hafm generate song.wav -o out/ --start 30 --seconds 20 --skip-fine\n\n"
    "hafm generate song.mp3 -o out/ --separate --separator vocals.onnx\n\n"
    "hafm generate --replay out/generation.json -o again/"
)


def generate(
    vocal: generate_options.Vocal = None,
    start: generate_options.Start = None,
    seconds: generate_options.Seconds = None,
    separate: separate_options.Separate = False,
    separator: separate_options.Separator = None,
    replay: generate_options.Replay = None,
    output: generate_options.Output = None,
    overwrite: options.Overwrite = False,
    format: options.FormatOption = None,
    balance: generate_options.Balance = None,
    loudness: generate_options.Loudness = None,
    plot: generate_options.Plot = False,
    bundle: options.Bundle = None,
    takes: generate_options.Takes = None,
    pick: generate_options.PickOption = None,
    seed: generate_options.Seed = None,
    temperature: generate_options.Temperature = None,
    top_k: generate_options.TopK = None,
    guidance: generate_options.Guidance = None,
    skip_fine: generate_options.SkipFine = False,
    device: options.Device = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> Job:
    """Make an accompaniment for a vocal, and a mix of both.

    Writes accompaniment.wav, mix.wav, and generation.json, which holds all that --replay needs.

    The same vocal, seed and settings give the same sound, on the same machine with the same versions.
    """
    if output is None:
        raise UsageError("no output folder was given; name one with -o, as in: -o out/")
    request = Request(
        output=output,
        vocal=vocal,
        replay=replay,
        takes=takes,
        pick=pick,
        seed=seed,
        temperature=temperature,
        top_k=top_k,
        guidance=guidance,
        start_seconds=start,
        seconds=seconds,
        skip_fine=skip_fine,
        bundle=bundle,
        device=device,
        balance_db=balance,
        loudness_lufs=loudness,
        format=format,
        separate=separate,
        separator=separator,
        plot=plot,
        overwrite=overwrite,
    )

    def job(interrupts: Interrupts) -> None:
        from rich.console import Console

        from hafm.app.generate import run_request
        from hafm.app.progress import display

        with display(Console(stderr=True, markup=False, highlight=False), quiet=quiet) as shown:
            outcome = run_request(request, shown=shown, interrupts=interrupts)
        tell(outcome, notes=outcome.notes, as_json=as_json, quiet=quiet)

    return job
